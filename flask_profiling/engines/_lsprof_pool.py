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

from ..model import MORE, NO_COST, CallGraph, Cost, Function
from ._appcode import is_own_code

# Code that is compiled anew for each request (templates from strings, namedtuples) would pile up in a profiler, which
# knows functions by their code object: after so many requests we look, and above so many entries we add up and forget.
_LOOK_EVERY = 128
_ENTRIES_KEPT = 4096
# Of code whose very names are new each time, so many functions are told apart before the end.
MOST_FUNCTIONS = 100_000

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
_MORE_NOTE = (
    "Functions beyond the first {}, such as code compiled under new names again and again, were counted together as "
    f"{MORE.name}."
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


K = TypeVar("K")
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

    def __init__(self, make: Callable[[], P], *, most_functions: int = MOST_FUNCTIONS) -> None:
        self.slots: list[Slot[P]] = []
        self._make = make
        self._most = self._room = most_functions
        self._is_full = False
        self._free: dict[str, list[Slot[P]]] = {}
        # route -> functions, and edges
        self._folded: dict[str, tuple[dict[Function, Cost], dict[tuple[Function, Function], Cost]]] = {}
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

    def harvest(self, notes: tuple[str, ...]) -> Harvest:
        """Return the call graph of each route, of all finished calls, and these notes. Called once, at the end."""
        with self._folding:
            self._room = sys.maxsize  # what is in profilers still is in memory anyway
            for slot in self.slots:
                self._fold(slot.route, slot.profiler)
            graphs = {route: CallGraph(*folded) for route, folded in self._folded.items()}
            return Harvest(graphs, (*notes, *counted_notes((_MORE_NOTE, self._most * self._is_full))))

    def _fold(self, route: str, profiler: P) -> None:
        graph = graph_of(read_stats(profiler))
        functions, edges = self._folded.setdefault(route, ({}, {}))
        new = [function for function in graph.functions if function not in functions]
        if len(new) > self._room:
            self._is_full = True
            graph = _together(graph, set(new[self._room :]))
        self._room = max(0, self._room - len(new))
        for function, cost in graph.functions.items():
            _add(functions, function, cost)
        for edge, cost in graph.edges.items():
            _add(edges, edge, cost)


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
    # One function may have several code objects: a module that was reloaded, a template that was compiled again.
    functions: dict[Function, Cost] = {}
    edges: dict[tuple[Function, Function], Cost] = {}
    for row in stats:
        if _is_own(row.code):
            continue
        caller = _function(row.code)
        _add(functions, caller, _cost(row))
        for call in row.calls or ():
            # a callee that never returned has no row, so it must not have an edge
            if call.callcount and not _is_own(call.code):
                _add(edges, (caller, _function(call.code)), _cost(call))
    return CallGraph(functions, edges)


def _together(graph: CallGraph, several: set[Function]) -> CallGraph:
    """Count several functions as one, whose calls of each other are inside it."""
    functions: dict[Function, Cost] = {}
    edges: dict[tuple[Function, Function], Cost] = {}
    place = dict.fromkeys(several, MORE)
    for function, cost in graph.functions.items():
        _add(functions, place.get(function, function), cost)
    for (caller, callee), cost in graph.edges.items():
        _add(edges, (place.get(caller, caller), place.get(callee, callee)), cost)
    inside = edges.get((MORE, MORE), NO_COST)
    calls, primitive_calls, self_time, total_time = functions[MORE]
    functions[MORE] = Cost(
        calls, max(0, primitive_calls - inside.calls), self_time, max(self_time, total_time - inside.total_time)
    )
    return CallGraph(functions, edges)


def _add(costs: dict[K, Cost], key: K, cost: Cost) -> None:
    known = costs.get(key)
    costs[key] = cost if known is None else known + cost


def _cost(row: StatsCall) -> Cost:
    return Cost(row.callcount, row.callcount - row.reccallcount, row.inlinetime, row.totaltime)


def _function(code: CodeType | str) -> Function:
    if isinstance(code, str):
        return Function("~", 0, code)
    return Function(code.co_filename, code.co_firstlineno, code.co_name)


def _is_own(code: CodeType | str) -> bool:
    return not isinstance(code, str) and is_own_code(code)
