"""Tests of the ``.cpuprofile`` of a recording, as a reader of the file sees it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.errors import Unavailable
from flask_profiling.model import CallGraph, Cost, Function
from tests.formats.calls import Call, call, call_trees, profiled, recording, written


@dataclass(frozen=True)
class Reader:
    """Reads a profile as DevTools does: sample ``i`` lasts until sample ``i + 1``."""

    document: Mapping[str, Any]

    def self_times(self) -> dict[int, int]:
        times: dict[int, int] = defaultdict(int)
        for node, delta in zip(self.document["samples"], self.document["timeDeltas"][1:], strict=False):
            times[node] += delta
        return times

    def by_function(self) -> dict[tuple[str, str, int], int]:
        times = self.self_times()
        sums: dict[tuple[str, str, int], int] = defaultdict(int)
        for node in self.document["nodes"]:
            frame = node["callFrame"]
            sums[frame["functionName"], frame["url"], frame["lineNumber"]] += times[node["id"]]
        return sums


def read(routes: Mapping[str, CallGraph]) -> Reader:
    return Reader(json.loads(written("cpuprofile", recording(routes))))


SHOP = {
    "GET /": profiled([call("dispatch", 0.001, call("page", 0.002, call("render", 0.004)))]),
    "POST /checkout": profiled([call("dispatch", 0.001, call("checkout", 0.008, call("render", 0.016)))]),
}


def test_the_root_comes_first_and_its_children_are_the_routes() -> None:
    nodes = {node["id"]: node for node in read(SHOP).document["nodes"]}
    root = next(iter(nodes.values()))
    assert root["callFrame"]["functionName"] == "(root)"
    assert [nodes[child]["callFrame"]["functionName"] for child in root["children"]] == ["GET /", "POST /checkout"]


def test_self_times_are_those_of_the_functions() -> None:
    times = {name: time for (name, _, _), time in read(SHOP).by_function().items()}
    assert times == {
        "(root)": 0,
        "GET /": 0,
        "POST /checkout": 0,
        "dispatch": pytest.approx(2000, abs=2),
        "page": pytest.approx(2000, abs=2),
        "render": pytest.approx(20000, abs=2),
        "checkout": pytest.approx(8000, abs=2),
    }


def test_the_samples_of_a_call_stand_together() -> None:
    document = read(SHOP).document
    names = {node["id"]: node["callFrame"]["functionName"] for node in document["nodes"]}
    assert [names[sample] for sample in document["samples"]] == [
        "dispatch",
        "page",
        "render",
        "dispatch",
        "checkout",
        "render",
        "(root)",
    ]


def test_an_estimated_node_says_so_and_an_exact_one_does_not() -> None:
    shared = profiled([
        call("x", 0.001, call("service", 0.001, call("render", 0.002))),
        call("y", 0.001, call("service", 0.001, call("db", 0.002))),
    ])
    reasons = defaultdict(set)
    for node in read({"GET /": shared}).document["nodes"]:
        reasons[node["callFrame"]["functionName"]].add(node.get("deoptReason"))
    assert reasons["render"] == reasons["db"] == {"estimated: split between 2 callers of service"}
    assert reasons["service"] == reasons["x"] == reasons["y"] == {None}


def test_the_notes_of_the_recording_are_in_the_file() -> None:
    subject = recording(SHOP, notes=("threads outside requests are not covered",))
    notes = json.loads(written("cpuprofile", subject))["notes"]
    assert "threads outside requests are not covered" in notes
    assert any("no order of time" in note for note in notes)
    assert not any("too many paths" in note for note in notes)


def test_what_is_left_out_is_counted_in_a_note() -> None:
    functions = [Function("/a.py", line, f"f{line}") for line in range(40)]
    edges = {
        (functions[caller], functions[callee]): Cost(1, 1, 0.1, 0.1 * (40 - callee))
        for callee in range(40)
        for caller in range(callee)
    }
    graph = CallGraph({item: Cost(max(item.line, 1), 1, 0.1 * item.line, 4.0) for item in functions}, edges)
    document = read({"GET /": graph}).document
    assert len(document["nodes"]) <= 30_000
    assert any("too many paths to draw" in note for note in document["notes"])
    assert any(node["callFrame"]["functionName"].endswith(" more functions)") for node in document["nodes"])


@given(st.dictionaries(st.sampled_from(["GET /", "POST /x"]), call_trees(), min_size=1))
def test_self_times_add_up_to_the_recording(routes: Mapping[str, tuple[Call, ...]]) -> None:
    graphs = {route: profiled(calls) for route, calls in routes.items()}
    reader = read(graphs)
    samples = len(reader.document["samples"])
    times = reader.by_function()
    expected: dict[tuple[str, str, int], float] = defaultdict(float)
    for graph in graphs.values():
        for item, cost in graph.functions.items():
            expected[item.name, f"file://{item.file}", item.line - 1] += cost.self_time * 1e6
    for key, time in expected.items():
        assert times[key] == pytest.approx(time, abs=2 * samples)
    assert sum(times.values()) == pytest.approx(sum(expected.values()), abs=2)


@pytest.mark.parametrize("routes", [{}, {"GET /": CallGraph({}, {})}])
def test_nothing_recorded_is_still_a_profile(routes: Mapping[str, CallGraph]) -> None:
    document = read(routes).document
    assert document["samples"] == [1]
    assert len(document["nodes"]) == 1 + len(routes)


def test_names_that_are_not_unicode_are_escaped() -> None:
    graph = CallGraph({Function("/srv/\udcff.py", 1, '"\ud800\0\n'): Cost(1, 1, 1.0, 1.0)}, {})
    written_bytes = written("cpuprofile", recording({"GET /\udcff": graph}))
    assert written_bytes.isascii()
    assert [node["callFrame"]["functionName"] for node in json.loads(written_bytes)["nodes"]] == [
        "(root)",
        "GET /\udcff",
        '"\ud800\0\n',
    ]


def test_a_recording_of_20_000_functions_is_bounded() -> None:
    functions = [Function("/a.py", line, f"f{line}") for line in range(20_000)]
    edges = {
        (functions[caller], functions[callee]): Cost(1, 1, 0.001, 0.001)
        for callee in range(1, 20_000)
        for caller in {callee // 2, callee - 1, callee * 3 // 4}
        if caller < callee
    }
    graph = CallGraph({item: Cost(3, 3, 0.003, 60.0) for item in functions}, edges)
    document = read({"GET /": graph}).document
    assert 20_000 < len(document["nodes"]) <= 30_001
    assert sum(document["timeDeltas"]) == pytest.approx(20_000 * 0.003 * 1e6, abs=2)


def test_without_calls_there_is_nothing_to_write() -> None:
    subject = recording({})
    with pytest.raises(Unavailable, match="recorded no calls; start one with a CPU engine"):
        written("cpuprofile", type(subject)(subject.session, subject.workers, (), {}, (), {}))
