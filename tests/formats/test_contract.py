"""What holds for every format in the table, whoever wrote it."""

from __future__ import annotations

import importlib
import io
import json
import marshal
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_profiling.errors import Unavailable
from flask_profiling.formats import FORMATS
from flask_profiling.model import (
    DATA_KINDS,
    Allocations,
    Amount,
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
    Track,
    TreeBuilder,
)
from tests.components import all_components_required, enforce
from tests.formats.calls import call, profiled, recording

# What a format needs besides the project itself.
NEEDS = {"svg": ("dot",)}

# What to compare where the bytes depend on which objects are the same.
CONTENT: dict[str, Callable[[bytes], object]] = {"pstats": marshal.loads}

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
    "calltree": lambda: call_tree("GET /", Function("/srv/shop/pages.py", 12, "page"), 0.25),
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
    ),
    "growth": lambda: Growth({"</script>\udcff": (10**30, 0), "": (0, 0)}, (0, 10**30), 10**30),
    "heapsummary": lambda: HeapSummary(0, 10**30, False, {"</script>\udcff": (10**30, 0), "": (0, 0)}),
    "calltree": lambda: call_tree("GET /\udcff</script>", ODD, -1e308),
    "callgraphs": lambda: CallGraphs(
        {
            "GET /\udcff</script>": CallGraph(
                {ODD: Cost(1, 2, 1e308, -1.0)}, {(ODD, ODD): Cost(10**30, 0, 1e308, -1.0)}
            ),
            "": CallGraph({}, {}),
        }
    ),
}

writable = pytest.mark.parametrize("name", [name for name, entry in FORMATS.items() if entry.when != "engine"])


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


def write(name: str, subject: SessionRecording) -> bytes:
    enforce(NEEDS.get(name, ()), all_required=all_components_required())
    out = io.BytesIO()
    FORMATS[name].writer()(subject, out)
    assert not out.closed
    return out.getvalue()


def test_there_is_a_sample_of_every_kind_of_data() -> None:
    kinds = set(DATA_KINDS).union(*(entry.kinds for entry in FORMATS.values()))
    assert kinds <= set(SAMPLES) == set(ODD_SAMPLES)


def test_no_two_formats_share_a_file_name() -> None:
    names = [entry.filename("prof-1") for entry in FORMATS.values()]
    assert len(set(names)) == len(names)
    assert all("/" not in name and name.isascii() for name in names)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_written_at_a_known_moment(name: str) -> None:
    assert FORMATS[name].when in {"stop", "auto", "export", "engine"}


@pytest.mark.parametrize("name", FORMATS)
def test_its_module_and_function_are_there_and_described(name: str) -> None:
    module, _, function = FORMATS[name].entry.partition(":")
    found = importlib.import_module(module)
    assert found.__doc__
    assert getattr(found, function).__doc__


@writable
def test_it_writes_something(name: str) -> None:
    assert write(name, everything(SAMPLES))


@writable
def test_it_writes_the_same_twice_and_changes_nothing(name: str) -> None:
    subject = everything(SAMPLES)
    before = subject.to_json()
    assert write(name, subject) == write(name, subject)
    assert subject.to_json() == before


@writable
def test_it_writes_the_same_for_the_same_recording_read_back(name: str) -> None:
    subject = everything(SAMPLES)
    again = SessionRecording.from_json(json.loads(json.dumps(subject.to_json())))
    content = CONTENT.get(name, bytes)
    assert content(write(name, again)) == content(write(name, subject))


@writable
def test_it_survives_odd_names_and_impossible_numbers(name: str) -> None:
    assert write(name, everything(ODD_SAMPLES))


@writable
def test_it_leaves_no_file_and_says_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(name, everything(SAMPLES))
    write(name, everything(ODD_SAMPLES))
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@writable
def test_without_its_kind_of_data_it_says_what_to_do(name: str) -> None:
    if not FORMATS[name].kinds:
        assert write(name, everything({}))
        return
    with pytest.raises(Unavailable, match="; "):
        write(name, everything({}))


@writable
def test_a_full_disk_is_the_callers_to_handle(name: str) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    enforce(NEEDS.get(name, ()), all_required=all_components_required())
    with pytest.raises(OSError, match="No space left"):
        FORMATS[name].writer()(everything(SAMPLES), Full())
