"""The process behind a conversation: real session machines, a heap engine that writes what it is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from flask_profiling.engines import Engine
from flask_profiling.errors import AlreadyRunning, Unavailable
from flask_profiling.inspector.target import Target, Wanted
from flask_profiling.model import Recording, SessionOptions
from flask_profiling.processes import process_space
from flask_profiling.store import Store
from flask_profiling.system import PrivateDirectory
from tests.sessions.machines import CPU, Machine, machine

CALLTREE = SessionOptions(cpu="calltree", heap=False, allocations=0, seconds=60.0)  # these machines have none
ALLOCATIONS = SessionOptions(cpu="off", heap=False, allocations=5, seconds=60.0)


def always() -> bool:
    return True


class WritingEngine:
    def __init__(self, directory: Path, is_wanted: Callable[[], bool], *, attached: bool = True) -> None:
        self.directory = directory
        self.attached = attached

    def start(self) -> None: ...

    def stop(self) -> Recording:
        (self.directory / "heap-1.heapsnapshot").write_bytes(b"heap")
        return Recording("heap", None, ("too little memory",), ("heap-1.heapsnapshot",) if self.attached else ())

    def abandon(self) -> None: ...


def make(
    output: Path,
    *,
    engine: Callable[[Path, Callable[[], bool]], Engine] = WritingEngine,
    choices: tuple[SessionOptions, ...] = (CPU,),
) -> tuple[Target, Machine]:
    worker = machine(output)
    store = Store(output, types={"cpuprofile": ("profile", ".cpuprofile")}, max_sessions=5, max_bytes=1 << 30)
    target = Target(
        title="shop",
        sessions=worker.sessions,
        wanted={"cpu": Wanted(choices, "cpuprofile"), "allocations": Wanted((ALLOCATIONS,), "heapprofile")},
        open_artifact=store.open,
        heap_engine=engine,
        spool=PrivateDirectory(output, ".state", "snapshots"),
        sleep=worker.time.sleep,
    )
    return target, worker


def test_a_session_is_started_stopped_and_its_profile_found(tmp_path: Path) -> None:
    target, worker = make(tmp_path / "out")
    assert target.ended() is None
    session_id = target.start("cpu")
    assert worker.sessions.status().session is not None
    worker.visit("GET /checkout")
    assert "seen by a counting engine" in target.stop(session_id)
    profile = target.profile("cpu", session_id)
    assert profile is not None
    assert profile.startswith('{"nodes":[')
    assert "GET /checkout" in profile
    ended = target.ended()
    assert ended is not None
    assert ended.id == session_id


def test_the_best_engine_that_there_is_records(tmp_path: Path) -> None:
    target, worker = make(tmp_path / "out", choices=(CALLTREE, CPU))
    target.start("cpu")
    session = worker.sessions.status().session
    assert session is not None
    assert session.options.cpu == "cprofile"


def test_a_running_session_refuses_another(tmp_path: Path) -> None:
    target, worker = make(tmp_path / "out", choices=(CALLTREE, CPU))
    worker.sessions.start(CPU)
    with pytest.raises(AlreadyRunning):
        target.start("cpu")


def test_an_engine_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    target, _ = make(tmp_path / "out")
    with pytest.raises(Unavailable, match="is not part of this version"):
        target.start("allocations")


def test_a_session_that_is_over_is_not_stopped_again_and_no_other_in_its_place(tmp_path: Path) -> None:
    target, worker = make(tmp_path / "out")
    first = target.start("cpu")
    worker.visit()
    worker.sessions.stop()
    second = worker.sessions.start(CPU).session.id
    (note,) = target.stop(first)
    assert "stopped before" in note
    running = worker.sessions.status().session
    assert running is not None
    assert running.id == second
    assert target.profile("cpu", first) is not None
    worker.sessions.stop()
    assert "stopped before" in target.stop(second)[0]


def test_a_missing_profile_is_none_and_a_running_session_is_waited_for_with_a_bound(tmp_path: Path) -> None:
    target, worker = make(tmp_path / "out")
    assert target.profile("cpu", "prof-none") is None
    session_id = target.start("cpu")
    assert target.profile("cpu", session_id) is None
    assert sum(worker.time.slept) == pytest.approx(60)


def test_a_snapshot_is_open_in_the_block_and_gone_after_it(tmp_path: Path) -> None:
    target, _ = make(tmp_path / "out")
    with target.snapshot(always) as file:
        assert file.read() == b"heap"
        assert len(list((tmp_path / "out" / ".state" / "snapshots").iterdir())) == 1
    assert list((tmp_path / "out" / ".state" / "snapshots").iterdir()) == []


def test_a_snapshot_that_was_not_written_says_why(tmp_path: Path) -> None:
    target, _ = make(tmp_path / "out", engine=partial(WritingEngine, attached=False))
    with pytest.raises(Unavailable, match="too little memory"), target.snapshot(always):
        pass
    assert list((tmp_path / "out" / ".state" / "snapshots").iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    target, _ = make(tmp_path / "out")
    snapshots = tmp_path / "out" / ".state" / "snapshots"
    with target.snapshot(always):
        pass
    here, elsewhere = process_space(), "00000000"
    left = [f"1-999999999-aaaa@{here}", f"1-1-old@{elsewhere}"]
    kept = [f"1-0-bbbb@{here}", f"1-999999999-new@{elsewhere}", "notes"]
    for name in (*left, *kept):
        (snapshots / name).mkdir(mode=0o700)
        (snapshots / name / "heap-1.heapsnapshot").write_bytes(b"x")
    os.utime(snapshots / left[1], (0, 0))
    (snapshots / "1-999999999-file").write_bytes(b"x")
    target.sweep()
    assert {path.name for path in snapshots.iterdir()} == {*kept, "1-999999999-file"}


def test_memory_is_that_of_the_process(tmp_path: Path) -> None:
    target, _ = make(tmp_path / "out")
    assert 1 << 20 < target.memory() < 1 << 40
    target.collect_garbage()
