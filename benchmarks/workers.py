"""What a session over many gunicorn workers costs: start and stop over HTTP, by the number of workers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from flask import Flask

from flask_profiling import Profiling

from .overhead import PATHS
from .overhead import make_app as inner
from .results import Curves, Section, Spread
from .scale import Scale

PROJECT = Path(__file__).resolve().parents[1]


def make_app() -> Flask:
    """Return the app of the overhead with the extension, and a route that tells which worker answers."""
    app = inner()
    app.add_url_rule("/pid", "pid", lambda: str(os.getpid()))
    Profiling(app)
    return app


def ask(port: int, method: str, path: str) -> bytes:
    """Send one request on a connection of its own; raises RuntimeError unless it is answered 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"{method} {path} was answered {response.status}: {body!r}")
    return body


@contextmanager
def gunicorn(workers: int, directory: str) -> Iterator[int]:
    """Serve the app with so many workers; yields the port once all have answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "PROFILING_"))}
    names |= {"FLASK_ENV": "development", "PROFILING_ENABLED": "1", "PROFILING_RATE_LIMIT": "100000 per minute"}
    names["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "--log-level", "error", "--preload"]
    command += ["--bind", f"127.0.0.1:{port}", "--workers", f"{workers}", "benchmarks.workers:make_app()"]
    with subprocess.Popen(command, cwd=directory, env=names, stdin=subprocess.DEVNULL) as server:
        try:
            pids: set[bytes] = set()
            deadline = time.monotonic() + 60
            while len(pids) < workers:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise RuntimeError(f"gunicorn did not serve {workers} workers")
                with suppress(OSError):
                    pids.add(ask(port, "GET", "/pid"))
            yield port
        finally:
            server.terminate()


def measure(scale: Scale) -> Sequence[Section]:
    """Start and stop over HTTP, with requests in between that each worker has a part of."""
    lines: dict[str, list[tuple[float, Spread]]] = {}
    for workers in scale.workers:
        figures: dict[str, list[float]] = {}
        with tempfile.TemporaryDirectory() as directory, gunicorn(workers, directory) as port:
            for cpu in ("cprofile", "calltree"):
                for _ in range(scale.repeats):
                    begun = time.perf_counter()
                    ask(port, "POST", f"/debug/profiling/start?heap=false&cpu={cpu}")
                    figures.setdefault(f"start, {cpu}", []).append((time.perf_counter() - begun) * 1000)
                    for turn in range(workers * scale.requests):
                        ask(port, "GET", PATHS[turn % len(PATHS)])
                    begun = time.perf_counter()
                    answer = json.loads(ask(port, "POST", "/debug/profiling/stop"))
                    figures.setdefault(f"stop, {cpu}", []).append((time.perf_counter() - begun) * 1000)
                    if answer["missing"]:
                        raise RuntimeError(f"workers are missing: {answer['missing']}")
        for name, values in figures.items():
            lines.setdefault(name, []).append((workers, Spread.of(values)))
    about = (
        f"Milliseconds until the answer, gunicorn with sync workers on {os.cpu_count()} processors, "
        f"{scale.requests} requests for each worker in between; a stop is answered when all artifacts are on disk."
    )
    return [Curves("Start and stop, by workers", about, "workers", "ms", lines)]
