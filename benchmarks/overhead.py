"""What profiling costs a request: CPU time of hello, JSON and Jinja requests under each profiler, against none.

One process, one interleaved run: each round measures every case once, in a new order, and a ratio compares two cases
of one round. Requests are made by Werkzeug's test client, whose own work is in every figure, and profiled where a
profiler is on for the whole process. A new case is a line in :data:`CASES`, or in ``peers.CASES``.
"""

from __future__ import annotations

import cProfile
import gc
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask, jsonify, render_template
from jinja2 import DictLoader
from werkzeug.test import Client

from flask_profiling import Profiling
from flask_profiling.config import session_options
from flask_profiling.engines import EngineOptions, create

from .attached import inspected
from .results import Ratios, Section, Spread
from .scale import Scale

PATHS = ("/hello", "/json", "/page")
PAGE = """<!doctype html><title>{{ title }}</title><body><ul>{% for item in items %}
<li class="{{ loop.cycle('a', 'b') }}">
{{ item.name|upper }}: {{ '%.2f'|format(item.price) }}</li>{% endfor %}</ul></body>"""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]


@dataclass(frozen=True)
class Case:
    """A way to serve the requests: ``serve`` yields the WSGI application to call while it is measured.

    ``module`` (a program, if it is named ``bin/…``) is what it needs, installed by ``package``.
    """

    name: str
    serve: Callable[[], AbstractContextManager[Wsgi]]
    module: str = ""
    package: str = ""


def make_app() -> Flask:
    """Return a small application with the three routes that are measured."""
    app = Flask(__name__)
    app.jinja_loader = DictLoader({"page.html": PAGE})
    items = [{"name": f"item {number}", "price": number * 1.5} for number in range(20)]

    @app.get("/hello")
    def hello() -> str:
        return "<!doctype html><body>hello</body>"

    @app.get("/json")
    def as_json() -> Any:
        return jsonify(items=items, total=len(items))

    @app.get("/page")
    def page() -> str:
        return render_template("page.html", title="items", items=items)

    return app


@contextmanager
def without() -> Iterator[Wsgi]:
    """No profiler at all."""
    yield make_app()


def extension(*, is_open: bool, **options: object) -> AbstractContextManager[Wsgi]:
    """The whole extension as a user wires it: closed, idle (no options), or with a session running."""

    @contextmanager
    def serve() -> Iterator[Wsgi]:
        app = make_app()
        with tempfile.TemporaryDirectory() as directory:
            if is_open:
                app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR=directory)
            Profiling(app)
            if not is_open:
                yield app
                return
            sessions = app.extensions["profiling"].sessions
            if options:
                config = app.extensions["profiling"].config
                sessions.start(session_options(config, {"heap": False, **options}, textual=False))
            try:
                yield app
            finally:
                if options:
                    sessions.stop()
                sessions.shut_down()

    return serve()


@contextmanager
def cprofile_engine() -> Iterator[Wsgi]:
    """The cprofile engine, entered and left around each request as the extension does."""
    app = make_app()
    engine: Any = create("cprofile", EngineOptions("benchmark"))

    def entered(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        token = engine.enter(environ["PATH_INFO"])
        try:
            return app(environ, start_response)
        finally:
            engine.leave(token)

    engine.start()
    try:
        yield entered
    finally:
        engine.stop()


def raw_cprofile(*, builtins: bool) -> AbstractContextManager[Wsgi]:
    """One cProfile for the only thread, switched on once."""

    @contextmanager
    def serve() -> Iterator[Wsgi]:
        app = make_app()
        profile = cProfile.Profile(builtins=builtins)
        profile.enable(builtins=builtins)
        try:
            yield app
        finally:
            profile.disable()

    return serve()


@contextmanager
def cprofile_per_request() -> Iterator[Wsgi]:
    """One cProfile without C functions, switched on for each request: right in one thread only."""
    app = make_app()
    profile = cProfile.Profile()

    def profiled(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        profile.enable(builtins=False)
        try:
            return app(environ, start_response)
        finally:
            profile.disable()

    yield profiled


BASE = "without"
CASES = (
    Case(BASE, without),
    Case("extension, closed", lambda: extension(is_open=False)),
    Case("extension, idle", lambda: extension(is_open=True)),
    Case("extension, inspector open", lambda: inspected(make_app, is_attached=False), "websockets", "websockets"),
    Case("extension, DevTools attached", lambda: inspected(make_app, is_attached=True), "websockets", "websockets"),
    Case("extension, session of cprofile", lambda: extension(is_open=True, cpu="cprofile")),
    Case("extension, session of calltree", lambda: extension(is_open=True, cpu="calltree")),
    Case("extension, calltree, slow=0.0001", lambda: extension(is_open=True, cpu="calltree", slow=0.0001)),
    Case("extension, session of sampling", lambda: extension(is_open=True, cpu="sampling"), "bin/py-spy", "py-spy"),
    Case("extension, allocations=1, no CPU", lambda: extension(is_open=True, cpu="off", allocations=1)),
    Case("cprofile engine alone", cprofile_engine),
    Case("cProfile, one thread, builtins=False", lambda: raw_cprofile(builtins=False)),
    Case("cProfile per request, builtins=False", cprofile_per_request),
    Case("cProfile, one thread", lambda: raw_cprofile(builtins=True)),
)


def run_requests(app: Wsgi, number: int) -> float:
    """Make ``number`` requests and return the CPU seconds of the process."""
    client = Client(app)
    began = time.process_time()
    for turn in range(number):
        response = client.get(PATHS[turn % len(PATHS)])
        if response.status_code != 200:
            raise RuntimeError(f"a request was answered with {response.status}")
    return time.process_time() - began


def ratios(seconds: dict[str, list[float]]) -> dict[str, Spread]:
    """Return what each case cost against the base, round by round."""
    return {
        name: Spread.of(one / other for one, other in zip(values, seconds[BASE], strict=True))
        for name, values in seconds.items()
    }


def measure(scale: Scale) -> Sequence[Section]:
    """Serve the requests under every case that is installed."""
    from . import peers

    cases = scale.present([*CASES, *(peers.CASES if scale.peers else ())], always=BASE)
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    chooser = random.Random(0)
    for _ in range(scale.rounds):
        for case in chooser.sample(cases, len(cases)):
            gc.collect()
            with case.serve() as app:
                run_requests(app, scale.requests // 2)
                seconds[case.name].append(run_requests(app, scale.requests))
    alone = Spread.of(value / scale.requests * 1e6 for value in seconds[BASE])
    about = (
        "CPU time of the process for hello, JSON and Jinja requests through Werkzeug's test client "
        f"({alone.shown()} microseconds each without a profiler), cases interleaved in one process. Median of the "
        "rounds, and the range from the second lowest to the second highest."
    )
    return [Ratios("CPU time of a request", about, BASE, ratios(seconds))]
