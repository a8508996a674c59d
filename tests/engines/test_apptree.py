"""The engine of application paths beside cprofile: its paths and counts are true, and it is in nobody's way."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import CodeType

import pytest

if sys.version_info < (3, 12):
    pytest.skip("sys.monitoring is new in Python 3.12", allow_module_level=True)

from flask_profiling.engines import EngineOptions, RequestEngine, create
from flask_profiling.engines._apppaths import MOST_CALLS, Brief, Budget, Walk
from flask_profiling.engines.apptree import BRIEF_NOTE, NO_TOOL_NOTE, ApplicationTreeEngine
from flask_profiling.engines.cprofile import CProfileEngine
from flask_profiling.model import ApplicationTree, CallGraph, CallTree, Recording

from .chance import Choices
from .harness import graphs, no_collections
from .workloads import WORKLOADS, exceptions_through_the_library, helper

HERE = str(Path(__file__).parent)
monitoring = sys.monitoring
MY_NAME = Path(__file__).name


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    with no_collections():
        yield
    assert [monitoring.get_tool(tool) for tool in range(6)] == [None] * 6


class Both:
    """The two engines as a session runs them."""

    def __init__(self, budget: Budget | None = None) -> None:
        options = EngineOptions("prof-test", app_paths=(HERE,))
        self.tree = ApplicationTreeEngine(options, budget=budget)
        self.graphs = CProfileEngine(options)

    def start(self) -> None:
        self.tree.start()
        self.graphs.start()

    def request(self, route: str, view: Callable[[], object]) -> None:
        tokens = (self.tree.enter(route), self.graphs.enter(route))
        try:
            view()
        finally:
            self.graphs.leave(tokens[1])
            self.tree.leave(tokens[0])

    def stop(self) -> tuple[CallTree, dict[str, CallGraph]]:
        tree, counted = self.tree.stop(), self.graphs.stop()
        return tree_of(tree), graphs(counted)


def tree_of(recording: Recording) -> CallTree:
    assert isinstance(recording.data, ApplicationTree)
    return recording.data.tree


def collected(view: Callable[[], object]) -> CallTree:
    both = Both()
    both.start()
    both.request("GET /", view)
    return both.stop()[0]


def paths(tree: CallTree) -> dict[tuple[str, ...], int]:
    """Return the calls by path of names, the route first."""
    found: dict[tuple[str, ...], int] = {}
    names: list[tuple[str, ...]] = []
    for node, parent in enumerate(tree.parents):
        names.append((*(names[parent] if parent >= 0 else ()), tree.name(node)))
        found[names[-1]] = found.get(names[-1], 0) + tree.calls[node]
    return found


def calls_by_function(tree: CallTree) -> dict[str, int]:
    found: dict[str, int] = {}
    for path, calls in paths(tree).items():
        if len(path) > 1:
            found[path[-1]] = found.get(path[-1], 0) + calls
    return found


def test_the_engine_is_in_the_table() -> None:
    assert isinstance(create("apptree", EngineOptions("prof-test")), ApplicationTreeEngine)
    assert isinstance(create("apptree", EngineOptions("prof-test")), RequestEngine)


@pytest.mark.parametrize("name", WORKLOADS)
def test_calls_are_those_that_the_engine_beside_counts(name: str) -> None:
    both = Both()
    both.start()
    for _ in range(3):
        both.request("GET /", WORKLOADS[name].run)
    tree, counted = both.stop()
    known = {
        function.name: cost.calls
        for function, cost in counted["GET /"].functions.items()
        if function.file.startswith(HERE) and MY_NAME not in function.file
    }
    assert known == {name: calls * 3 for name, (calls, _) in WORKLOADS[name].functions.items()}
    assert {name: calls for name, calls in calls_by_function(tree).items() if name in known} == known
    edges = {(path[-2], path[-1]) for path in paths(tree) if len(path) > 2}
    assert {edge for edge in edges if edge[0] in known and edge[1] in known} <= set(WORKLOADS[name].edges)


def test_eight_threads_do_not_mix() -> None:
    both = Both()
    both.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            runs = [pool.submit(both.request, name, WORKLOADS[name].run) for name in WORKLOADS for _ in range(8)]
            for run in runs:
                run.result(60)
    finally:
        sys.setswitchinterval(interval)
    tree, _ = both.stop()
    for name, workload in WORKLOADS.items():
        mine: Counter[str] = Counter()
        for path, calls in paths(tree).items():
            if path[0] == name and path[-1] in workload.functions and len(path) > 1:
                mine[path[-1]] += calls
        assert mine == {function: calls * 8 for function, (calls, _) in workload.functions.items()}


def test_the_paths_are_those_that_were_taken() -> None:
    found = {
        path: calls for path, calls in paths(collected(WORKLOADS["two callers"].run)).items() if "give_way" not in path
    }
    assert found == {
        ("GET /",): 1,
        ("GET /", "two_callers"): 1,
        ("GET /", "two_callers", "left"): 1,
        ("GET /", "two_callers", "left", "helper"): 2,
        ("GET /", "two_callers", "right"): 1,
        ("GET /", "two_callers", "right", "helper"): 3,
        ("GET /", "two_callers", "helper"): 1,
    }


def test_application_code_that_a_library_calls_stands_below_the_application() -> None:
    for _ in range(2):  # a second session sees what the first switched off
        found = {
            path: calls
            for path, calls in paths(collected(exceptions_through_the_library)).items()
            if "give_way" not in path
        }
        above = ("GET /", "exceptions_through_the_library")
        assert found == {
            ("GET /",): 1,
            above: 1,
            (*above, "raising_default"): 3,
            (*above, "raising_default", "helper"): 3,
            (*above, "helper"): 3,
        }


def deeper(depth: int) -> int:
    return 0 if depth == 0 else 1 + deeper(depth - 1)


def out_of_stack() -> None:
    with pytest.raises(RecursionError):
        deeper(10**6)
    helper()


def test_paths_are_true_after_the_stack_was_exhausted() -> None:
    found = paths(collected(out_of_stack))
    assert found["GET /", "out_of_stack", "helper"] == 1


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


SPENT: dict[float, float] = {}


def way(seconds: float) -> None:
    begun = time.perf_counter()
    busy(seconds)
    SPENT[seconds] = time.perf_counter() - begun


def cheap_way() -> None:
    way(0.02)


def dear_way() -> None:
    way(0.18)


def both_ways() -> None:
    cheap_way()
    dear_way()


def test_time_goes_to_the_path_that_took_it() -> None:
    tree = collected(both_ways)
    totals = dict(zip(paths(tree), tree.total_times(), strict=True))
    assert totals["GET /", "both_ways", "dear_way", "way", "busy"] == pytest.approx(SPENT[0.18], rel=0.05)
    assert totals["GET /", "both_ways", "cheap_way", "way", "busy"] == pytest.approx(SPENT[0.02], rel=0.05)


def test_paths_are_true_whatever_is_called_after_what() -> None:
    choices = Choices("GET /", 7)
    both = Both()
    both.start()
    for _ in range(40):
        both.request("GET /", partial(choices.choose, 4))
    tree, _ = both.stop()
    assert len(choices.counted) > 20
    assert choices.known_part(paths(tree)) == choices.known_part(choices.counted)


# functions that are called very often

OFTEN = 4 * MOST_CALLS


def tiny(number: int) -> int:
    return number


def many(number: int) -> None:
    for turn in range(number):
        tiny(turn)


def few_then_many() -> None:
    tiny(1)
    many(OFTEN)
    helper()


def test_a_tiny_function_is_not_followed_for_ever() -> None:
    both = Both(Budget(short=10**12))  # whatever else the machine does
    both.start()
    both.request("GET /", few_then_many)
    recording, counted = both.tree.stop(), graphs(both.graphs.stop())
    assert isinstance(recording.data, ApplicationTree)
    assert {function.name for function in recording.data.brief} == {"tiny"}
    assert recording.notes == (BRIEF_NOTE,)
    found = paths(recording.data.tree)
    assert found["GET /", "few_then_many", "many"] == 1
    assert found["GET /", "few_then_many", "helper"] == 1
    assert found["GET /", "few_then_many", "many", "tiny"] == MOST_CALLS
    assert {f.name: cost.calls for f, cost in counted["GET /"].functions.items()}["tiny"] == OFTEN + 1


def test_a_call_that_was_open_in_another_thread_is_heard_to_end_and_no_more_after_it() -> None:
    one, other = Walk("GET /"), Walk("GET /")
    brief = Brief([one, other], Budget(short=10**12))
    node, open_one = brief.made(tiny.__code__, one), brief.made(tiny.__code__, other)
    other.top = open_one
    assert brief.takes(node)
    assert all(brief.is_open(tiny.__code__) for _ in range(1000))
    other.end_of(tiny.__code__, 0)
    assert not all(brief.is_open(tiny.__code__) for _ in range(1000))
    assert brief.ending == set()


def numbers(number: int) -> Iterator[int]:
    yield from range(number)


def spent_in_a_generator() -> int:
    return sum(numbers(OFTEN))


def recursion() -> int:
    return sum(fibonacci(15) for _ in range(12))


def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def test_a_function_that_calls_application_code_is_followed() -> None:
    both = Both()
    both.start()
    both.request("GET /", recursion)
    recording, counted = both.tree.stop(), graphs(both.graphs.stop())
    assert isinstance(recording.data, ApplicationTree)
    assert recording.data.brief == frozenset()
    known = {f.name: cost.calls for f, cost in counted["GET /"].functions.items()}
    assert calls_by_function(recording.data.tree)["fibonacci"] == known["fibonacci"] > OFTEN


def mixed(turn: int) -> None:
    if turn % 2:
        many(OFTEN // 8)
    else:
        spent_in_a_generator()
    helper()


def test_threads_that_meet_a_tiny_function_at_once_have_no_false_path() -> None:
    both = Both(Budget(short=10**12))
    both.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            runs = [pool.submit(both.request, f"GET /{turn % 3}", partial(mixed, turn)) for turn in range(48)]
            for run in runs:
                run.result(60)
    finally:
        sys.setswitchinterval(interval)
    tree, _ = both.stop()
    found = paths(tree)
    assert {path[1:] for path in found if len(path) > 1 and "give_way" not in path} == {
        ("mixed",),
        ("mixed", "many"),
        ("mixed", "many", "tiny"),
        ("mixed", "spent_in_a_generator"),
        ("mixed", "spent_in_a_generator", "numbers"),
        ("mixed", "helper"),
    }
    exact = {"mixed": 48, "many": 24, "spent_in_a_generator": 24, "helper": 48}
    assert {name: calls for name, calls in calls_by_function(tree).items() if name in exact} == exact


def test_a_route_has_as_many_trees_as_requests_ran_at_once() -> None:
    both = Both()
    both.start()
    for _ in range(20):
        both.request("GET /", helper)
    assert len(both.tree._all) == 1
    assert both.stop()[0].calls[0] == 20


def test_an_inner_enter_changes_nothing() -> None:
    engine = ApplicationTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()
    outer = engine.enter("GET /")
    engine.leave(engine.enter("GET /inner"))
    helper()
    engine.leave(outer)
    assert calls_by_function(tree_of(engine.stop()))["helper"] == 1


def test_a_request_that_was_forgotten_does_not_get_the_calls_of_the_next() -> None:
    engine = ApplicationTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()

    def forgetful() -> None:
        engine.enter("GET /forgotten")

    def serve() -> None:
        forgetful()

    serve()
    token = engine.enter("GET /next")
    helper()
    engine.leave(token)
    found = paths(tree_of(engine.stop()))
    assert found["GET /next", "helper"] == 1
    assert ("GET /forgotten", "helper") not in found


def test_a_request_still_running_at_the_stop_is_closed_there() -> None:
    both = Both()
    both.start()
    inside, go_on = threading.Event(), threading.Event()

    def waiting() -> None:
        inside.set()
        go_on.wait(20)
        helper()

    thread = threading.Thread(target=both.request, args=("GET /", waiting))
    thread.start()
    assert inside.wait(20)
    tree, _ = both.stop()
    go_on.set()
    thread.join(20)
    assert paths(tree)["GET /", "waiting"] == 1
    assert tree.total_times()[0] > 0
    assert both.tree.enter("GET /") is None


def test_a_request_that_ends_on_another_thread_is_ended() -> None:
    engine = ApplicationTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()
    token = engine.enter("GET /")
    helper()
    thread = threading.Thread(target=engine.leave, args=(token,))
    thread.start()
    thread.join(20)
    helper()
    assert calls_by_function(tree_of(engine.stop()))["helper"] == 1


def test_calls_beyond_the_bound_are_part_of_their_caller_and_said() -> None:
    both = Both(Budget(nodes=2))
    both.start()
    both.request("GET /", WORKLOADS["two callers"].run)
    tree = both.tree.stop()
    both.graphs.stop()
    assert len(tree_of(tree)) == 3
    assert tree.notes[0].endswith(
        "calls found no room for a path of their own: on that path they are part of their caller."
    )


def test_two_apps_of_one_process_have_their_calls_and_the_first_its_paths() -> None:
    first, second = Both(), Both()
    first.start()
    second.start()
    first.request("GET /", helper)
    second.request("GET /", helper)
    for both, note in ((first, ()), (second, (NO_TOOL_NOTE,))):
        paths_of, calls_of = both.tree.stop(), graphs(both.graphs.stop())
        assert (paths_of.data is None, paths_of.notes) == (bool(note), note)
        assert {f.name: cost.calls for f, cost in calls_of["GET /"].functions.items() if f.name == "helper"} == {
            "helper": 1
        }


def test_it_does_without_where_its_tool_is_in_use() -> None:
    monitoring.use_tool_id(monitoring.OPTIMIZER_ID, "somebody else")
    try:
        both = Both()
        both.start()
        both.request("GET /", helper)
        tree, counted = both.tree.stop(), graphs(both.graphs.stop())
    finally:
        monitoring.free_tool_id(monitoring.OPTIMIZER_ID)
    assert (tree.data, tree.notes) == (None, (NO_TOOL_NOTE,))
    assert "helper" in {function.name for function in counted["GET /"].functions}


def test_coverage_goes_on() -> None:
    seen: list[str] = []

    def started(code: CodeType, offset: int) -> None:
        if code.co_filename.startswith(HERE):
            seen.append(code.co_name)

    event = monitoring.events.PY_START
    monitoring.use_tool_id(monitoring.COVERAGE_ID, "coverage")
    try:
        monitoring.register_callback(monitoring.COVERAGE_ID, event, started)
        monitoring.set_events(monitoring.COVERAGE_ID, event)
        collected(helper)
        helper()
    finally:
        monitoring.set_events(monitoring.COVERAGE_ID, 0)
        monitoring.register_callback(monitoring.COVERAGE_ID, event, None)
        monitoring.free_tool_id(monitoring.COVERAGE_ID)
    assert seen.count("helper") == 2


def test_a_forked_child_is_put_back() -> None:
    engine = ApplicationTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()
    engine.abandon()
    engine.abandon()
    assert engine.enter("GET /") is None
