"""What a machine takes from outside: engines start together or not at all, and a watcher ends with its app."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path
from queue import SimpleQueue

import pytest

from flask_profiling.engines import Engine, EngineOptions
from flask_profiling.errors import EngineBusy, Unavailable
from flask_profiling.model import Session, SessionOptions, WorkerId
from flask_profiling.sessions import World
from flask_profiling.sessions.world import repeat, started_engines
from tests.sessions.machines import CountingEngine

WORKER = WorkerId("test", 812, 7)


class Shop:
    """Makes engines by name; ``broken`` names raise that when they are made or started."""

    def __init__(self, *, unknown: str = "", at_make: str = "", at_start: str = "") -> None:
        self.unknown, self.at_make, self.at_start = unknown, at_make, at_start
        self.made: dict[str, CountingEngine] = {}
        self.options: list[EngineOptions] = []

    def create(self, name: str, options: EngineOptions) -> Engine:
        self.options.append(options)
        if name == self.unknown:
            raise KeyError(name)
        if name == self.at_make:
            raise ZeroDivisionError("a fault of ours")
        assert not any(engine.running for engine in self.made.values()), "made before the first is started"
        self.made[name] = CountingEngine(busy=name == self.at_start)
        return self.made[name]

    def started(
        self, *, strict: bool, cpu: str = "calltree", allocations: int = 0, heap: bool = False
    ) -> tuple[list[Engine], list[str]]:
        world = World(worker=lambda: WORKER, new_id=lambda: "prof-test-0001", create_engine=self.create)
        session = Session("prof-test-0001", WORKER, 100.0, SessionOptions(cpu, heap, allocations, 60.0))
        return started_engines(world, session, Path("spool"), strict=strict)

    def running(self) -> list[str]:
        return [name for name, engine in self.made.items() if engine.running]


def test_each_option_brings_its_engines_and_counting_comes_before_tracing() -> None:
    shop = Shop()
    engines, notes = shop.started(strict=True, allocations=5, heap=True)
    assert [name for name in shop.made if name in ("calltree", "objects", "allocations", "heap")] == [
        "calltree", "objects", "allocations", "heap",
    ]  # fmt: skip
    assert shop.running() == list(shop.made)
    assert len(engines) == len(shop.made)
    assert notes == []
    assert {(options.session_id, options.spool) for options in shop.options} == {("prof-test-0001", Path("spool"))}


@pytest.mark.parametrize(("heap", "allocations"), [(True, 0), (False, 3)])
def test_what_is_off_is_not_started(heap: bool, allocations: int) -> None:
    shop = Shop()
    shop.started(strict=True, cpu="off", heap=heap, allocations=allocations)
    assert list(shop.made) == (["heap"] if heap else ["objects", "allocations"])


def test_the_owner_refuses_and_stops_what_ran_already() -> None:
    shop = Shop(at_start="heap")
    with pytest.raises(EngineBusy):
        shop.started(strict=True, heap=True)
    assert set(shop.made) >= {"calltree", "heap"}
    assert shop.running() == []


def test_an_engine_that_cannot_stop_does_not_hide_why_the_start_was_refused() -> None:
    class Stubborn(CountingEngine):
        def stop(self) -> None:  # type: ignore[override]
            raise ZeroDivisionError("a fault of ours")

    engines = iter([Stubborn(), CountingEngine(busy=True)])
    world = World(worker=lambda: WORKER, new_id=lambda: "", create_engine=lambda name, options: next(engines))
    session = Session("prof-test-0001", WORKER, 100.0, SessionOptions("off", False, 5, 60.0))
    with pytest.raises(EngineBusy):
        started_engines(world, session, Path("spool"), strict=True)


def test_another_worker_goes_on_with_the_rest_and_says_so() -> None:
    shop = Shop(at_start="calltree")
    engines, notes = shop.started(strict=False, heap=True)
    assert notes == ["worker 812: a debugger is attached; detach it"]
    assert "calltree" not in shop.running()
    assert "heap" in shop.running()
    assert len(engines) == len(shop.running())


def test_a_fault_of_ours_is_a_note_that_says_no_more_than_its_kind() -> None:
    _, notes = Shop(at_make="calltree").started(strict=False)
    assert notes == ["worker 812: an engine failed to start (ZeroDivisionError)"]


def test_an_engine_that_does_not_exist_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="the engine 'calltree' is not part of this version"):
        Shop(unknown="calltree").started(strict=True)


class Counter:
    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> None:
        self.looks += 1


def test_a_watcher_looks_until_it_is_closed() -> None:
    counter, closing = Counter(), threading.Event()

    def act(machine: Counter) -> None:
        machine.look()
        if machine.looks == 3:
            closing.set()

    repeat(weakref.ref(counter), closing, 0.001, act)
    assert counter.looks == 3


def test_a_watcher_ends_with_its_app() -> None:
    counter, closing = Counter(), threading.Event()
    reference = weakref.ref(counter)
    watcher = threading.Thread(target=repeat, args=(reference, closing, 0.001, Counter.look), daemon=True)
    watcher.start()
    deadline = time.monotonic() + 20
    while counter.looks < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert counter.looks >= 2
    del counter
    gc.collect()
    watcher.join(20)
    assert not watcher.is_alive()
    assert reference() is None


def test_a_world_has_clocks_of_its_own_and_says_nothing() -> None:
    world = World(worker=lambda: WORKER, new_id=lambda: "prof-test-0001")
    assert world.devtools_url() is None
    assert world.environment() == {}
    assert abs(world.now() - time.time()) < 60
    watching: SimpleQueue[threading.Thread] = SimpleQueue()
    world.start_watcher(lambda: watching.put(threading.current_thread()))
    assert watching.get(timeout=20).daemon, "no process waits for it at its end"
