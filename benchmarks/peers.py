"""Other people's profilers as cases of the overhead: each is set up as its own documentation says, and put away."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from werkzeug.middleware.profiler import ProfilerMiddleware

from .overhead import Case, Wsgi, make_app
from .scale import program


@contextmanager
def werkzeug_middleware() -> Iterator[Wsgi]:
    """Werkzeug's ProfilerMiddleware: a new cProfile for each request; its report is not printed here."""
    yield ProfilerMiddleware(make_app(), stream=None)


@contextmanager
def flask_profiler() -> Iterator[Wsgi]:
    """flask-profiler with SQLite: one row of wall time for each request, no functions."""
    import flask_profiler as package

    app = make_app()
    with tempfile.TemporaryDirectory() as directory:
        storage = {"engine": "sqlite", "FILE": f"{directory}/profiler.sqlite"}
        app.config["flask_profiler"] = {"enabled": True, "storage": storage, "basicAuth": {"enabled": False}}
        package.init_app(app)
        yield app


@contextmanager
def debug_toolbar() -> Iterator[Wsgi]:
    """Flask-DebugToolbar with its profiler panel alone: a cProfile around each view, its table in every page."""
    from flask_debugtoolbar import DebugToolbarExtension

    app = make_app()
    app.debug = True
    app.config.update(SECRET_KEY="benchmark", DEBUG_TB_PROFILER_ENABLED=True)
    app.config["DEBUG_TB_PANELS"] = ["flask_debugtoolbar.panels.profiler.ProfilerDebugPanel"]
    DebugToolbarExtension(app)
    yield app


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


@contextmanager
def py_spy_100hz() -> Iterator[Wsgi]:
    """py-spy at its default of 100 samples a second, from a process of its own; its CPU time is not in the figure."""
    app = make_app()
    with tempfile.TemporaryDirectory() as directory:
        command = [program("py-spy"), "record", "-p", str(os.getpid()), "-d", "60", "-f", "raw"]
        command += ["-o", f"{directory}/out"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as spy:
            assert spy.stdout is not None
            spy.stdout.readline()  # it says that it samples
            try:
                yield app
            finally:
                with suppress(ProcessLookupError):
                    spy.kill()


@contextmanager
def memray_tracker() -> Iterator[Wsgi]:
    """memray's tracker, writing to a file: every allocation, not only Python's."""
    import memray

    app = make_app()
    with tempfile.TemporaryDirectory() as directory, memray.Tracker(f"{directory}/memray.bin"):
        yield app


CASES = (
    Case("Werkzeug ProfilerMiddleware", werkzeug_middleware),
    Case("flask-profiler", flask_profiler, "flask_profiler", "flask-profiler"),
    Case("Flask-DebugToolbar, profiler panel", debug_toolbar, "flask_debugtoolbar", "flask-debugtoolbar"),
    Case("yappi, wall", yappi_wall, "yappi", "yappi"),
    Case("pyinstrument, 1 ms", pyinstrument_1ms, "pyinstrument", "pyinstrument"),
    Case("viztracer, no C calls", viztracer_no_c, "viztracer", "viztracer"),
    Case("py-spy, 100 Hz, other process", py_spy_100hz, "bin/py-spy", "py-spy"),
    Case("memray (allocations)", memray_tracker, "memray", "memray"),
)
