"""Requests that take too long are kept one by one: which, with what, and no more than there is room for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from flask_profiling.engines import Engine
from flask_profiling.model import CallTree, Part, Recording, SlowRequest, SlowRequests, TreeBuilder, WorkerId
from flask_profiling.sessions import Live, Visit
from flask_profiling.sessions.slow import WITHOUT_CALLS, Finished, SlowLog

from .machines import CountingEngine

WORKER = WorkerId("test", 812, 0)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass
class Clock:
    """Seconds that pass when a test says so; CPU time passes half as fast."""

    reading: float = 100.0

    def wall(self) -> float:
        return self.reading

    def cpu(self) -> float:
        return self.reading / 2


@dataclass
class SingleEngine(CountingEngine):
    """Knows requests by number; a tree has the number of its request as calls. ``faulty`` names what fails."""

    faulty: str = ""
    ended: list[object] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.routes: list[str] = []

    def begin_request(self, route: str) -> object:
        self.routes.append(route)
        return len(self.routes)

    def enter_request(self, request: object) -> object:
        assert isinstance(request, int)
        return self.enter(self.routes[request - 1])

    def end_request(self, request: object) -> int:
        if self.faulty == "end_request":
            raise ZeroDivisionError("a fault of ours")
        self.ended.append(request)
        return 1000

    def request_tree(self, request: object) -> CallTree:
        if self.faulty == "request_tree":
            raise ZeroDivisionError("a fault of ours")
        assert isinstance(request, int)
        self.asked.append(request)
        builder = TreeBuilder("app")
        builder.root(self.routes[request - 1], calls=request, self_time=1.0)
        return builder.tree()


class Requests:
    """A worker in a session that keeps requests of half a second and more."""

    def __init__(self, engine: Engine | None = None, *, slow: float = 0.5) -> None:
        self.clock = Clock()
        engines = [] if engine is None else [engine]
        self.live = Live(
            "prof-test",
            1e9,
            worker=WORKER,
            engines=engines,
            slow=slow,
            wall_clock=self.clock.wall,
            cpu_clock=self.clock.cpu,
        )

    def begin(self, route: str = "GET /", trace: str = TRACE) -> Visit:
        visit = self.live.begin(route, trace_of=lambda: trace)
        self.live.resume(visit)
        return visit

    def serve(self, route: str, seconds: float, *, trace: str = TRACE) -> None:
        visit = self.begin(route, trace)
        self.clock.reading += seconds
        self.live.pause(visit)
        self.live.end(visit, failed=False, status=200)

    def stop(self) -> tuple[Recording, list[SlowRequest]]:
        recording = slow_part(self.live.stop())
        assert recording is not None
        assert isinstance(recording.data, SlowRequests)
        return recording, list(recording.data.requests)


def slow_part(part: Part) -> Recording | None:
    return next((item for item in part.recordings if item.engine == "slowrequests"), None)


def test_a_slow_request_is_kept_with_its_calls() -> None:
    engine = SingleEngine()
    requests = Requests(engine)
    requests.serve("GET /fast", 0.25)
    requests.serve("GET /slow", 0.75)
    recording, (kept,) = requests.stop()
    assert isinstance(recording.data, SlowRequests)
    assert (recording.data.threshold, recording.data.seen, recording.notes) == (0.5, 1, ())
    assert (kept.route, kept.trace_id, kept.wall_time, kept.cpu_time) == ("GET /slow", TRACE, 0.75, 0.375)
    assert (kept.status, kept.thread, kept.is_running) == (200, threading.current_thread().name, False)
    assert kept.started > 1_600_000_000
    assert kept.tree is not None
    assert kept.tree.calls == (2,)
    assert engine.ended == [1, 2]
    assert engine.asked == [2]
    assert engine.visits == {"GET /fast": 1, "GET /slow": 1}


def test_exactly_the_threshold_is_slow() -> None:
    requests = Requests(SingleEngine())
    requests.serve("GET /", 0.5)
    requests.begin("GET /running")
    requests.clock.reading += 0.5
    assert {(request.route, request.is_running) for request in requests.stop()[1]} == {
        ("GET /", False),
        ("GET /running", True),
    }


def test_without_a_threshold_no_request_is_told_from_another() -> None:
    engine = SingleEngine()
    requests = Requests(engine, slow=0.0)
    requests.serve("GET /", 9.0)
    assert slow_part(requests.live.stop()) is None
    assert engine.routes == []
    assert engine.visits == {"GET /": 1}


def test_an_engine_that_cannot_tell_requests_apart_leaves_a_list_and_a_note() -> None:
    requests = Requests(CountingEngine())
    requests.serve("GET /", 2.0)
    recording, (kept,) = requests.stop()
    assert recording.notes == (WITHOUT_CALLS,)
    assert (kept.route, kept.wall_time, kept.tree) == ("GET /", 2.0, None)


def test_without_a_cpu_engine_there_is_nothing_to_note() -> None:
    requests = Requests()
    requests.serve("GET /", 2.0)
    recording, (kept,) = requests.stop()
    assert recording.notes == ()
    assert kept.tree is None


def test_a_request_without_a_trace_gets_one_of_its_own() -> None:
    requests = Requests(SingleEngine())
    requests.serve("GET /", 1.0, trace="")
    requests.serve("GET /", 1.0, trace="")
    _, kept = requests.stop()
    ids = {request.trace_id for request in kept}
    assert len(ids) == 2
    assert all(len(trace_id) == 32 and int(trace_id, 16) for trace_id in ids)


def test_a_tracer_that_fails_costs_the_trace_id_alone() -> None:
    requests = Requests(SingleEngine())

    def broken() -> str:
        raise LookupError

    visit = requests.live.begin("GET /", trace_of=broken)
    requests.clock.reading += 1.0
    requests.live.end(visit, failed=False)
    _, (kept,) = requests.stop()
    assert len(kept.trace_id) == 32


def test_a_slow_request_that_never_came_to_the_host_is_listed_without_calls_or_an_answer() -> None:
    engine = SingleEngine()
    requests = Requests(engine)
    visit = requests.live.begin("GET /", trace_of=lambda: TRACE)
    requests.live.begin("GET /waiting")
    requests.clock.reading += 1.0
    requests.live.end(visit, failed=True)
    recording, kept = requests.stop()
    assert {(request.route, request.status, request.tree, request.is_running) for request in kept} == {
        ("GET /", 0, None, False),
        ("GET /waiting", 0, None, True),
    }
    assert recording.notes == ()
    assert (engine.ended, engine.asked) == ([], [])


def test_a_request_that_goes_on_in_steps_is_one_for_the_engine() -> None:
    engine = SingleEngine()
    requests = Requests(engine)
    visit = requests.begin("GET /stream")
    requests.live.pause(visit)
    requests.live.resume(visit)
    requests.clock.reading += 1.0
    requests.live.pause(visit)
    requests.live.end(visit, failed=False, status=200)
    assert engine.routes == ["GET /stream"]
    assert engine.visits == {"GET /stream": 2}


@pytest.mark.parametrize(("engine", "weight"), [(SingleEngine(), 2000), (CountingEngine(), 0), (None, 0)])
def test_a_request_weighs_what_the_engine_keeps_of_all_its_parts(engine: Engine | None, weight: int) -> None:
    requests = Requests(engine)
    offered: list[Finished] = []
    assert requests.live._slow is not None
    requests.live._slow.offer = offered.append  # type: ignore[method-assign]
    visit = requests.begin("GET /async")
    share = requests.live.begin_share("GET /async", of=visit)
    requests.live.resume(share)
    requests.clock.reading += 1.0
    for part, end in ((share, requests.live.end_share), (visit, lambda part: requests.live.end(part, failed=False))):
        requests.live.pause(part)
        end(part)
    assert [request.weight for request in offered] == [weight]


def test_what_is_still_running_and_too_long_is_kept_as_far_as_it_came() -> None:
    engine = SingleEngine()
    requests = Requests(engine)
    requests.begin("GET /stuck")
    requests.clock.reading += 60.0
    recent = requests.begin("GET /recent")
    _, (kept,) = requests.stop()
    assert (kept.route, kept.wall_time, kept.cpu_time, kept.is_running) == ("GET /stuck", 60.0, None, True)
    assert kept.status == 0
    assert kept.tree is not None
    requests.live.pause(recent)
    requests.live.end(recent, failed=False)  # after the stop, without effect
    assert engine.ended == [1], "what it called is in its route, too"
    assert engine.asked == [1]


def test_the_share_of_another_thread_belongs_to_its_request() -> None:
    engine = SingleEngine()
    requests = Requests(engine)
    visit = requests.begin("GET /async")
    share = requests.live.begin_share("GET /async", of=visit)
    requests.live.resume(share)
    requests.clock.reading += 1.0
    requests.live.pause(share)
    requests.live.end_share(share)
    requests.live.pause(visit)
    requests.live.end(visit, failed=False)
    part = requests.live.stop()
    recording = slow_part(part)
    assert recording is not None
    assert isinstance(recording.data, SlowRequests)
    (kept,) = recording.data.requests
    assert kept.tree is not None
    assert kept.tree.calls == (1 + 2,)
    assert kept.cpu_time == 0.5 + 0.5
    assert part.requests["GET /async"].cpu_time == 0.5 + 0.5
    assert part.requests["GET /async"].requests == 1


def test_a_share_of_a_request_from_before_the_session_is_its_route_s_alone() -> None:
    engine = SingleEngine()
    requests = Requests(engine)
    share = requests.live.begin_share("GET /async", of=None)
    requests.live.resume(share)
    requests.clock.reading += 1.0
    requests.live.pause(share)
    requests.live.end_share(share)
    assert engine.ended == [1]
    assert requests.stop()[1] == []


@pytest.mark.parametrize("faulty", ["end_request", "request_tree"])
def test_a_fault_of_the_engine_costs_the_calls_and_is_noted(faulty: str, caplog: pytest.LogCaptureFixture) -> None:
    requests = Requests(SingleEngine(faulty=faulty))
    requests.serve("GET /", 1.0)
    part = requests.live.stop()
    recording = slow_part(part)
    assert recording is not None
    assert isinstance(recording.data, SlowRequests)
    assert [request.tree for request in recording.data.requests] == [None]
    assert any("lost" in note or "incomplete" in note for each in part.recordings for note in each.notes)
    assert "ZeroDivisionError" in caplog.text


def finished(route: str, wall: float, weight: int = 0) -> Finished:
    return Finished(route, TRACE, wall, wall, 200, "Thread-1", is_running=False, handles=(), weight=weight)


def kept_by(log: SlowLog) -> list[tuple[str, float]]:
    return [(request.route, request.wall_time) for request in log.frozen(None).requests]


def test_each_route_has_its_share_of_the_room() -> None:
    log = SlowLog(0.5)
    for number in range(30):
        log.offer(finished("GET /busy", 10.0 + number))
    log.offer(finished("GET /rare", 0.75))
    assert kept_by(log) == [*(("GET /busy", 39.0 - number) for number in range(5)), ("GET /rare", 0.75)]
    assert log.frozen(None).seen == 31


def test_of_many_routes_the_slowest_requests_are_kept() -> None:
    log = SlowLog(0.5)
    for number in range(30):
        log.offer(finished(f"GET /{number}", 1.0 + number))
    assert kept_by(log) == [(f"GET /{number}", 1.0 + number) for number in range(29, 9, -1)]


def test_large_trees_leave_less_room_but_the_slowest_stays() -> None:
    log = SlowLog(0.5, most_bytes=1000)
    log.offer(finished("GET /", 1.0, weight=400))
    log.offer(finished("GET /", 2.0, weight=600))
    assert kept_by(log) == [("GET /", 2.0), ("GET /", 1.0)]
    log.offer(finished("GET /", 3.0, weight=1))
    assert kept_by(log) == [("GET /", 3.0), ("GET /", 2.0)]
    log.offer(finished("GET /", 9.0, weight=5000))
    assert kept_by(log) == [("GET /", 9.0)]
    assert log.frozen(None).seen == 4


def test_there_is_room_for_16_mib() -> None:
    log = SlowLog(0.5)
    log.offer(finished("GET /", 1.0, weight=1))
    log.offer(finished("GET /", 2.0, weight=(16 << 20) - 1))
    assert len(kept_by(log)) == 2
    log.offer(finished("GET /", 3.0, weight=1))
    assert kept_by(log) == [("GET /", 3.0), ("GET /", 2.0)]


def test_a_request_began_as_long_ago_as_it_took() -> None:
    log = SlowLog(0.5, now=lambda: 1000.0, new_trace_id=lambda: "f" * 32)
    log.offer(Finished("GET /", "", 4.0, None, 0, "", is_running=True, handles=(), weight=0))
    (kept,) = log.frozen(None).requests
    assert (kept.started, kept.trace_id) == (996.0, "f" * 32)


def test_workers_share_the_room() -> None:
    log, other = SlowLog(0.5), SlowLog(0.5)
    for number in range(4):
        log.offer(finished("GET /", 1.0 + number))
        other.offer(finished("GET /", 1.5 + number))
    merged = log.frozen(None).merged_with(other.frozen(None))
    assert [request.wall_time for request in merged.requests] == [4.5, 4.0, 3.5, 3.0, 2.5]
    assert merged.seen == 8
