"""Ends of real processes: signals, kills, recycling, reloads, restarts; nothing collected is lost, nothing is stuck."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.components import requires
from tests.integration.servers import NEEDS, Server, serve, wait_for

FINALISED_WITHIN = 12.0

SERVERS = [
    pytest.param("werkzeug", 1, id="werkzeug"),
    pytest.param("waitress", 1, marks=requires(*NEEDS["waitress"]), id="waitress"),
    pytest.param("sync", 2, marks=requires(*NEEDS["sync"]), id="sync"),
    pytest.param("gthread", 2, marks=requires(*NEEDS["gthread"]), id="gthread"),
    pytest.param("preload", 2, marks=requires(*NEEDS["preload"]), id="preload"),
]


def recordings(server: Server) -> list[Any]:
    return [json.loads(path.read_bytes()) for path in sorted(server.output.glob("recording-*.json"))]


def requests_of(recording: Any, endpoint: str) -> int:
    return sum(times["requests"] for route, times in recording["requests"].items() if f"[{endpoint}]" in route)


def temporary_files(server: Server) -> list[str]:
    return [path.name for path in server.output.rglob("*") if "tmp" in path.name]


@pytest.mark.parametrize(("kind", "workers"), SERVERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_running_session_is_finished_when_the_server_is_told_to_end(
    kind: str, workers: int, number: signal.Signals, tmp_path: Path
) -> None:
    with serve(kind, tmp_path, workers=workers) as server:
        server.worker_pids(at_least=workers)
        assert server.start().status == 200
        assert set(server.load(["/dear"] * 20)) == {200}
        begun = time.monotonic()
        status = server.end(number)
        assert time.monotonic() - begun < FINALISED_WITHIN
    # A server that dies of the signal without us dies of it with us.
    assert status in (
        (-number,) if kind in ("werkzeug", "waitress") and number == signal.SIGTERM else (0, 1, 130, -number)
    )
    (recording,) = recordings(server)
    assert recording["session"]["endedBy"] == "shutdown"
    assert requests_of(recording, "dear_view") == 20
    assert temporary_files(server) == []


@pytest.mark.parametrize(("kind", "workers"), SERVERS)
def test_an_idle_server_ends_as_it_would_without_us(kind: str, workers: int, tmp_path: Path) -> None:
    with serve(kind, tmp_path, workers=workers) as server:
        server.worker_pids(at_least=workers)
        begun = time.monotonic()
        server.end()
        assert time.monotonic() - begun < 5
    assert list((server.output / ".state" / "workers").iterdir()) == []


@pytest.mark.parametrize(("kind", "workers"), [("werkzeug", 1), pytest.param("sync", 2, marks=requires("gunicorn"))])
def test_a_session_of_a_killed_server_is_recovered_by_the_next(kind: str, workers: int, tmp_path: Path) -> None:
    with serve(kind, tmp_path, workers=workers) as server:
        pids = server.worker_pids(at_least=workers)
        session_id = server.start().json()["sessionId"]
        for pid in {server.process.pid, *pids}:
            os.kill(pid, signal.SIGKILL)
        server.end(signal.SIGKILL)
    with serve(kind, tmp_path, workers=workers) as server:
        wait_for(lambda: server.status()["lastSession"], "the dead session to be recovered")
        status = server.status()
        assert status["active"] is False
        assert (status["lastSession"]["id"], status["lastSession"]["endedBy"]) == (session_id, "recovered")
        assert server.start().status == 200
        assert server.stop().status == 200


@requires("gunicorn")
def test_a_killed_worker_loses_its_own_requests_only_and_is_named(tmp_path: Path) -> None:
    with serve("sync", tmp_path, workers=2) as server:
        pids = server.worker_pids(at_least=2)
        assert server.start().status == 200
        victim = min(pids)
        answered = Counter(int(server.get("/pid").body) for _ in range(40))
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(server.worker_pids(at_least=1) - {victim}) == 2 or server.get("/pid").status, "the others")
        stopped = server.stop().json()
        assert [worker["pid"] for worker in stopped["missing"]] == [victim]
        (recording,) = recordings(server)
        assert requests_of(recording, "pid_view") >= answered.total() - answered[victim]


@requires("gunicorn")
@pytest.mark.parametrize("workers", [1, 2])
def test_recycled_workers_lose_no_request(workers: int, tmp_path: Path) -> None:
    arguments = ("--max-requests", "15")
    with serve("sync", tmp_path, workers=workers, arguments=arguments) as server:
        assert server.start().status == 200
        codes = Counter(server.load(["/dear"] * 100, threads=2))
        assert codes == {200: 100}
        stopped = server.stop()
        assert stopped.status == 200
        (recording,) = recordings(server)
        assert requests_of(recording, "dear_view") == 100
        assert len(stopped.json()["workers"]) > workers


@requires("gunicorn")
def test_fifty_concurrent_starts_give_one_session(tmp_path: Path) -> None:
    with serve("gthread", tmp_path, workers=2) as server:
        server.worker_pids(at_least=2)
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: server.start(), range(50)))
        assert Counter(answer.status for answer in answers) == {200: 1, 409: 49}
        assert {answer.json()["error"] for answer in answers if answer.status == 409} == {"already_running"}
        assert server.stop().status == 200


@requires("gunicorn")
def test_all_workers_agree_on_the_status(tmp_path: Path) -> None:
    with serve("sync", tmp_path, workers=3) as server:
        server.worker_pids(at_least=3)
        session_id = server.start().json()["sessionId"]
        seen = [server.status() for _ in range(12)]
        assert {status["session"]["id"] for status in seen} == {session_id}
        assert {len(status["workers"]) for status in seen} == {3}
        server.stop()
        seen = [server.status() for _ in range(12)]
        assert {(status["active"], status["lastSession"]["id"]) for status in seen} == {(False, session_id)}


def test_a_reload_ends_the_session_and_the_next_works(tmp_path: Path) -> None:
    source = tmp_path / "reloaded.py"
    source.write_text("from tests.integration.known_app import create_app\napp = create_app()\n")
    with serve("werkzeug", tmp_path, app="reloaded", arguments=("--debug",)) as server:
        before = server.worker_pids(at_least=1)
        assert server.start().status == 200
        assert set(server.load(["/dear"] * 5)) == {200}
        source.write_text(source.read_text() + "# changed\n")
        wait_for(lambda: int(server.get("/pid").body) not in before, "the reloaded app", seconds=30)
        wait_for(lambda: not server.status()["active"], "the session of the old process to end")
        (recording,) = recordings(server)
        assert requests_of(recording, "dear_view") == 5
        assert server.start().status == 200
        assert server.stop().status == 200


def test_a_forgotten_session_stops_itself(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path) as server:
        assert server.start(seconds=1).status == 200
        server.get("/dear")
        wait_for(lambda: not server.status()["active"], "the session to stop itself")
        assert server.status()["lastSession"]["endedBy"] == "deadline"
        assert len(recordings(server)) == 1


def test_artifacts_go_with_the_server_where_that_is_asked_for(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path, environment={"PROFILING_CLEANUP_ON_EXIT": "true"}) as server:
        server.start()
        server.stop()
        assert list(server.output.glob("*.cpuprofile"))
        server.end()
    assert [path.name for path in server.output.iterdir() if path.is_file()] == []


def test_requests_under_way_at_start_and_stop_are_said_and_survive(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path) as server, ThreadPoolExecutor(2) as pool:
        before = pool.submit(server.get, "/wait")
        assert server.start().status == 200
        during = pool.submit(server.get, "/wait")
        server.load(["/cheap"] * 5)
        stopped = server.stop().json()
        assert any("already running when the session started" in note for note in stopped["notes"])
        assert any("still running" in note for note in stopped["notes"])
        server.request("POST", "/release")
        server.request("POST", "/release")
        assert before.result(20).body == during.result(20).body == b"True"
        assert server.start().status == 200
        server.load(["/cheap"] * 5)
        server.stop()
        assert requests_of(recordings(server)[-1], "cheap_view") == 5
