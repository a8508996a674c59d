"""Over HTTP, under real servers: the slow requests of all workers are kept, with their trace ids and their calls."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flask_profiling.model import CallTree, SessionRecording, SlowRequests
from tests.components import requires
from tests.integration.servers import NEEDS, Server, serve, wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
# Said here, for where packages are installed with --target they look like application code.
ENVIRONMENT = {"PROFILING_APP_PATHS": str(Path(__file__).parent), "PROFILING_SLOW_REQUEST": "0.0005"}


def stored(server: Server, stopped: Any) -> SlowRequests:
    path = next(name for name in stopped["artifacts"] if "/recording-" in name)
    recording = SessionRecording.from_json(json.loads((server.directory / path).read_bytes()))
    found = recording.recording("slowrequests")
    assert found is not None
    assert isinstance(found.data, SlowRequests)
    return found.data


def calls_of(tree: CallTree | None) -> dict[str, int]:
    """Return the calls by function of the application."""
    assert tree is not None
    found: dict[str, int] = {}
    for node, parent in enumerate(tree.parents):
        if parent >= 0 and tree.labels[node] not in tree.library:
            found[tree.name(node)] = found.get(tree.name(node), 0) + tree.calls[node]
    return found


@pytest.mark.parametrize(
    ("kind", "workers"),
    [
        pytest.param(kind, workers, marks=requires("asgiref", *NEEDS[kind]))
        for kind, workers in [("werkzeug", 1), ("gthread", 2), ("gevent", 2)]
    ],
)
def test_slow_requests_are_kept_one_by_one(tmp_path: Path, kind: str, workers: int) -> None:
    with serve(kind, tmp_path, workers=workers, environment=ENVIRONMENT) as server:
        server.worker_pids(at_least=workers)
        assert server.start(cpu="calltree").status == 200
        for path in ["/cheap", "/stream", "/async", "/error"]:
            server.request("GET", f"{path}?token=secret", headers=PARENT)
        server.load(["/cheap"] * 20)
        stopped = server.stop().json()
        kept = stored(server, stopped)
    cheap = [request for request in kept.requests if request.route == "GET /cheap [cheap_view]"]
    assert len(cheap) == 5  # of 21 that slept for a millisecond
    assert kept.seen >= 21
    for request in cheap:
        assert calls_of(request.tree) == {"cheap_view": 1, "cheap": 1, "shared": 1, "leaf": 1}
        assert request.wall_time >= 0.001
        assert request.status == 200
    assert [row["route"] for row in stopped["slowRequests"]] == [request.route for request in kept.requests]
    assert [row["traceId"] for row in stopped["slowRequests"]] == [request.trace_id for request in kept.requests]
    assert len({request.trace_id for request in cheap}) > 1
    assert "secret" not in json.dumps(stopped) + json.dumps(kept.to_json())


@requires("asgiref")
def test_a_request_is_known_by_its_trace_and_whole_in_whatever_threads_it_ran(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path, environment=ENVIRONMENT) as server:
        assert server.start(cpu="calltree", slow=0.00001).status == 200
        for path in ["/stream", "/async", "/error"]:
            server.request("GET", path, headers=PARENT)
        kept = {request.route: request for request in stored(server, server.stop().json()).requests}
    assert {request.trace_id for request in kept.values()} == {TRACE}
    assert calls_of(kept["GET /stream [stream_view]"].tree) == {"stream_view": 1, "chunks": 4, "leaf": 3}
    assert calls_of(kept["GET /async [async_view]"].tree) == {"async_view": 1, "dear": 1, "shared": 1, "leaf": 10}
    assert {route.split()[1]: request.status for route, request in kept.items()} == {
        "/stream": 200,
        "/async": 200,
        "/error": 500,
    }


def test_what_hangs_at_the_stop_is_kept_as_far_as_it_came(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path, environment=ENVIRONMENT) as server:
        assert server.start(cpu="calltree", slow=0.00001).status == 200
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(server.get, "/wait")
            wait_for(lambda: server.get("/waiting").body == b"1", "the request to hang")
            kept = stored(server, server.stop().json())
            server.request("POST", "/release")
            assert hanging.result(30).status == 200
    (request,) = [request for request in kept.requests if request.is_running]
    assert (request.route, request.status, request.cpu_time) == ("GET /wait [wait_view]", 0, None)
    assert calls_of(request.tree)["wait_view"] == 1


def test_without_the_setting_nothing_is_kept(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path) as server:
        server.start(cpu="calltree")
        server.get("/cheap")
        assert "slowRequests" not in server.stop().json()


def test_an_engine_of_call_graphs_lists_them_and_says_what_is_missing(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path, environment=ENVIRONMENT) as server:
        server.start(cpu="cprofile")
        server.get("/cheap")
        stopped = server.stop().json()
    assert [row["route"] for row in stopped["slowRequests"]] == ["GET /cheap [cheap_view]"]
    assert any("cpu=calltree" in note for note in stopped["notes"])
