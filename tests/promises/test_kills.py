"""P14, P16: a worker killed at every call that it makes, and a host that forks at the worst moment: the next start
works, the dead are named, nothing half-made is seen."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_profiling.sessions import Stopped
from tests.faults import FALLIBLE
from tests.promises.test_faults import assert_whole, visible
from tests.sessions.machines import CPU, Machine, machine

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


class KillingSystem:
    """The real operating system, but at its ``nth`` call about files the process is killed."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def __getattr__(self, name: str) -> Any:
        if name in FALLIBLE:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return getattr(os, name)


def killed(life: Callable[[Machine], object], output: Path, nth: int) -> int | None:
    """Live as a worker in a process that is killed at its ``nth`` call; returns its pid, None if it outlived that."""
    pid = os.fork()
    if pid == 0:
        try:
            life(machine(output, pid=os.getpid(), system=KillingSystem(nth)))
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return pid if os.WIFSIGNALED(status) else None


def whole_session(worker: Machine) -> None:
    worker.sessions.start(CPU)
    worker.visit()
    worker.sessions._tick(True)
    worker.sessions.stop()


def whole_share(worker: Machine) -> None:
    worker.sessions.attend()
    worker.visit()
    worker.sessions._tick(False)
    worker.sessions.shut_down()


def requests_of(stopped: Stopped) -> int:
    return sum(times.requests for times in stopped.recording.requests.values())


def assert_clean(output: Path) -> None:
    for path in visible(output):
        assert_whole(path)
    assert [path.name for path in output.rglob("*") if "tmp" in path.name] == []
    assert list((output / ".state" / "parts").iterdir()) == []
    assert len(list((output / ".state" / "workers").iterdir())) == 1


class TestP14EveryCallMayBeTheLast:
    """Killed at any call, or gone and its pid used again: never stuck, recovered, named."""

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_worker_killed_at_any_call_of_its_session_is_recovered_from_and_named(self, tmp_path: Path) -> None:
        recovered = 0
        for nth in itertools.count(1, 4):
            output = tmp_path / str(nth)
            victim = killed(whole_session, output, nth)
            survivor = machine(output, pid=2)
            survivor.sessions.attend()
            for _ in range(2):
                survivor.sessions._tick(True)
            status = survivor.sessions.status()
            assert (status.session, status.collecting) == (None, False), nth
            for path in output.glob("recording-*.json"):
                document = json.loads(path.read_bytes())
                assert victim in [worker[1] for worker in document["workers"] + document["missing"]] or victim is None
                recovered += document["session"]["endedBy"] == "recovered"
            survivor.sessions.start(CPU)
            survivor.visit()
            stopped = survivor.sessions.stop()
            assert (requests_of(stopped), stopped.missing) == (1, ()), nth
            assert_clean(output)
            if victim is None:
                break
        assert recovered > 5

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_worker_killed_at_any_call_of_its_share_costs_its_own_share_only(self, tmp_path: Path) -> None:
        named = 0
        for nth in itertools.count(1, 3):
            output = tmp_path / str(nth)
            first = machine(output, pid=2)
            first.sessions.start(CPU)
            first.visit()
            victim = killed(whole_share, output, nth)
            first.sessions._tick(True)
            stopped = first.sessions.stop()
            others = [worker.pid for worker in stopped.workers if worker.pid != 2]
            assert requests_of(stopped) == 1 + len(others), nth
            assert others + [worker.pid for worker in stopped.missing] in ([], [victim]) or victim is None, nth
            named += [worker.pid for worker in stopped.missing] == [victim]
            for _ in range(2):
                first.sessions._tick(True)
            first.sessions.start(CPU)
            first.sessions.stop()
            assert_clean(output)
            if victim is None:
                assert len(others) == 1
                break
        assert named > 5

    def test_a_start_sweeps_what_failed_starts_and_late_parts_left(self, tmp_path: Path) -> None:
        worker = machine(tmp_path)
        worker.sessions.attend()
        left = tmp_path / ".state" / "parts" / "prof-left-0001"
        left.mkdir(mode=0o700, parents=True)
        (left / "1-1-1@test.json").write_text("{}", "ascii")
        worker.sessions.start(CPU)
        assert not left.exists()
        worker.sessions.stop()

    def test_a_pid_that_is_used_again_is_not_the_dead_worker(self, tmp_path: Path) -> None:
        output = tmp_path / "profiling"
        victim = machine(output, pid=os.getpid())  # alive, but started at another time than it says
        victim.sessions.start(CPU)
        victim.sessions._coordinator.forget()  # the kernel lets go of its lock, as at its death
        heir = machine(output, pid=2)
        heir.sessions.attend()
        for _ in range(2):
            heir.sessions._tick(True)
        status = heir.sessions.status()
        assert status.session is None
        assert status.last is not None
        assert status.last.ended_by == "recovered"
        heir.sessions.start(CPU)
        assert heir.sessions.stop().missing == ()


class TestP16AForkLocksNobodyOut:
    """A child of the host that lives on holds nothing of ours."""

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_host_that_forks_while_a_session_starts_locks_nobody_out(self, tmp_path: Path) -> None:
        one, two = machine(tmp_path, pid=1), machine(tmp_path, pid=2)
        release, told = os.pipe()
        with one.sessions._coordinator.locked():
            child = os.fork()
            if child == 0:  # lives on with the lock's file open, as any child of the host would
                os.close(told)
                os.read(release, 1)
                os._exit(0)
        os.close(release)
        try:
            two.sessions.start(CPU)
            two.visit()
            assert requests_of(two.sessions.stop()) == 1
        finally:
            os.close(told)
            os.waitpid(child, 0)
