"""One recording feeds every format: they agree with each other and with what really happened."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from flask_profiling.formats.recording import read
from flask_profiling.model import Function
from tests.formats import readers
from tests.formats.calls import call, call_trees, profiled, recording, true_self_times, written
from tests.formats.trees import Request, Thread, recorded, threads, tree_recording, true_costs

BY_TREE = [
    Thread(812, "Thread-1", (Request("GET /", (call("page", 0.002, call("render", 0.004)),), own=1000),)),
    Thread(812, "Thread-2", (Request("POST /checkout", (call("page", 0.001),), own=500),), begin=2000),
]


def placed(costs: Counter[Function]) -> Counter[readers.Place]:
    return Counter({(item.name, item.file, item.line): cost for item, cost in costs.items() if cost})


def without_routes(costs: Counter[Function]) -> Counter[readers.Place]:
    return placed(Counter({item: cost for item, cost in costs.items() if item.file}))


def by_name(costs: Counter[readers.Place]) -> Counter[str]:
    names: Counter[str] = Counter()
    for (name, _, _), cost in costs.items():
        names[name] += cost
    return names


@settings(max_examples=50)
@given(threads())
def test_all_formats_of_a_tree_tell_the_truth(lived: Sequence[Thread]) -> None:
    subject = tree_recording(recorded(*lived))
    calls, times = true_costs(lived)
    prof = readers.prof(written("pstats", subject))
    assert +prof.times == without_routes(times)
    assert prof.calls == without_routes(calls)
    pprof = readers.pprof(written("pprof", subject)).costs()
    assert (+pprof.times, pprof.calls) == (placed(times), placed(calls))
    in_order: Counter[readers.Place] = Counter()
    counted: Counter[readers.Place] = Counter()
    (_, all_paths), *in_lanes = readers.speedscope(written("speedscope", subject))
    for _, costs in in_lanes:
        in_order += costs.times
        counted += costs.calls
    assert +all_paths.times == in_order == placed(times)
    assert counted == placed(calls)
    trace = json.loads(written("trace", subject))["traceEvents"]
    assert Counter(event["name"] for event in trace if event["ph"] == "X") == by_name(placed(calls))


@settings(max_examples=50)
@given(threads())
def test_formats_without_room_for_places_agree_by_name(lived: Sequence[Thread]) -> None:
    subject = tree_recording(recorded(*lived))
    calls, times = true_costs(lived)
    collapsed = readers.collapsed(written("collapsed", subject))
    assert Counter({name.split(" (")[0]: time for (name, _, _), time in collapsed.times.items()}) == by_name(
        placed(times)
    )
    callgrind = readers.callgrind(written("callgrind", subject))
    assert Counter({name.split(":")[0]: time for (name, _, _), time in callgrind.times.items() if time}) == by_name(
        placed(times)
    )
    assert Counter({name.split(":")[0]: count for (name, _, _), count in callgrind.calls.items()}) == by_name(
        without_routes(calls)
    )


@settings(max_examples=50)
@given(threads())
def test_the_cpuprofile_of_a_tree_is_as_true_as_its_clock(lived: Sequence[Thread]) -> None:
    """Its moments are off by up to a microsecond, so a function's sum may be, for each of its samples."""
    data = written("cpuprofile", tree_recording(recorded(*lived)))
    times = by_name(readers.cpuprofile(data).times)
    _, truth = true_costs(lived)
    expected = by_name(placed(truth))
    slack = 2 * len(json.loads(data)["samples"])
    assert set(times) - set(expected) <= {"(root)", "(idle)"}
    for name, time in expected.items():
        assert abs(times[name] - time) <= slack


@settings(max_examples=50)
@given(threads())
def test_nothing_is_lost_in_the_stored_recording(lived: Sequence[Thread]) -> None:
    subject = tree_recording(recorded(*lived))
    again = read(written("recording", subject))
    for name in ("cpuprofile", "trace", "collapsed", "speedscope", "pprof", "callgrind"):
        assert written(name, again) == written(name, subject)
    assert readers.prof(written("pstats", again)) == readers.prof(written("pstats", subject))


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["GET /", "POST /checkout"]), call_trees(), min_size=1))
def test_formats_of_call_graphs_have_the_self_times_of_the_functions(routes: dict[str, tuple[object, ...]]) -> None:
    subject = recording({route: profiled(calls) for route, calls in routes.items()})
    expected: Counter[str] = Counter()
    for calls in routes.values():
        for path, seconds in true_self_times(calls).items():
            expected[path[-1].name] += round(seconds * 1e6)
    callgrind = by_name(readers.callgrind(written("callgrind", subject)).times)
    found = [
        by_name(readers.pprof(written("pprof", subject)).costs().times),
        by_name(next(readers.speedscope(written("speedscope", subject)))[1].times),
        Counter({name.split(":")[0]: time for name, time in callgrind.items()}),
    ]
    for times in found:
        for name, time in expected.items():
            assert abs(times[name] - time) <= 200  # each path of an estimated tree is rounded


def test_a_known_recording_reads_as_expected() -> None:
    assert written("collapsed", tree_recording(recorded(*BY_TREE))).decode().splitlines() == [
        "GET / 1000",
        "GET /;page (shop.pages:423) 2000",
        "GET /;page (shop.pages:423);render (shop.pages:650) 4000",
        "POST /checkout 500",
        "POST /checkout;page (shop.pages:423) 1000",
    ]
