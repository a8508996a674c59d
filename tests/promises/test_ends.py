"""P14, P15: ends of real processes, by signals, kills, recycling and reloads; nothing collected is lost, nothing is
stuck."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.components import requires
from tests.integration.servers import OWN_APP, Server, kinds, own_app, serve, wait_for
from tests.ports import free_port
from tests.promises.failures import publish, told
from tests.promises.recordings import recordings, requests_of, temporary_files

# The promise is 12 s, of a machine with time for it; a busy one may take what gunicorn gives its
# workers before it kills them.
ENDED_WITHIN = 30.0
SERVERS = kinds("werkzeug", "waitress", "sync", "gthread", "preload", "uwsgi", "uwsgi-lazy")

ENDING = """
import os, signal, time
from tests.integration.known_app import create_app as known
def create_app():
    app = known()
    @app.get("/exit/<int:pid>")
    def exit_view(pid):
        if pid == os.getpid():
            os._exit(9)
        return "another"
    return app
"""


def kill(server: Server, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def end_from_inside(server: Server, pid: int) -> None:
    """Ask until the worker of that pid is asked and ends itself."""

    def gone() -> bool:
        if Path(f"/proc/{pid}").exists():
            server.get(f"/exit/{pid}")
        return not Path(f"/proc/{pid}").exists()

    wait_for(gone, "the worker to end itself")


def hang(server: Server, pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def answered_by(server: Server, pids: set[int], times: int) -> dict[int, int]:
    """Ask for ``/pid`` so many times; returns how many each worker answered, once each of them did."""
    counts = dict.fromkeys(pids, 0)
    for _ in range(times):
        counts[int(server.get("/pid").body)] += 1
    return counts


def every_worker_is_idle(port: int) -> bool:
    """Tell whether uWSGI takes each of its workers for idle, which can be later than the client has its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, connection.makefile("rb") as answer:
        return {worker["status"] for worker in json.load(answer)["workers"]} == {"idle"}


class TestP14NeverStuck:
    """However a process ends, nobody is stuck, and what is lost is named."""

    @requires("gunicorn")
    @pytest.mark.parametrize(
        ("end", "fault"),
        [(kill, "a worker is killed (kill -9, out of memory)"), (hang, "a worker hangs")],
        ids=["kill", "hang"],
    )
    def test_a_worker_that_is_gone_loses_its_own_requests_only_and_is_named(
        self, end: Callable[[Server, int], None], fault: str, tmp_path: Path
    ) -> None:
        with serve("sync", tmp_path, workers=2) as server:
            pids = server.worker_pids(at_least=2)
            assert server.start().status == 200
            served = answered_by(server, pids, 40)
            victim = max(served, key=lambda pid: served[pid])
            end(server, victim)
            try:
                answered = server.load(["/cheap"] * 10)
                stopped = server.stop()
            finally:
                if end is hang:
                    os.kill(victim, signal.SIGCONT)
            assert stopped.status == 200
            assert [worker["pid"] for worker in stopped.json()["missing"]] == [victim]
            (recording,) = recordings(server)
            assert requests_of(recording, "pid_view") == 40 - served[victim]
            assert served[victim] > 0
            wait_for(lambda: server.start().status == 200, "the next session")
            assert server.stop().status == 200
            others = "what the other workers served"
            publish(fault, requests=answered, answer=told(stopped), kept=others, lost="what that worker served")

    @requires("gunicorn")
    def test_a_worker_that_ends_itself_at_once_is_named(self, tmp_path: Path) -> None:
        with serve("sync", tmp_path, workers=2, app=OWN_APP, environment=own_app(tmp_path, ENDING)) as server:
            pids = server.worker_pids(at_least=2)
            assert server.start().status == 200
            victim = min(pids)
            assert server.load(["/dear"] * 10) == [200] * 10
            end_from_inside(server, victim)
            answered = server.load(["/cheap"] * 10)
            stopped = server.stop()
            assert stopped.status == 200
            assert victim in [worker["pid"] for worker in stopped.json()["missing"]]
            assert server.start().status == 200
            assert server.stop().status == 200
            publish(
                "a worker ends itself at once (os._exit, a crash in C)",
                requests=answered,
                answer=told(stopped),
                kept="what the other workers served",
                lost="what that worker served",
            )

    @pytest.mark.parametrize(("kind", "workers"), kinds("werkzeug", "waitress", "sync", "uwsgi"))
    def test_a_session_of_a_killed_server_is_recovered_by_the_next(
        self, kind: str, workers: int, tmp_path: Path
    ) -> None:
        with serve(kind, tmp_path, workers=workers) as server:
            pids = server.worker_pids(at_least=workers)
            session_id = server.start().json()["sessionId"]
            assert server.load(["/dear"] * 10) == [200] * 10
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
            publish(
                "the whole server is killed (kill -9, power)",
                requests="none until it is back",
                answer="the next server recovers the session and says so",
                kept="nothing",
                lost="everything",
            )

    def test_a_reload_ends_the_session_and_the_next_works(self, tmp_path: Path) -> None:
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
            publish(
                "the reloader restarts the app",
                requests=[200] * 5,
                answer="the session ends with the old process, and is stored",
                kept="everything",
                lost="nothing",
            )

    def test_a_forgotten_session_stops_itself(self, tmp_path: Path) -> None:
        with serve("werkzeug", tmp_path) as server:
            begun = time.monotonic()
            assert server.start(seconds=3).status == 200
            answered = server.load(["/dear"] * 5)
            in_time = time.monotonic() - begun < 2
            wait_for(lambda: not server.status()["active"], "the session to stop itself")
            assert server.status()["lastSession"]["endedBy"] == "deadline"
            assert len(recordings(server)) == 1
            assert requests_of(recordings(server)[0], "dear_view") == 5 or not in_time
            publish(
                "nobody stops the session",
                requests=answered,
                answer="it stops itself at its deadline",
                kept="everything",
                lost="nothing",
            )


class TestP15EndsAreOrderly:
    """SIGTERM and SIGINT finalise in time; the host's own handlers and atexit run (see test_host_unharmed.py)."""

    @pytest.mark.parametrize(("kind", "workers"), SERVERS)
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    def test_a_running_session_is_finished_when_the_server_is_told_to_end(
        self, kind: str, workers: int, number: signal.Signals, tmp_path: Path
    ) -> None:
        statistics = free_port()
        arguments = ("--stats", f"127.0.0.1:{statistics}") if kind.startswith("uwsgi") else ()
        with serve(kind, tmp_path, workers=workers, arguments=arguments) as server:
            server.worker_pids(at_least=workers)
            assert server.start().status == 200
            assert set(server.load(["/dear"] * 20)) == {200}
            if arguments:  # uWSGI runs no atexit in a worker that it takes for busy
                wait_for(lambda: every_worker_is_idle(statistics), "uWSGI to see that its workers are idle")
            status = server.end(number, timeout=ENDED_WITHIN)
        # A server that dies of the signal without us dies of it with us.
        assert status in (
            (-number,) if kind in ("werkzeug", "waitress") and number == signal.SIGTERM else (0, 1, 130, -number)
        )
        (recording,) = recordings(server)
        assert recording["session"]["endedBy"] == "shutdown"
        assert recording["missing"] == []
        assert requests_of(recording, "dear_view") == 20
        assert temporary_files(server) == []
        publish(
            f"the server is told to end ({number.name})",
            requests=[200] * 20,
            answer="the session is finished within 12 s",
            kept="everything",
            lost="nothing",
        )

    @pytest.mark.parametrize(("kind", "workers"), SERVERS)
    def test_an_idle_server_ends_as_it_would_without_us(self, kind: str, workers: int, tmp_path: Path) -> None:
        with serve(kind, tmp_path, workers=workers) as server:
            server.worker_pids(at_least=workers)
            server.end(timeout=ENDED_WITHIN)
        # uWSGI may take a worker for busy, as above; the next worker sweeps what is left.
        if not kind.startswith("uwsgi"):
            assert list((server.output / ".state" / "workers").iterdir()) == []

    def test_artifacts_go_with_the_server_where_that_is_asked_for(self, tmp_path: Path) -> None:
        with serve("werkzeug", tmp_path, environment={"PROFILING_CLEANUP_ON_EXIT": "true"}) as server:
            server.start()
            server.stop()
            assert list(server.output.glob("*.cpuprofile"))
            server.end()
        assert [path.name for path in server.output.iterdir() if path.is_file()] == []
