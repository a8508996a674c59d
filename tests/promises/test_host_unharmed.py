"""P15, P17: what the host has of its own works as without us while a session runs: hooks, handlers, streams, ends."""

from __future__ import annotations

import bdb
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from flask import Flask, Response

from flask_profiling import Profiling
from tests.components import requires
from tests.faults import open_descriptors
from tests.integration.servers import NEEDS, PYTHON, serve, wait_for
from tests.pythons import python_path

PREFIX = "/debug/profiling"
ENGINES = ["cprofile", "calltree"]


def make_app(output: Path, *, profiled: bool = True) -> Flask:  # noqa: C901  # many small views
    app = Flask("host")
    app.config.update(
        FLASK_ENV="development",
        PROFILING_ENABLED=True,
        PROFILING_OUTPUT_DIR=str(output),
        PROFILING_RATE_LIMIT="100000 per minute",
        PROFILING_HEAP=False,
        CLOSED=[],
    )

    @app.get("/cheap")
    def cheap() -> str:
        return "cheap"

    @app.get("/depth/<int:wanted>")
    def depth(wanted: int) -> str:
        def down(left: int) -> int:
            return 0 if left == 0 else 1 + down(left - 1)

        return str(down(wanted))

    @app.get("/bottomless")
    def bottomless() -> str:
        def down(level: int) -> int:
            reached.append(level)
            return down(level + 1)

        reached: list[int] = []
        try:
            down(0)
        except RecursionError:
            return str(reached[-1])
        raise AssertionError("there was a bottom")

    @app.get("/error")
    def error() -> str:
        def inner() -> None:
            raise LookupError("wanted") from ValueError("the cause")

        inner()
        return "never"

    @app.errorhandler(LookupError)
    def handled(failure: LookupError) -> tuple[str, int]:
        frames = [frame.name for frame in traceback.extract_tb(failure.__traceback__)]
        return f"{failure!r} {failure.__cause__!r} {frames}", 418

    @app.get("/stream")
    def stream() -> Response:
        def chunks() -> Iterator[bytes]:
            try:
                yield b"one"
                yield b"two"
                raise OSError("the source broke")
            except GeneratorExit:
                app.config["CLOSED"].append("closed early")
                raise
            finally:
                app.config["CLOSED"].append("closed")

        return Response(chunks())

    @app.get("/hooks")
    def hooks() -> str:
        return f"{sys.gettrace() is not None} {tracemalloc.is_tracing()} {tracemalloc.get_traceback_limit()}"

    if profiled:
        Profiling(app)
    return app


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def started(app: Flask, engine: str, **options: object) -> Any:
    client = app.test_client()
    answer = client.post(f"{PREFIX}/start", json={"cpu": engine, **options})
    assert answer.status_code == 200, answer.text
    return client


def stop(client: Any) -> Any:
    answer = client.post(f"{PREFIX}/stop")
    assert answer.status_code == 200, answer.text
    return answer.json


def in_a_thread(action: Any) -> Any:
    """Run on a stack of its own, so that depths can be compared."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()
    thread.join()
    (result,) = results
    return result


def held() -> tuple[int, int]:
    """Return how many threads and descriptors this process holds."""
    gc.collect()
    return threading.active_count(), len(open_descriptors())


HOST_ENDS = """
import atexit, signal, sys
from tests.integration.known_app import create_app as known
def create_app():
    atexit.register(lambda: print("host atexit", flush=True))
    if {handled}:
        def ended(number, frame):
            print("host handler", number, flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, ended)
    return known()
"""


ENDLESS = """
from flask import Response
from tests.integration.known_app import create_app as known
closed = []
def create_app():
    app = known()
    @app.get("/endless")
    def endless():
        def chunks():
            try:
                while True:
                    yield b"x" * 65536
            finally:
                closed.append(1)
        return Response(chunks())
    @app.get("/closed")
    def count():
        return str(len(closed))
    return app
"""

COVERED = """
import os, sys
from flask import Flask
from flask_profiling import Profiling

app = Flask("covered")

@app.get("/<int:number>")
def view(number):
    total = 0
    for step in range(number):
        if step % 2:
            total += step
        else:
            total -= 1
    try:
        if number == 3:
            raise KeyError(number)
    except KeyError:
        total = -3
    return str(total)

@app.get("/never")
def never():
    return "never"

engine = sys.argv[1]
if engine != "none":
    Profiling(app)
client = app.test_client()
client.get("/1")
if engine != "none":
    started = client.post("/debug/profiling/start", json={"cpu": engine, "heap": False})
    # Before Python 3.12 there is one trace function, and coverage has it: then we stay away.
    busy = engine == "calltree" and sys.version_info < (3, 12)
    assert started.status_code == (409 if busy else 200), started.text
answers = [client.get(f"/{number}").text for number in range(6)]
assert answers == ["0", "-1", "0", "-3", "2", "1"], answers
if engine != "none":
    assert client.post("/debug/profiling/stop").status_code == (409 if busy else 200)
    assert client.get("/2").text == "0"
"""


class Stops(bdb.Bdb):
    """A debugger without a prompt: it steps through a request, and notes the lines of the view."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def user_line(self, frame: FrameType) -> None:
        if frame.f_code.co_filename == __file__ and frame.f_code.co_name in ("depth", "down"):
            self.seen.append(f"{frame.f_code.co_name} {frame.f_lineno} {sorted(frame.f_locals)}")
        self.set_step()


def covered_lines(directory: Path, core: str, engine: str) -> list[int]:
    """Run the covered program in a process of its own; returns the lines that coverage saw."""
    output = directory / f"{core}-{engine}"
    output.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "FLASK", "PROF"))}
    environment |= {"FLASK_ENV": "development", "PROFILING_ENABLED": "true", "COVERAGE_CORE": core}
    environment["PYTHONPATH"] = python_path()
    run = [PYTHON, "-m", "coverage", "run", "--include=*/covered.py", str(directory / "covered.py"), engine]
    report = [PYTHON, "-m", "coverage", "json", "-q", "-o", "lines.json"]
    for command in (run, report):
        done = subprocess.run(command, cwd=output, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
    (measured,) = json.loads((output / "lines.json").read_bytes())["files"].values()
    lines: list[int] = measured["executed_lines"]
    return [line for line in lines if line in range(8, 27)]


class TestP15TheHostsOwnEndsRun:
    """The host's own signal handlers and atexit functions run when the server ends."""

    @pytest.mark.parametrize(
        ("kind", "handled"),
        [
            pytest.param("werkzeug", True, id="werkzeug"),
            pytest.param("waitress", True, id="waitress", marks=requires(*NEEDS["waitress"])),
            pytest.param("sync", False, id="sync", marks=requires(*NEEDS["sync"])),
        ],
    )
    def test_the_hosts_own_handlers_and_atexit_run_at_the_end(self, kind: str, handled: bool, tmp_path: Path) -> None:
        (tmp_path / "ending.py").write_text(HOST_ENDS.format(handled=handled), "ascii")
        path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
        with serve(kind, tmp_path, app="ending:create_app()", environment={"PYTHONPATH": path}) as server:
            assert server.start().status == 200
            server.load(["/dear"] * 5)
            assert server.end(signal.SIGTERM) == 0
            log = server.log.read_text("utf-8", "replace")
        assert "host atexit" in log
        assert ("host handler" in log) is handled
        (recording,) = server.output.glob("recording-*.json")
        assert '"endedBy":"shutdown"' in recording.read_text("ascii").replace(" ", "")


class TestP17HostUnharmed:
    """Hooks, coverage, debugger, handlers, streams, depth and exceptions as without us; nothing grows.

    Over hundreds of sessions on busy workers: test_soak.py. What it costs: benchmarks/.
    """

    def test_a_view_recurses_nearly_as_deep_as_without_us(self, engine: str, tmp_path: Path) -> None:
        plain = make_app(tmp_path / "plain", profiled=False).test_client()
        limit = int(in_a_thread(lambda: plain.get("/bottomless").text))
        client = started(make_app(tmp_path / "profiling"), engine)
        # Our wrapper and the engine's own calls stand on the same stack.
        wanted = limit - 12
        assert in_a_thread(lambda: client.get(f"/depth/{wanted}").text) == str(wanted)
        assert limit - int(in_a_thread(lambda: client.get("/bottomless").text)) <= 12
        stop(client)
        assert in_a_thread(lambda: client.get(f"/depth/{wanted}").text) == str(wanted)

    def test_exceptions_reach_the_hosts_handlers_as_they_were(self, engine: str, tmp_path: Path) -> None:
        plain = make_app(tmp_path / "plain", profiled=False).test_client().get("/error")
        client = started(make_app(tmp_path / "profiling"), engine)
        profiled = client.get("/error")
        stop(client)
        assert (profiled.status_code, profiled.text) == (plain.status_code, plain.text) != (200, "")

    def test_a_stream_that_breaks_breaks_as_without_us(self, engine: str, tmp_path: Path) -> None:
        app = make_app(tmp_path / "profiling")
        client = started(app, engine)
        with pytest.raises(OSError, match="the source broke"):
            _ = client.get("/stream").data
        assert app.config["CLOSED"] == ["closed"]
        stop(client)

    def test_a_stream_that_nobody_reads_to_the_end_is_closed(self, engine: str, tmp_path: Path) -> None:
        app = make_app(tmp_path / "profiling")
        client = started(app, engine)
        answer = client.get("/stream", buffered=False)
        assert next(iter(answer.response)) == b"one"
        answer.close()
        assert app.config["CLOSED"] == ["closed early", "closed"]
        result = stop(client)
        assert not [note for note in result["notes"] if "still running" in note]

    def test_the_hosts_tracemalloc_goes_on_with_its_traces(self, tmp_path: Path) -> None:
        tracemalloc.start(3)
        try:
            kept = bytearray(100_000)
            client = started(make_app(tmp_path / "profiling"), "cprofile")
            assert client.get("/hooks").text.endswith("True 3")
            stop(client)
            assert tracemalloc.is_tracing()
            assert tracemalloc.get_traceback_limit() == 3
            assert tracemalloc.get_object_traceback(kept) is not None
        finally:
            tracemalloc.stop()

    def test_the_hosts_trace_function_sees_every_line_while_we_profile(self, engine: str, tmp_path: Path) -> None:
        client = started(make_app(tmp_path / "profiling"), engine)
        seen: list[str] = []

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if frame.f_code.co_name == "cheap":
                seen.append(event)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            assert client.get("/cheap").text == "cheap"
            assert sys.gettrace() is trace
        finally:
            sys.settrace(before)
        stop(client)
        assert seen == ["call", "line", "return"]

    def test_the_hosts_profile_function_is_there_after_the_request(self, engine: str, tmp_path: Path) -> None:
        client = started(make_app(tmp_path / "profiling"), engine)
        seen: list[str] = []

        def profile(frame: FrameType, event: str, argument: object) -> None:
            if frame.f_code.co_name == "cheap":
                seen.append(event)

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            assert client.get("/cheap").text == "cheap"
            assert sys.getprofile() is profile
        finally:
            sys.setprofile(before)
        stop(client)
        assert seen == ["call", "return"]

    def test_a_hundred_sessions_leave_no_thread_no_descriptor_and_no_hook(self, engine: str, tmp_path: Path) -> None:
        app = make_app(tmp_path / "profiling")
        client = started(app, engine)
        stop(client)  # what is made once and kept: the watcher, this worker's file
        before = held()
        hooks = (sys.getprofile(), sys.gettrace(), threading.getprofile(), threading.gettrace())
        for _ in range(100):
            started(app, engine)
            assert client.get("/cheap").text == "cheap"
            client.get("/error")
            stop(client)
        # The watcher holds a file open for a moment, ten times a second.
        wait_for(lambda: held() <= before and held()[1] <= before[1], "threads and descriptors to be let go")
        assert (sys.getprofile(), sys.gettrace(), threading.getprofile(), threading.gettrace()) == hooks
        assert list((tmp_path / "profiling" / ".state" / "parts").iterdir()) == []

    @pytest.mark.parametrize("kind", ["werkzeug", pytest.param("gthread", marks=requires(*NEEDS["gthread"]))])
    def test_a_client_that_leaves_in_the_middle_of_a_stream_is_counted_and_forgotten(
        self, kind: str, tmp_path: Path
    ) -> None:
        (tmp_path / "streaming.py").write_text(ENDLESS, "ascii")
        path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
        with serve(kind, tmp_path, app="streaming:create_app()", environment={"PYTHONPATH": path}) as server:
            assert server.start().status == 200
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
                    connection.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert connection.recv(1000)
            wait_for(lambda: server.get("/closed").body == b"3", "the host's generators to be closed")
            stopped = server.stop().json()
            assert not [note for note in stopped["notes"] if "still running" in note]
            (name,) = [name for name in stopped["artifacts"] if "recording-" in name]
            requests = json.loads((server.directory / name).read_bytes())["requests"]
            assert requests["GET /endless [endless]"]["requests"] == 3

    def test_a_debugger_stops_at_the_same_lines_as_without_us(self, engine: str, tmp_path: Path) -> None:
        def stops(app: Flask) -> list[str]:
            debugger = Stops()
            assert debugger.runcall(app.test_client().get, "/depth/3").text == "3"
            return debugger.seen

        plain = stops(make_app(tmp_path / "plain", profiled=False))
        app = make_app(tmp_path / "profiling")
        client = started(app, engine)
        assert stops(app) == plain
        assert len(plain) > 5
        stop(client)

    @requires("coverage")
    @pytest.mark.parametrize("core", ["ctrace", "sysmon"])
    def test_coverage_measures_the_same_as_without_us(self, engine: str, core: str, tmp_path: Path) -> None:
        if core == "sysmon" and not hasattr(sys, "monitoring"):
            pytest.skip("sys.monitoring came with Python 3.12")
        (tmp_path / "covered.py").write_text(COVERED, "ascii")
        plain = covered_lines(tmp_path, core, "none")
        assert len(plain) > 10
        assert covered_lines(tmp_path, core, engine) == plain
