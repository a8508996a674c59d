"""CPython 3.10 and 3.11 under gevent and its like: one profile hook per thread, its greenlets told apart per event.

The hook belongs to the thread, so a profiler in C would see all greenlets on one stack, and a second one would silently
replace the first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from ..errors import Unavailable
from ._lsprof_hooks import OwnHook, refuse_foreign_hooks, remove_own_hook
from ._lsprof_pool import LEFT_OUT_NOTE, STRAY_NOTE, UNFINISHED_NOTE, Harvest, Pool, Slot, counted_notes
from ._lsprof_python import PythonProfiler

_LOST_NOTE = (
    "Requests that lost the hook (sys.setprofile) to another tool, or because no stack was left: {}. What they called "
    "from then on is missing."
)
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


_Token = tuple[Slot[PythonProfiler], _GreenletHook, object]


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
        self._lost = 0
        self._stray = 0

    def start(self) -> None:
        """Refuse where somebody else profiles; nothing is set until a request begins."""
        refuse_foreign_hooks()
        self._active = True

    def enter(self, route: str) -> _Token | None:
        """Profile this greenlet for ``route``, unless it is being profiled already."""
        if not self._active:
            return None
        hook: object = sys.getprofile()
        if not isinstance(hook, _GreenletHook) or hook not in self._hooks:
            if hook is not None and not (isinstance(hook, OwnHook) and not hook.live):
                self._left_out += 1
                return None
            hook = _GreenletHook(self._current)
            self._hooks.add(hook)
        greenlet = self._current()
        if greenlet in hook.profilers:
            return None
        slot = self._pool.take(route)
        hook.profilers[greenlet] = slot.profiler
        # each greenlet has a flag of its own that says whether the thread's hook is called, so it is set every time
        sys.setprofile(hook)
        return slot, hook, greenlet

    def leave(self, token: _Token | None) -> None:
        """Stop profiling this greenlet; calls that are open end now."""
        if token is None:
            return
        slot, hook, greenlet = token
        if not slot.running:
            return
        hook.profilers.pop(greenlet, None)
        current: object = sys.getprofile()
        if not hook.profilers:
            self._hooks.discard(hook)
            hook.live = False
            if current is hook:
                sys.setprofile(None)
        if not self._active:
            return
        if greenlet is self._current():
            self._lost += current is not hook
            slot.profiler.flush()
            self._pool.give_back(slot)
            return
        # Another greenlet, perhaps in another thread: the one that entered may be in the profiler right now.
        self._stray += 1
        self._pool.give_up(slot)

    def stop(self) -> Harvest:
        """Return what was counted; a thread's hook goes with its next event."""
        self._active = False
        running = self._pool.running()
        for hook in list(self._hooks):
            hook.live = False
            hook.profilers.clear()
        for slot in running:
            slot.profiler.close()
        remove_own_hook()
        notes = counted_notes(
            (_NOTE, 1),
            (UNFINISHED_NOTE, len(running)),
            (LEFT_OUT_NOTE, self._left_out),
            (_LOST_NOTE, self._lost),
            (STRAY_NOTE, self._stray),
        )
        return self._pool.harvest(notes)

    def abandon(self) -> None:
        """Take the hook away from the only thread of a forked child."""
        self._active = False
        remove_own_hook()
