"""The session machine: start, follow, stop, collect, end; over the real coordinator and store, engines that count."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flask_profiling.coordination import Order
from flask_profiling.errors import AlreadyRunning, EngineBusy, NotRunning, StorageFailed, Unavailable
from flask_profiling.model import CallGraphs, Recording, SessionOptions
from flask_profiling.sessions import Stopped
from tests.sessions.machines import CPU, CountingEngine, Machine, Time, machine


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "profiling"


def calls(stopped: Stopped) -> dict[str, int]:
    (recording,) = stopped.recording.recordings
    assert isinstance(recording.data, CallGraphs)
    return {
        route: sum(cost.calls for cost in graph.functions.values()) for route, graph in recording.data.routes.items()
    }


def two_workers(output: Path) -> tuple[Machine, Machine]:
    time = Time()
    first, second = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    time.meanwhile = lambda: second.sessions._tick(False)
    first.sessions.attend()
    second.sessions.attend()
    return first, second


def test_a_machine_is_idle_until_something_runs(output: Path) -> None:
    worker = machine(output)
    assert not worker.sessions.idle, "its first request makes it a worker"
    worker.sessions.attend()
    assert worker.sessions.idle
    worker.sessions.start(CPU)
    assert not worker.sessions.idle
    worker.sessions.stop()
    assert worker.sessions.idle


def test_a_worker_whose_first_request_meets_a_session_counts_it(output: Path) -> None:
    first, late = machine(output), machine(output, pid=2)
    first.sessions.start(CPU)
    late.sessions.attend()
    assert late.sessions.live is not None
    assert not late.sessions.idle


def test_a_worker_that_had_no_thread_to_watch_tries_again_at_its_next_request(output: Path) -> None:
    tried = []

    def start_watcher(watch: Callable[[], None]) -> None:
        tried.append(watch)
        if len(tried) < 3:
            raise RuntimeError("can't start new thread")

    worker = machine(output, start_watcher=start_watcher)
    for is_watched in (False, False, True, True):
        worker.sessions.attend()
        assert worker.sessions.idle is is_watched
    assert len(tried) == 3


def test_stop_answers_with_what_the_engines_saw_and_what_was_stored(output: Path) -> None:
    worker = machine(output)
    started = worker.sessions.start(CPU)
    worker.visit("GET /a")
    worker.visit("GET /a")
    worker.time.reading += 2.5
    stopped = worker.sessions.stop()
    assert calls(stopped) == {"GET /a": 2}
    assert stopped.recording.requests["GET /a"].requests == 2
    assert stopped.session.id == started.session.id
    assert stopped.session.duration == pytest.approx(2.5)
    assert stopped.session.ended_by == "stop"
    assert "seen by a counting engine" in stopped.notes
    names = [artifact.filename for artifact in stopped.artifacts]
    assert names == [
        f"profile-{started.session.id}.cpuprofile",
        f"profile-{started.session.id}.prof",
        f"callgraph-{started.session.id}.dot",
        f"recording-{started.session.id}.json",
    ]
    assert all((output / name).stat().st_size for name in names)


def test_the_duration_does_not_follow_the_wall_clock(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    worker.time.reading += 3
    worker.time.wall -= 86400
    assert worker.sessions.stop().session.duration == pytest.approx(3)


def test_second_start_is_refused_and_names_the_owner_and_the_end(output: Path) -> None:
    worker = machine(output)
    started = worker.sessions.start(CPU)
    worker.time.reading += 12
    with pytest.raises(
        AlreadyRunning, match=rf"{started.session.id}, started 12 s ago by worker 1\); stop it, or wait until"
    ):
        worker.sessions.start(CPU)
    assert len(worker.engines) == 1


def test_stop_without_a_start_is_refused(output: Path) -> None:
    worker = machine(output)
    with pytest.raises(NotRunning, match="start one first"):
        worker.sessions.stop()


def test_fifty_concurrent_starts_give_one_session(output: Path) -> None:
    workers = [machine(output, pid=1) for _ in range(5)]
    outcomes: list[str] = []

    def start(worker: Machine) -> None:
        try:
            worker.sessions.start(CPU)
            outcomes.append("started")
        except AlreadyRunning:
            outcomes.append("refused")

    threads = [threading.Thread(target=start, args=(workers[number % 5],)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 49 + ["started"]


def test_start_on_one_worker_profiles_all_and_stop_on_another_merges_all(output: Path) -> None:
    first, second = two_workers(output)
    started = first.sessions.start(CPU)
    assert {worker.pid for worker in started.workers} == {1, 2}
    assert started.missing == ()
    first.visit("GET /a")
    second.visit("GET /a")
    second.visit("GET /b")
    first.time.meanwhile = lambda: first.sessions._tick(False)
    stopped = second.sessions.stop()
    assert calls(stopped) == {"GET /a": 2, "GET /b": 1}
    assert {worker.pid for worker in stopped.workers} == {1, 2}
    assert stopped.missing == ()
    assert first.sessions.live is None


def test_a_worker_that_does_not_answer_is_named_as_missing(output: Path) -> None:
    first, second = two_workers(output)
    first.time.meanwhile = lambda: None
    started = first.sessions.start(CPU)
    assert [worker.pid for worker in started.missing] == [2]
    second.sessions._tick(False)
    stopped = first.sessions.stop()
    assert [worker.pid for worker in stopped.missing] == [2]
    assert any("Worker 2 took part and delivered nothing" in note for note in stopped.notes)


def test_two_apps_of_one_process_are_one_worker(output: Path) -> None:
    time = Time()
    one, other = machine(output, time=time), machine(output, time=time)
    time.meanwhile = lambda: other.sessions._tick(False)
    other.sessions.attend()
    started = one.sessions.start(CPU)
    status = one.sessions.status()
    assert [worker.pid for worker in started.workers] == [1]
    assert started.missing == ()
    assert [(each.worker.pid, each.state) for each in status.workers] == [(1, "profiling")]
    one.visit("GET /one")
    other.visit("GET /other")
    stopped = one.sessions.stop()
    assert [worker.pid for worker in stopped.workers] == [1]
    assert set(stopped.recording.requests) == {"GET /one", "GET /other"}


def test_of_two_apps_of_one_process_the_last_one_out_finishes_the_session(output: Path) -> None:
    time = Time()
    one, other = machine(output, time=time), machine(output, time=time)
    one.sessions.start(CPU)
    other.sessions.attend()
    one.visit("GET /one")
    other.visit("GET /other")
    one.sessions.shut_down()
    assert other.sessions.live is not None
    assert other.sessions.reports() == ()
    other.sessions.shut_down()
    (recording,) = output.glob("recording-*.json")
    assert set(json.loads(recording.read_bytes())["requests"]) == {"GET /one", "GET /other"}


def test_a_late_worker_takes_part_from_its_first_request(output: Path) -> None:
    time = Time()
    first, late = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    first.sessions.start(CPU)
    late.sessions.attend()
    late.visit("GET /late")
    time.meanwhile = lambda: late.sessions._tick(False)
    assert calls(first.sessions.stop()) == {"GET /late": 1}


def test_a_part_that_comes_too_late_is_dropped_and_leaves_nothing(output: Path) -> None:
    first, second = two_workers(output)
    first.sessions.start(CPU)
    first.time.meanwhile = lambda: None
    first.sessions.stop()
    second.sessions._tick(False)
    assert second.sessions.live is None
    assert list((output / ".state" / "parts").iterdir()) == []


def test_a_forgotten_session_stops_itself(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(SessionOptions("cprofile", False, 0, 5.0))
    worker.time.reading = 1004.9
    worker.sessions._tick(False)
    assert not worker.sessions.idle
    worker.time.reading = 1005.0
    worker.sessions._tick(False)
    status = worker.sessions.status()
    assert status.session is None
    assert status.last is not None
    assert status.last.ended_by == "deadline"
    assert len(status.artifacts) == 4


def test_an_engine_that_is_busy_refuses_the_start_and_publishes_nothing(output: Path) -> None:
    worker = machine(output, engine=lambda: CountingEngine(busy=True))
    with pytest.raises(EngineBusy, match="debugger"):
        worker.sessions.start(CPU)
    assert worker.sessions.status().session is None
    assert worker.sessions.idle


def test_an_engine_that_is_busy_in_another_worker_is_a_note(output: Path) -> None:
    time = Time()
    first = machine(output, pid=1, time=time)
    second = machine(output, pid=2, time=time, engine=lambda: CountingEngine(busy=True))
    time.meanwhile = lambda: second.sessions._tick(False)
    second.sessions.attend()
    first.sessions.start(CPU)
    stopped = first.sessions.stop()
    assert "worker 2: a debugger is attached; detach it" in stopped.notes


def test_an_engine_that_is_not_there_is_unavailable(output: Path) -> None:
    worker = machine(output)
    with pytest.raises(Unavailable, match="'nothing'"):
        worker.sessions.start(SessionOptions("nothing", False, 0, 5.0))
    assert worker.sessions.status().session is None


def test_a_broken_engine_does_not_reach_the_request_and_is_logged_once(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = machine(output, engine=lambda: CountingEngine(broken=True))
    worker.sessions.start(CPU)
    with caplog.at_level(logging.WARNING):
        worker.visit()
        worker.visit()
        assert len(caplog.records) == 1
        stopped = worker.sessions.stop()
    assert any("failed inside a request" in note for note in stopped.notes)
    assert any("its data is lost" in note for note in stopped.notes)
    assert stopped.recording.requests["GET /"].requests == 2


def test_a_request_still_running_at_stop_is_said(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    live = worker.sessions.live
    assert live is not None
    visit = live.begin("GET /slow")
    live.resume(visit)
    stopped = worker.sessions.stop()
    assert any("1 request was still running in worker 1" in note for note in stopped.notes)
    live.pause(visit)
    live.end(visit, failed=False)
    assert stopped.recording.requests == {}


def test_status_tells_the_running_session_and_changes_nothing(output: Path) -> None:
    worker = machine(output)
    started = worker.sessions.start(CPU)
    before = sorted(path for path in output.rglob("*"))
    status = worker.sessions.status()
    assert status.session == started.session
    assert status.deadline == pytest.approx(started.deadline)
    assert [(state.worker.pid, state.state) for state in status.workers] == [(1, "profiling")]
    assert sorted(path for path in output.rglob("*")) == before


def test_the_session_that_began_last_is_listed_first_though_its_files_seem_older(output: Path) -> None:
    worker = machine(output)
    ids = []
    for created in (9000.0, 100.0, 5000.0):
        ids.append(worker.sessions.start(CPU).session.id)
        for artifact in worker.sessions.stop().artifacts:
            os.utime(output / artifact.filename, (created, created))
    assert list(dict.fromkeys(artifact.session_id for artifact in worker.sessions.reports())) == ids[::-1]


def test_a_session_starts_also_where_its_place_among_the_others_cannot_be_noted(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    worker.sessions.stop()
    (output / ".state" / "sequence.json").unlink()
    (output / ".state" / "sequence.json" / "of somebody").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        worker.sessions.start(CPU)
    assert "could not take sequence.json" in caplog.text
    assert worker.sessions.stop().session.ended_by == "stop"


def test_clean_keeps_the_running_session(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    worker.sessions.stop()
    worker.sessions.start(CPU)
    cleaned = worker.sessions.clean()
    assert (cleaned.reports, cleaned.sessions) == (4, 1)
    assert worker.sessions.stop().artifacts


def test_clean_keeps_what_the_running_session_has_stored_and_nothing_where_none_runs(output: Path) -> None:
    worker = machine(output)
    running = worker.sessions.start(CPU).session.id
    worker.sessions._store.write("recording", running, lambda out: None)
    assert worker.sessions.clean().reports == 0
    assert len(worker.sessions.stop().artifacts) == 4
    assert worker.sessions.clean().reports == 4
    assert worker.sessions.reports() == ()


def test_start_and_stop_are_told_with_what_came_of_them(output: Path) -> None:
    worker = machine(output)
    told: list[object] = []
    worker.sessions._world = replace(worker.sessions._world, on_started=told.append, on_stopped=told.append)
    assert told == [worker.sessions.start(CPU)]
    stopped = worker.sessions.stop()
    assert told[1:] == [stopped]


def test_a_worker_takes_part_before_the_others_hear_of_the_session(output: Path) -> None:
    first, second = two_workers(output)
    coordinator = first.sessions._coordinator
    publish = coordinator.publish

    def published(order: Order) -> None:
        publish(order)
        assert second.sessions.status().notes == ()
        assert [state.worker.pid for state in second.sessions.status().workers if state.session_id] == [1]

    coordinator.publish = published  # type: ignore[method-assign]
    first.sessions.start(CPU)


def test_while_an_engine_stops_its_worker_is_said_to_write(output: Path) -> None:
    first, second = two_workers(output)
    first.sessions.start(CPU)
    (engine,) = first.engines
    stop, seen = engine.stop, []

    def stopping() -> Recording:
        seen.append({state.worker.pid: state.state for state in second.sessions.status().workers})
        return stop()

    engine.stop = stopping  # type: ignore[method-assign]
    first.sessions.stop()
    assert seen == [{1: "writing", 2: "profiling"}]


def test_a_worker_whose_first_request_is_a_stop_is_known_to_the_others(output: Path) -> None:
    time = Time()
    first, second = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    first.sessions.start(CPU)
    time.meanwhile = lambda: first.sessions._tick(False)
    assert {worker.pid for worker in second.sessions.stop().workers} == {1, 2}
    assert {state.worker.pid for state in first.sessions.status().workers} == {1, 2}


def test_a_worker_whose_file_was_deleted_is_known_again_at_its_next_look(output: Path) -> None:
    first, second = two_workers(output)
    for path in (output / ".state" / "workers").iterdir():
        path.unlink()
    second.sessions._tick(False)
    assert [state.worker.pid for state in first.sessions.status().workers] == [2]


def test_a_part_that_could_not_be_delivered_is_in_the_answer_of_its_own_worker(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    worker.visit()

    def fail(part: object) -> None:
        raise StorageFailed("the disk is full")

    worker.sessions._coordinator.deliver = fail  # type: ignore[method-assign]
    stopped = worker.sessions.stop()
    assert stopped.missing == ()
    assert calls(stopped) == {"GET /": 1}


def test_a_stop_whose_parts_cannot_be_read_says_so(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)

    def fail(session_id: str, *, own: object) -> object:
        raise StorageFailed("the disk is gone")

    worker.sessions._coordinator.parts = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageFailed, match="the disk is gone"):
        worker.sessions.stop()


def test_a_session_that_runs_is_not_said_to_be_collected_while_an_older_one_is(output: Path) -> None:
    time = Time()
    worker, other = machine(output, pid=1, time=time), machine(output, pid=2, time=time)
    worker.sessions.start(CPU)
    store = worker.sessions._store
    write, seen = store.write, []

    def writing(*arguments: object, **named: object) -> object:
        if not seen:
            started = other.sessions.start(CPU)
            status = other.sessions.status()
            seen.append((status.collecting, status.session == started.session))
        return write(*arguments, **named)  # type: ignore[arg-type]

    store.write = writing  # type: ignore[method-assign,assignment]
    worker.sessions.stop()
    assert seen == [(False, True)]


def test_a_session_whose_workers_died_is_recovered_by_the_next_one(output: Path) -> None:
    time = Time()
    dead = machine(output, pid=1, time=time)
    started = dead.sessions.start(CPU)
    dead.sessions.forget()  # what the kernel does to a killed process: the lock is gone
    heir = machine(output, pid=2, time=time)
    heir.sessions.attend()
    assert heir.sessions.status().session is None
    heir.sessions._tick(False)
    last = heir.sessions.status().last
    assert last is not None
    assert (last.id, last.ended_by) == (started.session.id, "recovered")
    heir.sessions.start(CPU)


def test_parts_of_a_dead_collector_are_collected_by_another(output: Path) -> None:
    time = Time()
    first = machine(output, pid=1, time=time)
    started = first.sessions.start(CPU)
    first.visit("GET /a")
    order = first.sessions._coordinator.running()
    assert order is not None
    first.sessions._leave_session()
    assert first.sessions._coordinator.withdraw(order.ended(at=time.now(), monotonic=time.reading, by="stop"))
    first.sessions.forget()  # killed before it collected
    heir = machine(output, pid=2, time=time)
    heir.sessions.attend()
    heir.sessions._tick(True)
    (recording,) = [artifact for artifact in heir.sessions.reports() if artifact.type == "recording"]
    assert recording.session_id == started.session.id
    document = json.loads((output / recording.filename).read_bytes())
    assert document["requests"]["GET /a"]["requests"] == 1


def test_a_deleted_output_directory_fails_the_stop_and_not_the_next_session(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    for path in sorted(output.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    output.rmdir()
    with pytest.raises(StorageFailed, match="deleted or replaced"):
        worker.sessions.stop()
    assert not worker.engines[0].running
    worker.sessions.start(CPU)
    assert worker.sessions.stop().artifacts


def test_the_last_worker_out_finishes_the_session(output: Path) -> None:
    first, second = two_workers(output)
    first.sessions.start(CPU)
    first.visit("GET /a")
    second.visit("GET /a")
    first.time.meanwhile = lambda: None
    first.sessions.shut_down()
    assert not list(output.glob("*.cpuprofile"))
    second.sessions.shut_down()
    (recording,) = output.glob("recording-*.json")
    document = json.loads(recording.read_bytes())
    assert document["requests"]["GET /a"]["requests"] == 2
    assert document["session"]["endedBy"] == "shutdown"


def test_a_recycled_worker_leaves_the_session_to_its_successor(output: Path) -> None:
    time = Time()
    old = machine(output, pid=1, time=time)
    old.sessions.start(CPU)
    old.visit("GET /a")
    old.sessions.shut_down(recycled=True)
    successor = machine(output, pid=2, time=time)
    successor.sessions.attend()
    successor.visit("GET /a")
    assert calls(successor.sessions.stop()) == {"GET /a": 2}


def test_artifacts_are_deleted_at_the_end_where_that_is_asked_for(output: Path) -> None:
    worker = machine(output, cleanup_on_exit=True)
    worker.sessions.start(CPU)
    worker.sessions.shut_down()
    assert list(output.glob("*prof*")) == []


def test_a_process_that_served_nothing_deletes_nothing(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    worker.sessions.stop()
    worker.sessions.shut_down()
    machine(output, pid=2, cleanup_on_exit=True).sessions.shut_down()
    assert len(worker.sessions.reports()) == 4


def test_a_process_that_served_nothing_makes_no_directory(output: Path) -> None:
    machine(output).sessions.shut_down()
    assert not output.exists()


def test_a_forked_child_forgets_the_session_of_its_parent(output: Path) -> None:
    worker = machine(output)
    worker.sessions.start(CPU)
    worker.sessions.forget()
    assert worker.sessions.live is None
    assert not worker.sessions.idle
    assert not worker.engines[0].running


def test_a_machine_without_an_output_directory_lets_requests_pass(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    worker = machine(tmp_path / "file")
    worker.sessions.attend()
    assert worker.sessions.idle
    with pytest.raises(StorageFailed, match="'file' cannot be used"):
        worker.sessions.start(CPU)
    assert worker.sessions.idle
