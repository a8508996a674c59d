"""``flask profiling load-test`` as people use it: with the app it serves itself, and with a server that runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import PYTHON, STATUS, FakeServer, Run, Shell, lines_within
from tests.cli.test_terminal import OpenTerminal, terminal

__all__ = ["terminal"]

APP = """
import time
from flask import Flask
app = Flask(__name__)
def work(): return sum(number * number for number in range(2000))
@app.get("/")
def index(): return str(work())
@app.get("/slow")
def slow():
    for _ in range(5): work()
    time.sleep(0.01)
    return "slow"
@app.get("/broken")
def broken(): 1 / 0
@app.get("/fatal")
def fatal():
    import os
    os.write(2, b"\\nout of luck\\n")
    os._exit(7)
"""

STARTED = {"success": True, "message": "started", "sessionId": "prof-1", "devToolsUrl": None}
STOPPED = {"success": True, "sessionId": "prof-1", "duration": "1s", "artifacts": [], "notes": []}

# The command starts a server by this interpreter's own name.
whole = pytest.mark.skipif(sys.executable != PYTHON, reason="this interpreter starts through a wrapper alone")


@pytest.fixture
def app(shell: Shell) -> Shell:
    (shell.directory / "app.py").write_text(APP)
    return shell


def load(shell: Shell, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return shell.run("--app", "app", "profiling", "load-test", *args, **environ)


@whole
def test_the_app_is_served_profiled_and_shown(app: Shell) -> None:
    done = load(app, "--path", "/=3", "--path", "/slow", "--requests", "40")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 requests in" in done.stdout
    assert re.search(r"^ +30 +0 .*GET /$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +10 +0 .*GET /slow$", done.stdout, re.MULTILINE)
    assert "GET /slow [slow]  10 requests" in done.stdout
    assert re.search(r" 50 +<?genexpr>?|work +work/app\.py:5", done.stdout)
    paths = [line.strip() for line in done.stdout.partition("Files:")[2].splitlines() if line.strip()]
    assert paths
    assert all((app.directory / path).is_file() for path in paths)
    assert lines_within(done.stdout, 80) == []
    assert "\x1b" not in done.stdout + done.stderr


@whole
def test_json_has_the_same_and_exact_calls(app: Shell) -> None:
    done = load(app, "--path", "/slow", "--requests", "10", "--json")
    document = json.loads(done.stdout)
    assert document["success"] is True
    assert document["load"]["requests"] == 10
    assert set(document["load"]["latencyMs"]) == {"p50", "p90", "p95", "p99", "mean", "max"}
    (route,) = document["routes"]
    assert route["requests"] == 10
    calls = {function["name"]: function["calls"] for function in route["functions"]}
    assert calls["work"] == 50


@whole
def test_a_broken_bound_ends_with_1(app: Shell) -> None:
    done = load(app, "--path", "/slow", "--requests", "5", "--fail-if", "p95>1ms", "--fail-if", "errors>0")
    assert done.returncode == 1
    assert "p95>1ms: p95 is" in done.stderr
    assert "errors>0" not in done.stderr
    assert "Files:" in done.stdout, "the artifacts are there all the same"


@whole
def test_an_open_loop_shows_scheduled_and_sent(app: Shell) -> None:
    done = load(app, "--rate", "20", "--duration", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Scheduled 20, sent 20" in done.stdout


@whole
def test_an_app_that_only_fails_ends_with_1(app: Shell) -> None:
    done = load(app, "--path", "/broken", "--requests", "5")
    assert done.returncode == 1
    assert "every request failed (500)" in done.stderr


@whole
def test_some_failures_are_shown_and_fail_the_test_only_where_that_was_asked_for(app: Shell) -> None:
    paths = ("--path", "/", "--path", "/broken", "--requests", "8")
    done = load(app, *paths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^ +4 +4 .*GET /broken$", done.stdout, re.MULTILINE)
    assert "Answers: 4 x 200, 4 x 500" in done.stdout
    assert "--fail-if 'errors>0'" in done.stdout
    bounded = load(app, *paths, "--fail-if", "errors>2")
    assert bounded.returncode == 1
    assert "errors>2: errors is 4" in bounded.stderr
    assert "--fail-if 'errors>0'" not in bounded.stdout


@whole
def test_a_server_that_dies_is_a_sentence_with_its_last_words_and_the_table(app: Shell) -> None:
    done = load(app, "--path", "/=20", "--path", "/fatal", "--requests", "100000", "--no-warm-up")
    assert done.returncode == 1
    assert "The app's server has ended; it said:\n" in done.stderr
    assert "  out of luck\n" in done.stderr
    assert "the load ended early: no request was answered for 3 s (ConnectionRefusedError)" in done.stderr
    assert "the server is gone, so the session could not be stopped" in done.stderr
    assert re.search(r"^ +(\d+) +\1 +- +- +- +-  GET /fatal$", done.stdout, re.MULTILINE), "no answer, no latency"
    assert re.search(r"The times leave out \d+ without an answer", done.stdout)
    assert "Traceback" not in done.stdout + done.stderr


@whole
def test_an_app_that_does_not_start_says_why(app: Shell) -> None:
    (app.directory / "app.py").write_text("raise RuntimeError('no database')\n")
    done = load(app, "--requests", "5")
    assert done.returncode == 1
    assert "no database" in done.stderr
    closed = load(app, "--requests", "5", FLASK_ENV="production")
    assert closed.returncode == 1
    assert "profiling needs development" in closed.stderr


def test_a_server_that_runs_is_used_and_its_session_stopped(run: Run, fake: FakeServer) -> None:
    fake.on("POST /start", STARTED)
    fake.on("POST /stop", STOPPED)
    done = run(
        *("load-test", "--url", fake.url, "--path", "/debug/profiling/status"),
        *("--requests", "8", "--cpu", "calltree", "--no-warm-up"),
    )
    asked = [request for request, _, _ in fake.requests]
    assert asked[0] == "POST /debug/profiling/start"
    assert json.loads(fake.requests[0][2]) == {"cpu": "calltree", "heap": False}
    assert asked[-1] == "POST /debug/profiling/stop"
    assert len(asked) == 10
    assert done.exit_code == 1, "every request was a 404"


def test_a_session_that_is_gone_at_the_end_is_told(run: Run, fake: FakeServer) -> None:
    fake.on("POST /start", STARTED)
    fake.on("GET /status", STATUS)
    refusal = {"success": False, "error": "not_running", "message": "no session is running; start one"}
    fake.on("POST /stop", refusal, status=409)
    done = run("load-test", "--url", fake.url, "--path", "/debug/profiling/status", "--requests", "3")
    assert done.exit_code == 1
    assert "could not be stopped: no session is running" in done.stderr
    assert "3 requests in" in done.stdout


def test_nothing_is_sent_where_the_start_is_refused(run: Run, fake: FakeServer) -> None:
    refusal = {"success": False, "error": "already_running", "message": "it runs; stop it"}
    fake.on("POST /start", refusal, status=409)
    done = run("load-test", "--url", fake.url, "--requests", "3", "--no-warm-up")
    assert done.exit_code == 1
    assert len(fake.requests) == 1, "the session of somebody else is not stopped"


def test_another_machine_gets_no_load_by_mistake(run: Run) -> None:
    done = run("load-test", "--url", "http://192.0.2.1:5000", "--requests", "1")
    assert done.exit_code == 2
    assert "--allow-remote" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--path", "a b"], "is no path"),
        (["--fail-if", "p95"], "is no condition"),
        (["--scenario", "gone.json"], "cannot be read"),
        (["--path", "/", "--scenario", "x.json"], "exclude each other"),
        (["--requests", "0"], "--requests"),
        (["--rate", "0"], "--rate"),
    ],
)
def test_mistakes_are_found_before_anything_starts(run: Run, fake: FakeServer, args: list[str], said: str) -> None:
    done = run("load-test", "--url", fake.url, *args)
    assert done.exit_code == 2
    assert said in done.stderr
    assert fake.requests == []


def test_a_mistake_in_a_scenario_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"mix": [\n  {"path": "/"},\n  {"path": "no"}\n]}')
    done = run("load-test", "--scenario", str(path), "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["message"].startswith("s.json, line 3: the path must be")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_session_first(terminal: OpenTerminal, fake: FakeServer, number: int) -> None:
    fake.on("POST /start", STARTED)
    fake.on("POST /stop", STOPPED)
    fake.on("GET /status", STATUS)
    shown = terminal("load-test", "--url", fake.url, "--path", "/debug/profiling/status", "--duration", "60")
    shown.read(lambda seen: re.search(r"\d+ of 60 s +\d+ requests", seen) is not None)
    if number == signal.SIGINT:
        shown.type("\x03")
    else:
        os.kill(shown.process.pid, number)
    assert shown.wait() == 130
    # not the last one for certain: what was hung up on may be read later
    assert [request for request, _, _ in fake.requests].count("POST /debug/profiling/stop") == 1
    assert "interrupted; its session is stopped" in shown.seen
    assert "Traceback" not in shown.seen


@pytest.mark.parametrize("moment", ["/start", "/stop"])
def test_ctrl_c_in_the_middle_of_a_start_or_a_stop_leaves_no_session(
    terminal: OpenTerminal, fake: FakeServer, moment: str
) -> None:
    go_on = threading.Event()
    fake.on("POST /start", STARTED, wait=go_on if moment == "/start" else None)
    fake.on("POST /stop", STOPPED, wait=go_on if moment == "/stop" else None)
    fake.on("GET /status", STATUS)
    here = ("--path", "/debug/profiling/status", "--requests", "6", "--no-warm-up")
    shown = terminal("load-test", "--url", fake.url, *here)
    shown.read(lambda _: fake.requests != [] and fake.requests[-1][0] == f"POST /debug/profiling{moment}")
    shown.type("\x03")
    shown.read(lambda seen: "^C" in seen)
    go_on.set()
    assert shown.wait() == 130
    asked = [request for request, _, _ in fake.requests]
    assert asked[0] == "POST /debug/profiling/start"
    assert asked[-1] == "POST /debug/profiling/stop"
    assert len(asked) == (2 if moment == "/start" else 8)
    assert "interrupted; its session is stopped" in shown.seen
    assert f"{len(asked) - 2} requests in" in shown.seen, "the table is shown all the same"
    assert "Traceback" not in shown.seen


def test_who_insists_is_told_that_the_session_goes_on(terminal: OpenTerminal, fake: FakeServer) -> None:
    fake.on("POST /start", STARTED)
    fake.on("POST /stop", STOPPED, wait=threading.Event())
    fake.on("GET /status", STATUS)
    here = ("--path", "/debug/profiling/status", "--requests", "2", "--no-warm-up")
    shown = terminal("load-test", "--url", fake.url, *here)
    shown.read(lambda _: fake.requests != [] and fake.requests[-1][0].endswith("/stop"))
    for _ in range(3):
        frames = shown.seen.count("Stopping")  # two signals at once would count as one
        shown.read(lambda seen, frames=frames: seen.count("Stopping") > frames + 3)
        shown.type("\x03")
    assert shown.wait() == 130
    assert "the session was left running; end it with: flask profiling stop-session" in " ".join(shown.seen.split())
    assert "2 requests in" in shown.seen


@whole
def test_ctrl_c_ends_the_server_that_it_started(app: Shell, terminal: OpenTerminal) -> None:
    shown = terminal("load-test", "--duration", "60", FLASK_APP="app")
    shown.read(lambda seen: re.search(r"[1-9]\d* requests", seen) is not None)
    children = Path(f"/proc/{shown.process.pid}/task/{shown.process.pid}/children").read_text().split()
    assert len(children) == 1
    shown.type("\x03")
    assert shown.wait() == 130
    assert not Path(f"/proc/{children[0]}").exists()
    assert list((app.directory / "profiling").glob("recording-*.json")), "what was collected is kept"


def test_the_warm_up_is_over_before_the_session_starts(run: Run, fake: FakeServer) -> None:
    fake.on("POST /start", STARTED)
    fake.on("POST /stop", STOPPED)
    fake.on("GET /status", STATUS)
    done = run(
        *("load-test", "--url", fake.url, "--path", "/debug/profiling/status=9", "--path", "/debug/profiling/status?2"),
        *("--requests", "10", "--concurrency", "2"),
    )
    asked = [request for request, _, _ in fake.requests]
    start = asked.index("POST /debug/profiling/start")
    assert start == 2 * 2 * 2
    assert sorted(asked[:start]).count("GET /debug/profiling/status?2") == 4, "every path as often as any other"
    assert len(asked) == start + 1 + 10 + 1
    assert "10 requests in" in done.stdout
