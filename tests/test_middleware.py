"""The way of a request past the sessions: idle, watched, streamed, failing; and matching early, which may fail too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask, Response, request
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_profiling import middleware
from flask_profiling.middleware import RequestWatch, route_of_request, visit_of
from flask_profiling.model import WorkerId
from flask_profiling.sessions import Live
from tests.sessions.machines import CountingEngine


@dataclass
class FakeSessions:
    """As much of the sessions as the middleware reads."""

    idle: bool = False
    live: Live | None = None


class Watched:
    """An app under watch, with one engine that counts."""

    def __init__(self, app: Flask, *, first: Callable[[], None] = lambda: None) -> None:
        self.engine = CountingEngine()
        self.sessions: Any = FakeSessions(live=self.begun())
        self.app = app
        self.watch = RequestWatch(app, self.sessions, own_paths=frozenset({"/own"}), first_request=first)

    def begun(self, session_id: str = "prof-test-0001") -> Live:
        return Live(session_id, 60.0, worker=WorkerId("test", 1, 7), engines=[self.engine])

    def get(self, path: str, **options: Any) -> bytes:
        body, _, _ = run_wsgi_app(self.watch, EnvironBuilder(path=path, **options).get_environ(), buffered=True)
        return b"".join(body)

    def counted(self) -> dict[str, tuple[int, int]]:
        """Requests and errors by route, as the session would hand them in."""
        live = self.sessions.live
        assert live is not None
        return {route: (times.requests, times.errors) for route, times in live.stop().requests.items()}


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/things/<int:number>", "thing", lambda number: str(number), methods=["GET", "POST"])
    app.add_url_rule("/own", "own", lambda: "own")
    return app


def test_while_nothing_runs_a_request_goes_straight_through(app: Flask) -> None:
    watched = Watched(app, first=lambda: pytest.fail("asked for nothing"))
    watched.sessions.idle = True
    assert watched.get("/things/1") == b"1"
    assert watched.engine.visits == {}


def test_the_first_request_is_told_and_watched_where_a_session_runs(app: Flask) -> None:
    told = []

    def first() -> None:
        told.append(True)
        watched.sessions.live = begun

    watched = Watched(app, first=first)
    begun, watched.sessions.live = watched.sessions.live, None
    assert watched.get("/things/1") == b"1"
    watched.get("/things/1")
    assert told == [True]
    assert watched.counted() == {"GET /things/<int:number> [thing]": (2, 0)}


def test_a_request_before_any_session_is_only_served(app: Flask) -> None:
    watched = Watched(app)
    watched.sessions.live = None
    assert watched.get("/things/1") == b"1"
    assert watched.engine.visits == {}


def test_our_own_endpoints_are_not_watched(app: Flask) -> None:
    watched = Watched(app)
    assert watched.get("/own") == b"own"
    assert watched.counted() == {}


@pytest.mark.parametrize(
    ("path", "method", "label"),
    [
        ("/things/7", "POST", "POST /things/<int:number> [thing]"),
        ("/things/x", "GET", "GET (no route)"),
        ("/things/1", "DELETE", "DELETE (no route)"),
        ("/things/1", "BREW", "OTHER (no route)"),
    ],
)
def test_a_request_is_counted_under_its_route(app: Flask, path: str, method: str, label: str) -> None:
    watched = Watched(app)
    watched.get(path, method=method)
    assert watched.counted() == {label: (1, 0)}
    assert watched.engine.visits[label] >= 1


class Unmatchable(Flask):
    """Its own matching fails; the host tells that itself, in its own way."""

    broken = True

    def create_url_adapter(self, request: Any) -> Any:
        if self.broken:
            raise ZeroDivisionError("a fault of the host")
        return super().create_url_adapter(request)


def test_matching_that_fails_is_the_hosts_own_affair(app: Flask) -> None:
    broken = Unmatchable(__name__)
    watched = Watched(broken)
    with pytest.raises(ZeroDivisionError, match="a fault of the host"):
        watched.get("/")
    assert watched.counted() == {"GET (no route)": (1, 1)}


def test_an_app_without_an_adapter_has_no_routes(app: Flask) -> None:
    watched = Watched(app)
    adapter = app.create_url_adapter
    answers = iter([None])
    app.create_url_adapter = lambda request: next(answers, None) or adapter(request)  # type: ignore[method-assign]
    label = watched.watch._route(EnvironBuilder(path="/things/1").get_environ(), "prof-test-0001")
    assert label == "GET /things/<int:number> [thing]"
    app.create_url_adapter = lambda request: None  # type: ignore[method-assign]
    assert watched.watch._match(EnvironBuilder(path="/things/1").get_environ()) == "GET (no route)"


def test_a_match_is_remembered_for_one_session_and_for_a_bounded_number_of_paths(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(app)
    matches = []
    real = watched.watch._match
    monkeypatch.setattr(watched.watch, "_match", lambda environ: matches.append(1) or real(environ))
    monkeypatch.setattr(middleware, "MOST_MATCHES", 3)
    for _ in range(3):
        watched.get("/things/1")
    assert len(matches) == 1
    watched.get("/things/1", method="POST")
    watched.get("/things/1", base_url="http://other.example")
    assert len(matches) == 3
    for number in range(20):
        watched.get(f"/things/{number}")
        assert len(watched.watch._matched) <= 4
    matches.clear()
    watched.sessions.live = watched.begun("prof-test-0002")
    watched.get("/things/19")
    assert len(matches) == 1


def test_a_view_that_raises_is_an_error_and_raises_still(app: Flask) -> None:
    app.testing = True
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    watched = Watched(app)
    with pytest.raises(ZeroDivisionError):
        watched.get("/broken")
    assert watched.counted() == {"GET /broken [broken]": (1, 1)}


@pytest.mark.parametrize(("status", "errors"), [(200, 0), (404, 0), (500, 1), (503, 1)])
def test_an_answer_of_the_server_class_is_an_error(app: Flask, status: int, errors: int) -> None:
    app.add_url_rule("/answer", "answer", lambda: ("x", status))
    watched = Watched(app)
    watched.get("/answer")
    assert watched.counted() == {"GET /answer [answer]": (1, errors)}


def streaming(app: Flask, body: Callable[[], Iterable[bytes]], **headers: str) -> Watched:
    app.add_url_rule("/stream", "stream", lambda: Response(body(), headers=headers))
    return Watched(app)


def answered(watched: Watched) -> Any:
    return watched.watch(EnvironBuilder(path="/stream").get_environ(), lambda *arguments: lambda data: None)


def test_a_streamed_answer_ends_with_its_body_and_the_engine_sees_each_chunk(app: Flask) -> None:
    watched = streaming(app, lambda: iter([b"a", b"b"]))
    result = answered(watched)
    live = watched.sessions.live
    assert live is not None
    chunks = list(result)
    result.close()
    assert chunks == [b"a", b"b"]
    assert watched.engine.visits["GET /stream [stream]"] >= 3
    assert watched.counted() == {"GET /stream [stream]": (1, 0)}


def test_a_body_of_known_length_is_over_with_its_last_byte(app: Flask) -> None:
    watched = streaming(app, lambda: iter([b"ab", b"c"]), **{"Content-Length": "3"})
    result = answered(watched)
    assert next(result) == b"ab"
    live = watched.sessions.live
    assert live is not None
    assert live._tallies == {}
    assert next(result) == b"c"
    assert live._tallies["GET /stream [stream]"].requests == 1, "the client has its answer now"
    with pytest.raises(StopIteration):
        next(result)
    result.close()
    assert watched.counted() == {"GET /stream [stream]": (1, 0)}


def test_a_body_that_nobody_reads_ends_when_it_is_closed(app: Flask) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"a"

        def close(self) -> None:
            closed.append(True)

    watched = streaming(app, Body)
    answered(watched).close()
    assert closed == [True]
    assert watched.counted() == {"GET /stream [stream]": (1, 0)}


def test_a_body_that_raises_is_an_error_and_raises_still(app: Flask) -> None:
    def body() -> Iterator[bytes]:
        yield b"a"
        raise ZeroDivisionError("in the middle")

    watched = streaming(app, body)
    result = answered(watched)
    assert next(result) == b"a"
    with pytest.raises(ZeroDivisionError, match="in the middle"):
        next(result)
    result.close()
    assert watched.counted() == {"GET /stream [stream]": (1, 1)}


def test_a_file_goes_to_the_server_as_its_own_wrapper(app: Flask) -> None:
    class Wrapper(list[bytes]):
        """What a server sends faster than any iteration."""

    sent = Wrapper([b"file"])
    watched = Watched(app)
    watched.watch._inner = lambda environ, start_response: sent
    environ = EnvironBuilder(path="/things/1").get_environ() | {"wsgi.file_wrapper": Wrapper}
    assert watched.watch(environ, lambda *arguments: lambda data: None) is sent
    assert watched.counted() == {"GET /things/<int:number> [thing]": (1, 0)}


def test_an_engine_that_fails_reaches_no_request(app: Flask) -> None:
    watched = Watched(app)
    watched.engine.broken = True
    assert watched.get("/things/1") == b"1"
    assert watched.counted() == {"GET /things/<int:number> [thing]": (1, 0)}


def test_a_request_under_way_is_known_by_its_environment_and_its_route(app: Flask) -> None:
    seen: list[object] = []

    @app.get("/seen")
    def view() -> str:
        seen.extend([visit_of(request.environ), route_of_request(request)])
        return ""

    @app.errorhandler(404)
    def missing(error: Exception) -> str:
        seen.append(route_of_request(request))
        return ""

    watched = Watched(app)
    watched.get("/seen")
    watched.get("/nowhere")
    visit, label, unrouted = seen
    assert getattr(visit, "route", None) == label == "GET /seen [view]"
    assert unrouted == "GET (no route)"
    assert visit_of({"flask_profiling.request": "somebody's own"}) is None
    assert visit_of({}) is None
