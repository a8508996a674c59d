"""Who collects a withdrawn session: claims, dead collectors, orphans, rubbish; and a disk that is full at the end."""

from __future__ import annotations

import errno
import gc
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_profiling.coordination import Order
from flask_profiling.coordination._records import dumped
from flask_profiling.coordination.files import FileCoordinator
from flask_profiling.errors import DiskFull, StorageFailed
from flask_profiling.model import Part, Recording, Session, SessionOptions, WorkerId
from flask_profiling.processes import process_started
from tests.faults import OtherSystem, open_descriptors
from tests.model.documents import damaged

ONE = WorkerId("test", 1, process_started(1))
TWO = WorkerId("test", 2, process_started(1))
OPTIONS = SessionOptions("cprofile", False, 0, 60.0)


def order(session_id: str = "prof-a-0001") -> Order:
    return Order(Session(session_id, ONE, 100.0, OPTIONS), deadline=1000.0)


def ended(session_id: str = "prof-a-0001", *, by: str = "stop") -> Order:
    return order(session_id).ended(at=105.0, monotonic=945.0, by=by)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def worker(output: Path) -> Iterator[Callable[..., FileCoordinator]]:
    """Make workers, which end with the test."""
    made: list[FileCoordinator] = []

    def make(identity: WorkerId = ONE, **instead: Any) -> FileCoordinator:
        system = OtherSystem(**instead) if instead else os
        made.append(FileCoordinator(output, system=system, monotonic=lambda: 950.0))
        made[-1].join(identity)
        return made[-1]

    yield make
    for coordinator in made:
        coordinator.forget()


Make = Callable[..., FileCoordinator]


def publish(coordinator: FileCoordinator, published: Order) -> None:
    with coordinator.locked():
        coordinator.publish(published)


def abandoned(make: Make, session_id: str, *, by: str = "stop") -> None:
    """Leave a session whose collector died before it had collected."""
    dead = make(WorkerId("test", 3, process_started(1)))
    publish(dead, order(session_id))
    assert dead.withdraw(ended(session_id, by=by))
    dead.forget()


def parts_of(output: Path) -> list[str]:
    return sorted(path.name for path in (output / ".state" / "parts").iterdir())


# -- orphans -----------------------------------------------------------------------------------------------------------


def test_all_orphans_are_taken_over_by_one_worker(worker: Make, output: Path) -> None:
    for session_id in ("prof-a-0001", "prof-b-0001", "prof-c-0001"):
        abandoned(worker, session_id)
    one, two = worker(ONE), worker(TWO)
    assert one.orphans() == tuple(ended(f"prof-{letter}-0001") for letter in "abc")
    assert one.orphans() == ()
    assert two.orphans() == ()
    for orphan in map(ended, ("prof-a-0001", "prof-b-0001")):
        one.finish(orphan)
    one.release(ended("prof-c-0001"))
    assert two.orphans() == (ended("prof-c-0001"),)
    assert parts_of(output) == ["prof-c-0001"]


def test_a_damaged_orphan_does_not_keep_the_others(worker: Make, output: Path) -> None:
    for session_id in ("prof-a-0001", "prof-b-0001", "prof-c-0001"):
        abandoned(worker, session_id)
    parts = output / ".state" / "parts"
    for name in ("order.json", "withdrawn.json"):
        (parts / "prof-a-0001" / name).write_bytes(b"[" * 1000)
    collecting = parts / "prof-b-0001" / "collecting"
    collecting.unlink()
    (collecting / "somebody's").mkdir(parents=True)
    (parts / "no session of ours").mkdir()
    assert worker(ONE).orphans() == (ended("prof-c-0001"),)


def test_an_order_without_its_end_is_recovered_with_one_of_its_duration(worker: Make, output: Path) -> None:
    abandoned(worker, "prof-a-0001")
    (output / ".state" / "parts" / "prof-a-0001" / "order.json").unlink()
    (found,) = worker(ONE).orphans()
    assert found.session.ended_by == "recovered"
    assert found.session.ended == pytest.approx(110.0)
    assert found.session.duration == pytest.approx(10.0)


def test_an_order_that_lies_about_its_session_is_no_orphan(worker: Make, output: Path) -> None:
    abandoned(worker, "prof-a-0001")
    parts = output / ".state" / "parts"
    (parts / "prof-a-0001").rename(parts / "prof-z-0009")
    one = worker(ONE)
    assert one.orphans() == ()
    assert one.collecting() is None


def test_a_session_that_cannot_be_read_does_not_hide_that_another_is_collected(worker: Make) -> None:
    def open_(path: str, flags: int, *arguments: Any, **named: Any) -> int:
        if path in broken:
            raise OSError(errno.EIO, "broken")
        return os.open(path, flags, *arguments, **named)

    broken: set[str] = set()
    for session_id in ("prof-a-0001", "prof-b-0001"):
        abandoned(worker, session_id)
    one = worker(ONE, open=open_)
    broken.add("prof-a-0001")
    assert one.collecting() == ended("prof-b-0001")


def test_a_recovered_session_is_collected_and_nobody_waits_for_it(worker: Make) -> None:
    abandoned(worker, "prof-a-0001", by="recovered")
    one = worker(ONE)
    assert one.collecting() is None
    assert one.orphans() == (ended(by="recovered"),)


def test_what_cannot_be_listed_is_no_answer(worker: Make, output: Path) -> None:
    abandoned(worker, "prof-a-0001")
    one = worker(ONE)
    (output / ".state" / "parts").rename(output / ".state" / "moved")
    (output / ".state" / "parts").write_bytes(b"")
    with pytest.raises(StorageFailed):
        one.orphans()


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_finished_session_leaves_nothing_and_keeps_no_descriptor(worker: Make, output: Path) -> None:
    one = worker(ONE)
    before = open_descriptors()
    publish(one, order())
    one.take_part("prof-a-0001")
    one.deliver(Part(ONE, "prof-a-0001", {}, (Recording("cprofile", None),)))
    one.withdraw(ended())
    assert open_descriptors() != before
    one.finish(ended())
    assert parts_of(output) == []
    assert open_descriptors() == before
    assert one.last() == ended().session
    assert one.ended("prof-a-0001")


def test_what_could_not_be_removed_is_removed_later_and_collected_by_nobody_else(worker: Make, output: Path) -> None:
    broken = [True]

    def unlink(path: str, *, dir_fd: int | None = None) -> None:
        if broken[0] and path == "withdrawn.json":
            raise OSError(errno.EIO, "broken")
        os.unlink(path, dir_fd=dir_fd)

    one, two = worker(ONE, unlink=unlink), worker(TWO)
    publish(one, order())
    one.withdraw(ended())
    with pytest.raises(StorageFailed):
        one.finish(ended())
    assert one.collecting() is None
    assert one.orphans() == ()
    assert two.orphans() == ()
    broken[0] = False
    assert one.orphans() == ()
    assert parts_of(output) == []


def test_what_was_removed_is_not_looked_for_again(worker: Make) -> None:
    looked: list[str] = []

    def open_(path: str, flags: int, *arguments: Any, **named: Any) -> int:
        looked.append(path)
        return os.open(path, flags, *arguments, **named)

    one = worker(ONE, open=open_)
    publish(one, order())
    one.withdraw(ended())
    one.finish(ended())
    assert "prof-a-0001" in looked
    looked.clear()
    assert one.orphans() == ()
    assert "prof-a-0001" not in looked


def test_what_a_collector_released_is_free_though_a_forked_child_still_has_it_open(worker: Make, output: Path) -> None:
    one, two = worker(ONE), worker(TWO)
    publish(one, order())
    one.withdraw(ended())
    inherited = os.dup(opened(output / ".state" / "parts" / "prof-a-0001" / "collecting"))  # as a fork does
    try:
        assert two.orphans() == ()
        one.release(ended())
        assert two.orphans() == (ended(),)
    finally:
        os.close(inherited)


def test_a_full_disk_keeps_no_session_from_ending(worker: Make, output: Path) -> None:
    full = [False]

    def write(descriptor: int, data: bytes) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, "full")
        return os.write(descriptor, data)

    one, two = worker(ONE, write=write), worker(TWO)
    publish(one, order())
    full[0] = True
    assert one.withdraw(ended())
    assert one.running() is None
    assert two.running() is None
    assert one.last() == ended().session, "this worker remembers what it could not write"
    assert two.last() is None
    assert two.ended("prof-a-0001")
    full[0] = False
    one.finish(ended())
    publish(two, order("prof-b-0001"))
    two.withdraw(ended("prof-b-0001"))
    assert one.last() == ended("prof-b-0001").session, "what somebody wrote later is newer"


def test_a_withdrawal_that_fails_leaves_the_session_running_and_unclaimed(worker: Make) -> None:
    def replace_(src: str, dst: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        if dst == "withdrawn.json":
            raise OSError(errno.EIO, "broken")
        os.replace(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    one, two = worker(ONE, replace=replace_), worker(TWO)
    publish(one, order())
    with pytest.raises(StorageFailed):
        one.withdraw(ended())
    assert two.running() == order()
    assert two.withdraw(ended())
    assert one.orphans() == ()
    two.finish(ended())


def test_another_sessions_order_is_not_withdrawn(worker: Make) -> None:
    one = worker(ONE)
    publish(one, order())
    assert not one.withdraw(ended("prof-b-0001"))
    assert one.running() == order()
    assert not one.ended("prof-a-0001")


# -- the beginning -----------------------------------------------------------------------------------------------------


def test_a_start_sweeps_what_nobody_will_collect_and_keeps_what_somebody_will(worker: Make, output: Path) -> None:
    abandoned(worker, "prof-a-0001")
    one = worker(ONE)
    publish(one, order("prof-b-0001"))
    one.withdraw(ended("prof-b-0001"))
    parts = output / ".state" / "parts"
    for name in ("prof-late-0001", "prof-late-0002"):
        (parts / name).mkdir(mode=0o700)
        (parts / name / "1-2-3@test.json").write_bytes(b"{}")
    two = worker(TWO)
    before = open_descriptors()
    publish(two, order("prof-c-0001"))
    assert parts_of(output) == ["prof-a-0001", "prof-b-0001", "prof-c-0001"]
    assert open_descriptors() == before


def test_what_cannot_be_swept_stays_and_keeps_nobody_from_a_start(worker: Make, output: Path) -> None:
    parts = output / ".state" / "parts"
    (parts / "prof-late-0001" / "collecting" / "somebody's").mkdir(mode=0o700, parents=True)
    (parts / "prof-late-0002").mkdir(mode=0o700)
    publish(worker(ONE), order())
    assert parts_of(output) == ["prof-a-0001", "prof-late-0001"]


@pytest.mark.parametrize("starts", [ONE, TWO], ids=["itself", "another"])
def test_what_a_live_worker_collects_is_not_swept(worker: Make, output: Path, starts: WorkerId) -> None:
    workers = {ONE: worker(ONE), TWO: worker(TWO)}
    publish(workers[ONE], order())
    workers[ONE].withdraw(ended())
    (output / ".state" / "parts" / "prof-a-0001" / "withdrawn.json").unlink()
    publish(workers[starts], order("prof-b-0001"))
    assert parts_of(output) == ["prof-a-0001", "prof-b-0001"]


@pytest.mark.parametrize("call", ["write", "replace"])
def test_an_order_that_cannot_be_published_leaves_nothing(worker: Make, output: Path, call: str) -> None:
    real: Callable[..., Any] = getattr(os, call)

    def fail(*arguments: Any, **named: Any) -> Any:
        if call == "write" or "session.json" in arguments:
            raise OSError(errno.ENOSPC, "full")
        return real(*arguments, **named)

    one = worker(ONE, **{call: fail})
    with pytest.raises(DiskFull):
        publish(one, order())
    assert parts_of(output) == []
    assert one.running() is None
    publish(worker(TWO), order("prof-b-0001"))


def test_a_start_that_fails_and_cannot_be_cleared_away_says_why_it_failed(worker: Make) -> None:
    def replace_(source: str, target: str, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    def rmdir(path: str, **named: Any) -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(DiskFull):
        publish(worker(ONE, replace=replace_, rmdir=rmdir), order())


def test_the_lock_is_free_after_a_failure_inside(worker: Make) -> None:
    one, two = worker(ONE), worker(TWO)
    before = open_descriptors()
    with suppress(ZeroDivisionError), one.locked():
        raise ZeroDivisionError
    assert open_descriptors() == before
    with two.locked():
        pass


def test_a_lock_that_cannot_be_asked_about_fails_and_leaves_no_descriptor(worker: Make, output: Path) -> None:
    failing = [False]

    def stat(path: str, **named: Any) -> os.stat_result:
        if failing[0] and path.endswith("lock"):
            raise OSError(errno.EIO, "broken")
        return os.stat(path, **named)

    one = worker(ONE, stat=stat)
    before = open_descriptors()
    failing[0] = True
    with pytest.raises(StorageFailed), one.locked():
        pass
    assert open_descriptors() == before
    failing[0] = False
    with worker(TWO).locked():
        pass


def is_open(descriptor: int) -> bool:
    with suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


def opened(path: Path) -> int:
    """Return the descriptor with which this process has a file open."""
    file = path.stat()
    (held,) = (fd for fd in map(int, open_descriptors()) if is_open(fd) and os.path.samestat(os.fstat(fd), file))
    return held


def test_a_lock_that_a_forked_child_still_has_open_is_free_all_the_same(worker: Make, output: Path) -> None:
    def impatient(seconds: float) -> None:
        raise AssertionError("it is not free")

    one = worker(ONE)
    with one.locked():
        inherited = os.dup(opened(output / ".state" / "lock"))  # as a fork does
    with FileCoordinator(output, sleep=impatient).locked():
        os.close(inherited)


def test_a_worker_that_is_dropped_is_dead_to_the_others(worker: Make, output: Path) -> None:
    dropped = FileCoordinator(output)
    dropped.join(TWO)
    one = worker(ONE)
    assert {state.worker for state in one.workers()} == {ONE, TWO}
    del dropped
    gc.collect()
    assert {state.worker for state in one.workers()} == {ONE}


def test_what_was_never_made_is_dropped_without_a_word() -> None:
    FileCoordinator.__new__(FileCoordinator)  # a fault in __del__ would be a warning, and warnings are errors


def test_a_withdrawal_that_failed_keeps_nobody_from_another(worker: Make) -> None:
    def replace(source: str, *arguments: Any, **named: Any) -> None:
        if "session.json" in str(source):
            raise OSError(errno.EIO, "broken")
        os.replace(source, *arguments, **named)

    one, two, three = worker(ONE, replace=replace), worker(TWO), worker(WorkerId("test", 4, process_started(1)))
    publish(two, order())
    with pytest.raises(StorageFailed):
        one.withdraw(ended())
    assert three.collecting() is None
    assert three.orphans() == ()
    assert two.withdraw(ended())
    two.forget()
    assert [orphan.session.id for orphan in three.orphans()] == ["prof-a-0001"]


def test_a_session_ends_though_its_end_can_neither_be_written_nor_looked_at(worker: Make) -> None:
    def open_(path: str, flags: int, *arguments: Any, **named: Any) -> int:
        if broken and ".tmp-" in str(path) and flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "full")
        return os.open(path, flags, *arguments, **named)

    def stat(path: str, **named: Any) -> os.stat_result:
        if broken and str(path).endswith("last.json"):
            raise OSError(errno.EIO, "broken")
        return os.stat(path, **named)

    broken: list[bool] = []
    one = worker(ONE, open=open_, stat=stat)
    publish(one, order())
    broken.append(True)
    assert one.withdraw(ended())
    assert one.running() is None


# -- parts -------------------------------------------------------------------------------------------------------------


def test_a_part_of_another_session_or_a_damaged_one_is_left_out(worker: Make, output: Path) -> None:
    one, two = worker(ONE), worker(TWO)
    publish(one, order())
    one.deliver(Part(ONE, "prof-a-0001", {}, ()))
    two.deliver(Part(TWO, "prof-a-0001", {}, ()))
    (parts,) = (output / ".state" / "parts").iterdir()
    names = sorted(path.name for path in parts.glob("*@test.json"))
    (parts / names[0]).write_bytes((parts / names[0]).read_bytes().replace(b"prof-a-0001", b"prof-b-0001"))
    assert [part.worker for part in one.parts("prof-a-0001")] == [TWO]
    (parts / "copy.json").write_bytes((parts / names[1]).read_bytes())
    assert [part.worker for part in one.parts("prof-a-0001")] == [TWO]
    (parts / names[1]).write_bytes(b"{")
    assert one.parts("prof-a-0001") == ()


@pytest.mark.parametrize(("size", "is_read"), [(1 << 30, True), ((1 << 30) + 1, False)], ids=["1 GiB", "and a byte"])
def test_a_part_of_more_than_1_gib_is_not_even_looked_into(
    worker: Make, output: Path, size: int, is_read: bool
) -> None:
    reads: list[int] = []

    def read(descriptor: int, length: int) -> bytes:
        reads.append(length)
        return b""  # so long it was, and then somebody cut it short

    one, two = worker(ONE), worker(TWO, read=read)
    publish(one, order())
    one.deliver(Part(ONE, "prof-a-0001", {}, ()))
    (part,) = (output / ".state" / "parts" / "prof-a-0001").glob("*@test.json")
    os.truncate(part, size)
    assert two.parts("prof-a-0001") == ()
    assert bool(reads) is is_read


def test_who_took_part_is_read_from_the_names_alone(worker: Make, output: Path) -> None:
    one = worker(ONE)
    publish(one, order())
    one.take_part("prof-a-0001")
    (parts,) = (output / ".state" / "parts").iterdir()
    (parts / "nobody.joined").write_bytes(b"")
    (parts / "4-5-6@there").write_bytes(b"")
    (parts / "7-8-9@there.joined").write_bytes(b"\xff")
    assert set(one.participants("prof-a-0001")) == {ONE, WorkerId("there", 7, 8)}


@pytest.mark.parametrize(
    "hint",
    [b"", b"{", b"[1, 2]", b"null", b'["elsewhere", 1, 0]', b'{"a": 1}', b" " * 65_537],
    ids=range(7),
)
def test_a_hint_that_says_nothing_of_this_server_promises_no_successor(worker: Make, output: Path, hint: bytes) -> None:
    one = worker(ONE)
    publish(one, order())
    one.expect_successor("prof-a-0001")
    assert one.successor_expected("prof-a-0001")
    (output / ".state" / "parts" / "prof-a-0001" / "successor").write_bytes(hint)
    assert not one.successor_expected("prof-a-0001")


def test_the_server_of_another_host_or_another_server_of_this_one_promises_no_successor(
    worker: Make, output: Path
) -> None:
    one = worker(ONE)
    publish(one, order())
    one.expect_successor("prof-a-0001")
    path = output / ".state" / "parts" / "prof-a-0001" / "successor"
    host, server, started = json.loads(path.read_bytes())
    for hint in ([f"{host}-other", server, started], [host, os.getpid(), process_started(os.getpid())]):
        path.write_bytes(json.dumps(hint).encode())
        assert not one.successor_expected("prof-a-0001")


# -- the order ---------------------------------------------------------------------------------------------------------


def test_a_session_lasts_as_long_as_the_monotonic_clock_says() -> None:
    published = order()
    late = published.ended(at=9e9, monotonic=945.0, by="deadline").session
    assert (late.ended, late.duration, late.ended_by) == (9e9, 5.0, "deadline")
    assert published.ended(at=0.0, monotonic=10.0, by="stop").session.duration == 0.0
    assert published.ended(at=0.0, monotonic=9e9, by="stop").session.duration == 9e9 - 940.0
    assert Order.from_json(published.to_json()) == published
    assert replace(published, deadline=1.0) != published


def test_an_unchanged_order_is_read_once(worker: Make) -> None:
    reads: list[int] = []

    def read(descriptor: int, length: int) -> bytes:
        reads.append(length)
        return os.read(descriptor, length)

    one, two = worker(ONE), worker(TWO, read=read)
    publish(one, order())
    assert two.running() == order()
    so_far = len(reads)
    assert so_far > 0
    assert two.running() == order()
    assert len(reads) == so_far
    one.withdraw(ended())
    publish(one, order("prof-b-0001"))
    assert two.running() == order("prof-b-0001")


def test_what_is_claimed_twice_or_released_twice_is_held_once_and_free_once(worker: Make) -> None:
    one, two = worker(ONE), worker(TWO)
    abandoned(worker, "prof-a-0001")
    assert one._claim("prof-a-0001")
    held = open_descriptors()
    assert one._claim("prof-a-0001")
    assert open_descriptors() == held
    assert not two._claim("prof-a-0001")
    assert open_descriptors() == held
    one.release(ended())
    one.release(ended())
    assert two._claim("prof-a-0001")


def test_a_forked_child_lets_go_of_the_collecting_without_a_word(worker: Make) -> None:
    one = worker(ONE)
    publish(one, order())
    one.withdraw(ended())
    before = len(open_descriptors())
    one.forget()
    assert len(open_descriptors()) == before - 2  # its own file and the claim
    one.forget()


DOCUMENTS = {
    "part": Part(TWO, "prof-a-0001", {}, (Recording("cprofile", None, ("noted",)),)).to_json(),
    "order": order().to_json(),
    "session": ended().session.to_json(),
}


@given(data=st.data())
@settings(max_examples=60)
def test_a_file_that_is_damaged_anywhere_is_read_or_left_out(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    output = tmp_path_factory.mktemp("damage")
    one = FileCoordinator(output)
    one.join(ONE)
    publish(one, order())
    one.deliver(Part(ONE, "prof-a-0001", {}, ()))
    written = {kind: dumped(data.draw(damaged(document))) for kind, document in DOCUMENTS.items()}
    state = output / ".state"
    (state / "parts" / "prof-a-0001" / "2-0-0@test.json").write_bytes(written["part"])
    for place in ("session.json", "parts/prof-a-0001/order.json", "parts/prof-a-0001/withdrawn.json"):
        (state / place).write_bytes(written["order"])
    (state / "last.json").write_bytes(written["session"])
    assert ONE in [part.worker for part in one.parts("prof-a-0001")]
    one.running()
    one.last()
    one.collecting()
    one.orphans()
    one.forget()


@pytest.mark.parametrize("at", [104.9, 0.0, -5.0])
def test_a_session_does_not_end_before_it_began_where_the_clock_was_put_back(at: float) -> None:
    late = order().ended(at=at, monotonic=945.0, by="stop").session
    assert (late.started, late.duration, late.ended) == (100.0, 5.0, 105.0)
    assert order().ended(at=105.1, monotonic=945.0, by="stop").session.ended == 105.1


def test_a_recovered_session_lasted_no_longer_than_it_might() -> None:
    assert order().ended(at=9e9, monotonic=999.0, by="recovered").session.duration == 59.0
    # its server was killed, and the next one was started a day later
    found = order().ended(at=9e9, monotonic=940.0 + 86_400, by="recovered").session
    assert (found.duration, found.ended) == (60.0, 9e9)
