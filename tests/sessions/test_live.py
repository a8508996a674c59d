"""One worker's share in a session: what is counted, on which clock, and what an engine that fails does to it."""

from __future__ import annotations

import logging

import pytest

from flask_profiling.engines import Engine
from flask_profiling.errors import Unavailable
from flask_profiling.model import Part, Recording, WorkerId
from flask_profiling.model.requests import MOST_TRACED
from flask_profiling.sessions.live import Live
from tests.sessions.machines import CountingEngine

WORKER = WorkerId("test", 812, 7)


class Clocks:
    """Two clocks that stand still."""

    def __init__(self) -> None:
        self.wall = 100.0
        self.cpu = 5.0


class Strict(CountingEngine):
    """Checks that what it handed out at entering comes back, last first."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []

    def enter(self, route: str) -> object:
        self.inside.append(route)
        return super().enter(route)

    def leave(self, token: object) -> None:
        super().leave(token)
        assert self.inside.pop() == token


class Refusing(CountingEngine):
    """Has a sentence instead of a recording."""

    def stop(self) -> Recording:
        raise Unavailable("nothing was sampled; give it more time")


class Quiet:
    """An engine that does not want to see requests."""

    def start(self) -> None:
        """Nothing."""

    def stop(self) -> Recording:
        return Recording("quiet", None, ("heard",))

    def abandon(self) -> None:
        raise ZeroDivisionError("a fault of ours")


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def live(clocks: Clocks, *engines: Engine, notes: tuple[str, ...] = ()) -> Live:
    return Live(
        "prof-test-0001",
        160.0,
        worker=WORKER,
        engines=engines,
        notes=notes,
        wall_clock=lambda: clocks.wall,
        cpu_clock=lambda: clocks.cpu,
    )


def notes_of(part: Part) -> list[str]:
    return [note for recording in part.recordings if recording.engine == "worker" for note in recording.notes]


def test_a_request_is_counted_with_its_wall_and_its_own_cpu_time(clocks: Clocks) -> None:
    session = live(clocks)
    visit = session.begin("GET /")
    session.resume(visit)
    clocks.cpu += 0.25
    session.pause(visit)
    clocks.cpu += 40  # the thread does something else meanwhile
    clocks.wall += 2
    session.resume(visit)
    clocks.cpu += 0.5
    session.pause(visit)
    session.end(visit, failed=False)
    times = session.stop().requests["GET /"]
    assert (times.requests, times.errors, times.wall_time, times.cpu_time) == (1, 0, 2.0, 0.75)


def test_a_request_that_was_answered_before_it_came_to_the_host_took_no_cpu_time_of_it(clocks: Clocks) -> None:
    session = live(clocks)
    visit = session.begin("GET /")
    session.pause(visit)
    session.resume(visit)
    clocks.cpu += 0.25
    session.pause(visit)
    clocks.cpu += 40
    session.pause(visit)
    session.end(visit, failed=False)
    assert session.stop().requests["GET /"].cpu_time == 0.25


def test_failed_requests_are_counted_apart_and_routes_by_themselves(clocks: Clocks) -> None:
    session = live(clocks)
    for route, failed in (("GET /a", True), ("GET /a", False), ("GET /b", False)):
        session.end(session.begin(route), failed=failed)
    requests = session.stop().requests
    assert {route: (times.requests, times.errors) for route, times in requests.items()} == {
        "GET /a": (2, 1),
        "GET /b": (1, 0),
    }
    assert sum(requests["GET /a"].buckets.values()) == 2
    assert requests["GET /a"].gc_time == 0.0


@pytest.mark.parametrize(("seconds", "is_said"), [(0.05, True), (0.049, False)])
def test_collecting_garbage_is_said_from_a_twentieth_of_the_time_on(
    clocks: Clocks, seconds: float, is_said: bool
) -> None:
    session = live(clocks)
    visit = session.begin("GET /")
    clocks.wall += 1.0
    session.end(visit, failed=False)
    session._pauses.by_route["GET /"], session._pauses.number = seconds, 2
    part = session.stop()
    assert ["the garbage collector ran 2 times and took" in note for note in notes_of(part)] == [True] * is_said
    assert part.requests["GET /"].gc_time == seconds


class Weighed(Quiet):
    """Knows what it holds."""

    def memory(self) -> dict[str, int]:
        return {"paths": 3000}


def test_what_a_worker_holds_is_told_by_the_engines_that_know(clocks: Clocks) -> None:
    assert live(clocks, CountingEngine(), Weighed()).memory() == {"paths": 3000}


def test_a_share_adds_its_cpu_time_and_is_no_request(clocks: Clocks) -> None:
    session = live(clocks)
    visit = session.begin("GET /")
    share = session.begin_share("GET /", of=visit)
    assert visit.shares == [share]
    session.resume(share)
    clocks.cpu += 0.5
    session.pause(share)
    session.end_share(share)
    session.end(visit, failed=False)
    part = session.stop()
    assert part.requests["GET /"].requests == 1
    assert part.requests["GET /"].cpu_time == 0.5
    assert part.recordings == ()


def test_a_thread_is_known_as_long_as_it_works_on_a_request(clocks: Clocks) -> None:
    session = live(clocks)
    outer, inner = session.begin("GET /outer"), session.begin("GET /inner")
    session.resume(outer)
    session.resume(inner)
    session.pause(inner)
    assert list(session._at_work.values()) == ["GET /outer"]
    session.pause(outer)
    assert session._at_work == {}


def test_engines_are_entered_and_left_in_turn(clocks: Clocks) -> None:
    one, two = Strict(), Strict()
    session = live(clocks, one, two)
    visit = session.begin("GET /")
    session.resume(visit)
    assert (one.inside, two.inside) == (["GET /"], ["GET /"])
    session.pause(visit)
    session.pause(visit)
    assert (one.inside, two.inside) == ([], [])
    session.end(visit, failed=False)


def test_requests_that_run_at_the_stop_are_said_and_change_nothing_later(clocks: Clocks) -> None:
    engine = CountingEngine()
    session = live(clocks, engine)
    visits = [session.begin("GET /slow") for _ in range(3)]
    session.end(visits.pop(), failed=False)
    part = session.stop()
    assert part.requests["GET /slow"].requests == 1
    (note,) = notes_of(part)
    assert note.startswith("2 requests were still running in worker 812 when the session stopped")
    for visit in visits:
        session.resume(visit)
        session.pause(visit)
        session.end(visit, failed=False)
    assert engine.visits == {}
    assert part.requests["GET /slow"].requests == 1
    assert session._tallies["GET /slow"].requests == 1


def test_one_request_that_runs_at_the_stop_is_said_in_the_singular(clocks: Clocks) -> None:
    session = live(clocks)
    session.begin("GET /slow")
    assert notes_of(session.stop())[0].startswith("1 request was still running")


def test_a_share_that_ends_after_the_stop_changes_nothing(clocks: Clocks) -> None:
    session = live(clocks)
    share = session.begin_share("GET /", of=None)
    part = session.stop()
    assert notes_of(part)[0].startswith("1 request was still running")
    session.end_share(share)
    assert part.requests == {}
    assert session._tallies == {}


def test_the_part_says_whose_it_is_and_what_was_noted_at_the_start(clocks: Clocks) -> None:
    part = live(clocks, CountingEngine(), Quiet(), notes=("worker 812: busy",)).stop()
    assert (part.worker, part.session_id) == (WORKER, "prof-test-0001")
    assert [recording.engine for recording in part.recordings] == ["cprofile", "quiet", "worker"]
    assert notes_of(part) == ["worker 812: busy"]


def test_an_engine_that_does_not_want_to_see_requests_sees_none(clocks: Clocks) -> None:
    session = live(clocks, Quiet())
    visit = session.begin("GET /")
    session.resume(visit)
    session.pause(visit)
    session.end(visit, failed=False)
    assert notes_of(session.stop()) == []


def test_where_there_is_nothing_to_say_nothing_is_said(clocks: Clocks) -> None:
    assert live(clocks).stop().recordings == ()


def test_an_engine_that_fails_in_requests_is_noted_and_logged_once_and_others_go_on(
    clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    good = Strict()
    session = live(clocks, CountingEngine(broken=True), good)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            visit = session.begin("GET /")
            session.resume(visit)
            session.pause(visit)
            session.end(visit, failed=False)
        assert len(caplog.records) == 1
        caplog.clear()
        part = session.stop()
        assert [record.getMessage() for record in caplog.records] == [
            "profiling: an engine failed to stop; its data is lost"
        ]
    assert good.visits == {"GET /": 3}
    assert notes_of(part) == [
        "CountingEngine failed inside a request; what it recorded is incomplete, the log has details",
        "CountingEngine failed at stop (ZeroDivisionError); its data is lost, see the log",
    ]
    assert [recording.engine for recording in part.recordings] == ["cprofile", "worker"]


def test_a_failure_that_there_is_no_room_to_log_does_not_reach_the_request(clocks: Clocks) -> None:
    def no_room(record: logging.LogRecord) -> bool:
        raise MemoryError

    logger = logging.getLogger("flask_profiling")
    session = live(clocks, CountingEngine(broken=True))
    visit = session.begin("GET /")
    logger.addFilter(no_room)
    try:
        session.resume(visit)
    finally:
        logger.removeFilter(no_room)
    session.pause(visit)
    session.end(visit, failed=False)
    part = session.stop()
    assert part.requests["GET /"].requests == 1
    assert "failed inside a request" in notes_of(part)[0]


def test_an_engine_that_fails_at_leaving_does_not_keep_the_others_inside(clocks: Clocks) -> None:
    class Leaving(CountingEngine):
        def leave(self, token: object) -> None:
            raise ZeroDivisionError("a fault of ours")

    below = Strict()
    session = live(clocks, below, Leaving())
    visit = session.begin("GET /")
    session.resume(visit)
    session.pause(visit)
    assert below.inside == []
    session.end(visit, failed=False)
    assert "failed inside a request" in notes_of(session.stop())[0]


def test_an_engine_that_has_nothing_says_why_in_its_own_words(clocks: Clocks, caplog: pytest.LogCaptureFixture) -> None:
    part = live(clocks, Refusing()).stop()
    assert notes_of(part) == ["nothing was sampled; give it more time"]
    assert caplog.records == []


def test_a_forked_child_abandons_every_engine_and_counts_nothing(clocks: Clocks) -> None:
    engine = CountingEngine()
    engine.start()
    session = live(clocks, Quiet(), engine)
    visit = session.begin("GET /")
    session.abandon()
    assert not engine.running
    session.resume(visit)
    session.end(visit, failed=False)
    assert engine.visits == {}
    assert session._tallies == {}


def traced_walls(clocks: Clocks, walls: list[float]) -> tuple[list[float], int]:
    """Return the wall times of the requests whose traces are kept, and how many traces were asked for."""
    asked = []

    def trace_of() -> str:
        asked.append(True)
        return "4bf92f3577b34da6a3ce929d0e0e4736"

    session = live(clocks)
    for wall in walls:
        visit = session.begin("GET /", trace_of=trace_of)
        clocks.wall += wall
        session.end(visit, failed=False)
    return [traced.wall_time for traced in session.stop().requests["GET /"].traced], len(asked)


def test_the_traces_of_the_slowest_requests_are_kept_and_no_other_is_asked_for(clocks: Clocks) -> None:
    slow = [float(seconds) for seconds in range(2, 2 + MOST_TRACED)]
    assert traced_walls(clocks, slow) == (slow[::-1], MOST_TRACED)
    assert traced_walls(clocks, [*slow, 1.0, 2.0]) == (slow[::-1], MOST_TRACED)
    assert traced_walls(clocks, [*slow, 3.0]) == ([*slow[:0:-1][:-1], 3.0, 3.0], MOST_TRACED + 1)


def test_a_trace_that_cannot_be_told_is_none(clocks: Clocks) -> None:
    def fail() -> str:
        raise ZeroDivisionError("a fault of the host's tracing")

    session = live(clocks)
    for trace_of in (fail, lambda: "", None):
        session.end(session.begin("GET /", trace_of=trace_of), failed=False)
    times = session.stop().requests["GET /"]
    assert (times.requests, times.traced) == (3, ())
