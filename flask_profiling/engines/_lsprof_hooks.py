"""CPython 3.10 and 3.11: ``_lsprof.Profiler`` in the profile hook of a thread, only while a request runs in it.

Each thread has its own hook there, so stacks cannot mix; greenlets, which share one, are not handled here.
"""

from __future__ import annotations

import _lsprof
import sys
import threading
from collections.abc import Sequence
from types import FrameType, FunctionType, MethodType

from ..errors import EngineBusy
from ._lsprof_pool import (
    LEFT_OUT_NOTE,
    RUNNING_NOTE,
    STRAY_NOTE,
    UNFINISHED_NOTE,
    Harvest,
    Pool,
    Slot,
    counted_notes,
    was_forgotten,
)

_DISTURBED_NOTE = (
    "Requests in which another profiler took over (sys.setprofile): {}. What they did from then on is missing, and so "
    "are the functions that were running then."
)


class OwnHook:
    """What this package puts into profile hooks; ``live`` is false when it only waits to be removed by its thread."""

    live = False


def refuse_foreign_hooks() -> None:
    """Raise EngineBusy where somebody profiles this thread, or every new thread, already."""
    hook: object = sys.getprofile()
    if hook is not None and not isinstance(hook, OwnHook):
        raise EngineBusy(f"another profiler is active in this thread ({_name(hook)}); stop it, then start again")
    hook = threading.getprofile()
    if hook is not None:
        raise EngineBusy(f"another profiler waits for new threads ({_name(hook)}); stop it, then start again")


def _name(hook: object) -> str:
    """Name somebody's hook for an answer: its repr would be code of theirs, and tell addresses or more."""
    if type(hook) is MethodType:
        hook = hook.__func__
    known = hook if type(hook) is FunctionType else type(hook)
    return f"{known.__module__}.{known.__qualname__}"


class _RequestProfiler(_lsprof.Profiler, OwnHook):
    """The profiler in C; ``thread`` is where it was switched on last."""

    thread = 0

    def __call__(self, frame: FrameType, event: str, value: object) -> None:
        """Go, where somebody who took the hook puts it back: what ran meanwhile is unknown."""
        sys.setprofile(None)


def _make_profiler() -> _RequestProfiler:
    return _RequestProfiler(builtins=False)


class NativeCollector:
    """Profiles requests with ``_lsprof.Profiler``, switched on and off in the request's own thread."""

    def __init__(self) -> None:
        self._pool: Pool[_RequestProfiler] = Pool(_make_profiler)
        self._active = False
        self._left_out = 0
        self._disturbed = 0
        self._stray = 0

    def start(self) -> None:
        """Refuse where somebody else profiles; nothing is set until a request begins."""
        refuse_foreign_hooks()
        self._active = True

    def enter(self, route: str) -> Slot[_RequestProfiler] | None:
        """Profile this thread for ``route``, unless it is being profiled already."""
        if not self._active:
            return None
        hook: object = sys.getprofile()
        if hook is not None and not self._may_replace(hook):
            return None
        slot = self._pool.take(route)
        slot.frame = sys._getframe(1).f_back
        profiler = slot.profiler
        profiler.live = True
        profiler.thread = threading.get_ident()
        profiler.enable()
        return slot

    def _may_replace(self, hook: object) -> bool:
        if isinstance(hook, _RequestProfiler):
            ours = next((slot for slot in list(self._pool.slots) if slot.profiler is hook), None)
            if ours is not None and hook.live:
                if not was_forgotten(ours):
                    return False
                self._stray += 1
                self._pool.give_up(ours)
                hook.live = False
            if not hook.live:
                hook.disable()
                return True
        self._left_out += 1
        return False

    def leave(self, slot: Slot[_RequestProfiler] | None) -> None:
        """Stop profiling this thread; calls that are open end now."""
        if slot is None or not slot.running:
            return
        profiler = slot.profiler
        profiler.live = False
        hook: object = sys.getprofile()
        if hook is profiler:
            profiler.disable()
            self._pool.give_back(slot)
        elif self._active:
            # disable() would remove a hook that is not ours, and end now what ended while we did not look
            self._pool.give_up(slot)
            if profiler.thread == threading.get_ident():
                self._disturbed += 1
                _switch_off(profiler)
            else:
                self._stray += 1

    def stop(self) -> Harvest:
        """Return what was counted; a thread that is in a request loses its hook when it leaves."""
        self._active = False
        running = self._pool.running()
        flushed = _flush([slot.profiler for slot in running])
        notes = counted_notes(
            (UNFINISHED_NOTE if flushed else RUNNING_NOTE, len(running)),
            (LEFT_OUT_NOTE, self._left_out),
            (_DISTURBED_NOTE, self._disturbed),
            (STRAY_NOTE, self._stray),
        )
        return self._pool.harvest(notes)

    def abandon(self) -> None:
        """Take the hook away from the only thread of a forked child."""
        self._active = False
        remove_own_hook()


def remove_own_hook() -> None:
    """Take the calling thread's hook away if it is one of ours."""
    hook: object = sys.getprofile()
    if isinstance(hook, OwnHook):
        sys.setprofile(None)


def _switch_off(profiler: _RequestProfiler) -> None:
    # One that dies switched on takes the hook away from the thread it dies in, as disable() does: not from this one.
    thread = threading.Thread(target=profiler.disable)
    thread.start()
    thread.join()


def _flush(profilers: Sequence[_RequestProfiler]) -> bool:
    """End the calls that are open in the profilers of other threads, which go on feeding them for nobody."""
    for profiler in profilers:
        profiler.live = False
    # disable() ends open calls in whichever thread it runs, and takes the hook away from that thread
    hook: object = sys.getprofile()
    if hook is not None and hook not in profilers:
        return False
    for profiler in profilers:
        profiler.disable()
    return True
