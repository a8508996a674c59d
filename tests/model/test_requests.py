"""Tests of the times of requests: counting, quantiles from a histogram, adding up workers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.errors import DamagedData
from flask_profiling.model import RouteTimes, bucket_of
from tests.model.documents import anything, damaged, through_json

walls = st.lists(st.floats(min_value=1e-6, max_value=1e4), min_size=1, max_size=50)


def times_of(durations: list[float]) -> RouteTimes:
    times = RouteTimes()
    for wall in durations:
        times = times.with_request(wall=wall, cpu=wall / 2, failed=wall > 5000)
    return times


def test_a_request_is_counted() -> None:
    times = RouteTimes().with_request(wall=0.5, cpu=0.25, failed=False).with_request(wall=1.0, cpu=0.5, failed=True)
    assert (times.requests, times.errors, times.wall_time, times.cpu_time) == (2, 1, 1.5, 0.75)
    assert sum(times.buckets.values()) == 2


def test_the_former_times_stay_as_they_were() -> None:
    before = times_of([0.5])
    before.with_request(wall=0.5, cpu=0.5, failed=True)
    assert before == times_of([0.5])


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-1.0, 0), (0.0, 0), (1e-6, 0), (2e-6, 8), (2.000001e-6, 9), (4e-6, 16), (1.0, 160), (1e9, 399)],
)
def test_buckets_double_in_eight_steps(seconds: float, bucket: int) -> None:
    assert bucket_of(seconds) == bucket


@given(walls, st.floats(min_value=0.0, max_value=1.0))
def test_a_quantile_is_within_nine_percent(durations: list[float], fraction: float) -> None:
    true = sorted(durations)[max(1, math.ceil(fraction * len(durations))) - 1]
    assert true * (1 - 1e-9) <= times_of(durations).quantile(fraction) <= true * 2 ** (1 / 8) * (1 + 1e-9)


def test_the_quantiles_of_one_request_are_the_bound_of_its_bucket() -> None:
    assert [times_of([wall]).quantile(0.5) for wall in (1e-6, 2e-6)] == [1e-6, 2e-6]


def test_without_requests_every_quantile_is_zero() -> None:
    assert RouteTimes().quantile(0.5) == 0.0


def test_a_histogram_that_lacks_requests_still_answers() -> None:
    assert RouteTimes(requests=10, buckets={8: 1}).quantile(1.0) == 0.0


@given(walls, walls)
def test_the_times_of_two_workers_add_up(one: list[float], other: list[float]) -> None:
    merged, both = times_of(one).merged_with(times_of(other)), times_of([*one, *other])
    assert (merged.requests, merged.errors, merged.buckets) == (both.requests, both.errors, both.buckets)
    assert merged.wall_time == pytest.approx(both.wall_time)
    assert merged.cpu_time == pytest.approx(both.cpu_time)


@given(walls)
def test_they_survive_json(durations: list[float]) -> None:
    times = times_of(durations)
    assert RouteTimes.from_json(through_json(times.to_json())) == times


def test_the_shape_in_json() -> None:
    assert RouteTimes(2, 1, 1.5, 0.75, {152: 1, 8: 1}, gc_time=0.125).to_json() == {
        "requests": 2,
        "errors": 1,
        "wallSeconds": 1.5,
        "cpuSeconds": 0.75,
        "gcSeconds": 0.125,
        "buckets": [[8, 1], [152, 1]],
        "traced": [],
    }


def test_of_the_traced_requests_the_slowest_are_kept_over_all_workers() -> None:
    workers = [RouteTimes(), RouteTimes()]
    for number in range(1, 41):
        trace_id = f"{number:032x}" if number % 4 else ""
        place = number % 2
        workers[place] = workers[place].with_request(wall=number, cpu=0.5, failed=False, trace_id=trace_id)
    merged = workers[0].merged_with(workers[1])
    assert [request.wall_time for request in merged.traced] == [39, 38, 37, 35, 34, 33, 31, 30, 29, 27]
    assert merged.traced[0] == (39, 0.5, f"{39:032x}")
    assert RouteTimes.from_json(through_json(merged.to_json())) == merged


def test_pauses_of_the_garbage_collector_add_up_over_workers() -> None:
    merged = RouteTimes(1, gc_time=0.25).merged_with(RouteTimes(1, gc_time=0.5))
    assert merged.gc_time == 0.75
    assert RouteTimes.from_json(through_json(merged.to_json())) == merged


def test_times_that_an_older_version_stored_have_no_traces_and_no_pauses() -> None:
    document = RouteTimes(1, 0, 1.0, 1.0, {8: 1}).to_json()
    del document["traced"], document["gcSeconds"]
    assert RouteTimes.from_json(document) == RouteTimes(1, 0, 1.0, 1.0, {8: 1})


@given(st.data())
def test_damage_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    document = data.draw(damaged(times_of([0.5, 1.0, 8000.0]).to_json()))
    try:
        RouteTimes.from_json(document).quantile(0.99)
    except DamagedData as error:
        assert "; " in str(error)


@given(anything)
def test_any_value_is_refused(value: object) -> None:
    with pytest.raises(DamagedData):
        RouteTimes.from_json(value)


def test_a_bucket_no_float_can_hold_is_cut() -> None:
    document = RouteTimes(1, 0, 1.0, 1.0, {}).to_json() | {"buckets": [[10**9, 1]]}
    times = RouteTimes.from_json(document)
    assert times.buckets == {1000: 1}
    assert math.isfinite(times.quantile(1.0))


def test_more_requests_than_there_can_be_still_have_quantiles() -> None:
    document = RouteTimes(2**256 - 1, 0, 1.0, 1.0, {8: 2**256 - 1}).to_json()
    assert RouteTimes.from_json(document).quantile(0.5) == 2e-6
