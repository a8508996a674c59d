"""Through HTTP, under every server: counts and edges of a threaded workload are exact, and no edge is false."""

from __future__ import annotations

import json
import pstats
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from flask_profiling.model import ApplicationTree, SessionRecording
from tests.components import requires
from tests.integration.known_app import TRUE_PATHS
from tests.integration.paths import application_paths, chrome_paths
from tests.integration.servers import NEEDS, Answer, Server, serve

ROUNDS = 15
PATHS = ["/cheap", "/dear", "/stream", "/items/7", "/error", "/both"] * ROUNDS
# An event loop belongs to a thread, which greenlets share: asgiref refuses some requests under gevent, without us too.
ASYNC_PATHS = ["/async"] * ROUNDS

# caller, callee, calls per round
TRUE_EDGES = {
    ("cheap_view", "cheap"): 1,
    ("cheap", "shared"): 1,
    ("dear_view", "dear"): 1,
    ("async_view", "dear"): 1,
    ("dear", "shared"): 2,
    ("shared", "leaf"): 21,
    ("dear_view", "recurse"): 1,
    ("recurse", "recurse"): 5,
    ("chunks", "leaf"): 3,
    ("both_view", "quick"): 1,
    ("both_view", "slow"): 1,
    ("quick", "prepare"): 1,
    ("slow", "prepare"): 1,
    ("prepare", "pause"): 2,
}
CALLS = {
    "cheap_view": 1,
    "dear_view": 1,
    "async_view": 1,
    "stream_view": 1,
    "item_view": 1,
    "error_view": 1,
    "cheap": 1,
    "dear": 2,
    "shared": 3,
    "recurse": 6,
    "leaf": 1 + 20 + 3,
    "chunks": 4,
    "both_view": 1,
    "quick": 1,
    "slow": 1,
    "prepare": 2,
    "pause": 2,
}


paths_beside = pytest.mark.skipif(sys.version_info < (3, 12), reason="application paths need sys.monitoring")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((kind, workers), marks=requires("asgiref", *NEEDS[kind]), id=f"{kind}-{workers}")
        for kind, workers in [
            ("werkzeug", 1),
            ("waitress", 1),
            ("sync", 2),
            ("gthread", 2),
            ("preload", 2),
            ("gevent", 2),
        ]
    ],
)
def profiled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Answer]]:
    kind, workers = request.param
    with serve(kind, tmp_path_factory.mktemp(kind), workers=workers) as server:
        server.worker_pids(at_least=workers)
        assert server.start().status == 200
        codes = server.load(PATHS)
        for path in ASYNC_PATHS if kind == "gevent" else []:
            codes.append(server.get(path).status)
        codes += server.load(ASYNC_PATHS if kind != "gevent" else [])
        answer = server.stop()
        assert sorted(set(codes)) == [200, 500]
        yield server, answer


def in_known_app(function: tuple[str, int, str]) -> bool:
    return function[0].endswith("known_app.py")


def stats_of(server: Server, answer: Answer) -> Any:
    return pstats.Stats(str(server.artifact(answer, ".prof"))).stats  # type: ignore[attr-defined]


def test_every_call_of_every_thread_and_worker_is_counted(profiled: tuple[Server, Answer]) -> None:
    counts = {function[2]: values[1] for function, values in stats_of(*profiled).items() if in_known_app(function)}
    assert {name: counts.get(name) for name in CALLS} == {name: calls * ROUNDS for name, calls in CALLS.items()}


def test_every_edge_is_counted_and_none_is_false(profiled: tuple[Server, Answer]) -> None:
    edges = {
        (caller[2], function[2]): values[0]
        for function, (_, _, _, _, callers) in stats_of(*profiled).items()
        for caller, values in callers.items()
        if in_known_app(function) and in_known_app(caller)
    }
    assert edges == {edge: calls * ROUNDS for edge, calls in TRUE_EDGES.items()}


def test_nothing_of_the_profiler_itself_is_in_the_profile(profiled: tuple[Server, Answer]) -> None:
    assert [function for function in stats_of(*profiled) if "/flask_profiling/" in function[0]] == []


def test_requests_are_counted_per_route(profiled: tuple[Server, Answer]) -> None:
    server, answer = profiled
    recording = json.loads(server.artifact(answer, ".json").read_bytes())
    requests = {route: times["requests"] for route, times in recording["requests"].items() if "/pid" not in route}
    assert requests == {
        "GET /cheap [cheap_view]": ROUNDS,
        "GET /dear [dear_view]": ROUNDS,
        "GET /stream [stream_view]": ROUNDS,
        "GET /items/<int:number> [item_view]": ROUNDS,
        "GET /async [async_view]": ROUNDS,
        "GET /error [error_view]": ROUNDS,
        "GET /both [both_view]": ROUNDS,
    }
    errors = {route: times["errors"] for route, times in recording["requests"].items() if times["errors"]}
    assert errors == {"GET /error [error_view]": ROUNDS}


def test_the_chrome_profile_has_the_routes_as_first_level(profiled: tuple[Server, Answer]) -> None:
    server, answer = profiled
    profile = json.loads(server.artifact(answer, ".cpuprofile").read_bytes())
    nodes = {node["id"]: node for node in profile["nodes"]}
    first_level = {nodes[child]["callFrame"]["functionName"] for child in profile["nodes"][0]["children"]}
    assert "GET /items/<int:number> [item_view]" in first_level


@paths_beside
def test_the_chrome_profile_has_every_path_of_the_application_and_no_false_one(
    profiled: tuple[Server, Answer],
) -> None:
    server, answer = profiled
    profile = json.loads(server.artifact(answer, ".cpuprofile").read_bytes())
    times, remarks = chrome_paths(profile, "known_app.py")
    truth = {(route, *path) for route, paths in TRUE_PATHS.items() for path in paths}
    assert {path for path in times if len(path) > 1 and "/pid" not in path[0]} == truth
    # gevent's sleep is library code: how much of what both ways share is below it, and how much beside, is a guess
    assert {path[-1] for path in remarks} <= {"pause"}


@paths_beside
def test_the_paths_of_the_application_are_counted(profiled: tuple[Server, Answer]) -> None:
    server, answer = profiled
    recording = SessionRecording.from_json(json.loads(server.artifact(answer, ".json").read_bytes()))
    found = recording.recording("apptree")
    assert found is not None
    assert isinstance(found.data, ApplicationTree)
    tree = found.data.tree
    counted = application_paths(tree, lambda label: tree.functions[label].file.endswith("known_app.py"))
    assert {route: dict(paths) for route, paths in counted.items() if "/pid" not in route} == {
        route: {path: calls * ROUNDS for path, calls in paths.items()} for route, paths in TRUE_PATHS.items()
    }


@paths_beside
def test_time_is_where_it_was_spent_and_not_where_edges_allow_it(profiled: tuple[Server, Answer]) -> None:
    server, answer = profiled
    times, _ = chrome_paths(json.loads(server.artifact(answer, ".cpuprofile").read_bytes()), "known_app.py")
    route = "GET /both [both_view]"
    # slept for 2 and for 100 ms, and then waited for others; a tree of edges alone gives each way a half
    quick, slow = (times[route, "both_view", name, "prepare", "pause"] for name in ("quick", "slow"))
    assert slow > 1.1 * quick > 0


def test_every_worker_delivered(profiled: tuple[Server, Answer]) -> None:
    server, answer = profiled
    document = answer.json()
    assert document["missing"] == []
    assert {worker["pid"] for worker in document["workers"]} >= server.worker_pids(at_least=1)
    assert list((server.output / ".state" / "parts").iterdir()) == []
