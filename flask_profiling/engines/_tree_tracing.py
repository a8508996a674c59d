"""Calls for recorders on CPython 3.10 and 3.11: the trace hook (application code) or the profile hook (all code)."""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import perf_counter
from types import CodeType, FrameType
from typing import Any

from ..errors import EngineBusy
from ._appcode import MOST_FILES, is_own_code
from ._recorder import Recorder

_BUSY = "{tool} is set (a debugger, coverage or another profiler runs); stop that, or choose PROFILING_CPU=cprofile"

_LOST = (
    "Requests that lost the hook (sys.{tool}) to another tool, or because no stack was left: {number}. What they "
    "called from then on is missing; its time is that of the function that ran then."
)

LocalTrace = Callable[[FrameType, str, object], Any]
Bind = Callable[[Recorder], None]


class _OwnHooks(ABC):
    """What the two kinds share: a hook in each thread, and the recorder of each thread (or greenlet)."""

    name = ""

    def __init__(self, current: threading.local) -> None:
        self._current = current
        self._live = False
        self._lost = 0
        # Where threads are greenlets, the hook belongs to all greenlets of the thread.
        self._shared = type(current).__module__ != "_thread"

    def start(self) -> None:
        """Refuse where somebody else has the hook; nothing is set until a request begins."""
        if self._get() is not None or self._inherited() is not None:
            raise EngineBusy(_BUSY.format(tool=f"sys.{self.name}"))
        self._live = True

    def enter(self, recorder: Recorder) -> bool:
        """Set the hook in the calling thread, unless another tool has it there."""
        hook = self._hook_for(recorder)
        if self._get() not in (None, hook):
            return False
        self._current.recorder = recorder
        self._current.hook = hook
        self._set(hook)
        return True

    def leave(self) -> None:
        """Take the hook away, if it is still ours and ours alone."""
        if not self._is_set():
            self._lost += self._live
        elif not self._shared:
            self._set(None)
        self._current.recorder = None

    def stop(self) -> tuple[str, ...]:
        """Let hooks in other threads remove themselves at their next event; only the owner may remove one."""
        self._live = False
        if self._is_set():
            self._set(None)
        return (_LOST.format(tool=self.name, number=self._lost),) if self._lost else ()

    def _is_set(self) -> bool:
        return self._get() == getattr(self._current, "hook", self.hook)

    def _hook_for(self, recorder: Recorder) -> LocalTrace:
        """Return the hook of the calling thread, the same for all its requests."""
        return self.hook

    @abstractmethod
    def hook(self, frame: FrameType, event: str, value: object) -> LocalTrace | None:
        """Hear of a call."""

    @abstractmethod
    def _get(self) -> object:
        """Return the calling thread's hook."""

    @abstractmethod
    def _set(self, hook: Any) -> None:
        """Set it."""

    @abstractmethod
    def _inherited(self) -> object:
        """Return the hook that new threads get."""


class TraceHooks(_OwnHooks):
    """Application code, and the first library function called from it; library frames are not traced at all."""

    name = "settrace"

    def __init__(self, current: threading.local, is_application: Callable[[CodeType], bool]) -> None:
        super().__init__(current)
        self._is_application = is_application
        # files that are not the application's; beside what the judge remembers, because the stop empties this one
        self._libraries: set[str] = set()
        # made once and not at each call
        self._local: LocalTrace = self._inside
        self._local_of_library: LocalTrace = self._inside_library

    def stop(self) -> tuple[str, ...]:
        """As every hook; those in other threads hear of the next call again, whatever it is."""
        notes = super().stop()
        self._libraries.clear()
        return notes

    def _hook_for(self, recorder: Recorder) -> LocalTrace:
        if self._shared:
            return self.hook
        quick: tuple[LocalTrace, Bind] | None = getattr(self._current, "quick", None)
        if quick is None:
            quick = self._current.quick = self._quick(recorder)
        hook, bind = quick
        bind(recorder)
        return hook

    def _quick(self, recorder: Recorder) -> tuple[LocalTrace, Bind]:
        """Return a hook for one thread, which leaves out at once what most calls are, and what tells it the recorder.

        That recorder is only looked at: another tool may set the hook again at any time, and in any thread.
        """
        libraries, hook = self._libraries, self.hook

        def quick(frame: FrameType, event: str, value: object) -> LocalTrace | None:
            # a library's own call, or the framework's
            if recorder.top.own is None and frame.f_code.co_filename in libraries:
                return None
            return hook(frame, event, value)

        def bind(another: Recorder) -> None:
            nonlocal recorder
            recorder = another

        return quick, bind

    def hook(self, frame: FrameType, event: str, value: object) -> LocalTrace | None:
        """Hear of a call; says whether its return is of interest."""
        now = perf_counter()
        if not self._live:
            sys.settrace(None)
            return None
        try:
            recorder: Recorder | None = self._current.recorder
        except AttributeError:  # another greenlet of this thread
            return None
        if recorder is None:
            return None
        code = frame.f_code
        top = recorder.top
        # the function that is expected was judged before
        if top.last.after.own is not code and (code.co_filename in self._libraries or self._is_library(code)):
            own = top.own
            if own is None or (caller := frame.f_back) is None or caller.f_code is not own or is_own_code(code):
                return None
            recorder.entries.append(id(frame))
            recorder.push(code, now)
            local = self._local_of_library
        else:
            recorder.push_own(code, now)
            local = self._local
        frame.f_trace_lines = False
        return local

    def _is_library(self, code: CodeType) -> bool:
        """Judge code of a file that is not among those of libraries yet."""
        if self._is_application(code):
            return False
        if len(self._libraries) >= MOST_FILES:
            self._libraries.clear()
        self._libraries.add(code.co_filename)
        if not self._live:  # another thread has stopped the session right now
            self._libraries.clear()
        return True

    def _inside(self, frame: FrameType, event: str, value: object) -> None:
        if event == "return" and self._live:
            now = perf_counter()
            recorder: Recorder | None = getattr(self._current, "recorder", None)
            if recorder is not None:
                recorder.pop(frame.f_code, now)

    def _inside_library(self, frame: FrameType, event: str, value: object) -> None:
        if event == "return" and self._live:
            now = perf_counter()
            recorder: Recorder | None = getattr(self._current, "recorder", None)
            # a generator keeps this hook where the library resumes it
            if recorder is not None and recorder.entries and recorder.entries[-1] == id(frame):
                recorder.entries.pop()
                recorder.pop(frame.f_code, now)

    def _get(self) -> object:
        return sys.gettrace()

    def _set(self, hook: Any) -> None:
        sys.settrace(hook)

    def _inherited(self) -> object:
        return threading.gettrace()


class ProfileHooks(_OwnHooks):
    """Every Python function but our own."""

    name = "setprofile"

    def hook(self, frame: FrameType, event: str, value: object) -> LocalTrace | None:
        """Hear of a call or a return."""
        now = perf_counter()
        if not self._live:
            sys.setprofile(None)
            return None
        recorder: Recorder | None = getattr(self._current, "recorder", None)
        if recorder is None or is_own_code(frame.f_code):
            return None
        if event == "call":
            recorder.push(frame.f_code, now)
        elif event == "return":
            recorder.pop(frame.f_code, now)
        return None

    def _get(self) -> object:
        return sys.getprofile()

    def _set(self, hook: Any) -> None:
        sys.setprofile(hook)

    def _inherited(self) -> object:
        return threading.getprofile()
