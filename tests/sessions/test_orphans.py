"""What a watcher does for the dead: sessions without a collector, one of which fails; stale orders; late leavers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_profiling.errors import DiskFull, NotRunning, StorageFailed
from flask_profiling.model import Artifact, SessionOptions
from tests.sessions.machines import CPU, Machine, Time, machine


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "profiling"


def abandoned(output: Path, time: Time) -> str:
    """Leave a session whose collector was killed before it collected; returns its id."""
    dead = machine(output, pid=1, time=time)
    started = dead.sessions.start(CPU)
    dead.visit("GET /a")
    coordinator = dead.sessions._coordinator
    order = coordinator.running()
    assert order is not None
    dead.sessions._leave_session()
    assert coordinator.withdraw(order.ended(at=time.now(), monotonic=time.reading, by="stop"))
    dead.sessions.forget()
    return started.session.id


def stored(worker: Machine) -> set[str]:
    return {artifact.session_id for artifact in worker.sessions.reports()}


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_the_end_of_a_process_keeps_from_being_written_is_written_by_another(
    output: Path, end: type[BaseException]
) -> None:
    time = Time()
    ended, heir = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    heir.sessions.attend()
    session_id = ended.sessions.start(CPU).session.id
    ended.visit()
    heir.sessions._tick(False)
    store = ended.sessions._store

    def write(*arguments: object, **named: object) -> Artifact:
        raise end

    store.write = write  # type: ignore[method-assign]
    time.meanwhile = lambda: heir.sessions._tick(False)
    with pytest.raises(end):
        ended.sessions.stop()
    assert stored(heir) == set()
    heir.sessions._tick(True)
    assert stored(heir) == {session_id}
    last = heir.sessions.status().last
    assert last is not None
    assert last.ended_by == "stop"
    assert list((output / ".state" / "parts").iterdir()) == []


def test_what_a_full_disk_keeps_from_being_written_is_not_tried_again(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)

    def write(*arguments: object, **named: object) -> Artifact:
        raise DiskFull("there is no room; free some")

    worker.sessions._store.write = write  # type: ignore[method-assign]
    with pytest.raises(DiskFull):
        worker.sessions.stop()
    assert list((output / ".state" / "parts").iterdir()) == []


def test_an_orphan_that_cannot_be_collected_does_not_keep_the_others(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    ids = [abandoned(output, time) for _ in range(3)]
    heir = machine(output, pid=2, time=time)
    store = heir.sessions._store
    real, swept = store.write, []

    def write(type: str, session_id: str, write: object, *, worker: int | None = None) -> Artifact:
        if session_id == min(ids):
            raise ZeroDivisionError("a fault of ours")
        return real(type, session_id, write, worker=worker)  # type: ignore[arg-type]

    store.write = write  # type: ignore[method-assign]
    store.sweep = lambda: swept.append(True)  # type: ignore[method-assign]
    heir.sessions.attend()
    with caplog.at_level(logging.WARNING):
        heir.sessions._tick(True)
    assert stored(heir) == set(sorted(ids)[1:])
    assert swept == [True]
    assert list((output / ".state" / "parts").iterdir()) == []


def test_an_orphan_whose_parts_cannot_be_read_is_left_to_the_next_worker(output: Path) -> None:
    time = Time()
    session_id = abandoned(output, time)
    heir, next_one = machine(output, pid=2, time=time), machine(output, pid=3, time=time)

    def broken(session_id: str) -> tuple[()]:
        raise StorageFailed("the disk is gone")

    heir.sessions._coordinator.parts = broken  # type: ignore[method-assign]
    heir.sessions.attend()
    heir.sessions._tick(True)
    assert stored(heir) == set()
    next_one.sessions.attend()
    next_one.sessions._tick(True)
    assert stored(next_one) == {session_id}


def test_orphans_are_looked_for_now_and_then(output: Path) -> None:
    time = Time()
    heir = machine(output, pid=2, time=time)
    heir.sessions.attend()
    looked: list[int] = []
    heir.sessions._coordinator.orphans = lambda: looked.append(heir.sessions._looks) or ()  # type: ignore[method-assign,func-returns-value]
    for _ in range(61):
        heir.sessions._look()
    assert looked == [1, 21, 41, 61], "at the first look, and two seconds apart"


def test_a_stale_session_is_collected_by_whoever_finds_it(output: Path) -> None:
    time = Time()
    dead = machine(output, pid=1, time=time)
    session_id = dead.sessions.start(CPU).session.id
    dead.visit("GET /a")
    dead.sessions.forget()
    heir = machine(output, pid=2, time=time)
    heir.sessions.attend()
    heir.sessions._tick(False)
    assert stored(heir) == {session_id}
    last = heir.sessions.status().last
    assert last is not None
    assert last.ended_by == "recovered"
    heir.sessions._tick(False)
    assert heir.sessions._recovered == []


@pytest.mark.parametrize(("late", "stale"), [(15.0, False), (15.1, True)])
def test_a_session_long_over_its_time_is_stale_though_somebody_still_reports_it(
    output: Path, late: float, stale: bool
) -> None:
    worker = machine(output)
    worker.sessions.start(SessionOptions("cprofile", False, 0, 5.0))
    order = worker.sessions._coordinator.running()
    assert order is not None
    worker.time.reading = order.deadline + late
    assert worker.sessions._is_stale(order) is stale
    assert bool(worker.sessions.status().notes) is stale
    worker.sessions.stop()


def test_status_of_a_stale_session_says_what_will_happen(output: Path) -> None:
    time = Time()
    dead = machine(output, pid=1, time=time)
    session_id = dead.sessions.start(CPU).session.id
    dead.sessions.forget()
    status = machine(output, pid=2, time=time).sessions.status()
    assert status.session is None
    assert status.notes == (
        f"session {session_id} was interrupted (its workers ended); it is recovered at the next start",
    )


def test_a_stop_of_a_stale_session_says_that_it_was_recovered(output: Path) -> None:
    time = Time()
    dead = machine(output, pid=1, time=time)
    dead.sessions.start(CPU)
    dead.sessions.forget()
    heir = machine(output, pid=2, time=time)
    heir.sessions._is_watched = True  # it has not looked yet
    stopped = heir.sessions.stop()
    assert stopped.session.ended_by == "recovered"
    assert [worker.pid for worker in stopped.missing] == [1]


def test_while_artifacts_are_written_status_says_collecting(output: Path) -> None:
    time = Time()
    worker, other = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    session_id = worker.sessions.start(CPU).session.id
    seen = []
    store = worker.sessions._store
    real = store.write

    def write(*arguments: object, **named: object) -> Artifact:
        seen.append(other.sessions.status())
        return real(*arguments, **named)  # type: ignore[arg-type]

    store.write = write  # type: ignore[method-assign]
    assert worker.sessions.status().collecting is False
    worker.sessions.stop()
    assert {(status.collecting, status.session.id if status.session else None) for status in seen} == {
        (True, session_id)
    }
    after = other.sessions.status()
    assert (after.collecting, after.session) == (False, None)


def test_only_the_session_that_is_named_is_stopped(output: Path) -> None:
    worker = machine(output)
    session_id = worker.sessions.start(CPU).session.id
    with pytest.raises(NotRunning, match=f"session prof-old-0001 is over, and {session_id} is running"):
        worker.sessions.stop(session_id="prof-old-0001")
    assert worker.sessions.live is not None
    assert worker.sessions.stop(session_id=session_id).session.id == session_id


def test_who_is_second_at_the_stop_is_told_so(output: Path) -> None:
    time = Time()
    first, second = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    first.sessions.start(CPU)
    second.sessions.attend()
    session_id = first.sessions.stop().session.id
    assert second.sessions.live is not None
    with pytest.raises(NotRunning, match=f"another worker has just stopped session {session_id}"):
        second.sessions.stop()
    assert second.sessions.live is None
    with pytest.raises(NotRunning, match="start one first"):
        second.sessions.stop()


def waited(output: Path, meanwhile: Callable[[Machine], object]) -> float:
    """Return how long a stop waits for the other worker, which does ``meanwhile`` whenever somebody sleeps."""
    time = Time()
    first, second = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    first.sessions.start(CPU)
    second.sessions.attend()
    time.meanwhile = lambda: meanwhile(second)
    before = time.reading
    first.sessions.stop()
    return time.reading - before


def test_a_stop_waits_for_a_worker_that_answers_and_not_for_long_for_one_that_does_not(output: Path) -> None:
    assert waited(output, lambda second: second.sessions._tick(False)) < 0.1
    silent = waited(output, lambda second: None)
    assert 5.0 <= silent < 5.1


def test_a_stop_waits_longer_for_a_worker_that_writes(output: Path) -> None:
    def write(second: Machine) -> None:
        session = second.sessions.live
        assert session is not None
        second.sessions._coordinator.report(session.session_id, "writing")
        second.time.reading += 1

    assert 120 <= waited(output, write) < 121


def test_a_start_waits_two_seconds_for_the_others(output: Path) -> None:
    time = Time()
    first, silent = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    silent.sessions.attend()
    before = time.reading
    assert [worker.pid for worker in first.sessions.start(CPU).missing] == [2]
    assert 2.0 <= time.reading - before < 2.1
    assert max(time.slept) < 0.1
    first.sessions.stop()


def test_a_start_that_cannot_be_published_stops_its_engines_and_reports_nothing(output: Path) -> None:
    worker = machine(output)

    def fail(order: object) -> None:
        raise StorageFailed("the disk is full")

    worker.sessions._coordinator.publish = fail  # type: ignore[method-assign]
    with pytest.raises(StorageFailed):
        worker.sessions.start(CPU)
    assert [engine.running for engine in worker.engines] == [False]
    assert [(state.state, state.session_id) for state in worker.sessions.status().workers] == [("idle", "")]
    assert worker.sessions.idle


def left_at_its_time(worker: Machine) -> None:
    """Let a worker's time be up while nobody can be told."""
    order = worker.sessions._coordinator.running()
    assert order is not None

    def fail(ended: object) -> bool:
        raise StorageFailed("the disk is gone")

    real = worker.sessions._coordinator.withdraw
    worker.sessions._coordinator.withdraw = fail  # type: ignore[method-assign]
    worker.time.reading = order.deadline + 0.1
    worker.sessions._look()
    assert worker.sessions.live is None, "it has stopped though nobody could be told"
    worker.sessions._look()
    assert worker.sessions.live is None
    worker.sessions._coordinator.withdraw = real  # type: ignore[method-assign]


def test_a_worker_that_left_at_its_time_does_not_take_part_again(output: Path) -> None:
    time = Time()
    one, two = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    two.sessions.attend()
    time.meanwhile = two.sessions._look
    one.sessions.start(SessionOptions("cprofile", False, 0, 5.0))
    left_at_its_time(one)
    one.sessions._look()
    assert one.sessions.live is None
    assert two.sessions.live is not None, "who is in it still may end it"
    two.sessions._look()
    last = one.sessions.status().last
    assert last is not None
    assert last.ended_by == "deadline"


@pytest.mark.parametrize("starts", [False, True], ids=["a look", "a start"])
def test_a_session_that_all_left_at_its_time_is_recovered_at_once_when_the_disk_is_back(
    output: Path, starts: bool
) -> None:
    worker = machine(output)
    started = worker.sessions.start(SessionOptions("cprofile", False, 0, 5.0))
    left_at_its_time(worker)
    if starts:
        assert worker.sessions.start(CPU).session.id != started.session.id
    worker.sessions._look()
    last = worker.sessions.status().last
    assert last is not None
    assert (last.id, last.ended_by) == (started.session.id, "recovered")


def test_a_stop_that_nobody_could_be_told_of_says_that_the_session_may_go_on(output: Path) -> None:
    worker = machine(output)
    session_id = worker.sessions.start(CPU).session.id

    def fail(ended: object) -> bool:
        raise DiskFull("there is no room; free some")

    real = worker.sessions._coordinator.withdraw
    worker.sessions._coordinator.withdraw = fail  # type: ignore[method-assign]
    with pytest.raises(DiskFull) as caught:
        worker.sessions.stop()
    assert caught.value.message.startswith(f"there is no room; free some (session {session_id} may still run: stop it")
    assert worker.sessions.live is not None
    worker.sessions._coordinator.withdraw = real  # type: ignore[method-assign]
    assert worker.sessions.stop().session.ended_by == "stop"


def test_after_the_end_of_the_process_nothing_begins(output: Path) -> None:
    worker = machine(output)
    worker.sessions.attend()
    worker.sessions.shut_down()
    other = machine(output, pid=2, time=worker.time)
    other.sessions.start(CPU)
    worker.sessions._tick(True)
    worker.sessions.attend()
    assert worker.sessions.live is None
    assert worker.sessions.idle
    other.sessions.stop()


def test_a_worker_that_is_busy_while_the_process_ends_says_so(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    worker = machine(output)
    worker.sessions.attend()

    class Busy:
        def acquire(self, *, timeout: float) -> bool:
            assert timeout == 8.0
            return False

    worker.sessions._transition = Busy()  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        worker.sessions.shut_down()
    (record,) = caplog.records
    assert "its part of the session is lost" in record.getMessage()


def test_artifacts_stay_at_the_end_while_others_live_or_a_successor_comes(output: Path) -> None:
    time = Time()
    first = machine(output, pid=1, time=time, cleanup_on_exit=True)
    second = machine(output, pid=2, time=time, cleanup_on_exit=True)
    second.sessions.attend()
    first.sessions.start(CPU)
    time.meanwhile = lambda: second.sessions._tick(False)
    first.sessions.stop()
    first.sessions.shut_down()
    assert stored(second)
    second.sessions.shut_down(recycled=True)
    assert stored(second)


def test_who_loses_the_race_for_the_stop_is_told_so(output: Path) -> None:
    worker = machine(output)
    session_id = worker.sessions.start(CPU).session.id
    worker.sessions._coordinator.withdraw = lambda order: False  # type: ignore[method-assign]
    with pytest.raises(NotRunning, match=session_id):
        worker.sessions.stop()


def test_a_deadline_that_another_worker_kept_first_is_no_failure(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = machine(output)
    worker.sessions.start(SessionOptions("cprofile", False, 0, 5.0))
    live = worker.sessions.live
    assert live is not None
    worker.sessions._coordinator.withdraw = lambda order: False  # type: ignore[method-assign]
    worker.sessions._expire(live)
    assert worker.sessions.live is None
    assert caplog.records == []


def test_a_deadline_ends_no_session_that_came_after(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    late = worker.sessions.live
    assert late is not None
    worker.sessions.stop()
    started = worker.sessions.start(CPU)
    worker.sessions._expire(late)
    assert worker.sessions.live is not None
    assert worker.sessions.stop().session.id == started.session.id


def test_an_order_that_changes_before_the_lock_is_held_is_not_followed(output: Path) -> None:
    time = Time()
    first, second = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    second.sessions.attend()
    first.sessions.start(CPU)
    coordinator = second.sessions._coordinator
    real, seen = coordinator.running, []

    def running() -> object:
        seen.append(True)
        return real() if len(seen) == 1 else None

    coordinator.running = running  # type: ignore[method-assign,assignment]
    second.sessions._follow()
    assert len(seen) == 2
    assert second.sessions.live is None


def test_a_stale_order_that_another_worker_took_over_is_collected_by_that_one(output: Path) -> None:
    time = Time()
    dead = machine(output, pid=1, time=time)
    dead.sessions.start(CPU)
    dead.sessions.forget()
    heir = machine(output, pid=2, time=time)
    heir.sessions._coordinator.withdraw = lambda order: False  # type: ignore[method-assign]
    heir.sessions._follow()
    assert heir.sessions._recovered == []
    assert heir.sessions.live is None


def test_a_worker_whose_end_fails_is_unknown_all_the_same(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    worker, other = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    worker.sessions.attend()
    other.sessions.attend()

    def fail() -> object:
        raise StorageFailed("the lock is gone")

    worker.sessions._coordinator.locked = fail  # type: ignore[method-assign,assignment]
    with caplog.at_level(logging.WARNING):
        worker.sessions.shut_down()
    assert "profiling: the lock is gone" in caplog.text
    assert [state.worker.pid for state in other.sessions.status().workers] == [2]
    assert worker.sessions.idle


def test_a_process_that_ends_before_its_first_request_never_becomes_a_worker(output: Path) -> None:
    time = Time()
    worker, other = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    other.sessions.attend()
    worker.sessions.shut_down()
    worker.sessions.attend()
    assert [state.worker.pid for state in other.sessions.status().workers] == [2]


def test_the_last_of_a_session_collects_it_though_workers_live_that_took_no_part(output: Path) -> None:
    time = Time()
    worker, silent = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    silent.sessions.attend()
    session_id = worker.sessions.start(CPU).session.id
    worker.sessions.shut_down()
    assert stored(silent) == {session_id}
