"""Latencies and conditions: what is counted is what was there, and a bound is where it was set."""

from __future__ import annotations

import pytest

from flask_profiling.errors import BadRequest
from flask_profiling.loadtest import Histogram, Outcome, Plan, Tally, parse_condition


def outcome(latencies: list[float], *, errors: int = 0, elapsed: float = 2.0) -> Outcome:
    tally = Tally()
    for number, seconds in enumerate(latencies):
        failed = number < errors
        tally.add(seconds, status="500" if failed else "200", failed=failed)
    return Outcome({"GET /": tally}, elapsed, None, 0.0)


def test_quantiles_are_within_one_per_cent() -> None:
    histogram = Histogram()
    for millisecond in range(1, 1001):
        histogram.add(millisecond / 1000)
    for fraction in (0.5, 0.9, 0.95, 0.99):
        assert fraction <= histogram.quantile(fraction) <= fraction * 1.011
    assert histogram.quantile(1.0) == histogram.largest == 1.0
    assert histogram.mean == pytest.approx(0.5005)


def test_an_empty_histogram_is_all_zero() -> None:
    assert (Histogram().quantile(0.99), Histogram().mean, Histogram().largest) == (0.0, 0.0, 0.0)


def test_latencies_from_nothing_to_hours_have_a_bucket() -> None:
    histogram = Histogram()
    for seconds in (0.0, -1.0, 1e-9, 7200.0):
        histogram.add(seconds)
    assert histogram.count == 4
    assert histogram.quantile(1.0) == 7200.0


def test_merged_histograms_are_as_one() -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    for number in range(1, 200):
        (one if number % 3 else other).add(number / 100)
        both.add(number / 100)
    one.merge(other)
    assert [one.quantile(q) for q in (0.1, 0.5, 0.99)] == [both.quantile(q) for q in (0.1, 0.5, 0.99)]


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("p95>200ms", True),
        ("p95>0.5s", False),
        ("p50 >= 300ms", True),
        ("p50<1ms", False),
        ("mean<=300ms", True),
        ("max>299999us", True),
        ("errors>0", True),
        ("errors>1", False),
        ("errors>9%", True),
        ("errors>10%", False),
        ("throughput<6", True),
        ("throughput<5/s", False),
    ],
)
def test_a_condition_fails_a_test_beyond_its_bound(text: str, broken: bool) -> None:
    ten = outcome([0.3] * 10, errors=1)
    said = parse_condition(text).broken_by(ten)
    assert bool(said) == broken
    if broken:
        assert said.startswith(text)


@pytest.mark.parametrize("text", ["", "p95", "p95>", "p96>1ms", "p95>-1ms", "p95==1ms", "errors>3ms", "p95>5%"])
def test_what_is_no_condition_is_refused(text: str) -> None:

    with pytest.raises(BadRequest, match="write"):
        parse_condition(text)


def test_a_closed_loop_is_bounded_by_requests_alone() -> None:
    plan = Plan(4, requests=3)
    assert [plan.due(number) for number in range(4)] == [0.0, 0.0, 0.0, None]
    assert plan.scheduled(10.0) is None


def test_an_open_loop_has_a_schedule() -> None:
    plan = Plan(4, duration=1.0, rate=4.0)
    assert [plan.due(number) for number in range(5)] == [0.0, 0.25, 0.5, 0.75, None]
    assert plan.scheduled(0.6) == 3
    assert plan.scheduled(99.0) == 4
    assert Plan(4, duration=9.0, requests=2, rate=4.0).scheduled(99.0) == 2


def test_a_request_without_an_answer_has_no_latency() -> None:
    tally = Tally()
    for _ in range(99):
        tally.add(None, status="ConnectionRefusedError", failed=True)
    tally.add(0.25, status="200", failed=False)
    assert (tally.requests, tally.errors, tally.latencies.count) == (100, 99, 1)
    assert tally.latencies.quantile(0.5) == 0.25
