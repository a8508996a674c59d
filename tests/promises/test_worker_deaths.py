"""P14: one of two workers of each kind of server is killed while no session runs, while one starts, runs and stops.

Kills at every single call that a worker makes: test_kills.py. Ends of whole servers: test_ends.py.
"""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers import Answer, Server, kinds, serve, wait_for
from tests.promises.disks import assert_all_is_well_again
from tests.promises.failures import publish, told
from tests.promises.recordings import recordings, requests_of

SERVERS = kinds("sync", "gthread", "gevent", "preload", "uwsgi")


@contextmanager
def stopped_process(pid: int) -> Iterator[None]:
    """Let a process stand still; whoever waits for it waits."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: state(pid) == "T", "the process to stand still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def state(pid: int) -> str:
    """Return the state of a process as the kernel names it."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]


def dead(pid: int) -> bool:
    """Tell whether a process is dead with all its threads: the last of them lets go of its locks."""
    try:
        return state(pid) == "Z" and len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    except OSError:
        return True


def asked(ask: Callable[[], Answer]) -> Answer | None:
    """Return the answer, or None where who would have given it died."""
    with suppress(OSError, http.client.HTTPException):
        return ask()
    return None


def killed_while(ask: Callable[[], Answer], server: Server, sign: str) -> Answer | None:
    """Kill the worker that is asked as soon as a file that matches ``sign`` is there, while it waits for the other.

    In ``sign``, ``PID`` stands for the worker's.
    """
    waits, dies = server.worker_pids(at_least=2)
    with ThreadPoolExecutor(1) as pool:
        with stopped_process(waits):
            answer = pool.submit(asked, ask)
            wait_for(lambda: list(server.output.glob(sign.replace("PID", str(dies)))), "the moment to kill")
            os.kill(dies, signal.SIGKILL)
            wait_for(lambda: dead(dies), "the death of the worker")
        return answer.result(60)


@pytest.mark.parametrize(("kind", "workers"), SERVERS)
class TestP14AWorkerKilledInAnyState:
    """It costs at most what that worker itself had served, and never the next session."""

    def test_a_worker_that_dies_costs_its_own_share_at_most(self, kind: str, workers: int, tmp_path: Path) -> None:
        with serve(kind, tmp_path, workers=workers) as server:
            idle(server)
            running(server)
            starting(server)
            stopping(server)


def idle(server: Server) -> None:
    os.kill(min(server.worker_pids(at_least=2)), signal.SIGKILL)
    answered = server.load(["/dear"] * 10)
    assert_all_is_well_again(server)
    publish(
        "a worker is killed while no session runs",
        requests=answered,
        answer="200 at the next start",
        kept="there was nothing",
        lost="nothing",
    )


def running(server: Server) -> None:
    pids = server.worker_pids(at_least=2)
    assert server.start().status == 200
    served = dict.fromkeys(pids, 0)
    for _ in range(40):
        served[int(server.get("/pid").body)] += 1
    victim = max(served, key=lambda pid: served[pid])
    os.kill(victim, signal.SIGKILL)
    answered = server.load(["/cheap"] * 10)
    stopped = server.stop()
    assert [worker["pid"] for worker in stopped.json()["missing"]] == [victim]
    stored = requests_of(recording_of(server, stopped.json()["sessionId"]), "pid_view")
    assert stored == 40 - served[victim] < 40
    assert_all_is_well_again(server)
    publish(
        "a worker is killed (kill -9, out of memory)",
        requests=answered,
        answer=told(stopped),
        kept="what the other workers served",
        lost="what that worker served",
    )


def starting(server: Server) -> None:
    answer = killed_while(server.start, server, ".state/session.json")
    assert answer is None or answer.status == 200  # it was faster
    answered = server.load(["/dear"] * 10)
    wait_for(lambda: recovered(server.status()), "the dead start to be recovered")
    assert_all_is_well_again(server)
    publish(
        "the worker that starts the session is killed meanwhile",
        requests=answered,
        answer="no answer; the session is over, unless another worker had begun it",
        kept="nothing was recorded yet",
        lost="nothing",
    )


def stopping(server: Server) -> None:
    wait_for(lambda: len(server.worker_pids(at_least=2)) == 2, "both workers")
    session_id = server.start().json()["sessionId"]
    answered = server.load(["/dear"] * 10)
    killed_while(server.stop, server, ".state/parts/*/PID-*.json")
    answered += server.load(["/cheap"] * 10)
    wait_for(lambda: recording_of(server, session_id), "another worker to store it")
    assert requests_of(recording_of(server, session_id), "dear_view") == 10
    wait_for(lambda: server.status()["lastSession"]["id"] == session_id, "the end to be known")
    assert_all_is_well_again(server)
    publish(
        "the worker that stops the session is killed meanwhile",
        requests=answered,
        answer="no answer; another worker stores everything",
        kept="everything",
        lost="nothing",
    )


def recovered(status: Any) -> bool:
    """Tell whether nothing runs, and the last session was cut short."""
    return not status["active"] and (status["lastSession"] or {}).get("endedBy") == "recovered"


def recording_of(server: Server, session_id: str) -> object:
    """Return the stored recording of a session, or None."""
    return next((each for each in recordings(server) if each["session"]["id"] == session_id), None)
