"""What a session machine takes from outside: clocks, ids, engines and a store, so that tests can hand in their own."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from .. import engines
from ..errors import ProfilingError, Unavailable
from ..model import Artifact, Session, SessionOptions, WorkerId
from .collecting import ArtifactStore
from .results import Started, Stopped

Machine = TypeVar("Machine")


class Cleaned(Protocol):
    """How many reports of how many sessions were deleted."""

    @property
    def reports(self) -> int:
        """How many artifacts."""

    @property
    def sessions(self) -> int:
        """Of how many sessions."""


class Store(ArtifactStore, Protocol):
    """As much of the store as sessions need."""

    def prepare(self) -> None:
        """Make the output directory ready, or say why it cannot be."""

    def begin(self, session_id: str) -> None:
        """Note that a session begins after all that are stored, whatever the clock says."""

    def artifacts(self) -> tuple[Artifact, ...]:
        """Return what is stored, newest first."""

    def clean(self, *, keep: str | None) -> Cleaned:
        """Delete what is stored, but for one session."""

    def sweep(self) -> None:
        """Delete what a killed process left half-written."""


def _in_daemon_thread(watch: Callable[[], None]) -> None:
    threading.Thread(target=watch, name="flask-profiling", daemon=True).start()


@dataclass(frozen=True, slots=True)
class World:
    """Everything a session machine takes from outside, so that tests can hand in their own."""

    worker: Callable[[], WorkerId]
    new_id: Callable[[], str]
    environment: Callable[[], Mapping[str, str]] = dict
    devtools_url: Callable[[], str | None] = lambda: None
    on_started: Callable[[Started], object] = lambda started: None
    on_stopped: Callable[[Stopped], object] = lambda stopped: None
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    start_watcher: Callable[[Callable[[], None]], object] = _in_daemon_thread
    create_engine: Callable[[str, engines.EngineOptions], engines.Engine] = engines.create
    with_companion: Callable[[str], Iterable[str]] = engines.with_companion
    engine_options: Callable[[Session, Path], engines.EngineOptions] = field(
        default=lambda session, spool: engines.EngineOptions(session.id, spool)
    )


def repeat(
    machine: weakref.ref[Machine], closing: threading.Event, interval: float, act: Callable[[Machine], None]
) -> None:
    """Let a machine act every ``interval`` seconds, until it is closed or (an app of many in a test run) dropped."""
    while not closing.wait(interval):
        alive = machine()
        if alive is None:
            return
        act(alive)
        del alive


def started_engines(
    world: World, session: Session, spool: Path, *, strict: bool
) -> tuple[list[engines.Engine], list[str]]:
    """Start the engines of a session; ``strict`` raises what stands in the way, else it becomes a note."""
    options = world.engine_options(session, spool)
    notes: list[str] = []
    made: list[engines.Engine] = []
    started: list[engines.Engine] = []

    def attempt(step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            if strict:
                for engine in started:
                    with suppress(Exception):  # the first error is the one to tell
                        engine.stop()
                raise
            expected = isinstance(error, ProfilingError)
            reason = str(error) if expected else f"an engine failed to start ({type(error).__name__})"
            notes.append(f"worker {world.worker().pid}: {reason}")

    def make(name: str) -> None:
        made.append(_created(world, name, options))

    def start(engine: engines.Engine) -> None:
        engine.start()
        started.append(engine)

    # All are made before the first is started: what a module allocates when it is imported is not the app's.
    for name in _engine_names(session.options, world.with_companion):
        attempt(partial(make, name))
    for engine in made:
        attempt(partial(start, engine))
    return started, notes


def _created(world: World, name: str, options: engines.EngineOptions) -> engines.Engine:
    try:
        return world.create_engine(name, options)
    except KeyError:
        raise Unavailable(f"the engine {name!r} is not part of this version; see 'flask profiling doctor'") from None


def _engine_names(options: SessionOptions, with_companion: Callable[[str], Iterable[str]]) -> Iterator[str]:
    if options.cpu != "off":
        yield from with_companion(options.cpu)
    if options.allocations:
        yield "objects"  # before tracing begins: counting imports a package
        yield "allocations"
    if options.heap:
        yield "heap"
