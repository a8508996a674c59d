"""CPython 3.12 and newer: other tools of sys.monitoring are left alone, private callbacks are tried out before use."""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import CodeType
from typing import Any

import pytest

if sys.version_info < (3, 12):
    pytest.skip("sys.monitoring came with 3.12", allow_module_level=True)

from flask_profiling.engines import RequestEngine, create
from flask_profiling.engines._lsprof_dispatch import PYTHON_KIT, Kit, MonitoringCollector, counts_right, native_kit
from flask_profiling.engines._lsprof_pool import read_stats
from flask_profiling.engines._lsprof_python import PythonProfiler
from flask_profiling.engines.cprofile import CProfileEngine
from flask_profiling.errors import EngineBusy

from . import workloads
from .harness import OPTIONS, assert_true, counts, edges, graphs, no_collections, request
from .workloads import WORKLOADS

monitoring = sys.monitoring
TWO_CALLERS = WORKLOADS["two callers"]


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    with no_collections():
        yield


@pytest.fixture(params=["native", "python"])
def engine(request: pytest.FixtureRequest) -> CProfileEngine:
    return CProfileEngine(OPTIONS, collector=MonitoringCollector(PYTHON_KIT if request.param == "python" else None))


@contextmanager
def tool(number: int, name: str) -> Iterator[None]:
    monitoring.use_tool_id(number, name)
    try:
        yield
    finally:
        monitoring.set_events(number, 0)
        monitoring.free_tool_id(number)


def test_coverage_goes_on_and_changes_nothing(engine: CProfileEngine) -> None:
    seen: Counter[str] = Counter()

    def started(code: CodeType, offset: int) -> None:
        seen[code.co_name] += 1

    event = monitoring.events.PY_START
    with tool(monitoring.COVERAGE_ID, "coverage"):
        monitoring.register_callback(monitoring.COVERAGE_ID, event, started)
        monitoring.set_events(monitoring.COVERAGE_ID, event)
        engine.start()
        request(engine, "GET /x", TWO_CALLERS.run)
        recording = engine.stop()
        assert monitoring.get_events(monitoring.COVERAGE_ID) == event
        TWO_CALLERS.run()
        monitoring.register_callback(monitoring.COVERAGE_ID, event, None)
    assert (seen["two_callers"], seen["helper"]) == (2, 12)
    assert_true(graphs(recording)["GET /x"], TWO_CALLERS, 1)


def test_locations_that_another_tool_switches_off_or_on_again_stay_with_us(engine: CProfileEngine) -> None:
    def started(code: CodeType, offset: int) -> object:
        return monitoring.DISABLE

    event = monitoring.events.PY_START
    with tool(monitoring.COVERAGE_ID, "coverage"):
        monitoring.register_callback(monitoring.COVERAGE_ID, event, started)
        monitoring.set_events(monitoring.COVERAGE_ID, event)
        engine.start()
        request(engine, "GET /x", TWO_CALLERS.run)
        monitoring.restart_events()
        request(engine, "GET /x", TWO_CALLERS.run)
        recording = engine.stop()
    assert_true(graphs(recording)["GET /x"], TWO_CALLERS, 2)


def test_another_cprofile_goes_on_and_changes_nothing(engine: CProfileEngine) -> None:
    profile = cProfile.Profile()
    profile.enable()
    engine.start()
    request(engine, "GET /x", TWO_CALLERS.run)
    recording = engine.stop()
    TWO_CALLERS.run()
    profile.disable()
    counted: Any = pstats.Stats(profile)
    calls = {name: row[1] for (_, _, name), row in counted.stats.items()}
    assert (calls["two_callers"], calls["helper"]) == (2, 12)
    assert_true(graphs(recording)["GET /x"], TWO_CALLERS, 1)


def test_a_debugger_goes_on(engine: CProfileEngine) -> None:
    seen: Counter[str] = Counter()

    def trace(frame: Any, event: str, value: object) -> None:
        seen[frame.f_code.co_name] += 1

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        engine.start()
        request(engine, "GET /x", TWO_CALLERS.run)
        recording = engine.stop()
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert seen["helper"] == 6
    assert_true(graphs(recording)["GET /x"], TWO_CALLERS, 1)


def test_a_cprofile_at_stop_leaves_the_finished_calls(engine: CProfileEngine) -> None:
    engine.start()
    token = engine.enter("GET /x")
    workloads.left()
    profile = cProfile.Profile()
    profile.enable()
    recording = engine.stop()
    profile.disable()
    engine.leave(token)
    assert next(iter(graphs(recording)["GET /x"].edges.values())).calls == 2
    assert {function.name for function in graphs(recording)["GET /x"].functions} >= {"left", "helper", "give_way"}
    assert sum(note.startswith("Requests still running at stop: 1.") for note in recording.notes) == 1


def test_only_the_flush_needs_the_profilers_id() -> None:
    engine = CProfileEngine(OPTIONS, collector=MonitoringCollector(native_kit()))
    engine.start()
    engine.enter("GET /x")
    with tool(monitoring.PROFILER_ID, "another"):
        recording = engine.stop()
        assert monitoring.get_tool(monitoring.PROFILER_ID) == "another"
    assert "because another profiler was active" in recording.notes[-1]


def spread_out() -> str:
    """Call functions of the library that call others of it."""
    return json.dumps({"a": [1, 2]}, indent=1)


def test_what_a_session_of_another_engine_switched_off_is_heard_again() -> None:
    def counted() -> dict[str, tuple[int, int]]:
        engine = CProfileEngine(OPTIONS)
        engine.start()
        request(engine, "GET /x", spread_out)
        return counts(graphs(engine.stop())["GET /x"])

    before = counted()
    tree = create("calltree", OPTIONS)
    assert isinstance(tree, RequestEngine)
    tree.start()
    request(tree, "GET /x", spread_out)
    tree.stop()
    assert len(before) > 4
    assert counted() == before


@pytest.mark.parametrize("taken", [3, 4])
def test_a_taken_id_is_stepped_around(engine: CProfileEngine, taken: int) -> None:
    with tool(taken, "somebody"):
        engine.start()
        request(engine, "GET /x", TWO_CALLERS.run)
        assert_true(graphs(engine.stop())["GET /x"], TWO_CALLERS, 1)
        assert monitoring.get_tool(taken) == "somebody"
        assert monitoring.get_tool(7 - taken) is None


def test_without_a_free_id_the_holders_are_named_and_nothing_is_changed(engine: CProfileEngine) -> None:
    with ExitStack() as stack:
        stack.enter_context(tool(3, "somebody"))
        stack.enter_context(tool(4, "another"))
        with pytest.raises(
            EngineBusy, match=r"'somebody' \(tool id 3\) and 'another' \(tool id 4\)\); stop one of them"
        ):
            engine.start()
        assert engine.enter("GET /x") is None
        assert (monitoring.get_tool(3), monitoring.get_tool(4)) == ("somebody", "another")


def test_the_id_is_given_back_even_if_reading_fails() -> None:
    class Unreadable(PythonProfiler):
        def getstats(self) -> Any:
            raise MemoryError

    engine = CProfileEngine(OPTIONS, collector=MonitoringCollector(replace(PYTHON_KIT, make=Unreadable)))
    engine.start()
    request(engine, "GET /x", workloads.left)
    with pytest.raises(MemoryError):
        engine.stop()
    assert events_left(3) == 0


def events_left(number: int) -> int:
    monitoring.use_tool_id(number, "to look")
    try:
        return monitoring.get_events(number)
    finally:
        monitoring.free_tool_id(number)


@pytest.mark.parametrize("end", ["stop", "abandon"])
def test_no_event_stays_switched_on(engine: CProfileEngine, end: str) -> None:
    engine.start()
    assert monitoring.get_events(3)
    request(engine, "GET /x", workloads.left)
    getattr(engine, end)()
    assert events_left(3) == 0


@pytest.mark.parametrize("kit", [native_kit(), PYTHON_KIT])
def test_a_request_that_ends_while_the_session_does_is_counted_right(kit: Kit) -> None:
    def flush(profilers: Any) -> bool:
        nest(engine, token, 4)  # the events are off already, the open calls are not ended yet
        return kit.flush(profilers)

    def stop_below(depth: int) -> Any:
        return stop_below(depth - 1) if depth else engine.stop()

    engine = CProfileEngine(OPTIONS, collector=MonitoringCollector(replace(kit, flush=flush)))
    engine.start()
    token = enter_and_return(engine)
    graph = graphs(stop_below(3))["GET /x"]
    assert counts(graph)["stop_below"] == (4, 1)
    assert edges(graph) == {("stop_below", "stop_below"): 3}


def enter_and_return(engine: CProfileEngine) -> object:
    return engine.enter("GET /x")


@contextmanager
def in_a_generator(engine: CProfileEngine) -> Iterator[None]:
    token = engine.enter("GET /x")
    yield
    engine.leave(token)


def nest(engine: CProfileEngine, token: object, depth: int) -> None:
    if depth:
        nest(engine, token, depth - 1)
    else:
        engine.leave(token)


def served_plainly(engine: CProfileEngine) -> None:
    request(engine, "GET /x", TWO_CALLERS.run)


def served_in_a_generator(engine: CProfileEngine) -> None:
    with in_a_generator(engine):
        TWO_CALLERS.run()


def left_below(engine: CProfileEngine) -> None:
    nest(engine, enter_and_return(engine), 4)


@pytest.mark.parametrize("serve", [served_plainly, served_in_a_generator, left_below])
def test_no_call_stays_open_in_a_profiler_after_its_request(
    engine: CProfileEngine, serve: Callable[[CProfileEngine], None]
) -> None:
    engine.start()
    for _ in range(3):
        serve(engine)
    collector: Any = engine._collector
    (slot,) = collector._pool.slots
    assert (slot.running, slot.frame) == (False, None)
    engine.stop()
    before = {(row.code, row.callcount, row.reccallcount) for row in read_stats(slot.profiler)}
    assert collector._kit.flush([slot.profiler])
    assert {(row.code, row.callcount, row.reccallcount) for row in read_stats(slot.profiler)} == before


def test_a_request_that_was_never_left_ends_with_the_next(engine: CProfileEngine) -> None:
    def forgets() -> None:
        enter_and_return(engine)
        workloads.left()

    engine.start()
    forgets()
    request(engine, "GET /y", TWO_CALLERS.run)
    recording = engine.stop()
    assert_true(graphs(recording)["GET /y"], TWO_CALLERS, 1)
    assert any(note.startswith("Requests whose end was not seen in their own thread: 1.") for note in recording.notes)


class Miscounts(PythonProfiler):
    """Ends nothing that was thrown."""

    def _pythrow_callback(self, code: CodeType, offset: int, exception: object = None) -> None:
        return


class StrictArguments(PythonProfiler):
    """A start callback that counts its arguments, as the one of 3.14 does."""

    def _pystart_callback(self, code: CodeType, offset: int) -> None:  # type: ignore[override]
        super()._pystart_callback(code, offset)


@pytest.mark.parametrize(
    "kit",
    [
        replace(PYTHON_KIT, make=Miscounts),
        replace(PYTHON_KIT, make=StrictArguments, throw="_pystart_callback"),
        replace(PYTHON_KIT, throw="_missing_callback"),
        replace(PYTHON_KIT, end="_pystart_callback"),
        replace(PYTHON_KIT, make=dict),
    ],
)
def test_callbacks_that_do_not_do_what_we_need_are_found_out(kit: Kit) -> None:
    assert not counts_right(kit)


def test_the_profiler_in_c_passes_with_the_callback_of_its_version() -> None:
    kit = native_kit()
    assert kit is not None
    assert counts_right(kit)
    assert kit.throw == ("_pythrow_callback" if sys.version_info >= (3, 14) else "_pystart_callback")
    assert counts_right(PYTHON_KIT)


def test_the_recording_says_that_the_slower_profiler_was_used() -> None:
    engine = CProfileEngine(OPTIONS, collector=MonitoringCollector(PYTHON_KIT))
    engine.start()
    assert any("times are inflated" in note for note in engine.stop().notes)
    engine = CProfileEngine(OPTIONS, collector=MonitoringCollector())
    engine.start()
    assert not any("times are inflated" in note for note in engine.stop().notes)
