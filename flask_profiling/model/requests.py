"""What requests of one route took: counts, wall and CPU seconds, and a histogram that workers can add up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from . import _json

MOST_TRACED = 10
# Bucket n of the histogram holds durations up to 2 ** (n / 8) microseconds: neighbours differ by 9 %.
_STEPS_PER_DOUBLING = 8


def bucket_of(seconds: float) -> int:
    """Return the histogram bucket of a duration in seconds."""
    return math.ceil(math.log2(max(seconds * 1e6, 1.0)) * _STEPS_PER_DOUBLING)


class TracedRequest(NamedTuple):
    """A request that belongs to a trace: wall and CPU seconds, and the trace's id (32 hexadecimal digits)."""

    wall_time: float
    cpu_time: float
    trace_id: str


def slowest_traced(requests: Iterable[TracedRequest]) -> tuple[TracedRequest, ...]:
    """Return as many requests as a route keeps, the slowest first."""
    return tuple(sorted(requests, reverse=True)[:MOST_TRACED])


@dataclass(frozen=True, slots=True)
class RouteTimes:
    """The requests of one route: how many, how many failed (status 500 and up), wall and CPU seconds in all.

    ``buckets`` maps :func:`bucket_of` a request's wall time to the number of such requests; ``traced`` are the slowest
    of those that belong to a trace. ``gc_time`` is the wall time of garbage collections that ran in their threads.
    """

    requests: int = 0
    errors: int = 0
    wall_time: float = 0.0
    cpu_time: float = 0.0
    buckets: Mapping[int, int] = field(default_factory=dict)
    traced: tuple[TracedRequest, ...] = ()
    gc_time: float = 0.0

    def quantile(self, fraction: float) -> float:
        """Return the wall time in seconds that ``fraction`` of the requests did not exceed, within 9 %."""
        wanted = math.ceil(fraction * self.requests)
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return float(2 ** (bucket / _STEPS_PER_DOUBLING) / 1e6)
        return 0.0

    def with_request(self, *, wall: float, cpu: float, failed: bool, trace_id: str = "") -> RouteTimes:
        """Return these times with one more request."""
        traced = (TracedRequest(wall, cpu, trace_id),) if trace_id else ()
        return self.merged_with(RouteTimes(1, int(failed), wall, cpu, {bucket_of(wall): 1}, traced))

    def merged_with(self, other: RouteTimes) -> RouteTimes:
        """Add up the times of two workers."""
        buckets = dict(self.buckets)
        for bucket, number in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + number
        return RouteTimes(
            self.requests + other.requests,
            self.errors + other.errors,
            self.wall_time + other.wall_time,
            self.cpu_time + other.cpu_time,
            buckets,
            slowest_traced((*self.traced, *other.traced)),
            self.gc_time + other.gc_time,
        )

    def to_json(self) -> dict[str, object]:
        """Return the fields by name, the buckets as ``[[bucket, number]]``, the traced as ``[[wall, cpu, id]]``."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "wallSeconds": self.wall_time,
            "cpuSeconds": self.cpu_time,
            "gcSeconds": self.gc_time,
            "buckets": [[bucket, number] for bucket, number in sorted(self.buckets.items())],
            "traced": [list(request) for request in self.traced],
        }

    @classmethod
    def from_json(cls, value: object) -> RouteTimes:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        rows = [_json.row(item, 2) for item in _json.sequence(document.get("buckets"))]
        traced = [_traced(item) for item in _json.sequence(document.get("traced", []))]
        return cls(
            _json.count(document.get("requests")),
            _json.count(document.get("errors")),
            _json.real(document.get("wallSeconds")),
            _json.real(document.get("cpuSeconds")),
            {min(_json.count(bucket), 1000): _json.count(number) for bucket, number in rows},
            slowest_traced(traced),
            _json.real(document.get("gcSeconds", 0.0)),
        )


def _traced(value: object) -> TracedRequest:
    wall, cpu, trace_id = _json.row(value, 3)
    return TracedRequest(_json.real(wall), _json.real(cpu), _json.text(trace_id))
