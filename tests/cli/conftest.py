"""A server whose answers a test chooses, the group called in-process, and ``flask`` called as in a shell."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import flask_profiling
from flask_profiling.cli import profiling
from tests.ports import free_port
from tests.pythons import PYTHON

# before click 8.2 a runner had to be asked to keep the two streams apart
_SEPARATE = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}

PACKAGE_HOME = Path(flask_profiling.__file__).parents[1]

STATUS: dict[str, object] = {"enabled": True, "active": False, "lastSession": None, "reports": []}


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


Run = Callable[..., Outcome]


@dataclass
class Answer:
    """What the server says: a JSON object, or bytes; ``wait`` is set before the body is sent."""

    body: object
    status: int = 200
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None


@dataclass
class FakeServer:
    """Answers by ``"METHOD /path"``; what was asked is kept."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    def on(self, request: str, body: object, **how: object) -> None:
        method, path = request.split()
        self.answers[f"{method} /debug/profiling{path}"] = Answer(body, **how)  # type: ignore[arg-type]


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            request = f"{self.command} {self.path}"
            fake.requests.append((request, dict(self.headers.items()), self.rfile.read(length)))
            fake.asked.set()
            found = fake.answers.get(request, Answer(b"<!doctype html><h1>Not Found</h1>", 404, "text/html"))
            if found.wait is not None:
                found.wait.wait(30)
            raw = found.body if isinstance(found.body, bytes) else json.dumps(found.body).encode()
            self.send_response(found.status)
            for name, value in {"Content-Type": found.type, "Content-Length": str(len(raw)), **found.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 (the standard library names them)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    fake = FakeServer("")
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake)) as httpd:
        httpd.daemon_threads = True
        httpd.block_on_close = False
        fake.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield fake
        for answer in fake.answers.values():
            if answer.wait is not None:
                answer.wait.set()
        httpd.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    return free_port()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call ``flask profiling ...`` in-process, with nothing of the shell's environment that it reads."""
    for name in list(os.environ):
        if name.startswith(("PROFILING_", "FLASK_")) or name == "NO_COLOR":
            monkeypatch.delenv(name)

    @click.group()
    def flask() -> None:
        """Stand where Flask's own group stands."""

    flask.add_command(profiling)

    def call(*args: str, **options: object) -> Outcome:
        runner = CliRunner(**_SEPARATE)  # type: ignore[arg-type]
        result = runner.invoke(flask, ["profiling", *args], prog_name="flask", **options)  # type: ignore[arg-type]
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call


@dataclass(frozen=True)
class Shell:
    """``python -m flask`` in a directory of its own, where the plug-in is installed and no app is."""

    directory: Path
    environ: Mapping[str, str]

    def argv(self, *args: str) -> list[str]:
        return [PYTHON, "-W", "error::DeprecationWarning:flask_profiling", "-m", "flask", *args]

    def run(self, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*args),
            cwd=self.directory,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def run_into_a_full_disk(self, *args: str) -> subprocess.CompletedProcess[str]:
        with Path("/dev/full").open("wb") as full:
            return subprocess.run(
                self.argv(*args),
                cwd=self.directory,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
            )

    def start(self, *args: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*args),
            cwd=self.directory,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell where the entry point is found as it is after ``pip install``."""
    site = tmp_path / "site"
    info = site / "flask_profiling_devtools-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flask-profiling-devtools\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[flask.commands]\nprofiling = flask_profiling.cli:profiling\n")
    directory = tmp_path / "work"
    directory.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROFILING_", "FLASK_"))}
    kept.pop("NO_COLOR", None)
    path = os.pathsep.join([str(site), str(PACKAGE_HOME), *filter(None, [kept.get("PYTHONPATH")])])
    return Shell(directory, {**kept, "PYTHONPATH": path, "TERM": "xterm", "PYTHONDONTWRITEBYTECODE": "1"})


def lines_within(text: str, width: int) -> Sequence[str]:
    """Return the lines that are wider."""
    return [line for line in text.splitlines() if len(line) > width]
