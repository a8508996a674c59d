"""Pauses of the garbage collector: counted by route, in the thread that collects; other listeners are not touched."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from flask_profiling.model import WorkerId
from flask_profiling.sessions.live import Live
from flask_profiling.sessions.pauses import Pauses


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Collector:
    """Runs collections that take as long as told, as the interpreter does, in the calling thread."""

    def __init__(self, clock: Clock) -> None:
        self.callbacks: list[object] = []
        self._clock = clock

    def collect(self, seconds: float) -> None:
        for phase, lasts in (("start", seconds), ("stop", 0.0)):
            for callback in list(self.callbacks):
                callback(phase, {"generation": 2})  # type: ignore[operator]
            self._clock.now += lasts


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> Collector:
    return Collector(clock)


@pytest.fixture
def routes() -> dict[int, str]:
    return {}


@pytest.fixture
def pauses(clock: Clock, collector: Collector, routes: dict[int, str]) -> Iterator[Pauses]:
    pauses = Pauses(routes, clock, callbacks=collector.callbacks)  # type: ignore[arg-type]
    pauses.start()
    yield pauses
    pauses.stop()
    assert collector.callbacks == []


def test_a_pause_belongs_to_the_route_in_whose_thread_it_happens(
    pauses: Pauses, collector: Collector, routes: dict[int, str]
) -> None:
    collector.collect(1.0)
    routes[threading.get_ident()] = "GET /"
    collector.collect(2.0)
    elsewhere = threading.Thread(target=collector.collect, args=(4.0,))
    elsewhere.start()
    elsewhere.join()
    routes.clear()
    collector.collect(8.0)
    assert pauses.by_route == {"GET /": 2.0}
    assert (pauses.number, pauses.seconds) == (4, 15.0)


def test_a_request_inside_another_has_its_own(clock: Clock) -> None:
    before = list(gc.callbacks)
    gc.disable()  # or it may run by itself, too
    session = Live("prof-test-0001", 60.0, worker=WorkerId("test", 812, 7), engines=(), wall_clock=clock)
    try:
        (heard,) = [callback for callback in gc.callbacks if callback not in before]
        outer, inner = session.begin("GET /outer"), session.begin("GET /inner")
        collector = Collector(clock)
        collector.callbacks.append(heard)
        session.resume(outer)
        session.resume(inner)
        collector.collect(1.0)
        session.pause(inner)
        collector.collect(2.0)
        session.pause(outer)
        collector.collect(4.0)
        session.end(inner, failed=False)
        session.end(outer, failed=False)
        requests = session.stop().requests
    finally:
        gc.enable()
    assert {route: times.gc_time for route, times in requests.items()} == {"GET /inner": 1.0, "GET /outer": 2.0}


def test_pauses_are_a_share_of_the_time_of_requests(pauses: Pauses) -> None:
    assert pauses.share({}) == 0.0
    pauses.by_route["GET /"] = 1.0
    assert pauses.share({"GET /": 3.0, "GET /other": 1.0}) == 0.25


def test_a_collection_that_began_before_is_not_counted(clock: Clock) -> None:
    callbacks: list[object] = []
    pauses = Pauses({}, clock, callbacks=callbacks)  # type: ignore[arg-type]
    pauses.start()
    callbacks[0]("stop", {})  # type: ignore[operator]
    assert (pauses.number, pauses.seconds) == (0, 0.0)


def test_other_listeners_stay_and_stopping_twice_is_harmless(collector: Collector) -> None:
    def foreign(phase: str, info: object) -> None:
        return None

    collector.callbacks.append(foreign)
    pauses = Pauses({}, callbacks=collector.callbacks)  # type: ignore[arg-type]
    pauses.start()
    pauses.stop()
    pauses.stop()
    assert collector.callbacks == [foreign]


def live() -> Live:
    return Live("prof-test-0001", 60.0, worker=WorkerId("test", 812, 7), engines=())


def test_a_session_hears_of_real_collections_and_leaves_no_listener() -> None:
    before = list(gc.callbacks)
    gc.disable()  # or it may run by itself, too
    try:
        session = live()
        visit = session.begin("GET /")
        session.resume(visit)
        gc.collect()
        session.pause(visit)
        session.end(visit, failed=False)
        part = session.stop()
    finally:
        gc.enable()
    assert gc.callbacks == before
    times = part.requests["GET /"]
    assert 0 < times.gc_time <= times.wall_time
    (worker,) = part.recordings
    assert worker.notes[0].startswith("worker 812: the garbage collector ran once and took ")
    assert "of it inside requests, as part of whatever triggered it" in worker.notes[0]


def test_a_collection_after_the_host_has_answered_is_not_in_the_request() -> None:
    gc.disable()  # or it may run by itself, too
    try:
        session = live()
        visit = session.begin("GET /")
        session.resume(visit)
        session.pause(visit)
        gc.collect()
        session.end(visit, failed=False)
        part = session.stop()
    finally:
        gc.enable()
    assert part.requests["GET /"].gc_time == 0.0


def test_a_forked_child_listens_no_more() -> None:
    before = list(gc.callbacks)
    live().abandon()
    assert gc.callbacks == before
