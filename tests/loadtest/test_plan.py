"""When requests are due: at their own time where a rate is given, at once else, and never beyond the bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.loadtest.plan import Plan


def test_a_closed_loop_is_due_at_once_and_is_bounded_by_its_requests() -> None:
    plan = Plan(4, requests=3)
    assert [plan.due(number) for number in range(5)] == [0.0, 0.0, 0.0, None, None]
    assert plan.scheduled(10.0) is None
    assert Plan(4, duration=1.0).due(10**9) == 0.0  # the sender looks at the clock


def test_an_open_loop_is_due_whether_or_not_the_app_keeps_up() -> None:
    plan = Plan(4, duration=1.0, rate=4.0)
    assert [plan.due(number) for number in range(6)] == [0.0, 0.25, 0.5, 0.75, None, None]


@pytest.mark.parametrize(("elapsed", "number"), [(-1.0, 0), (0.0, 0), (0.25, 1), (0.26, 2), (1.0, 4), (9.0, 4)])
def test_what_was_due_by_now_is_counted(elapsed: float, number: int) -> None:
    assert Plan(4, duration=1.0, rate=4.0).scheduled(elapsed) == number


def test_whichever_bound_is_reached_first_ends_it() -> None:
    assert Plan(1, duration=1.0, requests=2, rate=4.0).scheduled(9.0) == 2
    assert Plan(1, duration=1.0, requests=2, rate=4.0).due(2) is None
    assert Plan(1, duration=1.0, requests=100, rate=4.0).scheduled(9.0) == 4


@given(st.integers(1, 2000), st.floats(0.01, 50.0))
def test_as_many_are_counted_as_have_a_time(rate: int, duration: float) -> None:
    plan = Plan(1, duration=duration, rate=float(rate))
    counted = plan.scheduled(math.inf)
    assert counted is not None
    assert counted == 0 or plan.due(counted - 1) is not None
    assert plan.due(counted + 1) is None
