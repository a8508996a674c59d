"""Tests of lanes, slices, and of what the formats do when a timeline is not whole."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings

from flask_profiling.errors import Unavailable
from flask_profiling.formats import trace
from flask_profiling.formats._timeline import IDLE, lanes, only, untold
from flask_profiling.model import CallTree, Track
from tests.formats import readers
from tests.formats.calls import call, profiled, recording, written
from tests.formats.trees import Request, Thread, recorded, threads, tree_recording

PAGE = call("page", 0.002, call("render", 0.004))


def served(name: str, begin: int, *, worker: int = 812, requests: int = 1) -> Thread:
    return Thread(worker, name, (Request("GET /", (PAGE,), own=1000),) * requests, begin)


def titles(tree: CallTree) -> list[str]:
    return [lane.title for lane in lanes(tree)]


def test_threads_that_follow_each_other_share_a_lane() -> None:
    tree = recorded(*(served(f"Thread-{number}", number * 10_000) for number in range(1200)))
    assert titles(tree) == ["worker 812 · Thread-0 … Thread-1199 (1,200 threads in turn)"]


def test_threads_at_the_same_time_have_lanes_of_their_own() -> None:
    assert titles(recorded(served("a", 0), served("b", 3000))) == ["worker 812 · a", "worker 812 · b"]


def test_workers_never_share_a_lane() -> None:
    assert len(lanes(recorded(served("MainThread", 0), served("MainThread", 50_000, worker=813)))) == 2


@settings(max_examples=50)
@given(threads())
def test_lanes_hold_what_their_threads_did(lived: Sequence[Thread]) -> None:
    tree = recorded(*lived)
    shown = lanes(tree)
    parts = [only(tree, lane) for lane in shown]
    assert [sum(column) for column in zip(*(part.calls for part in parts), strict=True)] == list(tree.calls)
    for node, times in enumerate(zip(*(part.self_times for part in parts), strict=True)):
        assert sum(times) == pytest.approx(tree.self_times[node])
    assert untold(tree, shown) == []
    for lane in shown:
        assert lane.times == sorted(lane.times)


@settings(max_examples=50)
@given(threads())
def test_what_recording_took_is_in_no_lane_and_in_no_sample(lived: Sequence[Thread]) -> None:
    tree = recorded(*lived)
    rising = [node / len(tree) * seconds for node, seconds in enumerate(tree.self_times)]
    less = replace(
        tree,
        self_times=tuple(a - b for a, b in zip(tree.self_times, rising, strict=True)),
        overheads=tuple(rising),
    )
    shown = lanes(less)
    rounding = 1e-6 * sum(len(lane.times) for lane in shown)
    for lane, measured in zip(shown, lanes(tree), strict=True):
        assert lane.times == sorted(lane.times)
        assert [begin for _, begin, _ in lane.requests] == [begin for _, begin, _ in measured.requests]
        assert all(end in lane.times for _, _, end in lane.requests)
        begins = [place for place, before in enumerate(lane.nodes[:-1], 1) if before == IDLE]
        assert [lane.times[place] for place in begins] == [measured.times[place] for place in begins]
    parts = [only(less, lane) for lane in shown]
    for node, times in enumerate(zip(*(part.self_times for part in parts), strict=True)):
        assert sum(times) == pytest.approx(less.self_times[node], abs=rounding)
    assert untold(less, shown) == []
    sampled, _, _ = profile_of(less)
    named = Counter[str]()
    for node, seconds in enumerate(less.self_times):
        named[less.name(node)] += round(1e6 * seconds)
    assert all(abs(sampled[name] - time) <= 2 * sum(len(lane.times) for lane in shown) for name, time in named.items())


def profile_of(tree: CallTree) -> tuple[Counter[str], list[str], list[str]]:
    """Return the µs by name, the names at the first level, and the notes."""
    data = written("cpuprofile", tree_recording(tree))
    document = json.loads(data)
    names = {node["id"]: node["callFrame"]["functionName"] for node in document["nodes"]}
    first = [names[child] for child in document["nodes"][0]["children"]]
    times: Counter[str] = Counter()
    for (name, _, _), time in readers.cpuprofile(data).times.items():
        times[name] += time
    return times, first, document["notes"]


def test_one_lane_needs_no_level_of_its_own_and_gaps_are_idle() -> None:
    gap = Request("GET /", (PAGE,), gap=5000, own=1000)
    tree = recorded(Thread(812, "MainThread", (gap, gap, gap), 7000))
    times, first, notes = profile_of(tree)
    assert first == ["GET /", "(idle)"]
    assert times["(idle)"] == pytest.approx(10_000, abs=6)
    assert times["render"] == pytest.approx(12_000, abs=6)
    assert notes == []


def test_lanes_stand_one_after_the_other_and_the_file_says_so() -> None:
    _, first, notes = profile_of(recorded(served("a", 0), served("b", 3000)))
    assert first == ["worker 812 · a", "worker 812 · b"]
    assert "one after the other" in notes[0]


@pytest.mark.parametrize("has_order", [True, False])
def test_calls_shorter_than_a_microsecond_are_there_too(has_order: bool) -> None:
    quick = call("quick", 3e-7, call("quicker", 1e-7))
    tree = recorded(Thread(812, "MainThread", (Request("GET /", (quick, call("last", 1e-7)), own=1000),)))
    data = written("cpuprofile", tree_recording(tree if has_order else replace(tree, tracks=())))
    names = [node["callFrame"]["functionName"] for node in json.loads(data)["nodes"]]
    assert names[1:] == ["GET /", "quick", "quicker", "last"]
    assert sum(readers.cpuprofile(data).times.values()) == pytest.approx(1000, abs=2)


def test_moments_are_those_of_the_requests() -> None:
    document = json.loads(written("cpuprofile", tree_recording(recorded(served("a", 0)))))
    moments = [sum(document["timeDeltas"][: place + 1]) for place in range(len(document["timeDeltas"]))]
    assert moments == [pytest.approx(moment, abs=1) for moment in (0, 1000, 3000, 7000)]


def full_log() -> CallTree:
    """Three requests, of which the log holds one and the ends of the others, as the engine leaves it."""
    tree = recorded(served("MainThread", 0, requests=3))
    track = tree.tracks[0]
    kept = [at for at in range(len(track.times)) if at < 6 or track.nodes[at] in (-1, 0)]
    kept = [at for at in kept if at < 6 or track.nodes[at] == -1 or track.nodes[at - 1] == -1]
    times, nodes = (tuple(column[at] for at in kept) for column in (track.times, track.nodes))
    return replace(tree, tracks=(Track(812, "MainThread", times, nodes, track.requests),), dropped=8)


def test_what_a_full_log_does_not_order_keeps_its_time() -> None:
    times, first, notes = profile_of(full_log())
    assert first == ["worker 812 · MainThread", "(in no order of time)"]
    assert (times["GET /"], times["page"], times["render"]) == tuple(
        pytest.approx(3 * time, abs=6) for time in (1000, 2000, 4000)
    )
    assert "no order of time" in notes[0]


def test_a_tree_without_a_timeline_is_drawn_in_no_order() -> None:
    times, first, notes = profile_of(replace(recorded(served("a", 0, requests=2)), tracks=()))
    assert first == ["GET /"]
    assert times["render"] == pytest.approx(8000, abs=3)
    assert "no order of time" in notes[0]


def test_more_transitions_than_can_be_drawn_keep_their_time() -> None:
    tree = recorded(served("a", 0, requests=4), served("b", 3000, requests=4))
    shown = lanes(tree, most=10)
    assert sum(len(lane.times) for lane in shown) < 15  # 10, those of the same moment, and the ends
    told = sum(sum(only(tree, lane).self_times) for lane in shown)
    assert told + sum(untold(tree, shown)) == pytest.approx(sum(tree.self_times))


def test_a_trace_leaves_out_the_shortest_calls_and_says_so() -> None:
    subject = tree_recording(recorded(served("a", 0, requests=50)))
    out = io.BytesIO()
    trace.write(subject, out, most=110)
    document = json.loads(out.getvalue())
    names = Counter(event["name"] for event in document["traceEvents"] if event["ph"] == "X")
    assert names == {"GET /": 50, "page": 50}
    assert document["otherData"]["notes"] == ["calls shorter than 4001 µs are left out, because there were too many"]


def test_a_trace_names_workers_and_threads_and_nests_its_slices() -> None:
    document = json.loads(written("trace", tree_recording(recorded(served("a", 0), served("b", 3000, worker=813)))))
    events = document["traceEvents"]
    assert [(event["pid"], event["args"]["name"]) for event in events if event["ph"] == "M"] == [
        (812, "worker"),
        (813, "worker"),
        (812, "a"),
        (813, "b"),
    ]
    first = [(event["name"], event["ts"], event["dur"]) for event in events if event["ph"] == "X" and event["tid"] == 1]
    assert first == [("GET /", 1, 7000), ("page", 1001, 6000), ("render", 3001, 4000)]


def test_without_a_timeline_there_is_no_trace() -> None:
    with pytest.raises(Unavailable, match="cpu=calltree"):
        written("trace", recording({"GET /": profiled([PAGE])}))
