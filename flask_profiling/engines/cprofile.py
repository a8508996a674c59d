"""The ``cprofile`` engine: exact calls, edges and times of each route, by cProfile's own profiler in C; writes nothing.

One cProfile for a threaded server is wrong on every Python: up to 3.11 it sees one thread, from 3.12 on it puts the
calls of all threads on one stack. Here every running request has a profiler of its own; how events find it depends on
the Python.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ..errors import Unavailable
from ..model import CallGraphs, Recording
from . import EngineOptions
from ._lsprof_pool import Harvest

NOTES = (
    "Time in functions written in C counts as self time of the Python function that called them.",
    "Only the threads (or greenlets) in which requests run are covered, not threads that the application starts.",
    "Generators and coroutines count one call each time they are resumed.",
)

GREENLETS_NOTE = (
    "Greenlets that are switched inside a request while threads are not patched (gevent without monkey patching, "
    "SQLAlchemy's asyncio extension) are not told apart: edges to what they call may be false."
)
_SWITCHERS = frozenset({"eventlet", "gevent", "sqlalchemy.ext.asyncio"})


class Collector(Protocol):
    """How profilers get the events of their request: one implementation per kind of Python."""

    def start(self) -> None:
        """Get ready; raises EngineBusy where another tool is in the way."""

    def enter(self, route: str) -> Any:
        """Profile the calling thread; returns what leave needs, or None when there is nothing to leave."""

    def leave(self, token: Any) -> None:
        """End what enter began; None is what it returned where it began nothing."""

    def stop(self) -> Harvest:
        """Put everything back and return what was counted."""

    def abandon(self) -> None:
        """Put a forked child back, and keep nothing."""


def pick_collector(*, implementation: str = sys.implementation.name, gil: bool | None = None) -> Collector:
    """Return the collector for this Python, or for the one described; raises Unavailable where none can be right."""
    if implementation != "cpython":
        raise Unavailable("exact call counts need CPython; run the application with it, or choose another CPU engine")
    if not (getattr(sys, "_is_gil_enabled", lambda: True)() if gil is None else gil):
        raise Unavailable(
            "call counts are not known to be exact without the GIL; run with PYTHON_GIL=1, or choose another CPU engine"
        )
    if sys.version_info >= (3, 12):
        from ._lsprof_dispatch import MonitoringCollector

        return MonitoringCollector()
    if _threads_are_greenlets():
        from ._lsprof_greenlets import GreenletCollector

        return GreenletCollector()
    from ._lsprof_hooks import NativeCollector

    return NativeCollector()


def greenlet_notes(modules: Iterable[str], *, patched: bool) -> tuple[str, ...]:
    """Say what is not told apart where greenlets share threads that are not patched; ``modules`` are those imported."""
    return () if patched or _SWITCHERS.isdisjoint(modules) else (GREENLETS_NOTE,)


def _threads_are_greenlets() -> bool:
    return threading.local.__module__ != "_thread"


class CProfileEngine:
    """Counts calls and caller/callee edges exactly, per route.

    ``collector`` replaces the one that is made for this Python at start.
    """

    def __init__(self, options: EngineOptions, *, collector: Collector | None = None) -> None:
        self.options = options
        self._given = collector
        self._collector: Collector | None = None
        # From start on the collector's own, for each call between would be an event of ours:
        # begin to attribute what the calling thread does to a route; returns a token for leave
        self.enter: Callable[[str], object] = lambda route: None
        # end what enter began, in the same thread; harmless after stop
        self.leave: Callable[[Any], None] = lambda token: None

    def start(self) -> None:
        """Begin to collect.

        Raises Unavailable without CPython or its GIL, EngineBusy where another tool is in the way.
        """
        collector = self._given or pick_collector()
        collector.start()
        self._collector = collector
        self.enter, self.leave = collector.enter, collector.leave

    def stop(self) -> Recording:
        """End collecting, put everything back as it was and return one call graph per route."""
        if self._collector is None:
            return Recording("cprofile", CallGraphs({}), NOTES)
        harvest = self._collector.stop()
        notes = NOTES + greenlet_notes(sys.modules, patched=_threads_are_greenlets()) + harvest.notes
        return Recording("cprofile", CallGraphs(harvest.routes), notes)

    def abandon(self) -> None:
        """In a forked child: put it back as it was, and keep nothing."""
        if self._collector is not None:
            self._collector.abandon()
