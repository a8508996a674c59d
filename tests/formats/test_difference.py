"""Tests of the page of two recordings as a file: its numbers are those of both, and it is as strict as the report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from flask_profiling.formats import _difference
from flask_profiling.model import CallTree, Function, RouteTimes, SessionRecording
from tests.formats.calls import Call, call, call_trees, profiled, recording
from tests.formats.differences import BASE_ID, LIBRARY, NEW_ID, page_of, sessions
from tests.formats.test_html import HOSTILE, Reader, big, checked_policy, checked_to_refer_to_nothing
from tests.formats.trees import Request, Thread, recorded, tree_recording

WAYS = pytest.mark.parametrize("of_tree", [True, False], ids=["calltree", "callgraphs"])


def read(page: bytes) -> Reader:
    reader = Reader()
    reader.feed(page.decode())
    reader.close()
    return reader


def data_of(base: SessionRecording, new: SessionRecording) -> dict[str, Any]:
    (text, _) = (text for kind, text in read(page_of(base, new)).texts if kind == "script")
    found: dict[str, Any] = json.loads(text)
    return found


def by_path(data: dict[str, Any]) -> dict[tuple[str, ...], tuple[int, int, int, int]]:
    """Return calls and µs of the base, then of the new session, by path."""
    nodes = data["nodes"]
    paths: list[tuple[str, ...]] = []
    for node, (up, label) in enumerate(zip(nodes["up"], nodes["fn"], strict=True)):
        paths.append((*(paths[node - up] if up else ()), data["functions"][label][2]))
    rows = zip(nodes["calls0"], nodes["us0"], nodes["calls"], nodes["us"], strict=True)
    return dict(zip(paths, rows, strict=True))


@WAYS
def test_every_path_has_the_numbers_of_both(of_tree: bool) -> None:
    data = data_of(*sessions(of_tree=of_tree))
    found = by_path(data)
    assert found["GET /", "page", "price"] == (10, 40_000, 60, 240_000)
    assert found["GET /", "page", "legacy"] == (10, 100_000, 0, 0)
    assert found["GET /", "page", "fresh"] == (0, 0, 20, 120_000)
    assert found["GET /help", "help"] == (4, 12_000, 4, 12_000)
    assert len(found) == 8, "two routes and six functions, each in one place although their lines moved"
    assert data["isTree"] is of_tree
    assert data["counted"] is True
    assert (data["base"]["id"], data["new"]["id"]) == (BASE_ID, NEW_ID)
    assert [row[:2] + row[4:5] for row in data["routes"]] == [["GET /", 10, 20], ["GET /help", 4, 4]]


@WAYS
def test_what_the_verdict_says_is_there_with_callers_and_can_be_found(of_tree: bool) -> None:
    data = data_of(*sessions(of_tree=of_tree))
    kind, route, name, before, after, is_regression, begins_here, callers = data["changes"][0]
    assert (kind, route, name, before, after) == ("calls", "GET /", "pages:price", 1, 3)
    assert (is_regression, begins_here) == (True, True)
    assert callers == [["pages:page", 1, 3]]
    assert data["regressions"] == 2, "another one is fresh"
    names = {name: data["functions"][number][2] for name, number in data["names"]}
    assert names["pages:price"] == "price"
    assert names["pages:page"] == "page"


def test_call_graphs_bring_their_exact_costs_by_route() -> None:
    data = data_of(*sessions(of_tree=False))
    names = [row[2] for row in data["functions"]]
    costs = {(names[route], names[function]): numbers for route, function, *numbers in data["costs"]}
    assert costs["GET /", "price"] == [10, 40_000, 40_000, 60, 240_000, 240_000]
    assert costs["GET /", "page"] == [10, 20_000, 170_000, 20, 40_000, 420_000]
    assert data_of(*sessions(of_tree=True))["costs"] is None


def test_the_calls_of_a_function_are_counted_in_every_route() -> None:
    small = [call(f"small_{number}", 1e-6) for number in range(1000)]
    routes = [f"GET /{number}" for number in range(5)]
    plain = recording(dict.fromkeys(routes, profiled(small)))
    subject = replace(plain, requests=dict.fromkeys(routes, RouteTimes(1, 0, 0.1, 0.0, {})))
    data = data_of(subject, subject)
    calls: dict[str, int] = {}
    for _, function, before, *_ in data["costs"]:
        name = data["functions"][function][2]
        calls[name] = calls.get(name, 0) + before
    assert calls == {f"small_{number}": 5 for number in range(1000)}


def test_calls_of_call_graphs_are_those_of_the_caller_and_of_the_route_itself() -> None:
    twice = [
        call("a", 0.0, call("load", 0.001)),
        call("b", 0.0, call("load", 0.001), call("load", 0.001)),
        call("load", 0.001),
    ]
    subject = replace(recording({"GET /": profiled(twice)}), requests=sessions(of_tree=False)[0].requests)
    found = by_path(data_of(subject, subject))
    assert found["GET /", "a", "load"][0] == 1
    assert found["GET /", "b", "load"][0] == 2
    assert found["GET /", "load"][0] == 1


@settings(max_examples=25, deadline=None)
@given(call_trees(), call_trees())
def test_no_time_and_no_call_is_lost_or_made_up(one: tuple[Call, ...], two: tuple[Call, ...]) -> None:
    base, new = (tree_recording(recorded(Thread(1, "T", (Request("GET /", calls, own=100),)))) for calls in (one, two))
    nodes = data_of(base, new)["nodes"]
    for subject, times, calls in ((base, "us0", "calls0"), (new, "us", "calls")):
        tree = subject.recordings[0].data
        assert isinstance(tree, CallTree)
        assert sum(nodes[calls]) == sum(tree.calls)
        assert sum(nodes[times]) == sum(round(1e6 * seconds) for seconds in tree.self_times)


def test_a_recording_against_itself_has_no_difference() -> None:
    base, _ = sessions(of_tree=True)
    data = data_of(base, base)
    assert (data["changes"], data["changed"], data["regressions"]) == ([], 0, 0)
    assert data["nodes"]["calls"] == data["nodes"]["calls0"]
    assert data["nodes"]["us"] == data["nodes"]["us0"]


def test_samples_are_no_calls() -> None:
    base, new = (
        replace(
            subject,
            recordings=tuple(replace(item, engine="sampling", data=sampled(item.data)) for item in subject.recordings),
        )
        for subject in sessions(of_tree=True)
    )
    data = data_of(base, new)
    assert data["counted"] is False
    assert not any(data["nodes"]["calls"])
    assert any(data["nodes"]["us"])


def sampled(tree: object) -> CallTree:
    assert isinstance(tree, CallTree)
    return replace(tree, scope="sampled")


def test_notes_say_whose_they_are() -> None:
    base, new = sessions(of_tree=True)
    base, new = replace(base, notes=("Both.", "Old.")), replace(new, notes=("Both.", "Young."))
    notes = data_of(base, new)["notes"]
    assert {"Both.", "Base: Old.", "New: Young."} <= set(notes)


def test_it_is_as_strict_as_the_report_and_hostile_names_stay_data() -> None:
    harmless = read(page_of(*sessions(of_tree=True)))
    odd = Call(Function(HOSTILE, 3, HOSTILE), 0.002)
    base, new = (
        tree_recording(recorded(Thread(1, HOSTILE, (Request(HOSTILE, (odd,) * count),))), notes=(HOSTILE,))
        for count in (1, 3)
    )
    reader = read(page_of(base, new))
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in harmless.elements]
    for one in (harmless, reader):
        checked_policy(one)
        checked_to_refer_to_nothing(one)
    assert data_of(base, new)["changes"][0][1] == HOSTILE


def faster(tree: CallTree) -> CallTree:
    return replace(
        tree, self_times=[seconds / 2 for seconds in tree.self_times], calls=[3 * count for count in tree.calls]
    )


def test_five_thousand_nodes_fit_into_300_kilobytes() -> None:
    tree = big(5000)
    page = page_of(tree_recording(tree), tree_recording(faster(tree)))
    assert len(page) < 300_000


def test_more_than_can_be_drawn_is_folded_and_keeps_its_time() -> None:
    tree = big(2 * _difference.MOST_NODES)
    data = data_of(tree_recording(tree), tree_recording(faster(tree)))
    assert len(data["nodes"]["fn"]) <= _difference.MOST_NODES
    assert sum(data["nodes"]["us0"]) == pytest.approx(sum(tree.self_times) * 1e6, rel=1e-5)
    assert sum(data["nodes"]["us"]) == pytest.approx(sum(tree.self_times) * 5e5, rel=1e-4)
    assert any("(more functions)" in note for note in data["notes"])


def test_libraries_are_told_apart() -> None:
    data = data_of(*sessions(of_tree=False))
    kinds = {name: kind for _, _, name, kind in data["functions"]}
    assert kinds[LIBRARY.name] != kinds["page"]
