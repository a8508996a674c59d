"""Who lives: a worker's own file, its lock, its content; the race of joining, and a disk that fails at each call."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from flask_profiling.coordination import PROFILING, WorkerState
from flask_profiling.coordination._membership import Membership, close, holds
from flask_profiling.errors import CoordinationFailed, StorageFailed
from flask_profiling.model import WorkerId
from flask_profiling.processes import process_started
from flask_profiling.system import PrivateDirectory, try_lock
from tests.faults import OtherSystem, failing_systems, open_descriptors

ONE = WorkerId("test", 1, process_started(1))
TWO = WorkerId("test", 2, process_started(1))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "workers"


@pytest.fixture
def one(root: Path) -> Iterator[Membership]:
    member = Membership(PrivateDirectory(root))
    yield member
    member.forget()


def joined(root: Path, worker: WorkerId = ONE) -> Membership:
    member = Membership(PrivateDirectory(root))
    member.join(worker)
    return member


def test_before_it_has_joined_a_worker_has_no_name(one: Membership) -> None:
    with pytest.raises(CoordinationFailed, match="could not join"):
        _ = one.worker
    with pytest.raises(CoordinationFailed, match="could not join"):
        _ = one.key


def test_what_is_said_before_joining_fails_and_is_written_by_the_join(one: Membership, root: Path) -> None:
    with pytest.raises(CoordinationFailed, match="could not join"):
        one.report("prof-a-0001", PROFILING)
    one.join(ONE)
    assert (root / one.key).read_bytes() == b"profiling prof-a-0001".ljust(128)


def test_the_file_is_named_after_the_worker_and_private(one: Membership, root: Path) -> None:
    one.join(ONE)
    assert one.worker == ONE
    assert [path.name for path in root.iterdir()] == [one.key]
    assert one.key.startswith(f"1-{process_started(1)}-")
    assert one.key.endswith("@test")
    assert (root / one.key).stat().st_mode & 0o777 == 0o600


def test_two_apps_in_one_process_have_a_file_each(one: Membership, root: Path) -> None:
    one.join(ONE)
    other = joined(root)
    assert other.key != one.key
    assert one.states() == (WorkerState(ONE, "", "idle"),) * 2
    other.leave()


def test_joining_again_keeps_the_file_and_the_descriptor(one: Membership, root: Path) -> None:
    one.join(ONE)
    before, written = open_descriptors(), (root / one.key).stat()
    one.join(ONE)
    assert open_descriptors() == before
    assert (root / one.key).stat().st_ino == written.st_ino
    assert (root / one.key).stat().st_mtime_ns == written.st_mtime_ns


def test_a_forked_child_joins_under_its_own_name(one: Membership, root: Path) -> None:
    one.join(ONE)
    before = len(open_descriptors())
    one.join(TWO)
    assert one.worker == TWO
    assert one.key.startswith("2-")
    assert len(open_descriptors()) == before


def test_leaving_removes_the_file_and_may_be_done_twice(one: Membership, root: Path) -> None:
    before = open_descriptors()
    one.join(ONE)
    one.leave()
    one.leave()
    assert list(root.iterdir()) == []
    assert open_descriptors() == before


def test_leaving_takes_back_what_was_said(one: Membership, root: Path) -> None:
    one.join(ONE)
    one.report("prof-a-0001", PROFILING)
    one.leave()
    one.join(ONE)
    assert one.states() == (WorkerState(ONE, "", "idle"),)
    assert (root / one.key).read_bytes() == b" " * 128


def test_a_worker_that_forgot_itself_sees_its_file_as_a_dead_ones(one: Membership, root: Path) -> None:
    one.join(ONE)
    one.forget()
    assert one.states() == ()
    assert list(root.iterdir()) == []


def test_other_files_are_neither_workers_nor_removed(one: Membership, root: Path) -> None:
    one.join(ONE)
    (root / "notes.txt").write_bytes(b"x")
    (root / "1-2-3@link").symlink_to(root / "notes.txt")
    (root / "1-2-3@directory").mkdir()
    assert one.states() == (WorkerState(ONE, "", "idle"),)
    assert {path.name for path in root.iterdir()} == {"notes.txt", "1-2-3@link", "1-2-3@directory", one.key}


def test_a_file_that_is_removed_while_it_is_looked_at_is_no_worker(one: Membership, root: Path) -> None:
    one.join(ONE)

    class Vanishing(PrivateDirectory):
        def names(self) -> list[str]:
            return ["2-2-2@gone", *super().names()]

    watcher = Membership(Vanishing(root))
    assert watcher.states() == (WorkerState(ONE, "", "idle"),)


def test_a_locked_file_of_a_process_that_is_gone_is_a_dead_worker(one: Membership, root: Path) -> None:
    one.join(ONE)
    held = joined(root, WorkerId(socket.gethostname(), 2**31 - 1, 1))
    assert len(list(root.iterdir())) == 2
    assert one.states() == (WorkerState(ONE, "", "idle"),)
    assert [path.name for path in root.iterdir()] == [one.key]
    held.forget()


def test_a_worker_that_is_swept_while_it_joins_joins_again(root: Path) -> None:
    """Between the opening and the locking its file looks like a dead worker's: the other locks it and removes it."""
    watcher = joined(root, TWO)
    sweeps: list[str] = []

    class Raced(PrivateDirectory):
        def open_shared(self, name: str) -> int:
            descriptor = super().open_shared(name)
            if len(sweeps) < 3:
                sweeps.append(name)
                watcher.states()
            return descriptor

    before = len(open_descriptors())
    late = Membership(Raced(root))
    late.join(ONE)
    assert len(sweeps) == 3
    assert {state.worker for state in watcher.states()} == {ONE, TWO}
    assert holds(PrivateDirectory(root), late.key, _descriptor(late))
    assert len(open_descriptors()) == before + 1
    late.leave()
    watcher.leave()


def _descriptor(member: Membership) -> int:
    assert member._descriptor is not None
    return member._descriptor


def test_a_worker_whose_file_another_process_holds_gives_up_with_a_sentence(root: Path) -> None:
    opened: list[int] = []

    class Held(PrivateDirectory):
        def open_shared(self, name: str) -> int:
            opened.append(os.open(self.path / name, os.O_RDWR | os.O_CREAT, 0o600))
            assert try_lock(opened[-1]) or len(opened) > 1
            return super().open_shared(name)

    PrivateDirectory(root).prepare()
    member = Membership(Held(root))
    before = len(open_descriptors())
    with pytest.raises(CoordinationFailed, match="held by another process; restart the server"):
        member.join(ONE)
    assert len(opened) == 10
    assert len(open_descriptors()) == before + len(opened)
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_was_replaced_or_removed_is_not_held_any_more(root: Path, replaced: bool) -> None:
    directory = PrivateDirectory(root)
    descriptor = directory.open_shared("name")
    assert holds(directory, "name", descriptor)
    directory.unlink("name")
    if replaced:
        directory.write_bytes("name", b"")
    assert not holds(directory, "name", descriptor)
    close(directory, descriptor)
    close(directory, descriptor)  # it is closed already: nothing is lost by that


def test_a_file_that_cannot_be_asked_about_is_a_failure_and_no_answer(root: Path) -> None:
    directory = PrivateDirectory(root)
    descriptor = directory.open_shared("name")
    close(directory, descriptor)
    with pytest.raises(StorageFailed, match="name could not be read"):
        holds(directory, "name", descriptor)


def operations() -> dict[str, Callable[[Membership], object]]:
    def report(member: Membership) -> None:
        member.report("prof-a-0001", PROFILING)

    return {"join": lambda member: member.join(ONE), "report": report, "states": Membership.states}


@pytest.mark.parametrize("name", operations())
def test_every_call_failing_in_turn_is_one_of_our_errors_and_heals(name: str, root: Path) -> None:
    act = operations()[name]
    member = joined(root, TWO)
    other = joined(root, ONE)
    other.report("prof-b-0001", PROFILING)
    for system in failing_systems((errno.EIO,)):
        before = len(open_descriptors())
        failing = Membership(PrivateDirectory(root, system=system))
        with suppress(StorageFailed, CoordinationFailed):
            failing.join(ONE)
            act(failing)
        failing.forget()
        assert len(open_descriptors()) == before, system
    assert WorkerState(ONE, "prof-b-0001", PROFILING) in member.states()
    other.leave()
    member.leave()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [("pwrite", "a worker's state could not be written"), ("pread", "a worker's state could not be read")],
)
def test_a_state_that_cannot_be_written_or_read_says_so(root: Path, call: str, sentence: str) -> None:
    def fail(*arguments: object) -> bytes:
        raise OSError(errno.EIO, "broken")

    other = joined(root, TWO)
    member = Membership(PrivateDirectory(root, system=OtherSystem(**{call: fail})))
    with pytest.raises(StorageFailed, match=sentence):
        member.join(ONE)
        member.states()
    assert other.states()
    other.leave()
    member.forget()


def test_what_could_not_be_written_is_written_by_the_next_join(root: Path) -> None:
    full = [True]

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(descriptor, data, offset)

    member = Membership(PrivateDirectory(root, system=OtherSystem(pwrite=pwrite)))
    with suppress(StorageFailed):
        member.join(ONE)
    with pytest.raises(StorageFailed):
        member.report("prof-a-0001", PROFILING)
    full[0] = False
    member.join(ONE)
    assert (root / member.key).read_bytes() == b"profiling prof-a-0001".ljust(128)
    member.leave()


def test_a_worker_that_forgot_itself_joins_again_under_the_same_name(one: Membership, root: Path) -> None:
    one.join(ONE)
    name = one.key
    one.forget()
    assert (root / name).exists()
    one.join(ONE)
    assert one.key == name
    assert one.states() == (WorkerState(ONE, "", "idle"),)


def test_a_file_that_cannot_be_removed_at_the_end_is_left_unlocked(root: Path) -> None:
    def unlink(path: str, **named: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    before = open_descriptors()
    member = Membership(PrivateDirectory(root, system=OtherSystem(unlink=unlink)))
    member.join(ONE)
    member.leave()
    assert open_descriptors() == before
    watcher = joined(root, TWO)
    assert watcher.states() == (WorkerState(TWO, "", "idle"),)
    watcher.leave()


def test_a_worker_that_never_joined_or_forgot_itself_leaves_without_a_word(one: Membership, root: Path) -> None:
    one.leave()
    one.join(ONE)
    one.forget()  # as a forked child: the file is its parent's
    one.leave()
    assert (root / one.key).exists()


def test_a_worker_knows_what_it_does_though_that_could_not_be_written(root: Path) -> None:
    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    member = Membership(PrivateDirectory(root, system=OtherSystem(pwrite=pwrite)))
    with pytest.raises(StorageFailed):
        member.join(ONE)
    with pytest.raises(StorageFailed):
        member.report("prof-a-0001", PROFILING)
    assert member.states() == (WorkerState(ONE, "prof-a-0001", PROFILING),)
    member.leave()


def test_a_file_that_cannot_be_asked_about_while_joining_is_given_up_at_once(root: Path) -> None:
    asked: list[int] = []

    class Unknown(PrivateDirectory):
        def status(self, name: str) -> os.stat_result | None:
            asked.append(1)
            raise StorageFailed(f"{name} could not be read")

    before = open_descriptors()
    with pytest.raises(StorageFailed, match="could not be read"):
        Membership(Unknown(root)).join(ONE)
    assert asked == [1]
    assert open_descriptors() == before


def test_a_dead_workers_file_that_cannot_be_removed_keeps_nobody_from_seeing_the_living(root: Path) -> None:
    def unlink(path: str, **named: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    joined(root, TWO).forget()
    member = Membership(PrivateDirectory(root, system=OtherSystem(unlink=unlink)))
    member.join(ONE)
    assert member.states() == (WorkerState(ONE, "", "idle"),)
    member.forget()
