"""How a load test is printed: every answer is told of, and times that must not be believed say so."""

from __future__ import annotations

import pytest

from flask_profiling.cli.loadtest_report import show, show_route
from flask_profiling.loadtest import HotRoute, Outcome, Tally
from flask_profiling.model import Cost, Function, RouteTimes

SMALL = Function("/srv/shop/models.py", 40, "small")


def test_every_kind_of_answer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    for status in (200, 400, 404, 409, 500, 502):
        tally.add(0.01, status=str(status), failed=status >= 400)
    show(Outcome({"GET /": tally}, 1.0, None, 0.0), [], [])
    assert "Answers: 1 x 200, 1 x 400, 1 x 404, 1 x 409, 1 x 500, 1 x 502" in capsys.readouterr().out


@pytest.mark.parametrize("has_overhead", [True, False])
def test_a_function_that_may_be_mostly_recording_is_named(
    has_overhead: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    show_route(HotRoute("GET /", RouteTimes(), 0.02, [(SMALL, Cost(10_000, 10_000, 0.015, 0.015))], has_overhead))
    words = " ".join(capsys.readouterr().out.split())
    assert "75% 15.0ms 10000 small shop/models.py:40" in words
    assert ("small was called 10,000 times and took 1.5 µs each" in words) == has_overhead
    assert ("cpu=calltree takes that off" in words) == has_overhead
