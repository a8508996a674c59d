"""What turning a recording into artifacts costs, by the number of functions and of requests.

The call graphs are made up: layered, one to four callers per function, some recursion, four routes.
"""

from __future__ import annotations

import gc
import io
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask

from flask_profiling import Profiling
from flask_profiling.config import session_options
from flask_profiling.formats import FORMATS
from flask_profiling.formats.recording import read
from flask_profiling.model import (
    CallGraph,
    CallGraphs,
    Cost,
    Function,
    Recording,
    Session,
    SessionOptions,
    SessionRecording,
    WorkerId,
    merge_recordings,
)

from .results import Curves, Section, Spread
from .scale import Scale

WRITTEN = ("cpuprofile", "pstats", "dot", "recording")
ROUTES = 4
WORKERS = 8


def call_graph(size: int, dice: random.Random) -> CallGraph:
    """Return a consistent graph of ``size`` functions: times below a function are the sums of its callees' times."""
    functions = [
        Function(f"/srv/shop/package{place % 50}/module{place % 700}.py", 10 * place + 1, f"function_{place}")
        for place in range(size)
    ]
    callers = [
        dice.sample(range(max(0, place - 200), place), min(place, dice.choice((1, 1, 1, 2, 4))))
        for place in range(size)
    ]
    self_times = [dice.lognormvariate(-11, 2) for _ in range(size)]
    totals = list(self_times)
    edges: dict[tuple[Function, Function], Cost] = {}
    for callee in range(size - 1, 0, -1):
        shares = [dice.random() for _ in callers[callee]]
        for caller, part in zip(callers[callee], shares, strict=True):
            share = part / sum(shares)
            cost = Cost(1 + int(100 * share), 1 + int(100 * share), self_times[callee] * share, totals[callee] * share)
            edges[functions[caller], functions[callee]] = cost
            totals[caller] += cost.total_time
    for place in range(0, size, 40):
        edges[functions[place], functions[place]] = Cost(3, 0, self_times[place] / 2, 0.0)
    calls = [1] * size
    places = {function: place for place, function in enumerate(functions)}
    for (_, callee_function), cost in edges.items():
        calls[places[callee_function]] += cost.calls
    costs = {
        function: Cost(calls[place], calls[place], self_times[place], totals[place])
        for place, function in enumerate(functions)
    }
    return CallGraph(costs, edges)


def recording(size: int) -> SessionRecording:
    """Return a recording of ``size`` functions in all, by the cprofile engine."""
    dice = random.Random(size)
    worker = WorkerId("benchmark", 1, 1)
    session = Session("prof-benchmark", worker, 1e9, SessionOptions("cprofile", False, 0, 60.0), 1e9 + 60, 60.0, "stop")
    graphs = CallGraphs({f"GET /{route}": call_graph(size // ROUTES, dice) for route in range(ROUTES)})
    return SessionRecording(session, (worker,), (), {}, (Recording("cprofile", graphs),), {})


def by_functions(scale: Scale) -> Sequence[Section]:
    """Write each format for more and more functions, read the recording back, and merge it as if of many workers."""
    times: dict[str, list[tuple[float, Spread]]] = {}
    sizes: dict[str, list[tuple[float, Spread]]] = {}
    for size in scale.functions:
        subject = recording(size)
        rounds: dict[str, list[float]] = {}
        for _ in range(scale.repeats if size <= 10_000 else min(scale.repeats, 3)):
            together = 0.0
            for name in WRITTEN:
                out = io.BytesIO()
                spent = _milliseconds(FORMATS[name].writer(), subject, out)
                together += spent
                rounds.setdefault(name, []).append(spent)
                if len(rounds[name]) == 1:
                    sizes.setdefault(name, []).append((size, Spread.of([out.tell() / 1e6])))
            rounds.setdefault("all that a stop writes", []).append(together)
            rounds.setdefault("one worker's part as JSON and back", []).append(_milliseconds(_there_and_back, subject))
            parts = list(subject.recordings) * WORKERS
            rounds.setdefault(f"merging {WORKERS} workers", []).append(
                _milliseconds(lambda parts: list(merge_recordings(parts)), parts)
            )
        for name, values in rounds.items():
            times.setdefault(name, []).append((size, Spread.of(values)))
    made_up = "Made-up call graphs of four routes, two callers per function on average."
    return [
        Curves("Stop, by functions", f"{made_up} CPU time.", "functions", "ms of CPU", times),
        Curves("Artifacts, by functions", made_up, "functions", "MB", sizes),
    ]


def _milliseconds(work: Callable[..., object], *arguments: object) -> float:
    gc.collect()
    begun = time.process_time()
    work(*arguments)
    return (time.process_time() - begun) * 1000


def _there_and_back(subject: SessionRecording) -> None:
    out = io.BytesIO()
    FORMATS["recording"].writer()(subject, out)
    read(out.getvalue())


_FIGURES = ("stop, ms", "artifacts, kB", "a request, us")


def by_requests(scale: Scale) -> Sequence[Section]:
    """Stop real sessions of more and more requests, which do next to nothing."""
    lines: dict[str, list[tuple[float, Spread]]] = {}
    for cpu in ("cprofile", "calltree"):
        for requests in scale.requests_made:
            repeats = 1 if requests > 10_000 else min(scale.repeats, 3)
            runs = [_stop_after(requests, cpu) for _ in range(repeats)]
            for name, values in zip(_FIGURES, zip(*runs, strict=True), strict=True):
                lines.setdefault(f"{cpu}: {name}", []).append((requests, Spread.of(values)))
    about = "A session over a WSGI app whose requests do nothing: what the stop costs, what it writes, and a request."
    return [Curves("Stop, by requests", about, "requests", "each line in its own unit", lines)]


def _stop_after(requests: int, cpu: str) -> tuple[float, float, float]:
    app = Flask(__name__)

    def inner(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "1")])
        return [b"x"]

    app.wsgi_app = inner  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as directory:
        app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR=directory)
        app.config["PROFILING_MAX_DURATION"] = 3000
        Profiling(app)
        state = app.extensions["profiling"]
        wanted = session_options(state.config, {"heap": False, "cpu": cpu, "seconds": 3000}, textual=False)
        environ = app.test_request_context("/nowhere").request.environ
        state.sessions.start(wanted)
        begun = time.process_time()
        serve: Callable[..., Any] = app.wsgi_app
        for _ in range(requests):
            serve(environ, lambda status, headers: None)
        each = (time.process_time() - begun) / requests * 1e6
        begun = time.process_time()
        stopped = state.sessions.stop()
        spent = (time.process_time() - begun) * 1000
        state.sessions.shut_down()
        return spent, sum(artifact.size for artifact in stopped.artifacts) / 1e3, each


def measure(scale: Scale) -> Sequence[Section]:
    """Measure both."""
    return [*by_functions(scale), *by_requests(scale)]
