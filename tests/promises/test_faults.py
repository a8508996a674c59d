"""P11, P12: every call to the file system fails in turn, at every step of a session; nothing is stuck, nothing is
torn, nobody's request is hurt.

As SQLite tests itself: each step is repeated with its 1st, 2nd, ... nth call failing, once and from then on, and what
it leaves is looked at each time.
"""

from __future__ import annotations

import errno
import gc
import itertools
import json
import marshal
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_profiling.errors import NotRunning, ProfilingError
from flask_profiling.formats import FORMATS
from flask_profiling.model import Recording
from flask_profiling.sessions import Stopped
from flask_profiling.sessions.machine import WATCH_INTERVAL
from flask_profiling.store import Store
from tests.faults import CODES, FailingSystem, OtherSystem, open_descriptors
from tests.sessions.machines import CPU, Time, machine


class Disk:
    """The operating system of one worker: the real one, but for the step that a fault is planted in."""

    def __init__(self) -> None:
        self.system: Any = os

    def __getattr__(self, name: str) -> Any:
        return getattr(self.system, name)


class Site:
    """One output directory with two workers of one server; the first one's disk may fail."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.disk = Disk()
        self.time = Time()
        self.worker = machine(output, pid=1, time=self.time, system=self.disk)
        self.other = machine(output, pid=2, time=self.time)
        self.looks = 0
        self.time.meanwhile = self.wait

    def wait(self) -> None:
        """Time passes, and the watchers look as often as their threads would."""
        if (looks := int(self.time.reading / WATCH_INTERVAL)) > self.looks:
            self.looks = looks
            self.look()

    def look(self) -> None:
        """Both watchers look, as their threads would: a failure is logged and goes no further."""
        for one in (self.other, self.worker):
            one.sessions._quietly(one.sessions._tick, False)

    def attend(self) -> None:
        for one in (self.worker, self.other):
            one.sessions.attend()

    def visit(self) -> None:
        """A request comes to each worker, whatever goes on."""
        for one in (self.worker, self.other):
            if one.sessions.live is not None:
                one.visit()

    def heal(self) -> None:
        """The fault is gone, and the watchers look again, for their dead predecessors' sake too."""
        self.disk.system = os
        for one in (self.worker, self.other):
            one.sessions._tick(True)

    def close(self) -> None:
        for one in (self.worker, self.other):
            one.sessions.shut_down()


def idle(site: Site) -> None:
    site.attend()


def running(site: Site) -> None:
    site.attend()
    site.worker.sessions.start(CPU)
    site.visit()


def begun_elsewhere(site: Site) -> None:
    site.attend()
    site.time.meanwhile = site.other.sessions._closing.is_set  # nobody looks yet
    site.other.sessions.start(CPU)
    site.time.meanwhile = site.wait


def stored(site: Site) -> None:
    running(site)
    site.worker.sessions.stop()


def interrupted(site: Site) -> None:
    """A worker was killed in a session of its own: the kernel let go of its lock, and the others come later."""
    victim = machine(site.output, pid=3, time=site.time)
    site.time.meanwhile = lambda: None
    victim.sessions.start(CPU)
    victim.sessions._coordinator.forget()
    site.time.meanwhile = site.wait


def arrive(site: Site) -> None:
    site.worker.sessions.attend()
    site.worker.sessions._tick(True)


# step -> what is so before, what is done while the disk of the first worker fails, does a session outlive it
STEPS: dict[str, tuple[Callable[[Site], None], Callable[[Site], object], bool]] = {
    "arrive": (lambda site: None, arrive, False),
    "start": (idle, lambda site: site.worker.sessions.start(CPU), False),
    "follow": (begun_elsewhere, lambda site: site.look(), True),
    "look": (running, lambda site: site.worker.sessions._tick(True), True),
    "stop": (running, lambda site: site.worker.sessions.stop(), False),
    "stop elsewhere": (running, lambda site: site.other.sessions.stop(), False),
    "recover": (interrupted, arrive, False),
    "restart": (interrupted, lambda site: site.worker.sessions.start(CPU), False),
    "status": (running, lambda site: site.worker.sessions.status(), True),
    "clean": (stored, lambda site: site.worker.sessions.clean(), False),
    "clean while running": (running, lambda site: site.worker.sessions.clean(), True),
    "shut down": (running, lambda site: site.worker.sessions.shut_down(), True),
}


def late_store(output: Path) -> Store:
    """A store whose clock is past the hour for which the file of a living writer is left alone."""
    types = {name: (format.prefix, format.suffix) for name, format in FORMATS.items()}
    return Store(output, types=types, max_sessions=20, max_bytes=1 << 30, now=lambda: time.time() + 7200)


def visible(output: Path) -> list[Path]:
    return sorted(path for path in output.iterdir() if path.name != ".state")


def assert_whole(path: Path) -> None:
    """Each format tells a torn file from a whole one."""
    content = path.read_bytes()
    if path.suffix in (".json", ".cpuprofile"):
        assert json.loads(content)
    elif path.suffix == ".dot":
        assert content.rstrip().endswith(b"}")
    else:
        assert path.suffix == ".prof" and isinstance(marshal.loads(content), dict)


def requests_by(stopped: Stopped) -> int:
    return sum(times.requests for times in stopped.recording.requests.values())


def assert_the_next_session_works(site: Site) -> Stopped:
    if site.worker.sessions._closing.is_set():
        site.worker = machine(site.output, pid=4, time=site.time)
    site.worker.sessions.start(CPU)
    for _ in range(3):
        site.visit()
    stopped = site.worker.sessions.stop()
    assert requests_by(stopped) == 6
    assert stopped.missing == ()
    assert [artifact.type for artifact in stopped.artifacts] == ["cpuprofile", "pstats", "dot", "recording"]
    assert site.worker.sessions.status().last == stopped.session
    return stopped


def examine(output: Path, step: str, system: FailingSystem) -> None:
    prepare, act, outlived = STEPS[step]
    before = open_descriptors()
    site = Site(output)
    prepare(site)
    site.disk.system = system
    with suppress(ProfilingError):  # nothing else may come out
        act(site)
    site.visit()
    site.heal()
    if outlived:
        assert site.other.sessions.live is not None
        assert site.worker.sessions._closing.is_set() or site.worker.sessions.live is not None
    with suppress(NotRunning):
        site.other.sessions.stop()
    site.heal()
    assert_the_next_session_works(site)
    site.heal()
    late_store(output).sweep()
    assert site.worker.sessions.status().collecting is False
    for path in visible(output):
        assert_whole(path)
    assert [path.name for path in output.rglob("*") if "tmp" in path.name] == []
    assert list((output / ".state" / "parts").iterdir()) == []
    site.close()
    assert list((output / ".state" / "workers").iterdir()) == []
    assert open_descriptors() == before


def every_fault(step: str, directory: Path, code: int, *, lasting: bool, stride: int = 1) -> None:
    """Run a step with its 1st, 2nd, ... nth call failing, until it gets through without meeting the fault.

    A ``stride`` leaves calls out, for the run that everybody waits for; the long one leaves out none.
    """
    gc.collect()  # the machines of earlier tests let go of their descriptors now, and not in the middle
    for nth in itertools.count(1, stride):
        system = FailingSystem(nth=nth, code=code, lasting=lasting)
        try:
            examine(directory / str(nth), step, system)
        except Exception as error:
            raise AssertionError(f"{step} with {system}") from error
        if not system.failures:
            assert nth > 1, "the step made no call at all"
            return


class CrashingEngine:
    """Fails at its start in a way that nobody foresaw."""

    def start(self) -> None:
        raise MemoryError("no room")

    def stop(self) -> Recording:
        raise AssertionError("it never ran")

    def abandon(self) -> None:
        raise AssertionError("it never ran")


class TestP12EveryCallToTheDiskMayFail:
    """At every step of a session each call may fail, once and from then on: nothing torn, nobody stuck, nobody hurt."""

    @pytest.mark.parametrize("step", STEPS)
    def test_a_disk_that_fails_once_leaves_nothing_torn_and_nobody_stuck(self, step: str, tmp_path: Path) -> None:
        every_fault(step, tmp_path, errno.EIO, lasting=False, stride=5)

    @pytest.mark.parametrize("step", STEPS)
    def test_a_disk_that_fails_from_then_on_leaves_nothing_torn_and_nobody_stuck(
        self, step: str, tmp_path: Path
    ) -> None:
        every_fault(step, tmp_path, errno.ENOSPC, lasting=True, stride=7)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
    @pytest.mark.parametrize("code", CODES, ids=[errno.errorcode[code] for code in CODES])
    @pytest.mark.parametrize("step", STEPS)
    def test_every_fault_at_every_step(self, step: str, code: int, lasting: bool, tmp_path: Path) -> None:
        every_fault(step, tmp_path, code, lasting=lasting)

    @pytest.mark.parametrize("first", [True, False], ids=["asked", "following"])
    def test_an_engine_that_crashes_at_its_start_leaves_no_other_running(self, first: bool, tmp_path: Path) -> None:
        site = Site(tmp_path)
        site.attend()
        sessions = site.worker.sessions
        create = sessions._world.create_engine
        sessions._world = replace(
            sessions._world, create_engine=lambda name, o: CrashingEngine() if name == "heap" else create(name, o)
        )
        options = replace(CPU, heap=True)
        if first:
            with pytest.raises(MemoryError):
                sessions.start(options)
            assert [engine.running for engine in site.worker.engines] == [False]
            assert sessions.status().session is None
        else:
            site.other.sessions._world = replace(
                site.other.sessions._world, create_engine=lambda name, o: create("cprofile", o)
            )
            site.other.sessions.start(options)
            assert sessions.live is not None
            stopped = site.other.sessions.stop()
            assert any("failed to start (MemoryError)" in note for note in stopped.notes)
        site.close()

    @pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
    def test_a_worker_that_cannot_be_seen_is_not_taken_for_dead(self, lasting: bool, tmp_path: Path) -> None:
        site = Site(tmp_path)
        running(site)
        coordinator = site.worker.sessions._coordinator
        for nth in itertools.count(1):
            site.disk.system = FailingSystem(nth=nth, code=errno.EIO, lasting=lasting)
            with suppress(ProfilingError):
                assert [state.worker.pid for state in coordinator.workers()] == [1, 2]
                assert coordinator.running() is not None
            if not site.disk.system.failures:
                break
        site.disk.system = os
        assert nth > 10
        assert requests_by(site.worker.sessions.stop()) == 2
        site.close()

    def test_a_state_that_could_not_be_written_is_written_when_the_fault_is_gone(self, tmp_path: Path) -> None:
        def full(*arguments: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        site = Site(tmp_path)
        begun_elsewhere(site)
        site.disk.system = OtherSystem(pwrite=full)
        site.look()
        assert site.worker.sessions.live is not None
        site.disk.system = os
        site.look()
        assert {state.state for state in site.other.sessions._coordinator.workers()} == {"profiling"}
        site.close()
