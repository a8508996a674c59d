"""When requests are due: a function of their number, without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How much load, and when: ``duration`` in seconds and ``requests`` bound it, whichever is reached first.

    With a ``rate`` (requests per second) the loop is open: request n is due at n / rate, whether or not the app keeps
    up. Without, it is closed: each of ``concurrency`` visitors sends its next request when the last was answered.
    """

    concurrency: int
    duration: float | None = None
    requests: int | None = None
    rate: float | None = None

    def due(self, number: int) -> float | None:
        """Return when request ``number`` (from 0) is due, in seconds after the begin, or None where none is planned."""
        if self.requests is not None and number >= self.requests:
            return None
        if self.rate is None:
            return 0.0
        at = number / self.rate
        return None if self.duration is not None and at >= self.duration else at

    def scheduled(self, elapsed: float) -> int | None:
        """Return how many requests were due within ``elapsed`` seconds; None for a closed loop."""
        if self.rate is None:
            return None
        seconds = elapsed if self.duration is None else min(elapsed, self.duration)
        number = max(0, math.ceil(seconds * self.rate - 1e-9))
        return number if self.requests is None else min(number, self.requests)
