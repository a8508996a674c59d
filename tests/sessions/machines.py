"""Session machines for tests: real coordinator and store, engines that count, a clock that is told the time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flask_profiling.coordination.files import FileCoordinator
from flask_profiling.engines import Engine, EngineOptions
from flask_profiling.errors import EngineBusy
from flask_profiling.formats import FORMATS
from flask_profiling.model import CallGraph, CallGraphs, Cost, Function, Recording, SessionOptions, WorkerId
from flask_profiling.processes import process_started
from flask_profiling.sessions import Sessions, World
from flask_profiling.store import Store
from flask_profiling.system import System

CPU = SessionOptions(cpu="cprofile", heap=False, allocations=0, seconds=60.0)
_ids = itertools.count()


class CountingEngine:
    """Counts the visits per route; ``busy`` refuses to start, ``broken`` raises inside requests and at stop."""

    def __init__(self, *, busy: bool = False, broken: bool = False) -> None:
        self.busy = busy
        self.broken = broken
        self.running = False
        self.visits: dict[str, int] = {}

    def start(self) -> None:
        if self.busy:
            raise EngineBusy("a debugger is attached; detach it")
        self.running = True

    def enter(self, route: str) -> object:
        if self.broken:
            raise ZeroDivisionError("a fault of ours")
        self.visits[route] = self.visits.get(route, 0) + 1
        return route

    def leave(self, token: object) -> None:
        assert token in self.visits

    def stop(self) -> Recording:
        self.running = False
        if self.broken:
            raise ZeroDivisionError("a fault of ours")
        view = Function("app.py", 1, "view")
        graphs = {route: CallGraph({view: Cost(n, n, 0.1, 0.1)}, {}) for route, n in self.visits.items()}
        return Recording("cprofile", CallGraphs(graphs), ("seen by a counting engine",))

    def abandon(self) -> None:
        self.running = False


@dataclass
class Time:
    """A clock that stands until it is told to go; ``sleep`` lets it go."""

    reading: float = 1000.0
    wall: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.reading

    def now(self) -> float:
        return self.wall + self.reading

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.reading += seconds
        self.meanwhile()


@dataclass
class Machine:
    """One worker: its sessions, its engines as they are made, its clock."""

    sessions: Sessions
    engines: list[CountingEngine]
    time: Time

    def visit(self, route: str = "GET /") -> None:
        """Let one request pass."""
        live = self.sessions.live
        assert live is not None
        visit = live.begin(route)
        live.resume(visit)
        live.pause(visit)
        live.end(visit, failed=False)


def machine(
    output: Path,
    *,
    pid: int = 1,
    time: Time | None = None,
    engine: Callable[[], CountingEngine] = CountingEngine,
    auto_generate: bool = False,
    cleanup_on_exit: bool = False,
    system: System = os,
    start_watcher: Callable[[Callable[[], None]], object] = lambda watch: None,
) -> Machine:
    """Make a worker whose watcher does not run: tests call ``sessions._tick`` where it would look.

    ``pid`` 1 always lives; several machines in one test are several workers of one server.
    """
    time = time or Time()
    engines: list[CountingEngine] = []
    worker = WorkerId("test", pid, process_started(1))

    def create(name: str, options: EngineOptions) -> Engine:
        if name != "cprofile":
            raise KeyError(name)
        engines.append(engine())
        return engines[-1]

    types = {name: (format.prefix, format.suffix) for name, format in FORMATS.items()}
    sessions = Sessions(
        coordinator=FileCoordinator(output, sleep=time.sleep, monotonic=time.monotonic, system=system),
        store=Store(output, types=types, max_sessions=20, max_bytes=1 << 30, system=system),
        world=World(
            worker=lambda: worker,
            new_id=lambda: f"prof-test-{next(_ids):04}",
            environment=lambda: {"python": "3"},
            now=time.now,
            monotonic=time.monotonic,
            sleep=time.sleep,
            create_engine=create,
            with_companion=lambda cpu: (cpu,),
            start_watcher=start_watcher,
        ),
        auto_generate=auto_generate,
        cleanup_on_exit=cleanup_on_exit,
    )
    return Machine(sessions, engines, time)
