"""Requests that are recorded each for itself: their own trees are exact, and those of the routes what they were."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flask_profiling.engines import EngineOptions, SingleRequestEngine, create
from flask_profiling.engines._recorder import Budget, Recorders
from flask_profiling.engines.calltree import CallTreeEngine
from flask_profiling.model import CallTree

from .harness import assert_true, known_part, no_collections
from .workloads import WORKLOADS

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    with no_collections():
        yield


def started(budget: Budget | None = None, scope: str = "app") -> CallTreeEngine:
    options = EngineOptions("prof-test", scope=scope, app_paths=(HERE,))
    engine = CallTreeEngine(options, recorders=Recorders(budget))
    engine.start()
    return engine


def serve(engine: CallTreeEngine, route: str, *views: Callable[[], object]) -> object:
    """Serve one request, which goes on as often as there are views; returns it."""
    request = engine.begin_request(route)
    for view in views:
        token = engine.enter_request(request)
        view()
        engine.leave(token)
    assert engine.end_request(request) > 0
    return request


def stopped(engine: CallTreeEngine) -> CallTree:
    data = engine.stop().data
    assert isinstance(data, CallTree)
    return data


def measured(*trees: CallTree) -> float:
    """Return the own time of all nodes, with what recording took: how that is estimated depends on the whole tree."""
    return sum(sum(tree.self_times) + sum(tree.overheads) for tree in trees)


def helper() -> int:
    return 1


def twice() -> None:
    helper()
    helper()


def many() -> None:
    for _ in range(20):
        helper()


def test_only_the_call_tree_tells_requests_apart() -> None:
    options = EngineOptions("prof-test")
    engines = {name: create(name, options) for name in ("cprofile", "calltree", "sampling")}
    assert [name for name, engine in engines.items() if isinstance(engine, SingleRequestEngine)] == ["calltree"]


@pytest.mark.parametrize("scope", ["app", "all"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_request_and_its_route_are_both_exact(name: str, scope: str) -> None:
    workload = WORKLOADS[name]
    engine = started(scope=scope)
    requests = [serve(engine, "GET /", workload.run) for _ in range(3)]
    whole = stopped(engine)
    assert_true(known_part(whole.graphs().routes["GET /"]), workload, 3)
    trees = [engine.request_tree(request) for request in requests]
    for tree in trees:
        assert_true(known_part(tree.graphs().routes["GET /"]), workload, 1)
    assert measured(*trees) == pytest.approx(measured(whole))


def test_requests_of_many_threads_stay_apart() -> None:
    engine = started()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(6) as pool:
        runs = [
            (name, pool.submit(serve, engine, "GET /", WORKLOADS[name].run)) for name in WORKLOADS for _ in range(5)
        ]
        requests = [(name, run.result(60)) for name, run in runs]
    sys.setswitchinterval(interval)
    whole = stopped(engine)
    for name, request in requests:
        assert_true(known_part(engine.request_tree(request).graphs().routes["GET /"]), WORKLOADS[name], 1)
    (track, *others) = whole.tracks
    for each in (track, *others):
        assert list(each.times) == sorted(each.times)
        assert min(each.times) >= 0
    assert sum(len(each.requests) for each in whole.tracks) == len(requests)


def test_a_request_that_goes_on_later_is_one() -> None:
    engine = started()
    request = serve(engine, "GET /", twice, helper)
    tree = engine.request_tree(request)
    assert sum(tree.calls[node] for node in range(len(tree)) if tree.name(node) == "helper") == 3
    assert tree.calls[0] == 2
    (track,) = stopped(engine).tracks
    assert len(track.requests) == 2


def test_a_request_inside_another_belongs_to_the_outer_one() -> None:
    engine = started()
    outer = engine.begin_request("GET /outer")
    token = engine.enter_request(outer)
    inner = engine.begin_request("GET /inner")
    assert engine.enter_request(inner) is None
    helper()
    engine.end_request(inner)
    engine.leave(token)
    engine.end_request(outer)
    assert [engine.request_tree(outer).name(node) for node in range(2)] == ["GET /outer", "helper"]
    assert stopped(engine).graphs().routes["GET /outer"].functions


def test_a_request_that_runs_at_the_stop_is_counted_as_far_as_it_came() -> None:
    engine = started()
    request = engine.begin_request("GET /")
    token = engine.enter_request(request)
    twice()
    whole = stopped(engine)
    assert [(whole.name(node), whole.calls[node]) for node in range(3)] == [("GET /", 1), ("twice", 1), ("helper", 2)]
    engine.leave(token)
    engine.end_request(request)
    assert engine.enter_request(request) is None
    tree = engine.request_tree(request)
    assert tree.calls == whole.calls
    assert tree.self_times == whole.self_times


def test_a_session_without_room_loses_paths_and_says_so_while_requests_keep_theirs() -> None:
    engine = started(Budget(nodes=1))
    requests = [serve(engine, "GET /", twice) for _ in range(2)]
    recording = engine.stop()
    whole = recording.data
    assert isinstance(whole, CallTree)
    assert [(whole.name(node), whole.calls[node]) for node in range(len(whole))] == [("GET /", 2), ("twice", 2)]
    assert any(note.startswith("Calls that found no room for a path of their own: 4.") for note in recording.notes)
    trees = [engine.request_tree(request) for request in requests]
    assert [tree.calls for tree in trees] == [(1, 1, 2)] * 2
    assert measured(whole) == pytest.approx(measured(*trees))


def test_below_a_path_without_room_nothing_is_counted_as_somebody_elses() -> None:
    engine = started(Budget(nodes=1))
    serve(engine, "GET /", lambda: None)
    serve(engine, "GET /", twice)
    recording = engine.stop()
    whole = recording.data
    assert isinstance(whole, CallTree)
    assert [(whole.name(node), whole.calls[node]) for node in range(len(whole))] == [("GET /", 2), ("<lambda>", 1)]
    assert any(note.startswith("Calls that found no room for a path of their own: 3.") for note in recording.notes)


def test_the_timeline_of_a_session_ends_for_good_where_a_request_finds_no_room() -> None:
    engine = started(Budget(transitions=12))
    requests = [serve(engine, "GET /", view) for view in (twice, many, twice)]
    recording = engine.stop()
    whole = recording.data
    assert isinstance(whole, CallTree)
    assert [len(track.requests) for track in whole.tracks] == [1]
    assert whole.dropped > 0
    assert whole.calls[0] == 3
    trees = [engine.request_tree(request) for request in requests]
    assert [tree.dropped for tree in trees] == [0, 0, 0]
    assert len(trees[1].tracks[0].times) == 2 + 2 + 2 * 20


def test_nothing_of_a_request_is_left_in_a_child() -> None:
    engine = started()
    request = engine.begin_request("GET /")
    token = engine.enter_request(request)
    engine.abandon()
    engine.leave(token)
    assert engine.enter_request(request) is None


def test_what_is_no_request_is_refused() -> None:
    engine = started()
    assert engine.enter_request("GET /") is None
    assert engine.end_request("GET /") == 0
    with pytest.raises(TypeError, match="request was expected"):
        engine.request_tree("GET /")
    engine.stop()
