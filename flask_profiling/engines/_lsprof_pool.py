"""Profilers, pooled per route, and their numbers as call graphs; nothing here is told when a function runs."""

from __future__ import annotations

import gc
import operator
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import CodeType, FrameType
from typing import Any, Generic, Protocol, TypeVar

from ..model import CallGraph, Cost, Function
from ._appcode import is_own_code

# Code that is compiled anew for each request (templates from strings, namedtuples) would pile up in a profiler, which
# knows functions by their code object: after so many requests we look, and above so many entries we add up and forget.
_LOOK_EVERY = 512
_ENTRIES_KEPT = 4096

UNFINISHED_NOTE = "Requests still running at stop: {}. What they did until then is counted, as if it had ended there."
RUNNING_NOTE = (
    "Requests still running at stop: {}. Functions that had not returned there are missing with their edges, "
    "because another profiler was active."
)
LEFT_OUT_NOTE = (
    "Requests left out because another profiler (sys.setprofile) was active in their thread: {} (each chunk of a body "
    "counts as one)."
)
STRAY_NOTE = (
    "Requests whose end was not seen in their own thread: {}. Functions that were running then are missing with their "
    "edges."
)

# code whose frames can be suspended
RESUMABLE = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


class StatsCall(Protocol):
    """A row of ``getstats()`` inside another: the callee as seen from one caller."""

    @property
    def code(self) -> CodeType | str: ...
    @property
    def callcount(self) -> int: ...
    @property
    def reccallcount(self) -> int: ...
    @property
    def totaltime(self) -> float: ...
    @property
    def inlinetime(self) -> float: ...


class StatsRow(StatsCall, Protocol):
    """A row of ``getstats()``: one function and what it called."""

    @property
    def calls(self) -> Sequence[StatsCall] | None: ...


class Profiler(Protocol):
    """What a pool asks of ``_lsprof.Profiler`` and of its stand-in."""

    def getstats(self) -> Sequence[StatsRow]:
        """Return one row per function that returned at least once."""


def counted_notes(*counted: tuple[str, int]) -> tuple[str, ...]:
    """Fill numbers into notes, and leave out those that count nothing."""
    return tuple(note.format(number) for note, number in counted if number)


@dataclass(frozen=True, slots=True)
class Harvest:
    """What a collector counted: a call graph per route, and sentences about what is missing or approximate."""

    routes: Mapping[str, CallGraph]
    notes: tuple[str, ...]


P = TypeVar("P", bound=Profiler)


class Slot(Generic[P]):
    """A profiler of one route, used by one request at a time.

    ``running`` is true from enter to leave; ``frame``, kept only in between, is that of what called for the engine.
    """

    __slots__ = ("frame", "profiler", "route", "running", "uses")

    def __init__(self, route: str, profiler: P) -> None:
        self.route = route
        self.profiler = profiler
        self.running = False
        self.frame: FrameType | None = None
        self.uses = 0


class Pool(Generic[P]):
    """All profilers of a session: as many per route as requests ran in it at once.

    :meth:`take` and :meth:`give_back` are safe in any thread: single operations on lists and dicts, no lock.
    """

    def __init__(self, make: Callable[[], P]) -> None:
        self.slots: list[Slot[P]] = []
        self._make = make
        self._free: dict[str, list[Slot[P]]] = {}
        self._folded: dict[str, CallGraph] = {}
        self._folding = threading.Lock()

    def take(self, route: str) -> Slot[P]:
        """Return a profiler of ``route`` that nobody uses, a new one if need be."""
        free = self._free.get(route)
        if free is None:
            free = self._free.setdefault(route, [])
        try:
            slot = free.pop()
        except IndexError:
            slot = Slot(route, self._make())
            self.slots.append(slot)
        slot.running = True
        return slot

    def give_back(self, slot: Slot[P]) -> None:
        """Offer a profiler, which must have no open call, to the next request."""
        slot.running, slot.frame = False, None
        slot.uses += 1
        if slot.uses % _LOOK_EVERY == 0 and len(read_stats(slot.profiler)) > _ENTRIES_KEPT:
            with self._folding:
                full, slot.profiler = slot.profiler, self._make()
                self._fold(slot.route, full)
        self._free[slot.route].append(slot)

    def give_up(self, slot: Slot[P]) -> None:
        """Keep the finished calls of a profiler whose open calls will never be ended, and forget it."""
        slot.running, slot.frame = False, None
        with self._folding:
            self.slots.remove(slot)
            self._fold(slot.route, slot.profiler)

    def running(self) -> list[Slot[P]]:
        """Return the slots that are in use now."""
        return [slot for slot in list(self.slots) if slot.running]

    def graphs(self) -> dict[str, CallGraph]:
        """Return the call graph of each route, of all finished calls. Called once, at the end."""
        with self._folding:
            for slot in self.slots:
                self._fold(slot.route, slot.profiler)
            return dict(self._folded)

    def _fold(self, route: str, profiler: P) -> None:
        graph = graph_of(read_stats(profiler))
        known = self._folded.get(route)
        self._folded[route] = graph if known is None else CallGraph.merge([known, graph])


class HasFrame(Protocol):
    """What works for a request: ``frame`` is that of what called for the engine, on the stack from enter to leave."""

    frame: FrameType | None


def was_forgotten(slot: HasFrame) -> bool:
    """Say whether a running request is over in the calling thread, though nobody called leave: its frame is gone.

    A frame that can be suspended says nothing: it may be resumed.
    """
    if slot.frame is None or slot.frame.f_code.co_flags & RESUMABLE:
        return False
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame is slot.frame:
            return False
        frame = frame.f_back
    return True


def read_stats(profiler: Profiler) -> Sequence[StatsRow]:
    """Return ``getstats()``, also of a profiler that another thread is feeding."""
    if sys.version_info >= (3, 12) or not gc.isenabled():
        return profiler.getstats()
    # Up to 3.11 any allocation may run the garbage collector, so Python code, so another thread, while the profiler
    # walks its tree. All three calls are made in C: no other thread runs between them, and none sees the collector off.
    steps: tuple[Callable[[], Any], ...] = (gc.disable, profiler.getstats, gc.enable)
    try:
        _, stats, _ = map(operator.methodcaller("__call__"), steps)
    finally:
        gc.enable()
    rows: Sequence[StatsRow] = stats
    return rows


def graph_of(stats: Iterable[StatsRow]) -> CallGraph:
    """Turn the rows of ``getstats()`` into a call graph, without the functions of this package."""
    functions: dict[Function, Cost] = {}
    edges: dict[tuple[Function, Function], Cost] = {}
    for row in stats:
        if _is_own(row.code):
            continue
        caller = _function(row.code)
        _add(functions, caller, row)
        for call in row.calls or ():
            # a callee that never returned has no row, so it must not have an edge
            if call.callcount and not _is_own(call.code):
                _add(edges, (caller, _function(call.code)), call)
    return CallGraph(functions, edges)


K = TypeVar("K")


def _add(costs: dict[K, Cost], key: K, row: StatsCall) -> None:
    # one function may have several code objects: a module that was reloaded, a template that was compiled again
    cost = Cost(row.callcount, row.callcount - row.reccallcount, row.inlinetime, row.totaltime)
    known = costs.get(key)
    costs[key] = cost if known is None else known + cost


def _function(code: CodeType | str) -> Function:
    if isinstance(code, str):
        return Function("~", 0, code)
    return Function(code.co_filename, code.co_firstlineno, code.co_name)


def _is_own(code: CodeType | str) -> bool:
    return not isinstance(code, str) and is_own_code(code)
