"""The calltree engine against programs of known calls: counts, edges and paths are exact, in both scopes."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from string import Template
from types import CodeType, FunctionType
from typing import Any

import pytest

from flask_profiling.engines import EngineOptions, RequestEngine, create
from flask_profiling.engines._recorder import Budget, Recorders
from flask_profiling.engines.calltree import CallTreeEngine
from flask_profiling.errors import EngineBusy
from flask_profiling.model import CallTree, Recording, RouteTimes

from .chance import Choices
from .harness import assert_true, known_part, no_collections, request
from .workloads import WORKLOADS, exceptions_through_the_library, helper

SCOPES = ("app", "all")
HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    with no_collections():
        yield


@pytest.fixture(params=SCOPES)
def engine(request: pytest.FixtureRequest) -> Iterator[CallTreeEngine]:
    engine = CallTreeEngine(EngineOptions("prof-test", scope=request.param, app_paths=(HERE,)))
    yield engine
    assert sys.gettrace() is None
    assert sys.getprofile() is None
    if sys.version_info >= (3, 12):
        assert [sys.monitoring.get_tool(tool) for tool in (2, 3, 4)] == [None] * 3


def tree_of(recording: Recording) -> CallTree:
    assert isinstance(recording.data, CallTree)
    return recording.data


def paths(tree: CallTree) -> dict[tuple[str, ...], int]:
    """Return the calls by path of names, the route first."""
    found: dict[tuple[str, ...], int] = {}
    names: list[tuple[str, ...]] = []
    for node, parent in enumerate(tree.parents):
        path = (*(names[parent] if parent >= 0 else ()), tree.name(node))
        names.append(path)
        found[path] = found.get(path, 0) + tree.calls[node]
    return found


def collected(view: Callable[[], object], **options: Any) -> CallTree:
    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,), **options))
    engine.start()
    request(engine, "GET /", view)
    return tree_of(engine.stop())


def test_the_engine_is_in_the_table() -> None:
    assert isinstance(create("calltree", EngineOptions("prof-test")), CallTreeEngine)
    assert isinstance(create("calltree", EngineOptions("prof-test")), RequestEngine)


@pytest.mark.parametrize("name", WORKLOADS)
def test_counts_and_edges_are_true(name: str, engine: CallTreeEngine) -> None:
    workload = WORKLOADS[name]
    engine.start()
    for _ in range(2):
        request(engine, "GET /", workload.run)
    graph = tree_of(engine.stop()).graphs().routes["GET /"]
    assert_true(known_part(graph), workload, 2)


def test_threads_interleaved_do_not_mix(engine: CallTreeEngine) -> None:
    engine.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(6) as pool:
        runs = [(name, pool.submit(request, engine, name, WORKLOADS[name].run)) for name in WORKLOADS for _ in range(5)]
        for _, run in runs:
            run.result(60)
    sys.setswitchinterval(interval)
    routes = tree_of(engine.stop()).graphs().routes
    for name, workload in WORKLOADS.items():
        assert_true(known_part(routes[name]), workload, 5)


def test_the_paths_are_those_that_were_taken() -> None:
    tree = collected(WORKLOADS["two callers"].run)
    mine = {
        path: calls for path, calls in paths(tree).items() if path[-1] in ("left", "right", "helper", "two_callers")
    }
    assert mine == {
        ("GET /", "two_callers"): 1,
        ("GET /", "two_callers", "left"): 1,
        ("GET /", "two_callers", "left", "helper"): 2,
        ("GET /", "two_callers", "right"): 1,
        ("GET /", "two_callers", "right", "helper"): 3,
        ("GET /", "two_callers", "helper"): 1,
    }


# library code in scope app


def calls_the_library() -> None:
    json.dumps({"a": [1, 2]}, indent=2)
    json.dumps({})
    json.loads("[1]")


def test_of_library_code_only_what_the_application_calls_is_shown() -> None:
    for _ in range(2):  # a second session sees what the first switched off
        tree = collected(calls_the_library)
        assert paths(tree) == {
            ("GET /",): 1,
            ("GET /", "calls_the_library"): 1,
            ("GET /", "calls_the_library", "dumps"): 2,
            ("GET /", "calls_the_library", "loads"): 1,
        }
        assert {tree.functions[index].name for index in tree.library} == {"dumps", "loads"}


@pytest.mark.parametrize("scope", ["app", "all"])
def test_what_this_package_runs_inside_a_request_is_not_shown(scope: str) -> None:
    engine = CallTreeEngine(EngineOptions("prof-test", scope=scope))
    engine.start()
    request(engine, "GET /", lambda: RouteTimes().with_request(wall=0.1, cpu=0.1, failed=False))
    own = RouteTimes.with_request.__code__.co_filename
    assert own not in {function.file for function in tree_of(engine.stop()).functions}


def test_application_code_that_a_library_calls_stands_below_it() -> None:
    tree = collected(exceptions_through_the_library)
    above = ("GET /", "exceptions_through_the_library")
    found = {path: calls for path, calls in paths(tree).items() if path[-1] != "give_way"}
    assert found == {
        ("GET /",): 1,
        above: 1,
        (*above, "dumps"): 3,
        (*above, "dumps", "raising_default"): 3,
        (*above, "dumps", "raising_default", "helper"): 3,
        (*above, "helper"): 3,
    }


def library_generator() -> None:
    for _ in Path("/nowhere").parents:
        helper()
    list(json.JSONEncoder().iterencode([1, [2]]))
    helper()


def test_a_library_that_calls_itself_is_counted_once_from_outside() -> None:
    graph = collected(library_generator).graphs().routes["GET /"]
    callers = {caller.name for (caller, callee), _ in graph.edges.items() if callee.file != __file__}
    assert callers <= {"library_generator", "helper", "give_way"}
    assert ("library_generator", "iterencode") in {(a.name, b.name) for a, b in graph.edges}


def passing_on(items: Iterable[int]) -> Iterator[int]:
    for item in items:
        helper()
        yield item


def passes_on_twice() -> None:
    of_a_library = FunctionType(passing_on.__code__.replace(co_filename="<library>"), globals())
    inner = of_a_library([1, 2, 3])
    next(inner)
    assert list(of_a_library(inner)) == [2, 3]


def test_a_librarys_generator_goes_on_below_another_of_the_same_function() -> None:
    found = paths(collected(passes_on_twice))
    above = ("GET /", "passes_on_twice")
    assert {path: calls for path, calls in found.items() if path[-1] != "give_way"} == {
        ("GET /",): 1,
        above: 1,
        (*above, "passing_on"): 1 + 3,
        (*above, "passing_on", "helper"): 3 + 2,
    }


def calls_the_library_between_events() -> None:
    for _ in range(4):
        json.dumps({"a": [1, 2]}, indent=2)
        helper()
        if sys.version_info >= (3, 12):
            sys.monitoring.restart_events()


def test_library_calls_count_once_where_another_tool_hears_everything_again() -> None:
    found = paths(collected(calls_the_library_between_events))
    above = ("GET /", "calls_the_library_between_events")
    assert {path: calls for path, calls in found.items() if path[-1] != "give_way"} == {
        ("GET /",): 1,
        above: 1,
        (*above, "dumps"): 4,
        (*above, "helper"): 4,
    }


class Own:
    def __init__(self, value: str) -> None:
        helper()


def calls_many_kinds_at_one_place() -> None:
    kinds: list[Callable[[str], object]] = [int, Own, Template, int, Template, Own, str.upper, json.dumps]
    for kind in 3 * kinds:
        kind("1")


def test_a_place_that_calls_what_is_written_in_c_hears_of_libraries_too() -> None:
    for _ in range(2):
        found = paths(collected(calls_many_kinds_at_one_place))
        above = ("GET /", "calls_many_kinds_at_one_place")
        assert {path[2:]: calls for path, calls in found.items() if path[:2] == above and len(path) == 3} == {
            ("__init__",): 12,
            ("dumps",): 3,
        }


def calls_nothing_but_c() -> int:
    found: list[str] = []
    for number in range(1_000):
        found.append(str(number))
    return len(found)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="events of calls are those of sys.monitoring")
def test_a_place_that_calls_nothing_but_c_is_not_heard_for_ever() -> None:
    from flask_profiling.engines._tree_monitoring import MonitoringHooks

    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()
    request(engine, "GET /", calls_nothing_but_c)
    hooks = engine._hooks
    assert isinstance(hooks, MonitoringHooks)
    assert paths(tree_of(engine.stop())) == {("GET /",): 1, ("GET /", "calls_nothing_but_c"): 1}
    assert heard_at(hooks, calls_nothing_but_c) == [1, 100, 100]  # range, str and append


def heard_at(hooks: Any, function: Callable[..., object]) -> list[int]:
    """Return how often each place of a function was heard that called the same once more."""
    return sorted(times for (code, _), (_, times) in hooks._places.items() if code == id(function.__code__))


def quick() -> None:
    pass


def also_quick() -> None:
    pass


def calls_each(functions: Sequence[Callable[[], object]]) -> None:
    for function in functions:
        function()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="events of calls are those of sys.monitoring")
@pytest.mark.parametrize(
    ("functions", "heard"), [([quick] * 3_000, 1_000), ([quick, also_quick] * 1_500 + [json.JSONDecoder], 1)]
)
def test_a_place_is_heard_until_it_called_one_function_very_often(
    functions: Sequence[Callable[[], object]], heard: int
) -> None:
    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()
    request(engine, "GET /", partial(calls_each, functions))
    found = paths(tree_of(engine.stop()))
    above = ("GET /", "calls_each")
    assert sum(found.get((*above, name), 0) for name in ("quick", "also_quick")) == 3_000
    assert found.get((*above, "__init__"), 0) == (json.JSONDecoder in functions)
    assert heard_at(engine._hooks, calls_each) == [heard]


def test_paths_are_true_whatever_is_called_after_what(engine: CallTreeEngine) -> None:
    choices = Choices("GET /", 7)
    engine.start()
    for _ in range(40):
        request(engine, "GET /", partial(choices.choose, 4))
    tree = tree_of(engine.stop())
    assert len(choices.counted) > 20
    assert choices.known_part(paths(tree)) == choices.known_part(choices.counted)
    assert len(tree.tracks[0].times) > 2 * sum(choices.counted.values())


# times


def test_each_moment_is_a_functions_or_recordings_and_never_both(engine: CallTreeEngine) -> None:
    choices = Choices("GET /", 11)
    engine.start()
    request(engine, "GET /", partial(choices.choose, 4))
    (recorder,) = engine._recorders.all()
    engine.stop()
    spent = dict.fromkeys(range(-1, len(recorder.nodes)), 0.0)
    for (begin, top), (end, _) in pairwise(zip(recorder.log[::2], recorder.log[1::2], strict=True)):
        spent[int(top)] += end - begin
    for node in recorder.nodes:
        assert 0.0 < node.self_time < spent[node.index]
        assert node.self_time + node.overhead == pytest.approx(spent[node.index], abs=1e-9)


# what the two ways took: on a busy machine not what they were told to
SPENT: dict[str, float] = {}


def busy(way: str, seconds: float) -> None:
    begin = time.perf_counter()
    while time.perf_counter() < begin + seconds:
        pass
    SPENT[way] = time.perf_counter() - begin


def cheap_way() -> None:
    busy("cheap_way", 0.02)


def dear_way() -> None:
    busy("dear_way", 0.18)


def both_ways() -> None:
    cheap_way()
    dear_way()


@pytest.mark.parametrize("scope", SCOPES)
def test_time_goes_to_the_path_that_took_it(scope: str) -> None:
    tree = collected(both_ways, scope=scope)
    by_path = {path[-2:]: total for path, total in zip(paths(tree), tree.total_times(), strict=True)}
    assert {way: by_path[way, "busy"] for way in SPENT} == pytest.approx(SPENT, rel=0.05, abs=0.005)


def test_the_track_tells_the_true_order() -> None:
    tree = collected(both_ways)
    (track,) = tree.tracks
    names = [tree.name(node) if node >= 0 else "-" for node in track.nodes]
    assert names == [
        "GET /", "both_ways", "cheap_way", "busy", "cheap_way",
        "both_ways", "dear_way", "busy", "dear_way", "both_ways", "GET /", "-",
    ]  # fmt: skip
    assert all(before <= after for before, after in pairwise(track.times))
    assert track.times[0] == 0
    assert track.requests == ((0, 0, track.times[-1]),)
    turn = track.times[names.index("dear_way")]
    assert SPENT["cheap_way"] <= (turn + 1) / 1e6
    assert SPENT["dear_way"] <= (track.times[-1] - turn + 1) / 1e6


def test_the_times_of_the_track_and_of_the_tree_agree() -> None:
    tree = collected(both_ways)
    (track,) = tree.tracks
    lasted: dict[int, int] = {}
    for (begin, end), node in zip(pairwise(track.times), track.nodes, strict=False):
        lasted[node] = lasted.get(node, 0) + end - begin
    overheads = tree.overheads or [0.0] * len(tree)
    for node, (self_time, overhead) in enumerate(zip(tree.self_times, overheads, strict=True)):
        assert lasted[node] == pytest.approx((self_time + overhead) * 1e6, abs=len(track.times) + 1)


def test_each_thread_has_a_track_of_its_own() -> None:
    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()
    for name in ("one", "two"):
        thread = threading.Thread(target=request, args=(engine, f"GET /{name}", helper), name=name)
        thread.start()
        thread.join()
    tree = tree_of(engine.stop())
    assert [track.thread for track in tree.tracks] == ["one", "two"]
    assert [tree.routes[track.requests[0][0]] for track in tree.tracks] == ["GET /one", "GET /two"]


# the edges of a session


def test_an_inner_enter_changes_nothing(engine: CallTreeEngine) -> None:
    engine.start()
    outer = engine.enter("GET /")
    inner = engine.enter("GET /")
    helper()
    engine.leave(inner)
    helper()
    engine.leave(outer)
    graph = known_part(tree_of(engine.stop()).graphs().routes["GET /"])
    assert {function.name: cost.calls for function, cost in graph.functions.items()}["helper"] == 2


def test_a_request_still_running_at_the_stop_is_closed_there_and_said(engine: CallTreeEngine) -> None:
    engine.start()
    inside, go_on = threading.Event(), threading.Event()

    def waiting() -> None:
        inside.set()
        go_on.wait(20)
        helper()

    thread = threading.Thread(target=request, args=(engine, "GET /", waiting))
    thread.start()
    assert inside.wait(20)
    recording = engine.stop()
    go_on.set()
    thread.join(20)
    assert any(note.startswith("Requests still running at the stop: 1.") for note in recording.notes)
    found = paths(tree_of(recording))
    assert found["GET /", "waiting"] == 1
    assert not any("helper" in path for path in found)


def test_what_runs_after_the_stop_is_not_recorded_and_unharmed(engine: CallTreeEngine) -> None:
    engine.start()
    token = engine.enter("GET /")
    engine.stop()
    helper()
    engine.leave(token)
    assert engine.enter("GET /") is None


def test_the_bound_on_nodes_folds_what_is_beyond_and_says_so() -> None:
    engine = CallTreeEngine(
        EngineOptions("prof-test", app_paths=(HERE,)), recorders=Recorders(Budget(nodes=2, transitions=2))
    )
    engine.start()
    request(engine, "GET /", WORKLOADS["two callers"].run)
    recording = engine.stop()
    tree = tree_of(recording)
    assert len(tree) == 3
    assert any(note.startswith("Calls that found no room for a path") for note in recording.notes)
    assert any("found no room in the timeline" in note for note in recording.notes)
    assert tree.dropped > 0
    assert tree.tracks[0].nodes[-1] == -1


def test_many_requests_take_no_more_recorders_than_there_were_at_once() -> None:
    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()
    for _ in range(50):
        request(engine, "GET /", helper)
    assert len(engine._recorders._all) == 1
    assert tree_of(engine.stop()).calls[0] == 50


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the trace hook is not used there")
def test_a_trace_hook_of_somebody_else_is_respected() -> None:
    def foreign(*_: object) -> None:
        return None

    engine = CallTreeEngine(EngineOptions("prof-test"))
    sys.settrace(foreign)
    try:
        with pytest.raises(EngineBusy, match="settrace"):
            engine.start()
        assert sys.gettrace() is foreign
    finally:
        sys.settrace(None)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="no hook is used there that others can take")
@pytest.mark.parametrize(("scope", "tool"), [("app", "settrace"), ("all", "setprofile")])
def test_a_request_that_loses_the_hook_is_counted(scope: str, tool: str) -> None:
    def view() -> None:
        helper()
        getattr(sys, tool)(None)
        helper()

    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,), scope=scope))
    engine.start()
    request(engine, "GET /", view)
    request(engine, "GET /", helper)
    recording = engine.stop()
    assert known_part(tree_of(recording).graphs().routes["GET /"]).functions.popitem()[1].calls == 2
    assert [note for note in recording.notes if note.startswith(f"Requests that lost the hook (sys.{tool})")]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="no hook is used there that others can take")
def test_a_hook_that_is_set_again_after_its_request_or_in_another_thread_records_nothing(
    engine: CallTreeEngine,
) -> None:
    get, put = (sys.getprofile, sys.setprofile) if engine.options.scope == "all" else (sys.gettrace, sys.settrace)

    def view() -> None:
        hook: Any = get()
        put(hook)
        thread = threading.Thread(target=run_under, args=(hook,))
        thread.start()
        thread.join()
        hooks.append(hook)
        helper()

    def run_under(hook: Any) -> None:
        put(hook)
        helper()
        put(None)

    hooks: list[Any] = []
    engine.start()
    request(engine, "GET /", view)
    run_under(hooks[0])
    put(hooks[0])
    helper()
    request(engine, "GET /", helper)
    put(None)
    recording = engine.stop()
    calls = {path: calls for path, calls in paths(tree_of(recording)).items() if path[-1] == "helper"}
    assert calls == {("GET /", "view", "helper"): 1, ("GET /", "helper"): 1}
    assert not [note for note in recording.notes if "hook" in note]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="no hook is used there that others can take")
def test_after_the_stop_the_next_call_in_another_thread_takes_its_hook_away(engine: CallTreeEngine) -> None:
    inside, go_on = threading.Event(), threading.Event()
    left: list[object] = []

    def waiting() -> None:
        json.dumps({})
        inside.set()
        go_on.wait(20)
        json.dumps({})
        left.extend((sys.gettrace(), sys.getprofile()))

    engine.start()
    thread = threading.Thread(target=request, args=(engine, "GET /", waiting))
    thread.start()
    assert inside.wait(20)
    engine.stop()
    go_on.set()
    thread.join(20)
    assert left == [None, None]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_no_free_tool_is_said_with_the_names_of_those_that_hold_them() -> None:
    if sys.version_info < (3, 12):
        return
    for tool in (3, 4):
        sys.monitoring.use_tool_id(tool, f"tool {tool}")
    try:
        with pytest.raises(EngineBusy, match="tool 3 and tool 4"):
            CallTreeEngine(EngineOptions("prof-test")).start()
    finally:
        for tool in (3, 4):
            sys.monitoring.free_tool_id(tool)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
@pytest.mark.parametrize("last", ["view", "helper"])
def test_a_stop_while_a_callback_runs_raises_nothing_into_the_application(last: str) -> None:
    from flask_profiling.engines._tree_monitoring import MonitoringHooks

    def view() -> None:
        helper()

    def is_application(code: CodeType) -> bool:
        if code.co_name == last:
            hooks.stop()
        return code is view.__code__

    hooks = MonitoringHooks(threading.local(), is_application, everything=False)
    recorder = Recorders().take("GET /")
    hooks.start()
    try:
        recorder.begin()
        assert hooks.enter(recorder)
        view()
        hooks.leave()
    finally:
        hooks.stop()
    assert [sys.monitoring.get_tool(tool) for tool in (3, 4)] == [None, None]


def test_cycles_under_load_stay_clean(engine: CallTreeEngine) -> None:
    done = threading.Event()
    engines = [engine]

    def serve() -> None:
        while not done.is_set():
            request(engines[-1], "GET /", WORKLOADS["exceptions"].run)

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            engines[-1].start()
            tree = tree_of(engines[-1].stop())
            assert set(tree.routes) <= {"GET /"}
            engines.append(CallTreeEngine(engine.options))
    finally:
        done.set()
        for thread in threads:
            thread.join(20)
