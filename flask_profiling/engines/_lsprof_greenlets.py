"""CPython 3.10 and 3.11 under gevent and its like: one profile hook per thread, its greenlets told apart per event.

The hook belongs to the thread, so a profiler in C would see all greenlets on one stack, and a second one would silently
replace the first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from ..errors import Unavailable
from ._lsprof_hooks import OwnHook, refuse_foreign_hooks
from ._lsprof_pool import LEFT_OUT_NOTE, STRAY_NOTE, UNFINISHED_NOTE, Harvest, Pool, Slot, counted_notes
from ._lsprof_python import PythonProfiler

_NOTE = "Greenlets were told apart by a profiler in Python: counts are exact, times are inflated."


class _GreenletHook(OwnHook):
    """The profile hook of one thread: hands each event to the profiler of the running greenlet."""

    def __init__(self, current: Callable[[], object]) -> None:
        self.live = True
        self.profilers: dict[object, PythonProfiler] = {}
        self._current = current

    def __call__(self, frame: FrameType, event: str, value: object) -> None:
        profiler = self.profilers.get(self._current())
        if profiler is not None:
            if event == "call":
                profiler._pystart_callback(frame.f_code, 0)
            elif event == "return":
                profiler._pyreturn_callback(frame.f_code, 0, value)
        elif not self.live:
            sys.setprofile(None)


class GreenletCollector:
    """Profiles requests that share threads as greenlets."""

    def __init__(self) -> None:
        # not imported: where threads are greenlets it has been, and nowhere else it is wanted
        module = sys.modules.get("greenlet")
        if module is None:
            raise Unavailable("threading is patched, but not by greenlets; set PROFILING_CPU to another engine")
        self._current: Callable[[], object] = module.getcurrent
        self._pool: Pool[PythonProfiler] = Pool(PythonProfiler)
        self._hooks: set[_GreenletHook] = set()
        self._active = False
        self._left_out = 0
        self._stray = 0

    def start(self) -> None:
        """Refuse where somebody else profiles; nothing is set until a request begins."""
        refuse_foreign_hooks()
        self._active = True

    def enter(self, route: str) -> tuple[Slot[PythonProfiler], _GreenletHook] | None:
        """Profile this greenlet for ``route``, unless it is being profiled already."""
        if not self._active:
            return None
        hook: object = sys.getprofile()
        if not isinstance(hook, OwnHook) and hook is not None:
            self._left_out += 1
            return None
        if not isinstance(hook, _GreenletHook) or hook not in self._hooks:
            hook = _GreenletHook(self._current)
            self._hooks.add(hook)
        greenlet = self._current()
        if greenlet in hook.profilers:
            return None
        slot = self._pool.take(route)
        hook.profilers[greenlet] = slot.profiler
        # each greenlet has a flag of its own that says whether the thread's hook is called, so it is set every time
        sys.setprofile(hook)
        return slot, hook

    def leave(self, token: tuple[Slot[PythonProfiler], _GreenletHook]) -> None:
        """Stop profiling this greenlet; calls that are open end now."""
        slot, hook = token
        if not slot.running:
            return
        greenlet = self._current()
        if hook.profilers.get(greenlet) is not slot.profiler:
            self._pool.give_up(slot)
            self._stray += 1
            return
        del hook.profilers[greenlet]
        if not hook.profilers:
            self._hooks.discard(hook)
            hook.live = False
            if sys.getprofile() is hook:
                sys.setprofile(None)
        slot.profiler.flush()
        self._pool.give_back(slot)

    def stop(self) -> Harvest:
        """Return what was counted; a thread's hook goes with its next event."""
        self._active = False
        running = self._pool.running()
        for hook in list(self._hooks):
            hook.live = False
            hook.profilers.clear()
        for slot in running:
            slot.running = False
            slot.profiler.flush()
        if isinstance(sys.getprofile(), _GreenletHook):
            sys.setprofile(None)
        notes = counted_notes(
            (_NOTE, 1), (UNFINISHED_NOTE, len(running)), (LEFT_OUT_NOTE, self._left_out), (STRAY_NOTE, self._stray)
        )
        return Harvest(self._pool.graphs(), notes)
