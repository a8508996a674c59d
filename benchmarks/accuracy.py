"""How true a profile is: every profiler watches the same threads, and is held against what is known of them.

A fast profiler that is wrong is not ahead. Each reader of :data:`WITNESSES` turns what a profiler shows into calls,
edges and times by plain function names; judging them is the same for all.
"""

from __future__ import annotations

import cProfile
import json
import marshal
import pstats
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count, pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from werkzeug.middleware.profiler import ProfilerMiddleware

from flask_profiling import Profiling
from flask_profiling.config import session_options
from flask_profiling.formats import FORMATS

from . import truth
from .results import Grid, Section, Spread
from .scale import Scale, program

_HERE = Path(truth.__file__).name


@dataclass(slots=True)
class Account:
    """What a profiler says of the known functions; ``counts`` is False where it does not claim to count calls.

    ``edges`` are (caller, callee); ``times`` are seconds or samples, whatever they are: only shares are looked at.
    """

    calls: Counter[str] = field(default_factory=Counter)
    edges: Counter[tuple[str, str]] = field(default_factory=Counter)
    times: Counter[str] = field(default_factory=Counter)
    counts: bool = True
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Witness:
    """A profiler and how to hear it: ``hear(rounds)`` serves the app under it."""

    name: str
    hear: Callable[[int], Account]
    module: str = ""
    package: str = ""


def of_statistics(all_statistics: Iterable[Mapping[Any, Any]], failed: int, *, counts: bool = True) -> Account:
    """Read the dictionaries of :mod:`pstats`, added up."""
    found = Account(failed=failed, counts=counts)
    for statistics in all_statistics:
        for (file, _, name), (_, calls, _, total, callers) in statistics.items():
            if not file.endswith(_HERE):
                continue
            name = _plain(name)
            found.calls[name] += calls
            found.times[name] += total
            for (other_file, _, caller), values in callers.items():
                if other_file.endswith(_HERE):
                    found.edges[_plain(caller), name] += values[0]
    return found


def ours(cpu: str) -> Callable[[int], Account]:
    """A session of the extension with this engine."""

    def hear(rounds: int) -> Account:
        app = truth.make_app()
        with tempfile.TemporaryDirectory() as directory:
            app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR=directory)
            Profiling(app)
            state = app.extensions["profiling"]
            state.sessions.start(session_options(state.config, {"heap": False, "cpu": cpu}, textual=False))
            try:
                failed = truth.visit(app, rounds)
            finally:
                stopped = state.sessions.stop()
                state.sessions.shut_down()
        out = BytesIO()
        FORMATS["pstats"].writer()(stopped.recording, out)
        return of_statistics([marshal.loads(out.getvalue())], failed, counts=cpu != "sampling")

    return hear


def one_cprofile(rounds: int) -> Account:
    """One cProfile, switched on before the threads start."""
    profile = cProfile.Profile()
    app = truth.make_app()
    profile.enable()
    try:
        failed = truth.visit(app, rounds)
    finally:
        profile.disable()
    return of_statistics([pstats.Stats(profile).stats], failed)  # type: ignore[attr-defined]


def werkzeug_middleware(rounds: int) -> Account:
    """ProfilerMiddleware, one file for each request, all added up; the file names are made unique."""
    numbers = count()
    with tempfile.TemporaryDirectory() as directory:
        app = ProfilerMiddleware(
            truth.make_app(),
            stream=None,
            profile_dir=directory,
            filename_format=lambda _: f"{next(numbers)}.prof",  # type: ignore[arg-type]  # it may be a function
        )
        failed = truth.visit(app, rounds)
        return of_statistics([marshal.loads(path.read_bytes()) for path in Path(directory).glob("*.prof")], failed)


def debug_toolbar(rounds: int) -> Account:
    """Flask-DebugToolbar's profiler panel, which dumps one file for each request; the file names are made unique."""
    from flask_debugtoolbar import DebugToolbarExtension

    numbers = count()
    app = truth.make_app()
    app.debug = True
    with tempfile.TemporaryDirectory() as directory:
        app.config.update(
            SECRET_KEY="benchmark",
            DEBUG_TB_PROFILER_ENABLED=True,
            DEBUG_TB_PROFILER_DUMP_FILENAME=lambda: f"{directory}/{next(numbers)}.prof",
            DEBUG_TB_PANELS=["flask_debugtoolbar.panels.profiler.ProfilerDebugPanel"],
            PROPAGATE_EXCEPTIONS=False,
        )
        DebugToolbarExtension(app)
        failed = truth.visit(app, rounds)
        return of_statistics([marshal.loads(path.read_bytes()) for path in Path(directory).glob("*.prof")], failed)


def yappi_cpu(rounds: int) -> Account:
    """Yappi with its default clock, which is CPU time."""
    import yappi

    app = truth.make_app()
    yappi.set_clock_type("cpu")
    yappi.start(builtins=False)
    try:
        found = Account(failed=truth.visit(app, rounds))
    finally:
        yappi.stop()
    for function in yappi.get_func_stats():
        if not function.module.endswith(_HERE):
            continue
        name = _plain(function.name)
        found.calls[name] += function.ncall
        found.times[name] += function.ttot
        for child in function.children:
            if child.module.endswith(_HERE):
                found.edges[name, _plain(child.name)] += child.ncall
    yappi.clear_stats()
    return found


def pyinstrument_each(rounds: int) -> Account:
    """Pyinstrument around each request, as its documentation has it for Flask, at 1 ms."""
    import pyinstrument

    app = truth.make_app()
    found = Account(counts=False)
    trees: list[Any] = []

    def profiled(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        profiler = pyinstrument.Profiler()
        profiler.start()
        try:
            return app(environ, start_response)
        finally:
            session = profiler.stop()
            trees.append(session.root_frame())

    found.failed = truth.visit(profiled, rounds)
    while trees:
        frame = trees.pop()
        if frame is None:
            continue
        trees.extend(frame.children)
        if frame.file_path and frame.file_path.endswith(_HERE):
            found.times[frame.function] += frame.time
            if frame.parent is not None and frame.parent.file_path and frame.parent.file_path.endswith(_HERE):
                found.edges[frame.parent.function, frame.function] += 1
    return found


def viztracer_no_c(rounds: int) -> Account:
    """Viztracer's events, nested by their times within each thread."""
    import threading

    import viztracer

    app = truth.make_app()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "trace.json"
        tracer = viztracer.VizTracer(verbose=0, ignore_c_function=True, tracer_entries=1_000_000, output_file=str(file))
        tracer.start()
        try:
            found = Account(failed=truth.visit(app, rounds))
        finally:
            tracer.stop()
            threading.setprofile(None)  # it leaves its own there
        tracer.save()
        events = [event for event in json.loads(file.read_bytes())["traceEvents"] if event["ph"] == "X"]
    events.sort(key=lambda event: (event["tid"], event["ts"], -event["dur"]))
    stack: list[tuple[int, float, str, bool]] = []
    for event in events:
        thread, begin, end = event["tid"], event["ts"], event["ts"] + event["dur"]
        while stack and (stack[-1][0] != thread or stack[-1][1] <= begin):
            stack.pop()
        name, _, place = event["name"].partition(" ")
        name, known = _plain(name), _HERE in place
        if known:
            found.calls[name] += 1
            found.times[name] += event["dur"]
            if stack and stack[-1][3]:
                found.edges[stack[-1][2], name] += 1
        stack.append((thread, end, name, known))
    return found


def py_spy(rounds: int) -> Account:
    """py-spy, which starts the process and samples threads that hold the GIL, 500 times a second."""
    found = Account(counts=False)
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "raw"
        command = [program("py-spy"), "record", "-g", "-r", "500", "-f", "raw", "-o", str(out), "--"]
        done = subprocess.run(
            [*command, sys.executable, "-m", "benchmarks.truth", str(rounds)], capture_output=True, check=False
        )
        found.failed = 0 if done.returncode == 0 else truth.THREADS * rounds * len(truth.PATHS)
        lines = out.read_text("utf-8").splitlines() if out.exists() else []
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        names = [_plain(frame.partition(" (")[0]) if _HERE in frame else "" for frame in stack.split(";")]
        for name in {name for name in names if name}:
            found.times[name] += int(samples)
        for caller, callee in pairwise(names):
            if caller and callee:
                found.edges[caller, callee] += int(samples)
    return found


def _plain(name: str) -> str:
    """Return a function's own name: some profilers name it with all that it stands in."""
    return name.rpartition(".")[2]


WITNESSES = (
    Witness("extension, cprofile", ours("cprofile")),
    Witness("extension, calltree", ours("calltree")),
    Witness("extension, sampling", ours("sampling"), "bin/py-spy", "py-spy"),
)
PEERS = (
    Witness("one cProfile", one_cprofile),
    Witness("Werkzeug ProfilerMiddleware", werkzeug_middleware),
    Witness("Flask-DebugToolbar, profiler panel", debug_toolbar, "flask_debugtoolbar", "flask-debugtoolbar"),
    Witness("yappi, CPU", yappi_cpu, "yappi", "yappi"),
    Witness("pyinstrument, per request", pyinstrument_each, "pyinstrument", "pyinstrument"),
    Witness("viztracer, no C calls", viztracer_no_c, "viztracer", "viztracer"),
    Witness("py-spy --gil, 500 Hz", py_spy, "bin/py-spy", "py-spy"),
)
COLUMNS = (
    "", "requests failed", "call counts off by", "false edges", "edges missing", "edge counts off by",
    "time shares off by",
)  # fmt: skip


def judged(found: Account, rounds: int, true_shares: Mapping[str, float]) -> list[float | None]:
    """Return the figures of a row: requests failed, then shares of errors; None for what is not claimed.

    Calls and edges are off by the mean of each one's relative error; false edges are those between two known functions
    of which one never calls the other; time is the largest error of a piece's share.
    """
    times = truth.THREADS * rounds
    true_calls = {name: calls * times for name, calls in truth.CALLS.items()}
    true_edges = {edge: calls * times for edge, calls in truth.EDGES.items()}
    miscounted = mean(abs(found.calls[name] - calls) / calls for name, calls in true_calls.items())
    edges_off = mean(abs(found.edges[edge] - calls) / calls for edge, calls in true_edges.items())
    false = {edge for edge, calls in found.edges.items() if calls and edge not in true_edges}
    timed = sum(found.times[piece] for piece in truth.PIECES)
    errors = [abs(found.times[piece] / timed - share) for piece, share in true_shares.items()] if timed else [1.0]
    return [
        found.failed,
        miscounted if found.counts else None,
        len(false),
        len(true_edges.keys() - +found.edges) if found.counts else None,
        edges_off if found.counts else None,
        max(errors),
    ]


def shown(rows: Sequence[Sequence[float | None]]) -> list[str]:
    """Return the cells of several runs: the worst of each figure, of time the spread in percentage points."""
    worst = [max((row[place] or 0.0) if row[place] is not None else -1.0 for row in rows) for place in range(5)]
    percent = (False, True, False, False, True)
    cells = [
        "not offered" if value < 0 else f"{value:.1%}" if is_share else f"{value:.0f}"
        for value, is_share in zip(worst, percent, strict=True)
    ]
    return [*cells, f"{Spread.of((row[5] or 0.0) * 100 for row in rows).shown(digits=2)} points"]


def measure(scale: Scale) -> Sequence[Section]:
    """Let each profiler watch, and judge what it says."""
    rounds = scale.requests // 3
    true_shares = truth.shares(rounds * 10)
    rows = []
    for witness in scale.present([*WITNESSES, *(PEERS if scale.peers else ())]):
        runs = [judged(witness.hear(rounds), rounds, true_shares) for _ in range(scale.threads_rounds)]
        rows.append([witness.name, *shown(runs)])
    known = ", ".join(f"{name} {share:.0%}" for name, share in true_shares.items())
    about = (
        f"{truth.THREADS} threads at once make {truth.THREADS * rounds * len(truth.PATHS)} requests of functions whose "
        f"calls and callers are known; their true shares of CPU time, without a profiler: {known}. Of "
        f"{scale.threads_rounds} runs the worst is shown, of time the spread of the largest error."
    )
    return [Grid("Threads whose calls are known", about, COLUMNS, rows)]
