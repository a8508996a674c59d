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
from ._appcode import is_own_code
from ._recorder import Recorder

_BUSY = "{tool} is set (a debugger, coverage or another profiler runs); stop that, or choose PROFILING_CPU=cprofile"

_LOST = (
    "Requests that lost the hook (sys.{tool}) to another tool, or because no stack was left: {number}. What they "
    "called from then on is missing; its time is that of the function that ran then."
)

LocalTrace = Callable[[FrameType, str, object], Any]


class _OwnHooks(ABC):
    """What the two kinds share: a hook per thread, and the recorder of each thread (or greenlet)."""

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
        if self._get() not in (None, self.hook):
            return False
        self._current.recorder = recorder
        self._set(self.hook)
        return True

    def leave(self) -> None:
        """Take the hook away, if it is still ours and ours alone."""
        if self._get() != self.hook:
            self._lost += self._live
        elif not self._shared:
            self._set(None)
        self._current.recorder = None

    def stop(self) -> tuple[str, ...]:
        """Let hooks in other threads remove themselves at their next event; only the owner may remove one."""
        self._live = False
        if self._get() == self.hook:
            self._set(None)
        return (_LOST.format(tool=self.name, number=self._lost),) if self._lost else ()

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
        # by file; and the hook of frames, which is made once and not at each call
        self._answers: dict[str, bool] = {}
        self._local: LocalTrace = self._inside

    def hook(self, frame: FrameType, event: str, value: object) -> LocalTrace | None:
        """Hear of a call; says whether its return is of interest."""
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
        answer = self._answers.get(code.co_filename)
        if answer is None:
            answer = self._answers[code.co_filename] = self._is_application(code)
        if answer:
            now = perf_counter()
            recorder.push_own(code, now)
        else:
            # most calls are a library's own: nothing more is done for these
            top = recorder.top
            if top.own is None:
                return None
            now = perf_counter()
            caller = frame.f_back
            if caller is None or caller.f_code is not top.own or is_own_code(code):
                return None
            recorder.push(code, now)
        frame.f_trace_lines = False
        return self._local

    def _inside(self, frame: FrameType, event: str, value: object) -> LocalTrace:
        if event == "return" and self._live:
            now = perf_counter()
            recorder: Recorder | None = getattr(self._current, "recorder", None)
            if recorder is not None:
                recorder.pop(frame.f_code, now)
        return self._local

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
