"""The refusal of a second start: who runs, since when, and until when."""

from __future__ import annotations

import pytest

from flask_profiling.coordination import IDLE, PROFILING, WRITING, Order, WorkerState
from flask_profiling.errors import AlreadyRunning
from flask_profiling.model import Session, SessionOptions, WorkerId
from flask_profiling.sessions.results import already_running, one_each

SESSION = Session("prof-a-0001", WorkerId("test", 812, 7), 0.0, SessionOptions("cprofile", False, 0, 60.0))
NOON = 43_200.0


@pytest.mark.parametrize("busy", [PROFILING, WRITING])
@pytest.mark.parametrize("turn", [1, -1], ids=["idle first", "busy first"])
def test_of_two_apps_in_one_process_the_busy_one_is_told(busy: str, turn: int) -> None:
    idle_app, busy_app = WorkerState(SESSION.owner, "", IDLE), WorkerState(SESSION.owner, SESSION.id, busy)
    assert one_each((idle_app, busy_app)[::turn]) == (busy_app,)


@pytest.mark.parametrize(
    ("monotonic", "ago", "until"),
    [(940.0, "0", "12:01:00"), (955.0, "15", "12:00:45"), (1000.0, "60", "12:00:00"), (1500.0, "60", "12:00:00"),
     (100.0, "0", "12:15:00")],
)  # fmt: skip
def test_it_says_since_when_and_until_when_by_the_monotonic_clock(monotonic: float, ago: str, until: str) -> None:
    refusal = already_running(Order(SESSION, deadline=1000.0), now=NOON, monotonic=monotonic)
    assert isinstance(refusal, AlreadyRunning)
    assert refusal.message == (
        f"profiling is already running (prof-a-0001, started {ago} s ago by worker 812); "
        f"stop it, or wait until {until} UTC"
    )
