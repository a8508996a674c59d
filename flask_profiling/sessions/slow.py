"""The slowest requests of one worker in a session: which of them are kept; what they called is the engine's to know."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..engines import SingleRequestEngine
from ..model import CallTree, SlowRequest, SlowRequests, slowest

# What all kept requests of a worker may hold in memory; a stop writes it out.
MOST_BYTES = 16 << 20

WITHOUT_CALLS = (
    "Slow requests are listed without their calls: the CPU engine of this session adds up the calls of a route; "
    "cpu=calltree tells one request from another."
)


@dataclass(slots=True)
class Finished:
    """A request that took too long, as :class:`flask_profiling.model.SlowRequest` has it: ``trace_id`` may be empty,
    ``handles`` are what the engine keeps of its calls, ``weight`` says about how many bytes that takes."""

    route: str
    trace_id: str
    wall_time: float
    cpu_time: float | None
    status: int
    thread: str
    is_running: bool
    handles: tuple[object, ...]
    weight: int
    started: float = field(init=False)


class SlowLog:
    """Keeps the slowest requests of this worker.

    ``threshold`` is in seconds. Each route has its share, and all together hold at most about ``most_bytes``: the
    fastest go first.
    """

    def __init__(
        self,
        threshold: float,
        *,
        most_bytes: int = MOST_BYTES,
        now: Callable[[], float] = time.time,
        new_trace_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.threshold = threshold
        self._most_bytes = most_bytes
        self._now = now
        self._new_trace_id = new_trace_id
        self._seen = 0
        self._kept: list[Finished] = []
        self._lock = threading.Lock()

    def offer(self, request: Finished) -> None:
        """Take in a request that is over, or about to be cut off by the stop."""
        request.started = self._now() - request.wall_time
        with self._lock:
            self._seen += 1
            kept = slowest([*self._kept, request])
            while len(kept) > 1 and sum(each.weight for each in kept) > self._most_bytes:
                kept.pop()
            self._kept = kept

    def frozen(self, engine: SingleRequestEngine | None) -> SlowRequests:
        """Return what was kept, with the calls that ``engine`` recorded."""
        with self._lock:
            kept, seen = self._kept, self._seen
        return SlowRequests(self.threshold, seen, tuple(self._frozen(request, engine) for request in kept))

    def _frozen(self, request: Finished, engine: SingleRequestEngine | None) -> SlowRequest:
        return SlowRequest(
            route=request.route,
            trace_id=request.trace_id or self._new_trace_id(),
            started=request.started,
            wall_time=request.wall_time,
            cpu_time=request.cpu_time,
            status=request.status,
            worker=os.getpid(),
            thread=request.thread,
            is_running=request.is_running,
            tree=None if engine is None else _tree(request, engine),
        )


def _tree(request: Finished, engine: SingleRequestEngine) -> CallTree | None:
    """Return the calls of a request and of what belongs to it in other threads (an async view)."""
    tree: CallTree | None = None
    for handle in request.handles:
        share = engine.request_tree(handle)
        tree = share if tree is None else tree.merged_with(share)
    return tree
