"""Requests that took longer than a session's threshold, each with its own calls; the slowest are kept, bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from . import _json
from .graph import Function
from .tree import ROOT, CallTree

MOST_KEPT = 20
MOST_OF_A_ROUTE = 5


class Timed(Protocol):
    """As much of a request as ranking needs."""

    @property
    def route(self) -> str:
        """The label of its route."""

    @property
    def wall_time(self) -> float:
        """Its wall time in seconds."""

    @property
    def started(self) -> float:
        """When it began, in Unix seconds."""


Request = TypeVar("Request", bound=Timed)


def slowest(
    requests: Iterable[Request], *, most: int = MOST_KEPT, most_of_a_route: int = MOST_OF_A_ROUTE
) -> list[Request]:
    """Return the slowest requests, the slowest first, at most so many of each route and in all."""
    kept: list[Request] = []
    of_route: Counter[str] = Counter()
    for request in sorted(requests, key=lambda request: (-request.wall_time, request.started)):
        of_route[request.route] += 1
        if of_route[request.route] <= most_of_a_route:
            kept.append(request)
    return kept[:most]


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """One request.

    ``trace_id`` is that of the ``traceparent`` it came with (W3C Trace Context: 32 hexadecimal digits), else random;
    ``started`` is in Unix seconds, ``wall_time`` and ``cpu_time`` are seconds, the latter of its own thread, and None
    while it runs; ``status`` is the HTTP status, 0 where none was sent; ``worker`` is a pid. ``tree`` holds its calls
    alone, or None where the engine cannot tell one request from another.
    """

    route: str
    trace_id: str
    started: float
    wall_time: float
    cpu_time: float | None
    status: int
    worker: int
    thread: str
    is_running: bool = False
    tree: CallTree | None = None

    def mostly(self) -> tuple[Function, float] | None:
        """Return the function that took most of the request by itself, and its share from 0 to 1; None where no
        function is known."""
        tree = self.tree
        if tree is None:
            return None
        times: dict[int, float] = {}
        for node, parent in enumerate(tree.parents):
            if parent != ROOT:
                times[tree.labels[node]] = times.get(tree.labels[node], 0.0) + tree.self_times[node]
        whole = sum(tree.self_times)
        label = max(times, key=times.__getitem__, default=None)
        if label is None or whole <= 0:
            return None
        return tree.functions[label], min(1.0, max(0.0, times[label] / whole))

    def to_json(self) -> dict[str, object]:
        """Return the fields by name."""
        return {
            "route": self.route,
            "traceId": self.trace_id,
            "started": self.started,
            "wallSeconds": self.wall_time,
            "cpuSeconds": self.cpu_time,
            "status": self.status,
            "worker": self.worker,
            "thread": self.thread,
            "isRunning": self.is_running,
            "tree": None if self.tree is None else self.tree.to_json(),
        }

    @classmethod
    def from_json(cls, value: object) -> SlowRequest:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        tree = document.get("tree")
        return cls(
            route=_json.text(document.get("route")),
            trace_id=_json.text(document.get("traceId")),
            started=_json.real(document.get("started")),
            wall_time=_json.real(document.get("wallSeconds")),
            cpu_time=_json.optional_real(document.get("cpuSeconds")),
            status=_json.count(document.get("status")),
            worker=_json.count(document.get("worker")),
            thread=_json.text(document.get("thread")),
            is_running=_json.flag(document.get("isRunning")),
            tree=None if tree is None else CallTree.from_json(tree),
        )


@dataclass(frozen=True, slots=True)
class SlowRequests:
    """The requests of a session that took ``threshold`` seconds or longer: ``seen`` so many, and the slowest of them,
    the slowest first."""

    kind: ClassVar[str] = "slowrequests"

    threshold: float
    seen: int
    requests: tuple[SlowRequest, ...]

    def summary(self) -> str:
        """Return a sentence: how many requests were slow, and how many of them were kept."""
        took = f"took {self.threshold:g} s or longer"
        if not self.seen:
            return f"No request {took}."
        count = "One request" if self.seen == 1 else f"{self.seen:,} requests"
        left_out = self.seen - len(self.requests)
        return f"{count} {took}" + (f"; the {len(self.requests)} slowest are kept." if left_out else ".")

    def merged_with(self, other: SlowRequests) -> SlowRequests:
        """Add the requests of another worker."""
        return SlowRequests(
            max(self.threshold, other.threshold),
            self.seen + other.seen,
            tuple(slowest([*self.requests, *other.requests])),
        )

    def to_json(self) -> dict[str, object]:
        """Return the fields by name."""
        return {
            "threshold": self.threshold,
            "seen": self.seen,
            "requests": [request.to_json() for request in self.requests],
        }

    @classmethod
    def from_json(cls, value: object) -> SlowRequests:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        requests = (SlowRequest.from_json(item) for item in _json.sequence(document.get("requests")))
        return cls(_json.real(document.get("threshold")), _json.count(document.get("seen")), tuple(requests))
