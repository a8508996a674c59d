"""What recording takes: measured under the real hooks, and taken off trees of known times."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
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
    without_recording,
)
from flask_profiling.engines._recorder import Recorder
from flask_profiling.engines.calltree import KNOWN_COST_NOTE, UNKNOWN_COST_NOTE, CallTreeEngine
from flask_profiling.model import CallTree, Function, TreeBuilder
from tests.formats.calls import Call
from tests.formats.trees import Request, Thread, recorded
from tests.formats.trees import call_trees as true_calls

from .harness import request
from .workloads import helper

HERE = str(Path(__file__).parent)
COSTS = CallCosts(CallCost(1e-6, 2e-6, 3e-6), CallCost(4e-6, 8e-6, 5e-6))
VIEW, SMALL, DUMPS = (Function("/srv/pages.py", line, name) for line, name in enumerate(("view", "small", "dumps"), 1))


class FakeHooks:
    """Hooks that see nothing."""

    def __init__(self, *, willing: bool = True) -> None:
        self.willing, self.left = willing, 0

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
def test_without_a_cost_only_what_the_hooks_saw_is_left_out_and_a_note_says_so(
    cost_of: Callable[..., CallCosts | None],
) -> None:
    engine = CallTreeEngine(EngineOptions("prof-test", app_paths=(HERE,)), cost_of=cost_of)
    engine.start()
    request(engine, "GET /", helper)
    recording = engine.stop()
    assert UNKNOWN_COST_NOTE in recording.notes
    assert isinstance(recording.data, CallTree)
    (recorder,) = engine._recorders.all()
    assert recording.data.self_times == tuple(node.self_time for node in recorder.nodes)
    assert recording.data.overheads == tuple(node.overhead for node in recorder.nodes)
    assert sum(recording.data.overheads) > 0.0


def test_a_loop_of_empty_calls_is_timed_by_the_clock_that_is_given() -> None:
    ticks = iter(range(1000))
    assert bare_call(lambda: float(next(ticks))) == 1 / CALLS


def tree_of(*, overhead: float = 0.0, **seconds: float) -> CallTree:
    """Return a view that calls a small function a thousand times, and a library function five hundred times.

    ``overhead`` is what the hooks' own clock saw.
    """
    builder = TreeBuilder("app")
    root = builder.root("GET /", calls=1, self_time=seconds["root"])
    view = builder.child(root, VIEW, calls=1, self_time=seconds["view"], is_library=False)
    small = builder.child(view, SMALL, calls=1000, self_time=seconds["small"], overhead=overhead, is_library=False)
    assert (root, view, small) == (0, 1, 2)
    builder.child(view, DUMPS, calls=500, self_time=seconds["dumps"], is_library=True)
    return builder.tree()


# what the hooks' own clock should see of these calls: a thousand and one of the application, five hundred of a library
SEEN = 1001 * COSTS.application.hooks + 500 * COSTS.library.hooks


def test_each_call_is_taken_off_its_own_time_and_its_callers() -> None:
    tree = without_recording(tree_of(root=1.0, view=1.0, small=1.0, dumps=1.0, overhead=SEEN), COSTS)
    # the view's: itself inside, a thousand application functions and five hundred of a library outside
    taken = [2e-6, 1e-6 + 1000 * 2e-6 + 500 * 8e-6, 1000 * 1e-6, 500 * 4e-6]
    assert tree.self_times == pytest.approx([1.0 - seconds for seconds in taken])
    assert tree.overheads == pytest.approx([taken[0], taken[1], taken[2] + SEEN, taken[3]])


@pytest.mark.parametrize("slower", [0.5, 4.0])
def test_where_hooks_took_longer_than_they_should_so_did_what_their_clock_did_not_see(slower: float) -> None:
    tree = without_recording(tree_of(root=1.0, view=1.0, small=1.0, dumps=1.0, overhead=slower * SEEN), COSTS)
    assert tree.overheads[:2] == pytest.approx([slower * 2e-6, slower * (1e-6 + 1000 * 2e-6 + 500 * 8e-6)])


def test_routes_are_as_slow_as_each_was() -> None:
    builder = TreeBuilder("app")
    for route, slower in (("GET /quick", 1.0), ("GET /slow", 3.0)):
        root = builder.root(route, calls=1, self_time=1.0)
        overhead = slower * 10 * COSTS.application.hooks
        builder.child(root, VIEW, calls=10, self_time=1.0, overhead=overhead, is_library=False)
    tree = without_recording(builder.tree(), COSTS)
    assert [tree.overheads[root] for root in tree.roots()] == pytest.approx([10 * 2e-6, 3 * 10 * 2e-6])


def test_no_function_takes_less_than_no_time() -> None:
    tree = without_recording(tree_of(root=1.0, view=1.0, small=0.25e-3, dumps=1.0, overhead=SEEN), COSTS)
    assert tree.self_times[2] == 0.0
    assert tree.overheads[2] == pytest.approx(0.25e-3 + SEEN)
    assert tree.self_times[3] == pytest.approx(1.0 - 500 * 4e-6)


@given(
    st.lists(true_calls(), max_size=3),
    st.floats(0.0, 1e-3),
    st.floats(0.0, 1e-3),
    st.floats(1e-9, 1e-3),  # no clock tells less than a nanosecond
    st.floats(0.0, 1e-2),
)
def test_no_time_is_lost_and_none_is_negative(
    requests: list[tuple[Call, ...]], inside: float, outside: float, hooks: float, seen: float
) -> None:
    tree = recorded(Thread(1, "a", tuple(Request("GET /", calls) for calls in requests)))
    tree = replace(tree, overheads=(seen,) * len(tree))
    cost = CallCost(inside, outside, hooks)
    less = without_recording(tree, CallCosts(cost, cost))
    assert min(less.self_times, default=0.0) >= 0.0
    assert min(less.overheads, default=seen) >= seen
    assert [a + b for a, b in zip(less.self_times, less.overheads, strict=True)] == pytest.approx(
        [time + seen for time in tree.self_times]
    )
    assert (less.calls, less.tracks) == (tree.calls, tree.tracks)
