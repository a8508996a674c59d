"""``flask profiling start`` and ``dev``: real servers, real sessions, and refusals before anything is served."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flask_profiling.cli.serve import _address
from tests.cli.conftest import PACKAGE_HOME, Outcome, Run, Shell

HELLO = """
from flask import Flask
app = Flask(__name__)

def work():
    return str(sum(range(100)))

@app.get("/")
def hello():
    return work()
"""
WIRED = HELLO + "\nfrom flask_profiling import Profiling\nProfiling(app)\n"
REGISTERED = HELLO + "\nfrom flask_profiling import profiling_blueprint\napp.register_blueprint(profiling_blueprint)\n"
FACTORY = """
from flask import Flask
from flask_profiling import Profiling
profiling = Profiling()

def create_app():
    app = Flask(__name__)
    app.add_url_rule("/", "hello", lambda: "4950")
    profiling.init_app(app)
    return app
"""
MEETING = """
import threading
from flask import Flask
app = Flask(__name__)
meet = threading.Barrier(2, timeout=20)

@app.get("/meet")
def both():
    meet.wait()
    return "met"
"""


@dataclass
class Served:
    """A server in a process of its own; what it prints is collected."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    more: threading.Condition = field(default_factory=threading.Condition)

    def collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.more:
                self.lines.append(line)
                self.more.notify_all()

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        with self.more:
            found = self.more.wait_for(lambda: re.search(pattern, self.text), seconds)
        assert found, f"{pattern!r} was not printed in time; so far: {self.text}"
        return found

    @property
    def url(self) -> str:
        return self.wait_for(r"Running on (http://127\.0\.0\.1:\d+)")[1]

    def get(self) -> str:
        """Return the body of the first page, or the status of an error; nothing where a reload cut the connection."""
        try:
            with urllib.request.urlopen(self.url, timeout=10) as answer:
                return str(answer.read(), "utf-8")
        except urllib.error.HTTPError as error:
            with error:
                return str(error.code)
        except ConnectionError:
            return ""


Serve = Callable[..., Served]


@pytest.fixture
def serve(shell: Shell) -> Iterator[Serve]:
    opened: list[tuple[Served, threading.Thread]] = []

    def start(*args: str, app: str = HELLO, **environ: str) -> Served:
        (shell.directory / "app.py").write_text(app)
        served = Served(shell.start(*args, **environ))
        reader = threading.Thread(target=served.collect)
        reader.start()
        opened.append((served, reader))
        return served

    yield start
    for served, reader in opened:
        if served.process.poll() is None:
            served.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            served.process.wait(15)
        if served.process.poll() is None:
            served.process.kill()
        served.process.wait(10)
        reader.join(10)
        served.process.communicate()


@pytest.mark.parametrize("app", [HELLO, WIRED, REGISTERED, FACTORY], ids=["plain", "wired", "registered", "factory"])
def test_start_profiles_an_app_whether_it_knows_the_extension_or_not(serve: Serve, shell: Shell, app: str) -> None:
    served = serve("profiling", "start", "--port", "0", app=app)
    started = shell.run("profiling", "start-session", "--no-heap", "--json", PROFILING_URL=served.url)
    assert (started.returncode, started.stderr) == (0, "")
    assert served.get() == "4950"
    stopped = shell.run("profiling", "stop-session", PROFILING_URL=served.url)
    assert stopped.returncode == 0
    session = json.loads(started.stdout)["sessionId"]
    assert f"Stopped {session}" in stopped.stdout
    assert (shell.directory / f"profiling/profile-{session}.cpuprofile").stat().st_size > 0
    assert "Chrome DevTools: Performance" in stopped.stdout


def test_every_session_command_works_on_a_real_server(serve: Serve, run: Run) -> None:
    served = serve("profiling", "start", "--port", "0")

    def flask(*args: str) -> Outcome:
        return run(*args, env={"PROFILING_URL": served.url})

    assert "Next: flask profiling start-session" in flask().stdout
    refused = flask("start-session", "--cpu", "stopwatch")
    assert refused.exit_code == 1
    assert "nothing was started" in refused.stderr
    assert flask("start-session", "--no-heap").exit_code == 0
    again = flask("start-session")
    assert again.exit_code == 1
    assert "already running" in again.stderr
    assert "A session is running" in flask("status").stdout
    assert flask("stop-session").exit_code == 0
    none = flask("stop-session", "--json")
    assert none.exit_code == 1
    assert json.loads(none.stdout)["error"] == "not_running"
    reports = flask("reports").stdout
    assert reports.index("cpuprofile") < reports.index("pstats")
    assert "of 1 session" in reports
    assert re.fullmatch(r"Deleted \d+ reports of 1 session\.\n", flask("clean", "--yes").stdout)
    assert "There are no reports yet" in flask("reports").stdout


def test_a_closed_server_is_told_apart_from_an_unreachable_one(serve: Serve, run: Run) -> None:
    result = run("status", "--url", serve("run", "--port", "0").url)
    assert result.exit_code == 1
    assert "answered 404 HTML: profiling is closed there (FLASK_ENV unset means production" in result.stderr


@pytest.mark.parametrize(
    ("app", "environ", "said"),
    [
        ("raise SystemExit('the app was loaded')", {"FLASK_ENV": "production"}, "'production'; profiling needs"),
        ("raise SystemExit('the app was loaded')", {"FLASK_ENV": "qa"}, "'qa'; profiling needs development"),
        (HELLO + "app.config['FLASK_ENV'] = 'production'", {}, "'production'; profiling needs development"),
        (HELLO + "app.config['ENV'] = 'production'", {"FLASK_ENV": "local"}, "'production'; profiling needs"),
        (HELLO + "app.config['PROFILING_ENABLED'] = False", {}, "PROFILING_ENABLED"),
        (HELLO + "app.config['PROFILING_HEAP'] = 'maybe'", {"PROFILING_MAX_SESSIONS": "no"}, "correct 2 settings"),
        (WIRED, {"PROFILING_CPUU": "off"}, "did you mean PROFILING_CPU?"),
    ],
)  # fmt: skip
def test_what_cannot_be_profiled_is_not_served(shell: Shell, app: str, environ: dict[str, str], said: str) -> None:
    (shell.directory / "app.py").write_text(app)
    done = shell.run("profiling", "start", "--port", "0", **environ)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Running on" not in done.stderr
    assert "the app was loaded" not in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_app_start_says_what_flask_says(shell: Shell) -> None:
    done = shell.run("profiling", "start")
    assert done.returncode == 2
    assert "Could not locate a Flask application" in done.stderr
    assert "flask profiling start [OPTIONS]\n" in done.stderr  # and no "start run"


def test_start_follows_the_environment_that_the_app_names_itself(serve: Serve, shell: Shell) -> None:
    served = serve("profiling", "start", "--port", "0", app=HELLO + "app.config['FLASK_ENV'] = 'staging'")
    assert shell.run("profiling", "status", PROFILING_URL=served.url).returncode == 0
    assert "Profiling: on, environment staging" in served.text


def test_start_says_how_a_session_is_started_from_another_terminal(serve: Serve) -> None:
    served = serve("profiling", "start", "--port", "0", PROFILING_TOKEN="hunter2", PROFILING_URL_PREFIX="/internal/p")
    assert served.url
    assert "In another terminal, with the same PROFILING_TOKEN:" in served.text
    assert "flask profiling start-session --url http://127.0.0.1:PORT/internal/p\n" in served.text
    assert "hunter2" not in served.text


def test_options_of_flask_run_have_their_variables(serve: Serve, closed_port: int) -> None:
    served = serve("profiling", "start", FLASK_RUN_PORT=str(closed_port))
    assert served.url == f"http://127.0.0.1:{closed_port}"


def test_ctrl_c_ends_the_server(serve: Serve) -> None:
    served = serve("profiling", "start", "--port", "0")
    assert served.get() == "4950"
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(15) == 0
    assert "Traceback" not in served.text


def test_requests_are_served_in_threads(serve: Serve) -> None:
    """Each of two requests waits until the other is there."""
    served = serve("profiling", "start", "--port", "0", app=MEETING)
    answers: list[bytes] = []

    def ask() -> None:
        with urllib.request.urlopen(f"{served.url}/meet", timeout=30) as answer:
            answers.append(answer.read())

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [b"met", b"met"]


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_dev_reloads_and_survives_a_mistake_in_the_app(serve: Serve, run: Run, shell: Shell, closed_port: int) -> None:
    app = shell.directory / "app.py"
    served = serve("profiling", "dev", "--port", str(closed_port), "--exclude-patterns", f"{PACKAGE_HOME}/*")
    assert served.get() == "4950"
    assert "Debug mode: on" in served.text
    assert run("start-session", "--no-heap", "--url", served.url).exit_code == 0
    _edit(app, "def broken(:\n")
    # only a reloader whose server answers has looked at the files and sees the next change
    _until(lambda: served.get() == "500")
    assert "SyntaxError" in served.text
    _edit(app, HELLO.replace("100", "1000"))
    _until(lambda: served.get() == "499500")
    reports = run("reports", "--url", served.url)
    assert "cpuprofile" in reports.stdout, "the reload stopped the session and wrote its files"
    assert served.text.count("Profiling: on") == 1


def _edit(path: Path, text: str) -> None:
    """Write at another time than before, as seen by a reloader that looks at whole seconds."""
    before = path.stat().st_mtime
    path.write_text(text)
    os.utime(path, (before + 5, before + 5))


@pytest.mark.parametrize(
    ("options", "prefix", "shown"),
    [
        ({"host": "127.0.0.1", "port": 5000}, "/debug/profiling", ""),
        ({"host": "127.0.0.1", "port": 8000}, "/debug/profiling", " --url http://127.0.0.1:8000"),
        ({"host": "0.0.0.0", "port": 5000}, "/debug/profiling", ""),
        ({"host": "0.0.0.0", "port": 80}, "/debug/profiling", " --url http://127.0.0.1:80"),
        ({"host": "::", "port": 80}, "/debug/profiling", " --url http://[::1]:80"),
        ({"host": "localhost", "port": 5000}, "/p", " --url http://localhost:5000/p"),
        ({"host": "127.0.0.1", "port": 5000, "cert": "adhoc"}, "/debug/profiling", " --url https://127.0.0.1:5000"),
    ],
)
def test_the_address_for_another_terminal(options: dict[str, object], prefix: str, shown: str) -> None:
    assert _address(options, prefix) == shown
