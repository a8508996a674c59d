"""Coordination over files: one order, live workers, parts, orphans; and what vandals, forks and kills do to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_profiling.coordination import PROFILING, WRITING, Order
from flask_profiling.coordination.files import FileCoordinator
from flask_profiling.errors import CoordinationFailed, StorageFailed
from flask_profiling.model import Part, Recording, Session, SessionOptions, WorkerId
from flask_profiling.processes import process_started
from tests.faults import open_descriptors

OPTIONS = SessionOptions("cprofile", False, 0, 60.0)
ONE = WorkerId("test", 1, process_started(1))
TWO = WorkerId("test", 2, process_started(1))


def order(session_id: str = "prof-a-0001", started: float = 100.0) -> Order:
    return Order(Session(session_id, ONE, started, OPTIONS), deadline=1000.0)


def part(session_id: str = "prof-a-0001", worker: WorkerId = ONE) -> Part:
    return Part(worker, session_id, {}, (Recording("cprofile", None, ("noted",)),))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def pair(output: Path) -> Iterator[tuple[FileCoordinator, FileCoordinator]]:
    one, two = FileCoordinator(output), FileCoordinator(output)
    one.join(ONE)
    two.join(TWO)
    yield one, two
    one.leave()
    two.leave()


def publish(coordinator: FileCoordinator, published: Order) -> None:
    with coordinator.locked():
        coordinator.publish(published)


def test_what_one_publishes_the_other_sees(pair: tuple[FileCoordinator, FileCoordinator]) -> None:
    one, two = pair
    assert two.running() is None
    publish(one, order())
    assert two.running() == order()


def test_an_order_is_withdrawn_once(pair: tuple[FileCoordinator, FileCoordinator]) -> None:
    one, two = pair
    publish(one, order())
    ended = order().ended(at=105.0, monotonic=945.0, by="stop")
    assert two.withdraw(ended)
    assert not one.withdraw(ended)
    assert one.running() is two.running() is None
    assert one.last() == two.last() == ended.session
    assert ended.session.duration == pytest.approx(5.0)
    assert one.ended("prof-a-0001")
    assert not one.ended("prof-other-1")


def test_the_live_workers_are_known_with_what_they_do(pair: tuple[FileCoordinator, FileCoordinator]) -> None:
    one, two = pair
    one.report("prof-a-0001", PROFILING)
    two.report("prof-a-0001", WRITING)
    seen = {(state.worker.pid, state.session_id, state.state) for state in one.workers()}
    assert seen == {(1, "prof-a-0001", "profiling"), (2, "prof-a-0001", "writing")}
    two.leave()
    assert [state.worker.pid for state in one.workers()] == [1]


def test_a_worker_whose_lock_is_gone_is_dead_and_swept(
    pair: tuple[FileCoordinator, FileCoordinator], output: Path
) -> None:
    one, two = pair
    two.forget()
    assert [state.worker.pid for state in one.workers()] == [1]
    assert len(list((output / ".state" / "workers").iterdir())) == 1


def test_a_worker_whose_forked_child_still_holds_the_lock_is_dead(output: Path) -> None:
    held = FileCoordinator(output)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    # As a killed worker whose child lives on: the lock is held, the process it names is gone.
    import socket

    held.join(WorkerId(socket.gethostname(), child.pid, process_started(child.pid)))
    watcher = FileCoordinator(output)
    watcher.join(ONE)
    assert len(watcher.workers()) == 2
    child.communicate(b"\n", timeout=10)
    assert [state.worker for state in watcher.workers()] == [ONE]
    held.leave()


def test_a_worker_whose_file_was_deleted_makes_it_again(
    pair: tuple[FileCoordinator, FileCoordinator], output: Path
) -> None:
    one, two = pair
    two.report("prof-a-0001", PROFILING)
    for path in (output / ".state" / "workers").iterdir():
        path.unlink()
    assert {state.worker.pid for state in one.workers()} == set()
    two.join(TWO)
    one.join(ONE)
    assert {(state.worker.pid, state.session_id) for state in one.workers()} == {(1, ""), (2, "prof-a-0001")}


def test_the_lock_excludes_another_thread_and_another_machine(pair: tuple[FileCoordinator, FileCoordinator]) -> None:
    one, two = pair
    inside, order_of_events = threading.Event(), []

    def second() -> None:
        inside.wait(5)
        with two.locked():
            order_of_events.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with one.locked():
        inside.set()
        thread.join(0.1)
        order_of_events.append("first")
    thread.join(5)
    assert order_of_events == ["first", "second"]


def test_a_lock_that_is_never_released_is_given_up_with_a_sentence(output: Path) -> None:
    time, looks = [0.0], []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        time[0] += seconds

    patient = FileCoordinator(output, sleep=sleep, monotonic=lambda: time[0])
    before = open_descriptors()
    with (
        FileCoordinator(output).locked(),
        pytest.raises(CoordinationFailed, match="holds the lock for too long"),
        patient.locked(),
    ):
        pass
    assert 10 < time[0] < 10.1
    assert max(looks) < 0.05, "a request waits for this"
    assert open_descriptors() == before


def test_a_lock_file_that_was_replaced_is_locked_anew(output: Path) -> None:
    one, two = FileCoordinator(output), FileCoordinator(output)
    with one.locked():
        (output / ".state" / "lock").unlink()
        with two.locked():
            assert (output / ".state" / "lock").exists()


def test_parts_are_delivered_and_come_back(pair: tuple[FileCoordinator, FileCoordinator]) -> None:
    one, two = pair
    publish(one, order())
    for coordinator, worker in ((one, ONE), (two, TWO)):
        coordinator.take_part("prof-a-0001")
        coordinator.deliver(part(worker=worker))
    assert set(one.participants("prof-a-0001")) == {ONE, TWO}
    assert {each.worker for each in two.parts("prof-a-0001")} == {ONE, TWO}


def test_a_part_with_any_character_comes_back(pair: tuple[FileCoordinator, FileCoordinator]) -> None:
    one, two = pair
    publish(one, order())
    odd = Part(ONE, "prof-a-0001", {}, (Recording("cprofile", None, ("naïve 😀 \udcff",)),))
    one.deliver(odd)
    assert two.parts("prof-a-0001") == (odd,)


@pytest.mark.parametrize(("size", "is_read"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_an_order_of_more_than_64_kib_is_none(
    pair: tuple[FileCoordinator, FileCoordinator], output: Path, size: int, is_read: bool
) -> None:
    one, _ = pair
    publish(one, order())
    path = output / ".state" / "session.json"
    path.write_bytes(path.read_bytes().ljust(size))
    assert one.running() == (order() if is_read else None)


def test_the_part_that_a_collector_has_at_hand_is_not_read_again(pair: tuple[FileCoordinator, FileCoordinator]) -> None:
    one, two = pair
    publish(one, order())
    two.deliver(part(worker=TWO))
    mine = part(worker=ONE)
    assert [each.worker for each in one.parts("prof-a-0001", own=mine)] == [ONE, TWO]  # it could not be delivered
    one.deliver(mine)
    found = one.parts("prof-a-0001", own=mine)
    assert [each.worker for each in found] == [ONE, TWO]
    assert found[0] is mine


def test_a_part_for_a_session_that_is_over_is_refused(pair: tuple[FileCoordinator, FileCoordinator]) -> None:
    one, two = pair
    publish(one, order())
    one.withdraw(order())
    one.finish(order())
    with pytest.raises(StorageFailed, match="too late"):
        two.deliver(part(worker=TWO))


def test_a_collector_that_lives_is_not_disturbed_and_a_dead_one_is_succeeded(
    pair: tuple[FileCoordinator, FileCoordinator],
) -> None:
    one, two = pair
    publish(one, order())
    ended = order().ended(at=105.0, monotonic=945.0, by="stop")
    one.withdraw(ended)
    assert two.orphans() == ()
    assert two.collecting() == ended
    one.forget()
    assert two.orphans() == (ended,)
    two.finish(ended)
    assert two.collecting() is None


def test_a_successor_is_expected_only_under_the_same_server(
    pair: tuple[FileCoordinator, FileCoordinator], output: Path
) -> None:
    one, two = pair
    publish(one, order())
    assert not two.successor_expected("prof-a-0001")
    one.expect_successor("prof-a-0001")
    assert two.successor_expected("prof-a-0001")
    hint = output / ".state" / "parts" / "prof-a-0001" / "successor"
    host, server, started = json.loads(hint.read_text())
    hint.write_text(json.dumps([host, server, started + 1]))
    assert not two.successor_expected("prof-a-0001")


GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=15,
    ).map(lambda value: json.dumps(value).encode()),
    st.just(b"[" * 20_000),
    st.just(b'{"session":' * 5_000),
)


@given(garbage=GARBAGE)
@settings(max_examples=30)
def test_vandalised_state_is_survived(garbage: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    output = tmp_path_factory.mktemp("vandals")
    one = FileCoordinator(output)
    one.join(ONE)
    publish(one, order())
    one.take_part("prof-a-0001")
    one.deliver(part())
    state = output / ".state"
    for path in [path for path in state.rglob("*") if path.is_file()]:
        path.write_bytes(garbage)
    (state / "workers" / "1-2").write_bytes(garbage)
    (state / "parts" / "no session").mkdir()
    assert one.running() is None
    assert one.last() is None
    assert one.parts("prof-a-0001") == ()
    assert one.collecting() is None
    assert one.orphans() == ()
    assert not one.successor_expected("prof-a-0001")
    one.workers()
    one.join(ONE)
    publish(one, order("prof-b-0001"))
    assert one.running() == order("prof-b-0001")
    one.leave()


@pytest.mark.parametrize("truncated", [True, False])
def test_an_order_file_cut_short_under_a_reader_harms_nobody(truncated: bool, output: Path) -> None:
    one = FileCoordinator(output)
    one.join(ONE)
    publish(one, order())
    assert one.running() is not None
    published = output / ".state" / "session.json"
    if truncated:
        os.truncate(published, 0)
    else:
        published.unlink()
    assert one.running() is None
    one.leave()


KILLED = """
    import os, signal, sys
    from flask_profiling.coordination.files import FileCoordinator
    from tests.coordination.test_files import ONE, order, publish
    from pathlib import Path
    one = FileCoordinator(Path(sys.argv[1]))
    one.join(ONE)
    if sys.argv[2] == "locked":
        one.locked().__enter__()
    publish(one, order()) if sys.argv[2] == "published" else None
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["joined", "locked", "published"])
def test_a_worker_killed_at_any_moment_holds_up_nobody(moment: str, output: Path) -> None:
    output.mkdir(mode=0o700)
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(output), moment],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
        },
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    two = FileCoordinator(output)
    two.join(TWO)
    assert [state.worker for state in two.workers()] == [TWO]
    with two.locked():
        assert (two.running() is not None) == (moment == "published")
    two.leave()
