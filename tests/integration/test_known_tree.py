"""Through HTTP, under several servers: the call tree of a threaded workload has exact counts and not one false path."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_profiling.model import CallTree, SessionRecording
from tests.components import requires
from tests.integration.known_app import TRUE_PATHS
from tests.integration.paths import application_paths
from tests.integration.servers import NEEDS, serve

ROUNDS = 10
ROUTES = ["/cheap", "/dear", "/stream", "/error"]
NOT_ASKED = {"GET /items/<int:number> [item_view]", "GET /both [both_view]"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((kind, workers), marks=requires("asgiref", *NEEDS[kind]), id=f"{kind}-{workers}")
        for kind, workers in [("werkzeug", 1), ("waitress", 1), ("gthread", 2), ("gevent", 2)]
    ],
)
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionRecording]:
    kind, workers = request.param
    # Said here, for where packages are installed with --target they look like application code.
    paths = {"PROFILING_APP_PATHS": str(Path(__file__).parent)}
    with serve(kind, tmp_path_factory.mktemp(kind), workers=workers, environment=paths) as server:
        server.worker_pids(at_least=workers)
        assert server.start(cpu="calltree").status == 200
        server.load(ROUTES * ROUNDS)
        for _ in range(ROUNDS):
            assert server.get("/async").status == 200
        answer = server.stop()
        stored = next(name for name in answer.json()["artifacts"] if "/recording-" in name)
        yield SessionRecording.from_json(json.loads((server.directory / stored).read_bytes()))


def tree_of(recording: SessionRecording) -> CallTree:
    (item,) = recording.recordings
    assert isinstance(item.data, CallTree)
    return item.data


def test_every_path_is_true_and_counted(recording: SessionRecording) -> None:
    tree = tree_of(recording)
    found = application_paths(tree, lambda label: label not in tree.library)
    assert {route: dict(paths) for route, paths in found.items() if "/pid" not in route} == {
        route: {path: calls * ROUNDS for path, calls in paths.items()}
        for route, paths in TRUE_PATHS.items()
        if route not in NOT_ASKED
    }


def test_waiting_is_shown_where_the_application_waits(recording: SessionRecording) -> None:
    requests = recording.requests["GET /cheap [cheap_view]"]
    assert requests.requests == ROUNDS
    # the view sleeps for a millisecond
    assert requests.wall_time >= 0.001 * ROUNDS
    assert requests.cpu_time < requests.wall_time


def test_the_tracks_name_every_request(recording: SessionRecording) -> None:
    tree = tree_of(recording)
    requests = Counter(tree.routes[route] for track in tree.tracks for route, _, _ in track.requests)
    assert requests["GET /cheap [cheap_view]"] >= ROUNDS
    assert all(begin <= end for track in tree.tracks for _, begin, end in track.requests)
    assert {track.worker for track in tree.tracks} == {worker.pid for worker in recording.workers}
