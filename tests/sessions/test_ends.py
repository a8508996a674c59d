"""A fault of ours at the end of a worker is logged once and goes no further; a worker that came late is named."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_profiling.errors import NotRunning, StorageFailed
from tests.sessions.machines import CPU, Machine, Time, machine


def failing(error: Exception) -> Callable[..., object]:
    def fail(*arguments: object, **named: object) -> object:
        raise error

    return fail


# what fails -> where it stands in a machine
FAULTS: dict[str, Callable[[Machine], tuple[object, str]]] = {
    "the lock": lambda worker: (worker.sessions._coordinator, "locked"),
    "leaving": lambda worker: (worker.sessions._coordinator, "leave"),
    "the others": lambda worker: (worker.sessions._coordinator, "workers"),
    "the order": lambda worker: (worker.sessions._coordinator, "running"),
    "the engine": lambda worker: (worker.engines[0], "stop"),
    "collecting": lambda worker: (worker.sessions._coordinator, "parts"),
    "storing": lambda worker: (worker.sessions._store, "write"),
    "cleaning": lambda worker: (worker.sessions._store, "clean"),
}


@pytest.mark.parametrize("error", [ZeroDivisionError("a fault of ours"), StorageFailed("the disk is gone")], ids=repr)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_escapes_at_the_end_of_a_worker(
    fault: str, error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = machine(tmp_path, cleanup_on_exit=True)
    worker.sessions.start(CPU)
    worker.visit()
    owner, name = FAULTS[fault](worker)
    assert callable(getattr(owner, name))
    setattr(owner, name, failing(error))
    with caplog.at_level(logging.WARNING, "flask_profiling"):
        worker.sessions.shut_down()
        worker.sessions.shut_down()
    assert worker.sessions.idle
    assert worker.sessions.live is None
    assert not worker.sessions._transition.locked()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(set(messages)), "logged once"
    assert messages or fault == "the engine"  # that one becomes a note


def test_a_worker_that_joins_after_the_start_has_answered_is_a_note(tmp_path: Path) -> None:
    time = Time()
    first, late = machine(tmp_path, pid=1, time=time), machine(tmp_path, pid=2, time=time)
    for worker in (first, late):
        worker.sessions.attend()
    assert [worker.pid for worker in first.sessions.start(CPU).missing] == [2]
    time.reading += 3.0
    late.sessions._tick(False)
    time.meanwhile = lambda: late.sessions._tick(False)
    notes = first.sessions.stop().notes
    assert [note for note in notes if "worker 2 joined 5." in note and "what it served before is lost" in note]


def test_a_worker_that_has_no_thread_to_look_with_is_late_for_a_session_that_its_next_request_finds(
    tmp_path: Path,
) -> None:
    def start_watcher(watch: object) -> None:
        raise RuntimeError("can't start new thread")

    time = Time()
    first = machine(tmp_path, pid=1, time=time)
    second = machine(tmp_path, pid=2, time=time, start_watcher=start_watcher)
    second.sessions.attend()
    assert [worker.pid for worker in first.sessions.start(CPU).missing] == [2]
    time.reading += 3.0
    second.sessions.attend()
    time.meanwhile = lambda: second.sessions._tick(False)
    assert any("worker 2 joined 5." in note for note in first.sessions.stop().notes)


@pytest.mark.parametrize(("seconds", "late"), [(2.0, False), (2.5, True)])
def test_a_worker_that_lived_long_before_the_start_is_late_from_then_on(
    tmp_path: Path, seconds: float, late: bool
) -> None:
    time = Time()
    first, second = machine(tmp_path, pid=1, time=time), machine(tmp_path, pid=2, time=time)
    second.sessions.attend()
    time.reading = 1100.0
    time.meanwhile = lambda: setattr(time, "reading", 1110.0)  # the start gives up at once
    first.sessions.start(CPU)
    time.reading, time.meanwhile = 1100.0 + seconds, lambda: second.sessions._tick(False)
    second.sessions._tick(False)
    assert any("joined" in note for note in first.sessions.stop().notes) is late


def test_a_worker_that_takes_no_part_ends_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    first, silent = machine(tmp_path, pid=1, time=time), machine(tmp_path, pid=2, time=time)
    silent.sessions.attend()
    time.meanwhile = lambda: None
    session_id = first.sessions.start(CPU).session.id
    assert silent.sessions.live is None
    with caplog.at_level(logging.WARNING):
        silent.sessions.shut_down()
    assert caplog.records == []
    assert first.sessions.stop().session.id == session_id


def test_a_worker_whose_session_was_stopped_elsewhere_ends_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    first, second = machine(tmp_path, pid=1, time=time), machine(tmp_path, pid=2, time=time)
    first.sessions.start(CPU)
    second.sessions.attend()
    time.meanwhile = second.sessions.shut_down
    with caplog.at_level(logging.WARNING):
        stopped = first.sessions.stop()
    assert caplog.records == []
    assert stopped.missing == ()


def test_a_worker_that_was_born_after_the_start_missed_nothing(tmp_path: Path) -> None:
    time = Time()
    first, late = machine(tmp_path, pid=1, time=time), machine(tmp_path, pid=2, time=time)
    first.sessions.start(CPU)
    time.reading += 10.0
    late.sessions.attend()
    time.meanwhile = lambda: late.sessions._tick(False)
    assert not [note for note in first.sessions.stop().notes if "joined" in note]


def test_a_session_whose_files_vanished_is_said_to_be_lost_also_after_the_watcher_saw_it(tmp_path: Path) -> None:
    output = tmp_path / "profiling"
    worker = machine(output)
    worker.sessions.start(CPU)
    shutil.rmtree(output)
    worker.sessions._tick(False)
    assert worker.sessions.live is None
    with pytest.raises(StorageFailed, match="is lost: the output directory was deleted or replaced"):
        worker.sessions.stop()
    worker.sessions.start(CPU)
    worker.sessions.stop()
    with pytest.raises(NotRunning, match="no profiling session is running"):
        worker.sessions.stop()


def test_a_start_after_the_output_directory_was_deleted_makes_the_worker_known_again(tmp_path: Path) -> None:
    output = tmp_path / "profiling"
    worker = machine(output)
    worker.sessions.attend()
    shutil.rmtree(output)
    assert [each.pid for each in worker.sessions.start(CPU).workers] == [1]


def replaced(output: Path) -> tuple[Machine, Machine]:
    """Return two workers: the first is in a new session, the second has not seen that the old one is gone."""
    time = Time()
    first, slow = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    slow.sessions.attend()
    time.meanwhile = lambda: slow.sessions._tick(False)
    first.sessions.start(CPU)
    time.meanwhile = lambda: None
    shutil.rmtree(output)
    first.sessions._tick(False)
    first.sessions.start(CPU)
    return first, slow


def test_a_worker_goes_over_to_the_session_that_came_after_a_lost_one(tmp_path: Path) -> None:
    first, slow = replaced(tmp_path / "profiling")
    slow.sessions._tick(False)
    assert first.sessions.live is not None and slow.sessions.live is not None
    assert slow.sessions.live.session_id == first.sessions.live.session_id
    assert [engine.running for engine in slow.engines] == [False, True]


def test_the_end_of_a_worker_ends_no_session_that_it_has_not_seen(tmp_path: Path) -> None:
    first, slow = replaced(tmp_path / "profiling")
    slow.sessions.shut_down()
    first.visit()
    stopped = first.sessions.stop()
    assert (stopped.session.ended_by, stopped.missing) == ("stop", ())


def test_what_a_worker_recorded_in_a_lost_session_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    output = tmp_path / "profiling"
    time = Time()
    first, slow = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    slow.sessions.attend()
    time.meanwhile = lambda: slow.sessions._tick(False)
    first.sessions.start(CPU)
    slow.visit()
    time.meanwhile = lambda: None
    shutil.rmtree(output)
    first.sessions._tick(False)
    first.sessions.start(CPU)
    first.visit()
    time.meanwhile = lambda: first.sessions._tick(False)
    stopped = slow.sessions.stop()  # its watcher has seen nothing of all this
    assert sum(times.requests for times in stopped.recording.requests.values()) == 1
    assert [worker.pid for worker in stopped.workers] == [1]
