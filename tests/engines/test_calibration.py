"""What recording takes: measured under the real hooks, and taken off trees of known times."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.engines import EngineOptions
from flask_profiling.engines._calibration import (
    CALLS,
    LIBRARY_FILE,
    CallCost,
    CallCosts,
    bare_call,
    call_costs,
    crowd_of_machine,
    slowdowns,
    without_recording,
)
from flask_profiling.engines._recorder import Recorder, Segment
from flask_profiling.engines.calltree import KNOWN_COST_NOTE, UNKNOWN_COST_NOTE, CallTreeEngine
from flask_profiling.model import CallTree, Function, Track, TreeBuilder
from tests.formats.calls import Call
from tests.formats.trees import Request, Thread, recorded
from tests.formats.trees import call_trees as true_calls

from .harness import request
from .workloads import helper

HERE = str(Path(__file__).parent)
COSTS = CallCosts(CallCost(1e-6, 2e-6), CallCost(4e-6, 8e-6))
VIEW, SMALL, DUMPS = (Function("/srv/pages.py", line, name) for line, name in enumerate(("view", "small", "dumps"), 1))


class FakeHooks:
    """Hooks that see what a test tells them to; time stands still but for ``inside`` and ``outside`` of each call."""

    def __init__(self, *, willing: bool = True, heard: int = CALLS, inside: float = 0.0, outside: float = 0.0) -> None:
        self.willing, self.heard, self.costs, self.left = willing, heard, (inside, outside), 0

    def enter(self, recorder: Recorder) -> bool:
        return self.willing

    def leave(self) -> None:
        self.left += 1


@pytest.mark.parametrize("scope", ["app", "all"])
@pytest.mark.parametrize("app_paths", [(), (HERE,), (__file__,)])
def test_what_a_call_costs_is_measured_under_the_hooks_of_this_python(scope: str, app_paths: tuple[str, ...]) -> None:
    found: list[CallCosts | None] = []

    def kept(hooks: object, **known: object) -> CallCosts | None:
        # as often as a busy machine needs: it may have paused in each round
        attempts = (call_costs(hooks, **known) for _ in range(50))  # type: ignore[arg-type]  # as they came
        found.append(next((costs for costs in attempts if costs is not None), None))
        return found[-1]

    engine = CallTreeEngine(EngineOptions("prof-test", scope=scope, app_paths=app_paths), cost_of=kept)
    engine.start()
    assert sys.gettrace() is None
    assert sys.getprofile() is None
    request(engine, "GET /", helper)
    recording = engine.stop()
    (costs,) = found
    assert costs is not None
    assert 0.0 < sum(costs.application) < 20e-6
    assert 0.0 < sum(costs.library) < 20e-6
    assert (costs.library is costs.application) == (scope == "all")
    assert KNOWN_COST_NOTE in recording.notes
    tree = recording.data
    assert isinstance(tree, CallTree)
    assert LIBRARY_FILE not in {function.file for function in tree.functions}
    assert tree.routes == ("GET /",)


def test_hooks_that_refuse_the_thread_or_hear_nothing_tell_no_cost() -> None:
    assert call_costs(FakeHooks(willing=False), bare=0.0, file=__file__, everything=True) is None
    deaf = FakeHooks()
    assert call_costs(deaf, bare=0.0, file=__file__, everything=True) is None
    assert deaf.left == 1


@pytest.mark.parametrize("cost_of", [lambda hooks, **known: None, lambda hooks, **known: 1 / 0])
def test_without_a_cost_times_stay_as_they_were_measured_and_a_note_says_so(
    cost_of: Callable[..., CallCosts | None],
) -> None:
    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)), cost_of=cost_of)
    engine.start()
    request(engine, "GET /", helper)
    recording = engine.stop()
    assert UNKNOWN_COST_NOTE in recording.notes
    assert isinstance(recording.data, CallTree)
    assert recording.data.overheads == ()


def test_a_loop_of_empty_calls_is_timed_by_the_clock_that_is_given() -> None:
    ticks = iter(range(1000))
    assert bare_call(lambda: float(next(ticks))) == 1 / CALLS


def tree_of(*, stood_still: float = 0.0, **seconds: float) -> CallTree:
    """Return a view that calls a small function a thousand times, and a library function five hundred times.

    The small function ``stood_still`` once for so many seconds of its time.
    """
    builder = TreeBuilder("app")
    root = builder.root("GET /", calls=1, self_time=seconds["root"])
    view = builder.child(root, VIEW, calls=1, self_time=seconds["view"], is_library=False)
    small = builder.child(view, SMALL, calls=1000, self_time=seconds["small"], is_library=False)
    builder.child(view, DUMPS, calls=500, self_time=seconds["dumps"], is_library=True)
    times = (0, 900, 1800, 1800 + round(stood_still * 1e6), 10**7)
    return builder.tree(tracks=[Track(1, "a", times, (view, small, small, -1, -1), ((0, 0, times[-1]),))])


def test_each_call_is_taken_off_its_own_time_and_its_callers() -> None:
    tree = without_recording(tree_of(root=1.0, view=1.0, small=1.0, dumps=1.0), COSTS, [1.0])
    # the view's: itself inside, a thousand application functions and five hundred of a library outside
    assert tree.overheads == pytest.approx([2e-6, 1e-6 + 1000 * 2e-6 + 500 * 8e-6, 1000 * 1e-6, 500 * 4e-6])
    assert [a + b for a, b in zip(tree.self_times, tree.overheads, strict=True)] == pytest.approx([1.0] * 4)
    assert tree.total_times()[0] == pytest.approx(4.0 - sum(tree.overheads))


def test_what_stood_still_did_so_while_it_recorded_too() -> None:
    once, longer = (
        without_recording(tree_of(root=1.0, view=1.0, small=1.0, dumps=1.0, stood_still=0.5), COSTS, [longest])
        for longest in (1.0, 4.0)
    )
    assert longer.overheads == pytest.approx([a * b for a, b in zip(once.overheads, (1, 1, 2, 1), strict=True)])


def test_no_recording_takes_longer_than_the_threads_of_others_explain() -> None:
    once, twice = (
        without_recording(tree_of(root=1.0, view=1.0, small=1.0, dumps=1.0, stood_still=still), COSTS, [2.0])
        for still in (0.0, 0.9)
    )
    assert twice.overheads == pytest.approx([a * b for a, b in zip(once.overheads, (1, 1, 2, 1), strict=True)])


def test_only_what_went_on_can_have_been_recording() -> None:
    tree = without_recording(
        tree_of(root=1.0, view=1.0, small=0.0102, dumps=1.0, stood_still=0.01),
        CallCosts(CallCost(1e-6, 0), COSTS[1]),
        [3.0],
    )
    assert tree.overheads[2] == pytest.approx(3 * 0.0002)


def test_a_function_that_takes_less_than_recording_should_lowers_the_cost_of_all() -> None:
    plain = without_recording(tree_of(root=1.0, view=1.0, small=1.0, dumps=1.0), COSTS, [1.0])
    tree = without_recording(tree_of(root=1.0, view=1.0, small=0.25e-3, dumps=1.0), COSTS, [1.0])
    assert tree.overheads == pytest.approx([seconds / 4 for seconds in plain.overheads])
    assert tree.self_times[2] == pytest.approx(0.0)


@given(
    st.lists(true_calls(), max_size=3),
    st.floats(0.0, 1e-3),
    st.floats(0.0, 1e-3),
    st.floats(1.0, 50.0),
)
def test_no_time_is_lost_and_none_is_negative(
    requests: list[tuple[Call, ...]], inside: float, outside: float, factor: float
) -> None:
    tree = recorded(Thread(1, "a", tuple(Request("GET /", calls) for calls in requests)))
    cost = CallCost(inside, outside)
    less = without_recording(tree, CallCosts(cost, cost), [factor] * len(tree.routes))
    assert min(less.self_times, default=0.0) >= 0.0
    assert min(less.overheads, default=0.0) >= 0.0
    assert [a + b for a, b in zip(less.self_times, less.overheads, strict=True)] == pytest.approx(tree.self_times)
    assert (less.calls, less.tracks) == (tree.calls, tree.tracks)


def stretch(begin: float, end: float, cpu: float) -> Segment:
    return Segment("a", begin, end, 0, 0, cpu)


def test_four_threads_that_compute_in_turn_take_four_times_as_long() -> None:
    assert slowdowns([("GET /", stretch(0.0, 8.0, 2.0))] * 4) == pytest.approx({"GET /": 4.0})


def test_who_waits_for_a_database_waits_little_for_others() -> None:
    busy, waits = ("GET /", stretch(0.0, 10.0, 9.0)), ("GET /rows", stretch(0.0, 10.0, 1.0))
    assert slowdowns([busy, waits]) == pytest.approx({"GET /": 10 / 9, "GET /rows": 10.0})
    assert slowdowns([waits] * 4) == pytest.approx({"GET /rows": 1 / 0.7})


def test_requests_one_after_the_other_wait_for_nobody() -> None:
    assert slowdowns([("a", stretch(0.0, 1.0, 0.5)), ("b", stretch(1.0, 2.0, 1.0))]) == pytest.approx(
        {"a": 1.0, "b": 1.0}
    )


def test_threads_that_compute_at_the_same_time_without_the_lock_wait_for_nobody() -> None:
    assert slowdowns([("GET /", stretch(0.0, 1.0, 1.0))] * 2) == pytest.approx({"GET /": 1.0})


def test_a_stretch_whose_cpu_time_is_unknown_says_nothing() -> None:
    assert slowdowns([("GET /", stretch(0.0, 1.0, -7.0)), ("GET /", stretch(5.0, 5.0, 0.0))]) == {}


def test_where_others_crowd_the_machine_computing_may_take_longer_but_not_than_it_did() -> None:
    alone = [("GET /", stretch(0.0, 8.0, 2.0))]
    assert slowdowns(alone, crowd=3.0) == pytest.approx({"GET /": 3.0})
    assert slowdowns(alone, crowd=9.0) == pytest.approx({"GET /": 4.0})
    assert slowdowns([("GET /", stretch(0.0, 8.0, 1.0))] * 2, crowd=4.0) == pytest.approx({"GET /": 8.0})
    assert crowd_of_machine() >= 1.0


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(-1, 150)), max_size=8))
def test_nobody_takes_less_long_or_longer_than_it_took(rows: list[tuple[float, float, float]]) -> None:
    stretches = [stretch(begin, begin + lasted, cpu) for begin, lasted, cpu in rows]
    known = [item for item in stretches if item.end > item.begin and item.cpu > 0.0]
    longest = max((max(1.0, (item.end - item.begin) / item.cpu) for item in known), default=1.0)
    for factor in slowdowns(("GET /", item) for item in stretches).values():
        assert 1.0 - 1e-6 <= factor <= longest * (1 + 1e-6)


def test_the_cpu_time_of_a_stretch_is_that_of_its_own_thread() -> None:
    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)))
    engine.start()
    entered, leave = threading.Event(), threading.Event()

    def serve() -> None:
        token = engine.enter("GET /")
        entered.set()
        leave.wait(30)
        engine.leave(token)

    thread = threading.Thread(target=serve)
    thread.start()
    assert entered.wait(30)
    request(engine, "GET /done", helper)
    recorders = {recorder.route: recorder for recorder in engine._recorders.all()}
    engine.stop()
    leave.set()
    thread.join()
    assert recorders["GET /"].segments[0].cpu < 0.0  # ended by another thread, whose clock says nothing of it
    assert recorders["GET /done"].segments[0].cpu > 0.0
