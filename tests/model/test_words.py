"""Tests of how numbers and times are written for people."""

from __future__ import annotations

import pytest

from flask_profiling.model import human_size, utc


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1.0KB"),
        (2_400_000, "2.4MB"),
        (999_949, "999.9KB"),
        (999_950, "1.0MB"),
        (1024**3, "1.1GB"),
        (5 * 10**15, "5000.0TB"),
    ],
)
def test_a_size_is_written_for_people(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        (0.0, "1970-01-01T00:00:00+00:00"),
        (1_772_366_400.25, "2026-03-01T12:00:00.250000+00:00"),
        (-1e300, "1970-01-01T00:00:00+00:00"),
        (1e300, "8307-10-01T19:33:20+00:00"),
        (float("inf"), "8307-10-01T19:33:20+00:00"),
    ],
)
def test_every_time_is_a_moment(seconds: float, moment: str) -> None:
    assert utc(seconds).isoformat() == moment
