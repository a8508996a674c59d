"""Something of every kind of data that a session can hold, usual and odd. No tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flask_profiling.model import (
    Allocations,
    Amount,
    ApplicationTree,
    CallGraph,
    CallGraphs,
    CallTree,
    Cost,
    Data,
    Frame,
    Function,
    Growth,
    HeapSummary,
    Recording,
    SessionRecording,
    SlowRequest,
    SlowRequests,
    Track,
    TreeBuilder,
)
from tests.formats.calls import call, profiled, recording

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PAGE = Function("/srv/shop/pages.py", 12, "page")
ODD = Function("/srv/\udcff/é.py", 7, '<b>"\ud800\0\\\n&')

# kind of data -> something of that kind, and something that only a damaged or hostile process would have recorded
SAMPLES: dict[str, Callable[[], Data]] = {
    "allocations": lambda: Allocations(
        2,
        True,
        {
            (Frame("/srv/shop/pages.py", 12, "page"), Frame("/srv/shop/visits.py", 3, "keep")): Amount(96, 2, 96, 2),
            (Frame("/srv/shop/pages.py", 12, "page"),): Amount(64, 1, 64, 1),
        },
        Amount(10, 5, 10, 5),
        4,
    ),
    "growth": lambda: Growth({"shop.visits.Visit": (3, 43), "dict": (900, 800)}, (10, 10), 2),
    "heapsummary": lambda: HeapSummary(3, 2, True, {"dict": (2, 128), "shop.models.Product": (1, 48)}),
    "apptree": lambda: ApplicationTree(call_tree("GET /", PAGE, 0.25), frozenset({PAGE})),
    "calltree": lambda: replace(call_tree("GET /", PAGE, 0.25), overheads=(0.0, 0.125, 0.0625)),
    "slowrequests": lambda: SlowRequests(
        0.5,
        7,
        (
            SlowRequest("GET /", TRACE, 1.7e9, 0.75, 0.5, 200, 812, "Thread-1", False, call_tree("GET /", PAGE, 0.25)),
            SlowRequest("POST /checkout", TRACE[::-1], 1.7e9, 0.625, None, 0, 812, "Thread-2", True),
        ),
    ),
    "callgraphs": lambda: CallGraphs(
        {
            "GET /": profiled([call("page", 0.25, call("render", 0.5), call("render", 1.0))]),
            "POST /checkout": profiled([call("checkout", 0.125, call("checkout", 0.25, call("render", 0.5)))]),
        }
    ),
}
ODD_SAMPLES: dict[str, Callable[[], Data]] = {
    "allocations": lambda: Allocations(
        0,
        False,
        {(): Amount(10**30, 0, -1, 1), (Frame("\udcff<x>", -5, '"'),) * 3000: Amount(0, 10**30, 10**30, -(10**30))},
        routes={(): "/\udcff</script>"},
    ),
    "growth": lambda: Growth({"</script>\udcff": (10**30, 0), "": (0, 0)}, (0, 10**30), 10**30),
    "heapsummary": lambda: HeapSummary(0, 10**30, False, {"</script>\udcff": (10**30, 0), "": (0, 0)}),
    "apptree": lambda: ApplicationTree(call_tree("GET /\udcff</script>", ODD, -1e308), frozenset({ODD})),
    "calltree": lambda: replace(call_tree("GET /\udcff</script>", ODD, -1e308), overheads=(-1.0, 1e308, 1e308)),
    "slowrequests": lambda: SlowRequests(
        -1e308,
        10**30,
        (
            SlowRequest(
                "GET /\udcff</script>",
                "</script>\udcff",
                -1e308,
                -1e308,
                1e308,
                10**30,
                10**30,
                "",
                True,
                call_tree("", ODD, 1.0),
            ),
        ),
    ),
    "callgraphs": lambda: CallGraphs(
        {
            "GET /\udcff</script>": CallGraph(
                {ODD: Cost(1, 2, 1e308, -1.0)}, {(ODD, ODD): Cost(10**30, 0, 1e308, -1.0)}
            ),
            "": CallGraph({}, {}),
        }
    ),
}


def call_tree(route: str, function: Function, self_time: float) -> CallTree:
    """Return a tree of one request that called one function, which called itself."""
    builder = TreeBuilder("app")
    root = builder.root(route, calls=1, self_time=abs(self_time))
    outer = builder.child(root, function, calls=1, self_time=self_time, is_library=False)
    inner = builder.child(outer, function, calls=2, self_time=self_time, is_library=False)
    times, nodes = (0, 10, 20, 30, 40, 50), (root, outer, inner, outer, root, -1)
    tracks = [Track(812, f"Thread-1 {route}", times, nodes, ((0, 0, 50),)), Track(812, "", (), (), ())]
    return builder.tree(tracks=tracks, origin=1000)


def everything(samples: dict[str, Callable[[], Data]]) -> SessionRecording:
    """Return a recording with one part for each kind of data."""
    plain = recording({})
    parts = tuple(Recording(kind, make(), ("a note \udcff",)) for kind, make in samples.items())
    return SessionRecording(plain.session, plain.workers, (), {}, parts, {}, ("another",))
