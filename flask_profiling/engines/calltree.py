"""The ``calltree`` engine: every path that requests took, exact counts, wall times and their order; writes nothing.

In scope ``app`` the application's own functions are recorded, and of library code the first function called from them;
the rest of the library costs next to nothing. Scope ``all`` records every Python function.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

from ..errors import Unavailable
from ..model import CallTree, Recording
from . import EngineOptions
from ._alone import RequestRecorder, add
from ._appcode import application_code
from ._calibration import CallCosts, bare_call, call_costs, without_recording
from ._recorder import Recorder, Recorders, tree_of

_log = logging.getLogger("flask_profiling")

NOTES = (
    "Only the threads (or greenlets) in which requests run are covered, not threads that the application starts.",
    "Generators and coroutines count one call each time they are resumed.",
    "Time in functions written in C counts as self time of the Python function that called them.",
)
APP_NOTE = (
    "Of library code only the first function called from application code is shown; a library's calls among its own "
    "functions are inside it, and the framework around a view is self time of the route."
)
KNOWN_COST_NOTE = (
    "What recording the calls took, as measured when the session began, is taken off the times of functions; it is in "
    "the times of requests, which in their order in time begin when they did and end earlier."
)
UNKNOWN_COST_NOTE = (
    "Of what recording the calls took, up to a half is in the times: it could not be measured when the session began."
)

# Whatever is not in a library's directory is the application's: see _appcode. Nobody looks for it.
_SOME_FILE = os.path.join(os.sep, "calibration")


class Hooks(Protocol):
    """How recorders learn of calls: one implementation per kind of Python."""

    def start(self) -> None:
        """Get ready; raises EngineBusy where another tool is in the way."""

    def enter(self, recorder: Recorder) -> bool:
        """Feed the calling thread's calls to ``recorder``; False where that thread cannot be watched."""

    def leave(self) -> None:
        """End what enter began, in the same thread."""

    def stop(self) -> tuple[str, ...]:
        """Put everything back; returns notes."""


class CostOf(Protocol):
    """What tells how much recording a call takes: :func:`flask_profiling.engines._calibration.call_costs`."""

    def __call__(self, hooks: Hooks, *, bare: float, file: str, everything: bool) -> CallCosts | None:
        """Return the costs, or None where they cannot be told."""


class CallTreeEngine:
    """Records calling-context trees, per route; ``cost_of`` is asked when the hooks are on."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        recorders: Recorders | None = None,
        cost_of: CostOf = call_costs,
    ) -> None:
        self.options = options
        self._cost_of = cost_of
        self._recorders = recorders or Recorders()
        self._is_application = application_code(options.app_paths)
        self._hooks: Hooks | None = None
        # Late: where gevent has patched threads, this is local to greenlets.
        self._current = threading.local()
        self._running: dict[int, Recorder] = {}
        self._alone: dict[int, RequestRecorder] = {}
        self._left_out = 0
        self._stopped = False
        self._costs: CallCosts | None = None

    def start(self) -> None:
        """Begin to collect.

        Raises Unavailable without CPython or its GIL, EngineBusy where another tool is in the way.
        """
        if sys.implementation.name != "cpython":
            raise Unavailable(
                "exact call trees need CPython; run the application with it, or choose another CPU engine"
            )
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            raise Unavailable("exact call trees need the GIL; run with PYTHON_GIL=1, or choose another CPU engine")
        hooks = self._picked_hooks()
        bare = bare_call()
        hooks.start()
        self._hooks = hooks
        self._calibrate(hooks, bare)

    def _calibrate(self, hooks: Hooks, bare: float) -> None:
        file = self.options.app_paths[0] if self.options.app_paths else _SOME_FILE
        try:
            self._costs = self._cost_of(hooks, bare=bare, file=file, everything=self.options.scope == "all")
        except Exception:
            _log.exception("what recording a call costs could not be measured; times contain it")

    def enter(self, route: str) -> object:
        """Begin to attribute what the calling thread does to ``route``; returns a token for :meth:`leave`."""
        return None if self._is_closed() else self._entered(self._recorders.take(route))

    def _is_closed(self) -> bool:
        return self._stopped or self._hooks is None or getattr(self._current, "recorder", None) is not None

    def _entered(self, recorder: Recorder) -> Recorder | None:
        recorder.begin()
        self._running[id(recorder)] = recorder
        if self._hooks is not None and self._hooks.enter(recorder):
            return recorder
        self._left_out += 1
        self._running.pop(id(recorder), None)
        recorder.discard()
        self._give_back(recorder)
        return None

    def _give_back(self, recorder: Recorder) -> None:
        if not isinstance(recorder, RequestRecorder):
            self._recorders.give_back(recorder)

    def leave(self, token: object) -> None:
        """End what :meth:`enter` began, in the same thread; harmless after :meth:`stop`."""
        if not isinstance(token, Recorder) or self._hooks is None:
            return
        self._hooks.leave()
        if self._running.pop(id(token), None) is not None:
            token.end()
            self._give_back(token)

    def memory(self) -> Mapping[str, int]:
        """Return the bytes that the trees of the routes and the order of their calls take."""
        return {"calltree": self._recorders.memory()}

    def begin_request(self, route: str) -> object:
        """Take in a request that is recorded for itself; see :class:`flask_profiling.engines.SingleRequestEngine`."""
        request = RequestRecorder(route, self._recorders.budget)
        self._alone[id(request)] = request
        return request

    def enter_request(self, request: object) -> object:
        """Begin to attribute what the calling thread does to a request; returns a token for :meth:`leave`."""
        if self._is_closed() or not isinstance(request, RequestRecorder) or id(request) not in self._alone:
            return None
        return self._entered(request)

    def end_request(self, request: object) -> int:
        """Add a request to its route, once; returns about how many bytes its own tree takes."""
        if not isinstance(request, RequestRecorder):
            return 0
        if self._alone.pop(id(request), None) is not None:
            add(request, self._recorders)
        return request.weight()

    def request_tree(self, request: object) -> CallTree:
        """Return the calls of one request that is over; raises TypeError for what is none."""
        if not isinstance(request, RequestRecorder):
            raise TypeError(f"a request was expected, not {type(request).__name__}")
        return self._tree([request], request.budget.dropped_transitions)

    def stop(self) -> Recording:
        """End collecting, put everything back as it was and return the tree."""
        self._stopped = True
        notes: tuple[str, ...] = NOTES if self.options.scope == "all" else (*NOTES, APP_NOTE)
        if self._hooks is not None:
            notes += self._hooks.stop()
        open_ones = list(self._running.values())
        self._running.clear()
        for recorder in open_ones:
            recorder.end()
        for request in list(self._alone.values()):
            self.end_request(request)
        budget = self._recorders.budget
        counted = {
            "Requests still running at the stop: {}. Their open calls end there.": len(open_ones),
            "Requests that are missing, because another tool held the trace hook of their thread: {} (each chunk of a "
            "body counts as one).": self._left_out,
            "Calls that found no room for a path of their own: {}. Their time is that of the path above.": (
                budget.dropped_calls
            ),
            "Transitions that found no room in the timeline, which ends early: {}. Counts and times are complete.": (
                budget.dropped_transitions
            ),
        }
        notes += tuple(sentence.format(number) for sentence, number in counted.items() if number)
        notes += (UNKNOWN_COST_NOTE if self._costs is None else KNOWN_COST_NOTE,)
        return Recording("calltree", self._tree(self._recorders.all(), budget.dropped_transitions), notes)

    def _tree(self, recorders: Sequence[Recorder], dropped: int) -> CallTree:
        is_application = self._is_application
        tree = tree_of(
            recorders,
            scope=self.options.scope,
            worker=os.getpid(),
            is_library=lambda code: not is_application(code),
            dropped=dropped,
        )
        return tree if self._costs is None else without_recording(tree, self._costs)

    def abandon(self) -> None:
        """In a forked child: put the hooks back, and keep nothing."""
        self._stopped = True
        if self._hooks is not None:
            self._hooks.stop()
        self._running.clear()
        self._alone.clear()

    def _picked_hooks(self) -> Hooks:
        everything = self.options.scope == "all"
        if sys.version_info >= (3, 12):
            from ._tree_monitoring import MonitoringHooks

            return MonitoringHooks(self._current, self._is_application, everything=everything)
        from ._tree_tracing import ProfileHooks, TraceHooks

        return ProfileHooks(self._current) if everything else TraceHooks(self._current, self._is_application)
