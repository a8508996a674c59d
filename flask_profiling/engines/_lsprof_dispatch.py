"""CPython 3.12 and newer: one ``sys.monitoring`` tool whose events go to the profiler of the thread they happen in.

cProfile itself registers one profiler for all threads there, which mixes their stacks. Here the registered callbacks
are thread-local objects, and what they call is looked up in C, so no Python frame runs per event. ``_lsprof.Profiler``
is fed through its own callbacks; these are private, so :func:`native_kit` tries them out before the first use.
"""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from ..errors import EngineBusy
from ._dispatch import TOOL_IDS, dispatcher, free_tool, listen, take_tool
from ._lsprof_pool import (
    RESUMABLE,
    RUNNING_NOTE,
    STRAY_NOTE,
    UNFINISHED_NOTE,
    Harvest,
    Pool,
    Slot,
    counted_notes,
    graph_of,
    was_forgotten,
)
from ._lsprof_python import PythonProfiler

# What a start calls in threads without a request: the cheapest function in C that takes two arguments.
_idle_start: Any = operator.is_

_monitoring: Any = getattr(sys, "monitoring", None)


@dataclass(frozen=True, slots=True)
class Kit:
    """A kind of profiler: how to make one, the names of its callbacks, and how to end the calls open in some of them.

    ``flush`` returns false where it cannot now; ``note`` is what the recording must say about this kind; ``idle_end``
    is called by an end in threads without a request: anything in C that takes three arguments.
    """

    make: Callable[[], Any]
    start: str
    throw: str
    end: str
    flush: Callable[[Iterable[Any]], bool]
    note: str = ""
    idle_end: Callable[..., object] = slice


def _flush_python(profilers: Iterable[PythonProfiler]) -> bool:
    for profiler in profilers:
        profiler.close()
    return True


PYTHON_KIT = Kit(
    PythonProfiler,
    "_pystart_callback",
    "_pythrow_callback",
    "_pyreturn_callback",
    _flush_python,
    "The profiler in C does not work on this Python, so one in Python counted: counts are exact, times are inflated.",
)


@cache
def native_kit() -> Kit | None:
    """Return the profiler in C, or None where it is missing or its callbacks do not do what we need."""
    try:
        import _lsprof
    except ImportError:  # a subinterpreter, for example
        return None
    make = partial(_lsprof.Profiler, builtins=False)
    # Up to 3.13 cProfile takes its start callback for exceptions thrown into generators; 3.14 has another, and the
    # first one raises TypeError there, inside the application.
    for throw in ("_pythrow_callback", "_pystart_callback"):
        kit = Kit(make, "_pystart_callback", throw, "_pyreturn_callback", _flush_native)
        if counts_right(kit):
            # twice as fast as the default: a profiler in which nothing ever begins ignores all ends
            return replace(kit, idle_end=getattr(make(), kit.end))
    return None


def _flush_native(profilers: Iterable[Any]) -> bool:
    call = operator.methodcaller("__call__")
    for profiler in profilers:
        # disable() ends open calls, but after enable() only, which takes the profilers' tool id. No bytecode runs in
        # between (a deque makes the calls, in C), so no other thread's event can reach the profiler.
        try:
            deque(map(call, (partial(profiler.enable, builtins=False), profiler.disable)), maxlen=0)
        except ValueError:
            return False
    return True


def counts_right(kit: Kit) -> bool:
    """Feed a profiler the events of a small known program (calls, recursion, an exception thrown into a generator)."""
    outer, inner = (compile("", "<self-test>", "exec").replace(co_name=name) for name in ("outer", "inner"))
    try:
        profiler = kit.make()
        start, throw, end = (getattr(profiler, name) for name in (kit.start, kit.throw, kit.end))
        end(outer, 0, None)  # a return from a function that began before
        start(outer, 0)
        start(inner, 0)
        start(inner, 2)
        end(inner, 4, None)
        end(inner, 4, None)
        throw(inner, 6, ValueError())
        end(inner, 8, ValueError())
        end(outer, 10, None)
        graph = graph_of(profiler.getstats())
    except Exception:
        return False
    functions = {function.name: (cost.calls, cost.primitive_calls) for function, cost in graph.functions.items()}
    edges = {(caller.name, callee.name): cost.calls for (caller, callee), cost in graph.edges.items()}
    return functions == {"outer": (1, 1), "inner": (3, 2)} and edges == {("outer", "inner"): 2, ("inner", "inner"): 1}


class MonitoringCollector:
    """Profiles requests through ``sys.monitoring``.

    ``kit`` is the kind of profiler to use; None picks the one in C where that works.
    """

    def __init__(self, kit: Kit | None = None) -> None:
        self._kit = kit or native_kit() or PYTHON_KIT
        self._pool: Pool[Any] = Pool(self._kit.make)
        self._active = False
        self._tool = -1
        self._stray = 0
        self._idle_end: Any = self._kit.idle_end
        self._starts = dispatcher(_idle_start)
        self._throws = dispatcher(self._idle_end)
        self._ends = dispatcher(self._idle_end)

    def start(self) -> None:
        """Take a tool id and switch the events on; raises EngineBusy where no id is free."""
        tool = take_tool()
        if tool is None:
            holders = " and ".join(f"{_monitoring.get_tool(tool)!r} (tool id {tool})" for tool in TOOL_IDS)
            raise EngineBusy(
                f"sys.monitoring has no room for another tool ({holders}); stop one of them, then start again"
            )
        listen(tool, started=self._starts, thrown=self._throws, ended=self._ends, unwound=self._ends)
        self._tool = tool
        self._active = True

    def enter(self, route: str) -> Slot[Any] | None:
        """Send the events of this thread to a profiler of ``route``."""
        if not self._active:
            return None
        starts = self._starts
        known = starts.slot
        if known is not None:
            if known.running and not was_forgotten(known):
                return None
            idle_end = self._idle_end
            starts.slot, starts.cb, self._throws.cb, self._ends.cb = None, _idle_start, idle_end, idle_end
            if known.running:
                self._stray += 1
                self._pool.give_up(known)
        slot = self._pool.take(route)
        profiler = slot.profiler
        slot.frame = sys._getframe(1).f_back
        starts.slot = slot
        self._throws.cb = getattr(profiler, self._kit.throw)
        self._ends.cb = getattr(profiler, self._kit.end)
        starts.cb = getattr(profiler, self._kit.start)
        return slot

    def leave(self, slot: Slot[Any] | None) -> None:
        """Stop sending, and end the calls that are open: all frames here that began after enter, this one first."""
        if slot is None or not slot.running:
            return
        starts, throws, ends = self._starts, self._throws, self._ends
        if starts.slot is not slot:
            if self._active:
                # Another thread than the one that entered: that one still feeds the profiler, so nobody may reuse it.
                self._stray += 1
                self._pool.give_up(slot)
            return
        # not by a function of its own, which would begin under the profiler and return without it
        end, idle_end = ends.cb, self._idle_end
        starts.slot, starts.cb, throws.cb, ends.cb = None, _idle_start, idle_end, idle_end
        until, slot.frame = slot.frame, None
        if not self._active:
            return  # stop() ends what is open
        frame: Any = sys._getframe()
        # Frames that began before enter are not open in the profiler, which ignores an end when nothing is open. But a
        # coroutine was suspended since, and then resumed by others, which began after enter.
        if until is not None and until.f_code.co_flags & RESUMABLE:
            until = None
        while frame is not None and frame is not until:
            end(frame.f_code, 0, None)
            frame = frame.f_back
        self._pool.give_back(slot)

    def stop(self) -> Harvest:
        """Switch the events off, give the tool id back and return what was counted."""
        self._active = False
        free_tool(self._tool)
        running = self._pool.running()
        flushed = self._kit.flush([slot.profiler for slot in running])
        notes = counted_notes(
            (self._kit.note, 1 if self._kit.note else 0),
            (UNFINISHED_NOTE if flushed else RUNNING_NOTE, len(running)),
            (STRAY_NOTE, self._stray),
        )
        return self._pool.harvest(notes)

    def abandon(self) -> None:
        """Switch the events off in a forked child."""
        self._active = False
        free_tool(self._tool)
