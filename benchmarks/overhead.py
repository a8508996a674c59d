"""What profiling costs a request: CPU time of hello, JSON and Jinja requests under each profiler, against none.

    python -m benchmarks.overhead [--rounds 25] [--requests 60] [--only cprofile] [--json]

One process, one interleaved run: each round measures every case once, in a new order, and a ratio compares two cases
of one round. Printed are the median of the rounds, the range from the second lowest to the second highest, and the
ratio of the fastest rounds, which a busy machine disturbs least. Requests are made by Werkzeug's test client, whose own
work is in every figure, and profiled where a profiler is on for the whole process. A new case is a line in
:data:`CASES`.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import importlib.util
import json
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask, jsonify, render_template
from jinja2 import DictLoader
from werkzeug.middleware.profiler import ProfilerMiddleware
from werkzeug.test import Client

from flask_profiling import Profiling
from flask_profiling.config import session_options
from flask_profiling.engines import EngineOptions, create

PATHS = ("/hello", "/json", "/page")
PAGE = """<!doctype html><title>{{ title }}</title><ul>{% for item in items %}<li class="{{ loop.cycle('a', 'b') }}">
{{ item.name|upper }}: {{ '%.2f'|format(item.price) }}</li>{% endfor %}</ul>"""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]


@dataclass(frozen=True)
class Case:
    """A way to serve the requests: ``serve`` yields the WSGI application to call while it is measured."""

    name: str
    serve: Callable[[], AbstractContextManager[Wsgi]]
    package: str = ""


def make_app() -> Flask:
    """Return a small application with the three routes that are measured."""
    app = Flask(__name__)
    app.jinja_loader = DictLoader({"page.html": PAGE})
    items = [{"name": f"item {number}", "price": number * 1.5} for number in range(20)]

    @app.get("/hello")
    def hello() -> str:
        return "hello"

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


@contextmanager
def werkzeug_middleware() -> Iterator[Wsgi]:
    """Werkzeug's ProfilerMiddleware: a new cProfile for each request; its report is not printed here."""
    yield ProfilerMiddleware(make_app(), stream=None)


@contextmanager
def yappi_wall() -> Iterator[Wsgi]:
    """Yappi with the wall clock, without C functions."""
    import yappi

    app = make_app()
    yappi.set_clock_type("wall")
    yappi.start(builtins=False)
    try:
        yield app
    finally:
        yappi.stop()
        yappi.clear_stats()


@contextmanager
def pyinstrument_1ms() -> Iterator[Wsgi]:
    """Pyinstrument at its default interval of one millisecond."""
    import pyinstrument

    app = make_app()
    profiler = pyinstrument.Profiler()
    profiler.start()
    try:
        yield app
    finally:
        profiler.stop()


@contextmanager
def viztracer_no_c() -> Iterator[Wsgi]:
    """Viztracer without C functions, its buffer not written out."""
    import viztracer

    app = make_app()
    tracer = viztracer.VizTracer(verbose=0, ignore_c_function=True, tracer_entries=200_000)
    tracer.start()
    try:
        yield app
    finally:
        tracer.stop()
        tracer.clear()
        threading.setprofile(None)  # it leaves its own there


CASES = (
    Case("without", without),
    Case("extension, closed", lambda: extension(is_open=False)),
    Case("extension, idle", lambda: extension(is_open=True)),
    Case("extension, session of cprofile", lambda: extension(is_open=True, cpu="cprofile")),
    Case("extension, session of calltree", lambda: extension(is_open=True, cpu="calltree")),
    Case("cprofile engine", cprofile_engine),
    Case("raw cProfile, builtins=False", lambda: raw_cprofile(builtins=False)),
    Case("cProfile per request, builtins=False", cprofile_per_request),
    Case("raw cProfile", lambda: raw_cprofile(builtins=True)),
    Case("werkzeug ProfilerMiddleware", werkzeug_middleware),
    Case("yappi, wall", yappi_wall, "yappi"),
    Case("pyinstrument, 1 ms", pyinstrument_1ms, "pyinstrument"),
    Case("viztracer, no C calls", viztracer_no_c, "viztracer"),
)


# the cases that every other is compared with
REFERENCES = ("without", "raw cProfile, builtins=False")


def run_requests(app: Wsgi, number: int) -> float:
    """Make ``number`` requests and return the CPU seconds of the process."""
    client = Client(app)
    began = time.process_time()
    for turn in range(number):
        response = client.get(PATHS[turn % len(PATHS)])
        if response.status_code != 200:
            raise RuntimeError(f"a request was answered with {response.status}")
    return time.process_time() - began


def measure(cases: list[Case], *, rounds: int, requests: int) -> dict[str, list[float]]:
    """Return for each case the CPU seconds per round."""
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    chooser = random.Random(0)
    for _ in range(rounds):
        for case in chooser.sample(cases, len(cases)):
            gc.collect()
            with case.serve() as app:
                run_requests(app, 30)
                seconds[case.name].append(run_requests(app, requests))
    return seconds


def compared(seconds: dict[str, list[float]], name: str, base: str) -> str:
    """Return "median (low-high) fastest" of the ratios of two cases over the rounds."""
    found = sorted(one / other for one, other in zip(seconds[name], seconds[base], strict=True))
    edge = 1 if len(found) > 3 else 0
    fastest = min(seconds[name]) / min(seconds[base])
    return f"{statistics.median(found):.2f} ({found[edge]:.2f}-{found[-1 - edge]:.2f}) {fastest:.2f}"


def report(seconds: dict[str, list[float]], requests: int) -> str:
    """Return the table for people."""
    base = statistics.median(seconds["without"]) / requests * 1e6
    others = [name for name in REFERENCES if name in seconds]
    lines = [
        f"CPython {platform.python_version()}: {base:.0f} us of CPU per request without; median (low-high) fastest",
        f"{'':38}" + "".join(f"{'/ ' + name:>40}" for name in others),
    ]
    lines.extend(
        f"{name:38}" + "".join(f"{compared(seconds, name, other):>40}" for other in others) for name in seconds
    )
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--requests", type=int, default=60, help="per case and round")
    parser.add_argument("--only", action="append", default=[], help="only cases with this in their name (repeatable)")
    parser.add_argument("--json", action="store_true", help="print the CPU seconds of every round")
    arguments = parser.parse_args()
    cases = [
        case
        for case in CASES
        if case.name == "without" or not arguments.only or any(part in case.name for part in arguments.only)
    ]
    missing = [case for case in cases if case.package and importlib.util.find_spec(case.package) is None]
    for case in missing:
        print(f"left out: {case.name} (pip install {case.package})", file=sys.stderr)
    measured = [case for case in cases if case not in missing]
    seconds = measure(measured, rounds=arguments.rounds, requests=arguments.requests)
    print(json.dumps(seconds) if arguments.json else report(seconds, arguments.requests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
