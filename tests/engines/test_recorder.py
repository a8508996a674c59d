"""Recorders: transitions are kept in their order, as many as there is room for, and no more."""

from __future__ import annotations

from itertools import count

from flask_profiling.engines._recorder import IDLE, MOST_FRESH, Budget, Recorder


def recorded(calls: int, budget: Budget) -> Recorder:
    """Record one stretch with so many calls of a function; a clock that counts gives the times."""
    clock = count().__next__
    recorder = Recorder("GET /", budget, clock=clock)
    code = recorded.__code__
    recorder.begin()
    for _ in range(calls):
        recorder.push(code, clock())
        recorder.pop(code, clock())
    recorder.end()
    return recorder


def test_transitions_stay_in_their_order_however_many_there_are() -> None:
    calls = 3 * MOST_FRESH + 7
    budget = Budget()
    room = budget.transitions
    recorder = recorded(calls, budget)
    assert list(recorder.log[::2]) == [0, *range(1, 4 * calls + 2, 2)]
    assert list(recorder.log[1::2]) == [0, *(1, 0) * calls, IDLE]
    assert (recorder.segments[0].first, recorder.segments[0].last) == (0, 2 * calls + 2)
    assert (room - budget.transitions, budget.dropped_transitions) == (2 * calls, 0)
    assert (recorder.root.self_time, recorder.nodes[1].self_time) == (calls + 1, calls)
    assert (recorder.root.overhead, recorder.nodes[1].overhead) == (calls, calls)


def test_few_transitions_wait_to_be_kept() -> None:
    recorder = Recorder("GET /", Budget(), clock=count().__next__)
    recorder.begin()
    longest = 0
    for _ in range(5 * MOST_FRESH):
        recorder.push(recorded.__code__, 1)
        longest = max(longest, len(recorder.fresh))
        recorder.pop(recorded.__code__, 2)
    assert longest <= MOST_FRESH


def test_the_log_ends_where_the_room_does_and_says_since_when() -> None:
    budget = Budget(transitions=5)
    recorder = recorded(4, budget)
    assert list(recorder.log[::2]) == [0, 1, 3, 5, 7, 9, 11]
    assert list(recorder.log[1::2]) == [0, 1, 0, 1, 0, 1, IDLE]
    assert (budget.transitions, budget.dropped_transitions) == (0, 3)
    assert (recorder.root.self_time, recorder.nodes[1].self_time) == (5, 4)


def test_a_stretch_without_room_has_no_transitions_and_all_its_calls() -> None:
    budget = Budget(transitions=0)
    recorder = recorded(3, budget)
    assert (len(recorder.log), recorder.segments, recorder.nodes[1].calls) == (0, [], 3)
    assert budget.dropped_transitions == 1 + 6
