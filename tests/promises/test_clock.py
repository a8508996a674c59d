"""P19: the clock of a machine is set while its server profiles: a day back and forth, to 1970 and to 2040.

The kernel's own clock stays as it is, so the times of new files are set by the tests.
"""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from flask_profiling.cli import profiling
from tests.components import requires
from tests.integration.servers import NEEDS, PREFIX, Answer, Server, serve, wait_for
from tests.ports import free_port
from tests.promises.failures import publish, told
from tests.promises.recordings import requests_of, temporary_files
from tests.promises.wall_clock import WallClock
from tests.pythons import run_alone

pytestmark = requires("gcc")

SPAN = """
import os, struct, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from flask_profiling.telemetry import span
exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
begun = time.perf_counter_ns()
for ahead in map(int, os.environ["JUMPS"].split()):
    with span("collect", {}):
        before = time.time()
        with open(os.environ["WALL_CLOCK"], "r+b") as file:
            file.write(struct.pack("=q", ahead))
        assert abs(time.time() - before) > 80_000, "the clock was not set"
longest = time.perf_counter_ns() - begun
for each in exporter.get_finished_spans():
    assert 0 < each.end_time - each.start_time <= longest, (each.start_time, each.end_time)
print(len(exporter.get_finished_spans()))
"""

DAY = 86_400
YEAR_2040 = 2_208_988_800
PUT_BACK = "the clock is put back in mid-session (a day, or to 1970)"
PUT_FORWARD = "the clock is put forward in mid-session (a day, or to 2040)"


def jumps() -> dict[str, list[int]]:
    """Return by how much the clock jumps, in this order, under what is published about it."""
    now = int(time.time())
    return {PUT_BACK: [-DAY, DAY - now], PUT_FORWARD: [DAY, YEAR_2040 - now]}


def all_jumps() -> list[int]:
    return [ahead for each in jumps().values() for ahead in each]


def unix(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def recording_of(server: Server, session_id: str) -> Any:
    return json.loads((server.output / f"recording-{session_id}.json").read_bytes())


def files_of(server: Server, session_id: str) -> list[Path]:
    return list(server.output.glob(f"*-{session_id}.*"))


def stored_sessions(server: Server) -> list[str]:
    """Return the ids of the sessions with reports, as they are listed, the newest first."""
    return list(dict.fromkeys(each["sessionId"] for each in server.get(f"{PREFIX}/reports").json()["reports"]))


def command(*words: str) -> str:
    outcome = CliRunner().invoke(profiling, words, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def assert_times_are_sane(recording: Any, longest: float) -> None:
    """No time may be negative, or longer than what really passed."""
    session = recording["session"]
    assert 0 < session["duration"] <= longest
    assert session["ended"] - session["started"] >= session["duration"] - 0.01
    for times in recording["requests"].values():
        assert 0 <= times["cpuSeconds"] <= longest * 8
        assert 0 < times["wallSeconds"] <= longest * 8
    (slow,) = [each["data"] for each in recording["recordings"] if each["kind"] == "slowrequests"]
    assert slow["requests"]
    for request in slow["requests"]:
        assert 0 < request["wallSeconds"] <= longest


def assert_the_refusal_is_of_now(refused: Answer, clock: WallClock, longest: float) -> None:
    """A second start is told since when, and by the clock of now until when, the session runs."""
    assert (refused.status, refused.json()["error"]) == (409, "already_running")
    found = re.search(r"started (\d+) s ago .* until (\d\d):(\d\d):(\d\d) UTC", refused.json()["message"])
    assert found is not None
    ago, hours, minutes, seconds = map(int, found.groups())
    assert ago <= longest + 1
    assert 0 < (hours * 3600 + minutes * 60 + seconds - clock.now()) % DAY <= 300


class TestP19TheClockIsSet:
    """Whatever the wall clock does, a session lasts as long as it lasted, and the last one is the last."""

    @pytest.mark.parametrize(
        ("kind", "workers"),
        [
            pytest.param("werkzeug", 1, id="werkzeug"),
            pytest.param("gthread", 2, marks=requires(*NEEDS["gthread"]), id="gunicorn"),
        ],
    )
    def test_sessions_are_whole_and_keep_their_order(self, kind: str, workers: int, tmp_path: Path) -> None:
        clock = WallClock(tmp_path)
        environment = {**clock.environment, "PROFILING_MAX_SESSIONS": "2", "PROFILING_SLOW_REQUEST": "0.000001"}
        with serve(kind, tmp_path, workers=workers, environment=environment) as server:
            pids = server.worker_pids(at_least=workers)
            assert server.start().status == 200
            previous = server.stop().json()["sessionId"]
            for fault, each in jumps().items():
                for ahead in each:
                    previous = self.profile(server, clock, ahead, fault, pids, previous)
            assert server.start().status == 200
            last = server.stop().json()["sessionId"]
            assert stored_sessions(server) == [last, previous]
            assert server.status()["lastSession"]["id"] == last
            cleaned = server.request("DELETE", f"{PREFIX}/cleanup").json()["cleaned"]
            assert cleaned["sessions"] == 2
            assert server.get(f"{PREFIX}/reports").json() == {"reports": []}
            assert temporary_files(server) == []

    def profile(
        self, server: Server, clock: WallClock, ahead: int, fault: str, pids: set[int], previous: str
    ) -> str:
        """Run one session in which the clock jumps, look at everything, put the clock right; returns its id."""
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            started = server.start()
            assert started.status == 200
            session_id = str(started.json()["sessionId"])
            codes = server.load(["/dear"] * 10)
            waiting = pool.submit(server.get, "/wait")
            wait_for(lambda: server.status()["active"], "the session")
            clock.set(ahead)
            codes += server.load(["/dear"] * 10)
            status, refused = server.status(), server.start()
            while not waiting.done():
                server.request("POST", "/release")
            assert waiting.result().status == 200
            stopped = server.stop()
        longest = time.monotonic() - begun
        clock.stamp(files_of(server, session_id))

        assert status["session"]["id"] == session_id
        assert 0 < unix(status["session"]["deadline"]) - clock.now() <= 300
        assert_the_refusal_is_of_now(refused, clock, longest)
        assert 0 < stopped.json()["durationSeconds"] <= longest
        assert {worker["pid"] for worker in stopped.json()["workers"]} == pids
        recording = recording_of(server, session_id)
        assert requests_of(recording, "dear_view") == 20
        assert requests_of(recording, "wait_view") == 1
        assert_times_are_sane(recording, longest)

        last = server.status()["lastSession"]
        assert (last["id"], last["endedBy"]) == (session_id, "stop")
        assert unix(last["endTime"]) > unix(last["startTime"])
        assert stored_sessions(server) == [session_id, previous]
        assert session_id in command("report", "last", "--dir", str(server.output))
        assert session_id in command("export", "--format", "collapsed", "--dir", str(server.output))
        publish(fault, requests=codes, answer=told(stopped), kept="everything", lost="nothing")
        clock.set(0)
        return session_id

    @requires(*NEEDS["gthread"])
    def test_a_forgotten_session_ends_when_its_time_is_over(self, tmp_path: Path) -> None:
        clock = WallClock(tmp_path)
        with serve("gthread", tmp_path, workers=2, environment=clock.environment) as server:
            server.worker_pids(at_least=2)
            for ahead in (-DAY, DAY):
                begun = time.monotonic()
                session_id = server.start(seconds=2).json()["sessionId"]
                clock.set(ahead)
                assert server.load(["/dear"] * 10) == [200] * 10
                wait_for(lambda: not server.status()["active"], "the session to end itself")
                longest = time.monotonic() - begun
                last = server.status()["lastSession"]
                assert (last["id"], last["endedBy"]) == (session_id, "deadline")
                assert 2 <= last["durationSeconds"] <= longest
                assert unix(last["endTime"]) - unix(last["startTime"]) >= 1.99
                assert requests_of(recording_of(server, session_id), "dear_view") == 10

    def test_nobody_waits_longer_for_the_rate_limit_than_its_window(self, tmp_path: Path) -> None:
        clock = WallClock(tmp_path)
        environment = {**clock.environment, "PROFILING_RATE_LIMIT": "2 per minute"}

        def clean() -> Answer:
            return server.request("DELETE", f"{PREFIX}/cleanup")

        with serve("werkzeug", tmp_path, environment=environment) as server:
            for ahead in [0, *all_jumps()]:
                clock.set(ahead)
                assert clean().status == 200, "the clock was set, and the window with it"
                refused = next(answer for answer in (clean() for _ in range(10)) if answer.status != 200)
                assert refused.status == 429
                assert 1 <= int(refused.headers["Retry-After"]) <= 60

    @requires(*NEEDS["gthread"], "websockets")
    def test_devtools_see_every_worker(self, tmp_path: Path) -> None:
        clock = WallClock(tmp_path)
        port = free_port()
        environment = {**clock.environment, "PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": str(port)}

        def listed() -> set[str]:
            with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as answer:
                return {target["id"] for target in json.load(answer)}

        with serve("gthread", tmp_path, workers=2, environment=environment) as server:
            server.worker_pids(at_least=2)
            wait_for(lambda: len(listed()) == 2, "both workers to be listed")
            found = listed()
            for ahead in all_jumps():
                clock.set(ahead)
                assert listed() == found

    @requires("opentelemetry-sdk")
    def test_a_span_is_as_long_as_it_took(self, tmp_path: Path) -> None:
        clock = WallClock(tmp_path)
        said = run_alone(SPAN, tmp_path, JUMPS=" ".join(map(str, all_jumps())), **clock.environment)
        assert (said.stdout, said.stderr) == ("4\n", "")
