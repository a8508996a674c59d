"""Real servers for tests: started as a user would start them, talked to over loopback, ended by pid. No tests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.components import program, requires
from tests.ports import free_port
from tests.pythons import PYTHON, python_path

PROJECT = Path(__file__).parents[2]
# An interpreter that was only unpacked can start a child through its wrapper alone.
PREFIX = "/debug/profiling"
KNOWN_APP = "tests.integration.known_app:create_app()"

_GUNICORN = ("-m", "gunicorn", "--no-control-socket", "--log-level", "warning", "--bind", "127.0.0.1:{port}")
_UWSGI = (
    *("--http-socket", "127.0.0.1:{port}", "--master", "--enable-threads", "--die-on-term", "--need-app"),
    *("--disable-logging", "--module", "{app}"),
)

# kind -> arguments after the interpreter; {app} is module:call(), {workers} a number; uWSGI is a program of its own
KINDS: dict[str, tuple[str, ...]] = {
    "werkzeug": ("-m", "flask", "--app", "{app}", "run", "--port", "{port}"),
    "waitress": ("-m", "waitress", "--listen", "127.0.0.1:{port}", "--threads", "6", "--call", "{factory}"),
    "sync": (*_GUNICORN, "--workers", "{workers}", "{app}"),
    "gthread": (*_GUNICORN, "--workers", "{workers}", "--threads", "4", "{app}"),
    "gevent": (*_GUNICORN, "--workers", "{workers}", "--worker-class", "gevent", "{app}"),
    "preload": (*_GUNICORN, "--workers", "{workers}", "--preload", "{app}"),
    "hypercorn": ("-m", "hypercorn", "--bind", "127.0.0.1:{port}", "--workers", "{workers}", "{app}"),
    "uvicorn": ("-m", "uvicorn", "--log-level", "warning", "--port", "{port}", "--workers", "{workers}", "{app}"),
    "uwsgi": (*_UWSGI, "--processes", "{workers}"),
    "uwsgi-lazy": (*_UWSGI, "--processes", "{workers}", "--lazy-apps", "--threads", "2"),
}
# kind -> what tests/components.py calls the packages it needs
NEEDS: dict[str, tuple[str, ...]] = {
    "werkzeug": (),
    "waitress": ("waitress",),
    "sync": ("gunicorn",),
    "gthread": ("gunicorn",),
    "gevent": ("gunicorn", "gevent"),
    "preload": ("gunicorn",),
    "hypercorn": ("asgiref", "hypercorn"),
    "uvicorn": ("asgiref", "uvicorn"),
    "uwsgi": ("uwsgi",),
    "uwsgi-lazy": ("uwsgi",),
}


def kinds(*names: str) -> list[Any]:
    """Return parameters (kind, workers) for a test over several kinds: one worker where a kind has no more, else 2."""
    return [
        pytest.param(name, 1 if name in ("werkzeug", "waitress") else 2, marks=requires(*NEEDS[name]), id=name)
        for name in names
    ]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, its body read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass
class Server:
    """A running server; ``directory`` is its working directory, ``output`` its PROFILING_OUTPUT_DIR."""

    port: int
    process: subprocess.Popen[bytes]
    directory: Path
    log: Path
    prefix: str = PREFIX
    ended: bool = field(default=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> Path:
        return self.directory / "profiling"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def start(self, **options: object) -> Answer:
        """Start a session; workers that a busy machine held up are waited for, as what they serve before is lost."""
        body = json.dumps({"heap": False, **options}).encode()
        answer = self.request("POST", f"{self.prefix}/start", body, {"Content-Type": "application/json"})
        if answer.status == 200 and answer.json()["missing"]:
            wait_for(self._all_take_part, "every worker to take part")
        return answer

    def _all_take_part(self) -> bool:
        status = self.status()
        return not status["active"] or all(worker["state"] == "profiling" for worker in status["workers"])

    def stop(self) -> Answer:
        return self.request("POST", f"{self.prefix}/stop", timeout=60)

    def status(self) -> Any:
        return self.get(f"{self.prefix}/status").json()

    def load(self, paths: list[str], *, threads: int = 6) -> list[int]:
        """Request all ``paths`` from several threads; returns the status codes."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda path: self.get(path).status, paths))

    def worker_pids(self, *, at_least: int) -> set[int]:
        """Return the pids of the workers, once ``at_least`` so many have answered."""
        pids: set[int] = set()

        def all_seen() -> bool:
            pids.update(int(self.get("/pid").body) for _ in range(4))
            return len(pids) >= at_least

        wait_for(all_seen, "every worker to answer")
        return pids

    def artifact(self, answer: Answer, suffix: str) -> Path:
        """Return the path of an artifact that a stop answered."""
        (name,) = [name for name in answer.json()["artifacts"] if name.endswith(suffix)]
        return self.directory / name

    def end(self, number: int = signal.SIGTERM, *, timeout: float = 15) -> int:
        """Send a signal, wait for the end, return the exit status."""
        self.ended = True
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


def wait_for(condition: Callable[[], object], what: str, *, seconds: float = 20) -> None:
    """Wait until ``condition()`` is true; fails after ``seconds``. Exceptions count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError, http.client.HTTPException, ValueError):
            if condition():
                return
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


@contextmanager
def serve(
    kind: str,
    directory: Path,
    *,
    app: str = KNOWN_APP,
    workers: int = 1,
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str | None] | None = None,
    prefix: tuple[str, ...] = (),
) -> Iterator[Server]:
    """Run a server of ``kind`` in ``directory`` until the block ends; its workers are ended too, by pid.

    ``prefix`` is a program that becomes the server, as ``nice`` does.
    """
    port = free_port()
    values = {"port": str(port), "app": app, "factory": app.removesuffix("()"), "workers": str(workers)}
    command = [*prefix, _program(kind), *(part.format(**values) for part in KINDS[kind]), *arguments]
    log = directory / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=_environment(environment or {}),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    server = Server(port, process, directory, log)
    try:
        wait_for(lambda: process.poll() is not None or server.get("/pid").status, f"{kind} to answer; see {log}")
        assert process.poll() is None, log.read_text("utf-8", "replace")
        yield server
    finally:
        if process.poll() is None:
            children = _children(process.pid)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            for pid in [process.pid, *children] if process.poll() is None else []:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(15)


def own_app(directory: Path, source: str) -> dict[str, str | None]:
    """Write the module ``own`` into ``directory``; returns the environment with which ``serve(app="own:create_app()")``
    finds it."""
    (directory / "own.py").write_text(source, "utf-8")
    return {"PYTHONPATH": python_path(directory)}


OWN_APP = "own:create_app()"


def listeners_and_peers(pid: int) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    """Return where a process listens (address, port) and whom it is connected to, of all its TCP sockets (Linux)."""
    sockets: set[str] = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            sockets.add(str(path.readlink()))
    listening, peers = set(), set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]:
            words = line.split()
            if f"socket:[{words[9]}]" not in sockets:
                continue
            here, there = _address(words[1]), _address(words[2])
            listening.add(here) if words[3] == "0A" else peers.add(there)
    return listening, peers


def _address(text: str) -> tuple[str, int]:
    """Read what ``/proc/net/tcp`` writes: each four bytes of the address in the machine's order, and the port."""
    address, _, port = text.partition(":")
    data = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data), int(port, 16)


def _program(kind: str) -> str:
    return (program("uwsgi") or "uwsgi") if kind.startswith("uwsgi") else PYTHON


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    ours = ("FLASK_", "PROFILING_", "WERKZEUG_")
    names = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    names["PYTHONPATH"] = python_path()
    names |= {"FLASK_ENV": "development", "PROFILING_ENABLED": "true", "PROFILING_RATE_LIMIT": "100000 per minute"}
    for name, value in changes.items():
        names.pop(name, None)
        if value is not None:
            names[name] = value
    return names
