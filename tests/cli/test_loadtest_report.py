"""The table of a load test's hottest functions: where it must not be believed, it says so."""

from __future__ import annotations

import pytest

from flask_profiling.cli.loadtest_report import show_route
from flask_profiling.loadtest import HotRoute
from flask_profiling.model import Cost, Function, RouteTimes

SMALL = Function("/srv/shop/models.py", 40, "small")


@pytest.mark.parametrize("has_overhead", [True, False])
def test_a_function_that_may_be_mostly_recording_is_named(
    has_overhead: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    show_route(HotRoute("GET /", RouteTimes(), 0.02, [(SMALL, Cost(10_000, 10_000, 0.015, 0.015))], has_overhead))
    words = " ".join(capsys.readouterr().out.split())
    assert "75% 15.0ms 10000 small shop/models.py:40" in words
    assert ("small was called 10,000 times and took 1.5 µs each" in words) == has_overhead
    assert ("cpu=calltree takes that off" in words) == has_overhead
