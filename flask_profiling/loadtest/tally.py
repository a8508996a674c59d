"""What came of the load: counts, a histogram of latencies, and conditions under which a test has failed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import BadRequest

QUANTILES: dict[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
# neighbouring buckets of the histogram differ by 1 %
_GROWTH = math.log(1.01)
_MICROSECOND = 1e-6
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0}
_CONDITION = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|%|/s|)\s*")


class Histogram:
    """Latencies in seconds, each known within 1 %; the largest is exact."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self._buckets[max(0, math.ceil(math.log(max(seconds / _MICROSECOND, 1.0)) / _GROWTH))] += 1
        self.count += 1
        self.total += seconds
        self.largest = max(self.largest, seconds)

    def merge(self, other: Histogram) -> None:
        """Add all of another histogram."""
        self._buckets.update(other._buckets)
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)

    @property
    def mean(self) -> float:
        """The mean in seconds; 0 where there is nothing."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, fraction: float) -> float:
        """Return the latency in seconds that ``fraction`` of them did not exceed; 0 where there is nothing."""
        wanted = max(1, math.ceil(fraction * self.count - 1e-9))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(math.exp(bucket * _GROWTH) * _MICROSECOND, self.largest)
        return 0.0


@dataclass
class Tally:
    """The requests of one step so far; ``statuses`` counts answers by status, failed ones by the error's name.

    A request without an answer has no latency, unless it waited for one as long as it might.
    """

    requests: int = 0
    errors: int = 0
    latencies: Histogram = field(default_factory=Histogram)
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, seconds: float | None, *, status: str, failed: bool) -> None:
        """Count one request; ``seconds`` is None where it has no latency."""
        self.requests += 1
        self.errors += failed
        self.statuses[status] += 1
        if seconds is not None:
            self.latencies.add(seconds)

    def merge(self, other: Tally) -> None:
        """Add all of another tally."""
        self.requests += other.requests
        self.errors += other.errors
        self.latencies.merge(other.latencies)
        self.statuses.update(other.statuses)

    def to_json(self) -> dict[str, object]:
        """Return counts, and latencies in milliseconds."""
        quantiles = {name: _milliseconds(self.latencies.quantile(part)) for name, part in QUANTILES.items()}
        return {
            "requests": self.requests,
            "errors": self.errors,
            "statuses": dict(sorted(self.statuses.items())),
            "latencyMs": {
                **quantiles,
                "mean": _milliseconds(self.latencies.mean),
                "max": _milliseconds(self.latencies.largest),
            },
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """A load test that is over.

    ``steps`` maps a label to its tally; ``elapsed`` is in seconds; ``scheduled`` is None for a closed loop; ``late`` is
    how long after it was due the latest request was sent, in seconds; ``gave_up`` says why the load ended early.
    """

    steps: Mapping[str, Tally]
    elapsed: float
    scheduled: int | None
    late: float
    gave_up: str = ""

    def total(self) -> Tally:
        """Return the tally of all steps together."""
        return merged(self.steps.values())

    def throughput(self) -> float:
        """Return requests per second, also those that failed."""
        return self.total().requests / self.elapsed if self.elapsed else 0.0

    def to_json(self) -> dict[str, object]:
        """Return the totals, then each step."""
        total = self.total()
        return {
            **total.to_json(),
            "elapsedSeconds": round(self.elapsed, 3),
            "throughput": round(self.throughput(), 2),
            "scheduled": self.scheduled,
            "latestMs": _milliseconds(self.late),
            "gaveUp": self.gave_up or None,
            "steps": {label: tally.to_json() for label, tally in self.steps.items()},
        }


@dataclass(frozen=True, slots=True)
class Condition:
    """``p95>200ms``: a test fails where the ``metric`` is beyond the ``bound``; ``text`` is as it was written."""

    text: str
    metric: str
    operator: str
    bound: float

    @property
    def is_about_errors(self) -> bool:
        """Whether it bounds failed requests, by number or by share."""
        return self.metric.startswith("errors")

    def broken_by(self, outcome: Outcome) -> str:
        """Return a sentence where the outcome is as it must not be, and an empty text else."""
        value = _measured(self.metric, outcome)
        beyond = {
            ">": value > self.bound,
            ">=": value >= self.bound,
            "<": value < self.bound,
            "<=": value <= self.bound,
        }
        return f"{self.text}: {self.metric} is {_shown(self.metric, value)}" if beyond[self.operator] else ""


def parse_condition(text: str) -> Condition:
    """Read ``p95>200ms``, ``errors>1%``, ``errors>0``, ``mean>=0.5s`` or ``throughput<50``; raises BadRequest."""
    match = _CONDITION.fullmatch(text)
    metrics = (*QUANTILES, "mean", "max", "errors", "throughput")
    if match is None or match[1] not in metrics:
        raise BadRequest(f"{text!r} is no condition; write one such as p95>200ms, errors>1% or throughput<50")
    metric, operator, number, unit = match.groups()
    units = {"errors": ("", "%"), "throughput": ("", "/s")}.get(metric, ("us", "ms", "s"))
    if unit not in units:
        raise BadRequest(f"{text!r}: {metric} is measured in {' or '.join(filter(None, units))}; write it so")
    if metric == "errors" and unit == "%":
        return Condition(text.strip(), "errors %", operator, float(number))
    return Condition(text.strip(), metric, operator, float(number) * _SECONDS.get(unit, 1.0))


def merged(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies."""
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total


def _measured(metric: str, outcome: Outcome) -> float:
    total = outcome.total()
    if metric in QUANTILES:
        return total.latencies.quantile(QUANTILES[metric])
    return {
        "mean": total.latencies.mean,
        "max": total.latencies.largest,
        "errors": float(total.errors),
        "errors %": 100.0 * total.errors / total.requests if total.requests else 0.0,
        "throughput": outcome.throughput(),
    }[metric]


def _shown(metric: str, value: float) -> str:
    if metric == "errors":
        return f"{value:.0f}"
    if metric == "errors %":
        return f"{value:.1f} %"
    return f"{value:.1f} per second" if metric == "throughput" else f"{value * 1e3:.1f} ms"


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)
