"""Engines collect: the protocol they share and the table of those there are; each lives in its own module.

An engine belongs to one session in one process. ``start`` and ``stop`` may run on any threads; a fault of an engine
inside a request is its own to contain (the request goes on). An engine never knows a format.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import BinaryIO, Protocol, runtime_checkable

from ..model import CallTree, Recording


def always() -> bool:
    """Return true: what is asked whether a result is still wanted, where nobody can take that back."""
    return True


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is told when it is made.

    ``spool`` is a private directory on the output file system for files too large to carry
    (``<engine>-<pid>.<suffix>``, written under a temporary name and renamed); ``app_paths`` are the directories that
    count as application code (empty: everything outside the standard library and site-packages); ``write_heap``
    writes a walked heap to a binary file (the format is handed in, so that no engine imports one); ``views`` gives the
    code that each route's view functions run; ``is_wanted`` is asked while the heap engine waits for its child, and
    where it says no the snapshot is given up.
    """

    session_id: str
    spool: Path | None = None
    allocation_frames: int = 0
    heap_values: str = "redacted"
    app_paths: tuple[str, ...] = ()
    scope: str = "app"
    write_heap: Callable[[Iterable[object], BinaryIO], None] | None = None
    views: Callable[[], Mapping[str, Iterable[CodeType]]] = dict
    is_wanted: Callable[[], bool] = always


class Engine(Protocol):
    """One way to collect, for one session, in one process."""

    def start(self) -> None:
        """Begin to collect.

        Raises Unavailable (or MissingExtra) where this Python or platform cannot, and EngineBusy where another tool
        holds the hook that is needed; then nothing was changed.
        """

    def stop(self) -> Recording:
        """End collecting, put everything back as it was and return what was collected.

        Called once, on any thread.
        """

    def abandon(self) -> None:
        """In a child forked by the host while the engine runs: put the child back as it was, keep nothing, take no
        lock."""


@runtime_checkable
class RequestEngine(Protocol):
    """An engine that must be told when a request runs in the calling thread (or greenlet)."""

    def enter(self, route: str) -> object:
        """Begin to attribute what the calling thread does to ``route``; returns a token for :meth:`leave`.

        Nested and repeated calls in one thread are allowed (a streamed body is entered again for each chunk); only
        the outermost counts.
        """

    def leave(self, token: object) -> None:
        """End what :meth:`enter` began, in the same thread; harmless after ``stop``."""


@runtime_checkable
class MeasuredEngine(Protocol):
    """An engine that knows how much memory it holds."""

    def memory(self) -> Mapping[str, int]:
        """Return bytes by what holds them; called while it runs, on any thread."""


@runtime_checkable
class SingleRequestEngine(RequestEngine, Protocol):
    """An engine that can tell one request from another, where it is told which is which."""

    def begin_request(self, route: str) -> object:
        """Take a request in; it is entered by :meth:`enter_request` as often as it goes on, on any threads, one after
        the other."""

    def enter_request(self, request: object) -> object:
        """Begin to attribute what the calling thread does to this request; as :meth:`RequestEngine.enter`."""

    def end_request(self, request: object) -> int:
        """Count the request with its route; returns about how many bytes its own tree takes as long as it is held.

        Harmless after ``stop``, which ends all.
        """

    def request_tree(self, request: object) -> CallTree:
        """Return the calls of one request that is over."""


# engine name -> "module:factory"; factory(options: EngineOptions) -> Engine imports nothing optional before start()
ENGINES: dict[str, str] = {
    "cprofile": "flask_profiling.engines.cprofile:CProfileEngine",
    "apptree": "flask_profiling.engines.apptree:ApplicationTreeEngine",
    "calltree": "flask_profiling.engines.calltree:CallTreeEngine",
    "sampling": "flask_profiling.engines.sampling:SamplingEngine",
    "allocations": "flask_profiling.engines.allocations:AllocationsEngine",
    "objects": "flask_profiling.engines.objects:ObjectsEngine",
    "heap": "flask_profiling.engines.heap:HeapEngine",
}

# CPU engine -> the one that runs beside it, where this Python can
_BESIDE = {"cprofile": "apptree"} if hasattr(sys, "monitoring") else {}


def with_companion(cpu: str) -> tuple[str, ...]:
    """Return a CPU engine's name and that of the engine which runs beside it, if any, in the order to start them."""
    return (_BESIDE[cpu], cpu) if cpu in _BESIDE else (cpu,)


def create(name: str, options: EngineOptions) -> Engine:
    """Make the engine called ``name``; raises KeyError for a name that is not in :data:`ENGINES`."""
    module, _, factory = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), factory)(options)
    return engine
