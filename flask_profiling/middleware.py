"""The way of a request past the sessions: wrappers of the WSGI app and of async views, which read one attribute while
nothing runs; no session logic here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from functools import wraps
from types import coroutine
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, has_request_context, request
from werkzeug.routing import Rule

from .sessions import Live, Sessions, Visit
from .telemetry import trace_source

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Matching takes as long as all else that a watched request costs; paths are the client's, so their number is bounded.
MOST_MATCHES = 2000
_VISIT = "flask_profiling.visit"
_REQUEST = "flask_profiling.request"
# What clients may send as a method is unbounded; what we keep apart is not.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestWatch:
    """Wraps ``app.wsgi_app``: while a session runs, each request is handed to it under its route's label.

    ``first_request`` is called once per process, before its first request; ``own_paths`` are the paths of our own
    endpoints, which are not profiled.
    """

    def __init__(
        self, app: Flask, sessions: Sessions, *, own_paths: frozenset[str], first_request: Callable[[], None]
    ) -> None:
        self._app = app
        self._inner: WSGIApplication = app.wsgi_app
        self._sessions = sessions
        self._own_paths = own_paths
        self._first_request = first_request
        self._late: bool | None = None
        self._matched: dict[tuple[object, object, object], str] = {}
        self._matched_in = ""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, as :pep:`3333` has it."""
        if self._sessions.idle:
            return self._inner(environ, start_response)
        return self._watched(environ, start_response)

    def _watched(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        live = self._sessions.live
        if live is None:
            self._first_request()
            live = self._sessions.live
        if live is None or environ.get("PATH_INFO") in self._own_paths:
            return self._inner(environ, start_response)
        late = self._routes_are_late() if self._late is None else self._late
        route = _unrouted(environ) if late else self._route(environ, live.session_id)
        visit = live.begin(route, trace_of=trace_source(environ))
        environ[_REQUEST] = visit
        passage = _Passage(live, visit, start_response)
        if late:
            environ[_VISIT] = passage
        else:
            live.resume(visit)
        try:
            result = self._inner(environ, passage.answer)
        except BaseException:
            live.pause(visit)
            passage.fail()
            raise
        live.pause(visit)
        if isinstance(result, (list, tuple)) or _is_file_wrapper(environ, result):
            passage.end()
            return result
        passage.result = result
        return passage

    def _route(self, environ: WSGIEnvironment, session_id: str) -> str:
        """Return the label of the request's route; what was matched is remembered while a session runs."""
        if self._matched_in != session_id or len(self._matched) > MOST_MATCHES:
            self._matched, self._matched_in = {}, session_id
        matched = self._matched
        key = (environ.get("REQUEST_METHOD"), environ.get("HTTP_HOST"), environ.get("PATH_INFO"))
        label = matched.get(key)
        if label is None:
            label = matched[key] = self._match(environ)
        return label

    def _match(self, environ: WSGIEnvironment) -> str:
        try:
            adapter = self._app.create_url_adapter(Request(environ))
            if adapter is None:
                return _unrouted(environ)
            rule, _ = adapter.match(return_rule=True)
        except Exception:  # no route; or the host's own matching fails, which it will tell itself
            return _unrouted(environ)
        return _label(environ, rule)

    def _routes_are_late(self) -> bool:
        """Tell whether the route must be learned from the request itself.

        Matching early runs converters a second time. Werkzeug's own are pure; the application's may be anything, so
        with those the engines begin in a before_request function, where the match is known.
        """
        self._late = any(
            not type(converter).__module__.startswith("werkzeug.")
            for rule in self._app.url_map.iter_rules()
            for converter in rule._converters.values()
        )
        if self._late:
            self._app.before_request_funcs.setdefault(None, []).insert(0, self._begin_late)
        return self._late

    def _begin_late(self) -> None:
        passage = request.environ.pop(_VISIT, None)
        if passage is None:
            return
        passage.visit.route = route_of_request(request)
        passage.live.resume(passage.visit)


class _Passage:
    """One watched request: its status, its body, its end.

    Each call of a function of ours is an event for the engines, so there are few. ``result`` is what the app returned.
    """

    result: Iterable[bytes] = ()

    def __init__(self, live: Live, visit: Visit, start_response: StartResponse) -> None:
        self.live = live
        self.visit = visit
        self._start_response = start_response
        self._failed = False
        self._status = 0
        self._ended = False
        self._bytes_left: int | None = None
        self._iterator: Iterator[bytes] | None = None

    def answer(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        self._failed = status.startswith("5")
        self._status = int(status[:3]) if status[:3].isdecimal() else 0
        for name, value in headers:
            if name.lower() == "content-length" and value.isdecimal():
                self._bytes_left = int(value)
                break
        return self._start_response(status, headers, *exc_info)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self.live.end(self.visit, failed=self._failed, status=self._status)

    def fail(self) -> None:
        self._failed = True
        self.end()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._ended and self._iterator is not None:  # the whole length is out: this only ends the loop
            return next(self._iterator)
        self.live.resume(self.visit)
        over = True
        try:
            if self._iterator is None:
                self._iterator = iter(self.result)
            chunk = next(self._iterator)
            over = False
            if self._bytes_left is not None:
                self._bytes_left -= len(chunk)
                over = self._bytes_left <= 0
        except StopIteration:
            raise
        except BaseException:
            self._failed = True
            raise
        finally:
            self.live.pause(self.visit)
            # Now and not in close(): the client has its answer before that, and may ask for a stop at once.
            if over:
                self.end()
        return chunk

    def close(self) -> None:
        close = getattr(self.result, "close", None)
        if close is None:
            self.end()
            return
        self.live.resume(self.visit)
        try:
            close()
        finally:
            self.live.pause(self.visit)
            self.end()


def following(
    async_to_sync: Callable[[Callable[..., Any]], Callable[..., Any]], sessions: Sessions
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what to put in the place of an app's ``async_to_sync``, so that the engines see async views, which Flask
    runs on a loop in a thread of its own."""

    def followed_to_sync(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        async def followed(*args: Any, **kwargs: Any) -> Any:
            live = sessions.live
            if live is None or not has_request_context():
                return await function(*args, **kwargs)
            visit = live.begin_share(route_of_request(request), of=visit_of(request.environ))
            try:
                if _loop_is_shared():
                    return await in_steps(function(*args, **kwargs), live, visit)
                live.resume(visit)
                try:
                    return await function(*args, **kwargs)
                finally:
                    live.pause(visit)
            finally:
                live.end_share(visit)

        return async_to_sync(followed)

    return followed_to_sync


def _loop_is_shared() -> bool:
    """Tell whether other tasks run on this loop, as on that of an ASGI server."""
    import asyncio

    return len(asyncio.all_tasks()) > 1


@coroutine
def in_steps(running: Coroutine[Any, Any, Any], live: Live, visit: Visit) -> Generator[Any, Any, Any]:
    """Await a coroutine, with its request resumed for each of its steps alone.

    On a loop with other tasks, what its thread runs between two steps is somebody else's. Tasks that the coroutine
    starts are others as well.
    """
    step: Callable[[Any], Any] = running.send
    given: object = None
    while True:
        live.resume(visit)
        try:
            waits_for = step(given)
        except StopIteration as end:
            return end.value
        finally:
            live.pause(visit)
        try:
            given = yield waits_for
            step = running.send
        except BaseException as error:  # a cancellation, for one: it is the coroutine's to answer
            step, given = running.throw, error


def _method(environ: WSGIEnvironment) -> str:
    method = environ.get("REQUEST_METHOD", "")
    return method if method in _METHODS else "OTHER"


def visit_of(environ: Mapping[str, object]) -> Visit | None:
    """Return what a session knows the request under way by, or None where it came before the session."""
    visit = environ.get(_REQUEST)
    return visit if isinstance(visit, Visit) else None


def route_of_request(request: Request) -> str:
    """Return the label of the route that a request under way was matched to."""
    rule = request.url_rule
    return _unrouted(request.environ) if rule is None else _label(request.environ, rule)


def _label(environ: WSGIEnvironment, rule: Rule) -> str:
    return f"{_method(environ)} {rule.rule} [{rule.endpoint}]"


def _unrouted(environ: WSGIEnvironment) -> str:
    return f"{_method(environ)} (no route)"


def _is_file_wrapper(environ: WSGIEnvironment, result: object) -> bool:
    """A server sends its own file wrapper faster than any iteration, and knows it by its class."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(result, wrapper)
