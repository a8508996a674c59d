"""The allocations engine: tracemalloc while a session runs, never in the way of a host that traces already."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, ModuleType
from typing import IO

from ..errors import Unavailable
from ..model import Recording
from ..model.memory import Allocations
from . import EngineOptions, _forkedwork, _heapmemory

try:
    import tracemalloc

    from . import _traces
except ImportError:  # not CPython
    _traces: ModuleType | None = None  # type: ignore[no-redef]

_BY_STACK = (
    "Allocations are told by call stack: a route's are those with its view function in the stack, of which {frames} "
    "frame{s} were kept; with more frames more stacks reach it."
)
_FROM_NOTHING = "Sizes are what was allocated during the session and was still alive at its end."
_HOSTS = (
    "The app traces its own memory, so its {frames} frame{s} were used and its tracing goes on; growth is what the "
    "session added to what was traced before."
)
_STOPPED = "Something stopped tracemalloc while the session ran, so nothing is known of its allocations."
_UNKNOWN_BEFORE = "What was traced before the session could not be counted, so its growth is not known: {reason}."
_UNCOUNTED = "Where memory was allocated could not be counted: {reason}."
_TAKEN_OVER = (
    "The app began to trace its own memory while the session ran: what it traced is shown, and its tracing goes on."
)
# Without a number: workers hold different amounts, and what all of them say alike is said once.
_OWN = "What the profiler itself allocated is left out."
_OWN_IS_NOTED = 10_000

_FORK: Callable[[], int] | None = getattr(os, "fork", None)


class AllocationsEngine:
    """Traces where memory is allocated; see :class:`flask_profiling.engines.Engine`.

    ``fork`` makes the child that adds up (None: this platform cannot, so this process does it); ``shortage`` tells why
    there is too little memory for that, or nothing.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        fork: Callable[[], int] | None = _FORK,
        shortage: Callable[[], str] = _heapmemory.shortage,
    ) -> None:
        self._fork = fork
        self._shortage = shortage
        self._ours = False
        self._frames = options.allocation_frames
        self._views_of = options.views
        self._views: Mapping[str, Iterable[CodeType]] = {}
        self._baseline: IO[bytes] | None = None
        self._unknown_before = ""
        self._notes: list[str] = []

    def start(self) -> None:
        """Begin to trace, or remember what the host has traced so far."""
        if _traces is None:
            raise Unavailable("this Python has no tracemalloc, so allocations cannot be recorded; use CPython")
        if not tracemalloc.is_tracing():
            self._ours = True
            tracemalloc.start(max(1, self._frames))
            return
        self._frames = tracemalloc.get_traceback_limit()
        self._notes.append(_HOSTS.format(**_amount(self._frames)))
        try:
            self._baseline = tempfile.TemporaryFile()  # noqa: SIM115  # until stop
            self._worked(self._write_baseline)
        except OSError as error:
            self._unknown_before = _UNKNOWN_BEFORE.format(reason=error.strerror or type(error).__name__)
        except _forkedwork.NotDone as error:
            self._unknown_before = _UNKNOWN_BEFORE.format(reason=error)

    def memory(self) -> Mapping[str, int]:
        """Return the bytes that tracemalloc itself takes for its traces."""
        return {"tracemalloc": tracemalloc.get_tracemalloc_memory()}

    def stop(self) -> Recording:
        """Add up what is alive, and leave tracing as it was found.

        Tracing ends when the child is gone: until then the pages of a million traces would be copied one by one, with
        every thread waiting (0.8-1.3 s against 0.3 s).
        """
        try:
            return self._recording(*self._counted())
        except _forkedwork.NotDone as error:
            return self._recording(None, _UNCOUNTED.format(reason=error))
        finally:
            self._stop_tracing()
            if self._baseline is not None:
                self._baseline.close()

    def abandon(self) -> None:
        """Stop tracing in a forked child, which would be slow for ever after."""
        # The lock in this is held for nanoseconds at a time by threads that free memory, never by one that forks.
        self._stop_tracing()

    def _counted(self) -> tuple[Allocations | None, str]:
        if self._unknown_before:
            return None, self._unknown_before
        if not tracemalloc.is_tracing():
            return None, _STOPPED
        limit = tracemalloc.get_traceback_limit()
        if self._ours and limit != max(1, self._frames):
            self._ours, self._frames = False, limit
            self._notes.append(_TAKEN_OVER)
        self._views = self._views_of()
        found = self._worked(self._sites)
        assert isinstance(found, dict)
        if found["own"] > _OWN_IS_NOTED:
            self._notes.append(_OWN)
        if self._baseline is None:
            self._notes.append(_FROM_NOTHING)
        return Allocations.from_json(found["data"]), _BY_STACK.format(**_amount(self._frames))

    def _recording(self, data: Allocations | None, note: str) -> Recording:
        return Recording("allocations", data, (*self._notes, note))

    def _stop_tracing(self) -> None:
        if self._ours and tracemalloc.is_tracing():
            tracemalloc.stop()
        self._ours = False

    def _worked(self, work: Callable[[bool], object]) -> object:
        """Run ``work(stop)`` in a child, or here where there can be none; raises NotDone."""
        stop = self._ours or self._fork is not None
        keep = () if self._baseline is None else (self._baseline.fileno(),)
        return _forkedwork.in_child(lambda: work(stop), fork=self._fork, shortage=self._shortage, keep=keep)

    def _write_baseline(self, stop: bool) -> None:
        assert self._baseline is not None
        sums, _ = _traces.taken(stop=stop)
        self._baseline.write(json.dumps(_traces.to_rows(sums)).encode())
        self._baseline.flush()

    def _sites(self, stop: bool) -> dict[str, object]:
        """Return the sites and the bytes that are our own, as JSON values."""
        after, own = _traces.taken(stop=stop)
        data = _traces.compared(
            self._before(),
            after,
            frames=self._frames,
            from_nothing=self._baseline is None,
            views=self._views,
        )
        return {"data": data.to_json(), "own": own}

    def _before(self) -> _traces.Sums:
        if self._baseline is None:
            return {}
        descriptor = self._baseline.fileno()
        *rows, files = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        return _traces.from_rows(rows, files)


def _amount(frames: int) -> dict[str, object]:
    return {"frames": frames, "s": "" if frames == 1 else "s"}
