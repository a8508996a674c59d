"""How long a start and a stop take in one process, with some requests in between; heap snapshots are an area of their
own."""

from __future__ import annotations

import cProfile
import io
import marshal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask

from flask_profiling import Profiling
from flask_profiling.config import session_options

from .overhead import make_app, run_requests
from .results import Grid, Section, Spread
from .scale import Scale

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Switch:
    """A profiler that is switched on and off: ``ready`` yields the app, what starts it, and what stops it and makes
    its result."""

    name: str
    ready: Callable[[], Any]
    module: str = ""
    package: str = ""


def ours(**options: object) -> Callable[[], Any]:
    """A session of the extension; a stop writes every artifact."""

    @contextmanager
    def ready() -> Iterator[tuple[Flask, Step, Step]]:
        app = make_app()
        with tempfile.TemporaryDirectory() as directory:
            app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR=directory)
            Profiling(app)
            state = app.extensions["profiling"]
            wanted = session_options(state.config, {"heap": False, **options}, textual=False)
            try:
                yield app, lambda: state.sessions.start(wanted), state.sessions.stop
            finally:
                state.sessions.shut_down()

    return ready


@contextmanager
def one_cprofile() -> Iterator[tuple[Flask, Step, Step]]:
    """A cProfile, and its statistics as bytes."""
    profile = cProfile.Profile()

    def stop() -> bytes:
        profile.create_stats()
        return marshal.dumps(profile.stats)  # type: ignore[attr-defined]

    yield make_app(), profile.enable, stop


@contextmanager
def yappi_cpu() -> Iterator[tuple[Flask, Step, Step]]:
    """Yappi, and its statistics as text."""
    import yappi

    def stop() -> None:
        yappi.stop()
        yappi.get_func_stats().print_all(out=io.StringIO())
        yappi.clear_stats()

    yield make_app(), yappi.start, stop


@contextmanager
def pyinstrument_1ms() -> Iterator[tuple[Flask, Step, Step]]:
    """Pyinstrument, and its HTML."""
    import pyinstrument

    profiler = pyinstrument.Profiler()

    def stop() -> str:
        profiler.stop()
        html: str = profiler.output_html()
        return html

    yield make_app(), profiler.start, stop


SWITCHES = (
    Switch("extension, cprofile", ours(cpu="cprofile")),
    Switch("extension, calltree", ours(cpu="calltree")),
    Switch("extension, sampling", ours(cpu="sampling"), "bin/py-spy", "py-spy"),
    Switch("extension, allocations=1", ours(cpu="off", allocations=1)),
)
PEERS = (
    Switch("cProfile, one thread", one_cprofile),
    Switch("yappi", yappi_cpu, "yappi", "yappi"),
    Switch("pyinstrument", pyinstrument_1ms, "pyinstrument", "pyinstrument"),
)


def measure(scale: Scale) -> Sequence[Section]:
    """Start and stop each profiler several times, with requests in between."""
    rows = []
    for switch in scale.present([*SWITCHES, *(PEERS if scale.peers else ())]):
        starts, stops = [], []
        for _ in range(scale.repeats):
            with switch.ready() as (app, start, stop):
                starts.append(_milliseconds(start))
                run_requests(app, scale.requests)
                stops.append(_milliseconds(stop))
        figures = [*zip(*starts, strict=True), *zip(*stops, strict=True)]
        rows.append((switch.name, *(Spread.of(values).shown() for values in figures)))
    about = (
        f"Milliseconds in one process, wall time and that process's CPU time, {scale.requests} requests in between, "
        f"{scale.repeats} times; a stop is over when its result is there: of a session all artifacts on disk, of the "
        "others their own report."
    )
    columns = ("", "start, ms", "of CPU", "stop, ms", "of CPU")
    return [Grid("Start and stop", about, columns, rows)]


def _milliseconds(step: Step) -> tuple[float, float]:
    """Take a step; returns its wall time and the CPU time of the process."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000
