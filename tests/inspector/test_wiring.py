"""The inspector in an app: there only where it is asked for, from the first request to the end of the process."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import threading
import urllib.request
from pathlib import Path

import pytest
from flask import Flask

from flask_profiling import Profiling
from flask_profiling.errors import ConfigurationError
from tests.components import requires
from tests.inspector.places import listed, pid_of
from tests.integration.servers import PYTHON, serve, wait_for
from tests.ports import free_port
from tests.pythons import python_path

OFF = """
import sys, threading
from flask import Flask
from flask_profiling import Profiling
app = Flask("shop")
app.config.update({settings})
Profiling(app)
client = app.test_client()
client.get("/")
started = client.post("/debug/profiling/start", json={{"heap": False}})
if started.status_code == 200:
    assert started.get_json()["devToolsUrl"] is None
    client.post("/debug/profiling/stop")
names = [name for name in sys.modules if name.startswith(("flask_profiling.inspector", "websockets"))]
assert names == [], names
assert not [thread for thread in threading.enumerate() if thread.name.startswith("flask-profiling-inspector")]
print("fine")
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("FLASK_", "PROFILING_"))]:
        monkeypatch.delenv(name)


def environment_of_scripts() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path()}


def run_script(directory: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "-c", script],
        cwd=directory,
        env=environment_of_scripts(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def make_app(tmp_path: Path, **settings: object) -> Flask:
    app = Flask("shop")
    output = str(tmp_path / "profiling")
    app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR=output, **settings)
    Profiling(app)
    return app


@pytest.mark.parametrize(
    "settings",
    [
        "FLASK_ENV='production', PROFILING_ENABLED=True, PROFILING_INSPECTOR=True",
        "FLASK_ENV='development', PROFILING_ENABLED=False, PROFILING_INSPECTOR=True",
        "FLASK_ENV='development', PROFILING_ENABLED=True",
    ],
)
def test_where_it_is_off_nothing_is_imported_and_nothing_runs(tmp_path: Path, settings: str) -> None:
    finished = run_script(tmp_path, OFF.format(settings=settings))
    assert finished.stdout == "fine\n", finished.stderr


@requires("websockets")
def test_it_starts_with_the_first_request_and_is_in_the_start_answer(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    app = make_app(tmp_path, PROFILING_INSPECTOR=True, PROFILING_INSPECTOR_PORT=0)
    inspector = app.extensions["profiling"].inspector
    assert inspector.url is None
    assert set(threading.enumerate()) == before
    client = app.test_client()
    answer = client.post("/debug/profiling/start", json={"heap": False}).get_json()
    try:
        assert answer["devToolsUrl"] == inspector.url
        place = inspector.url.partition("ws=")[2].partition("/")[0]
        with urllib.request.urlopen(f"http://{place}/json/list", timeout=10) as listed:
            assert json.load(listed)[0]["title"] == f"shop (pid {os.getpid()})"
    finally:
        client.post("/debug/profiling/stop")
        inspector.shut_down()
        app.extensions["profiling"].sessions.shut_down()
    wait_for(lambda: set(threading.enumerate()) <= before, "our threads to end")


def test_a_missing_package_is_a_mistake_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "flask_profiling.inspector.find_spec", lambda name: None if name == "websockets" else find(name)
    )
    with pytest.raises(ConfigurationError, match=r"pip install 'flask-profiling-devtools\[inspector\]'"):
        make_app(tmp_path, PROFILING_INSPECTOR=True)


@requires("websockets", "gunicorn")
@pytest.mark.parametrize("kind", ["sync", "preload", pytest.param("gevent", marks=requires("gevent"))])
def test_every_worker_of_a_server_is_its_own_target(tmp_path: Path, kind: str) -> None:
    from websockets.sync.client import connect

    port = free_port()
    environment = {"PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": str(port)}
    with serve(kind, tmp_path, workers=2, environment=environment) as server:
        pids = server.worker_pids(at_least=2)
        wait_for(lambda: len(listed(port)) == 2, "both workers to be listed")
        entries = listed(port)
        assert {pid_of(entry) for entry in entries} == pids
        assert len({entry["webSocketDebuggerUrl"] for entry in entries}) == 2
        with connect(entries[1]["webSocketDebuggerUrl"], max_size=None) as client:

            def call(method: str) -> dict[str, object]:
                client.send(json.dumps({"id": 1, "method": method}))
                while True:
                    answer: dict[str, object] = json.loads(client.recv(timeout=30))
                    if "id" in answer:
                        return answer

            assert call("Profiler.start")["result"] == {}
            assert server.status()["active"] is True
            server.load(["/dear"] * 20)
            assert "dear_view" in json.dumps(call("Profiler.stop")["result"])
            assert server.status()["active"] is False
            assert call("HeapProfiler.takeHeapSnapshot")["result"] == {}
    state = tmp_path / "profiling" / ".state"
    assert list((state / "inspectors").iterdir()) == []
    assert list((state / "snapshots").iterdir()) == []


@requires("websockets", "gunicorn")
def test_a_busy_port_is_harmless_and_the_next_one_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        environment = {"PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": str(port)}
        with serve("gthread", tmp_path, environment=environment) as server:
            url = server.start().json()["devToolsUrl"]
            assert f":{port}/" not in url
            assert url.startswith("devtools://devtools/bundled/js_app.html?ws=127.0.0.1:")
            server.stop()
            log = server.log.read_text("utf-8")
            assert f"(port {port} is taken): {url}" in log


@requires("websockets", "gunicorn")
@pytest.mark.parametrize("kind", ["sync", pytest.param("gevent", marks=requires("gevent"))])
def test_the_port_of_a_killed_worker_is_taken_over_by_another(tmp_path: Path, kind: str) -> None:
    from websockets.sync.client import connect

    port = free_port()
    environment = {"PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": str(port)}
    with serve(kind, tmp_path, workers=2, environment=environment) as server:
        server.worker_pids(at_least=2)
        wait_for(lambda: len(listed(port)) == 2, "both workers to be listed")
        (holder,) = [entry for entry in listed(port) if f":{port}/" in entry["webSocketDebuggerUrl"]]
        (other,) = [entry for entry in listed(port) if entry != holder]
        os.kill(pid_of(holder), signal.SIGKILL)
        # No request comes, so the worker that gunicorn puts in its place has no endpoint yet.
        wait_for(lambda: listed(port) == [other], "the other worker to answer on the port")
        with connect(f"ws://127.0.0.1:{port}/{other['id']}") as client:
            client.send('{"id": 1, "method": "Runtime.getHeapUsage"}')
            assert json.loads(client.recv(timeout=30))["id"] == 1
        server.worker_pids(at_least=2)
        wait_for(lambda: len(listed(port)) == 2, "the new worker to be listed beside it")


GONE = """
import gc, os, sys, threading, weakref
from flask import Flask
from flask_profiling import Profiling

def served():
    app = Flask("shop")
    app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_INSPECTOR=True,
                      PROFILING_INSPECTOR_PORT=0, PROFILING_HEAP=False)
    Profiling(app)
    client = app.test_client()
    client.post("/debug/profiling/start")
    client.post("/debug/profiling/stop")
    state = app.extensions["profiling"]
    if {shut_down}:
        state.inspector.shut_down()
        state.sessions.shut_down()
    return weakref.ref(app)

def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("flask-profiling")]

app = served()
gc.collect()
for thread in ours():
    thread.join(20)
gc.collect()
print(app() is None, ours(), os.listdir("profiling/.state/inspectors"))
"""


@requires("websockets")
@pytest.mark.parametrize("shut_down", [True, False])
def test_an_app_that_is_dropped_is_gone_with_its_threads_and_its_entry(tmp_path: Path, shut_down: bool) -> None:
    finished = run_script(tmp_path, GONE.format(shut_down=shut_down))
    assert finished.stdout == "True [] []\n", finished.stderr


ENDING = """
import sys, threading, time
from flask import Flask
from flask_profiling import Profiling
app = Flask("shop")
app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_INSPECTOR=True, PROFILING_INSPECTOR_PORT=0)
Profiling(app)
app.test_client().get("/")
print(app.extensions["profiling"].inspector.url, flush=True)
sys.stdin.readline()
print("over", flush=True)
"""


@requires("websockets")
@pytest.mark.parametrize("end", ["normal", "SIGTERM"])
def test_an_attached_client_does_not_keep_the_process_alive(tmp_path: Path, end: str) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with subprocess.Popen(
        [PYTHON, "-W", "error", "-c", ENDING],
        cwd=tmp_path,
        env=environment_of_scripts(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip().partition("?ws=")[2]
            with connect(f"ws://{address}", open_timeout=30) as client:
                client.send('{"id": 1, "method": "Profiler.start"}')  # a session runs, too
                client.recv(timeout=30)
                if end == "normal":
                    process.stdin.write("\n")
                    process.stdin.flush()
                else:
                    process.send_signal(getattr(signal, end))
                status = process.wait(20)
                with pytest.raises((ConnectionClosed, OSError)):
                    while True:
                        client.recv(timeout=10)
        finally:
            process.kill()
        stderr = process.stderr.read() if process.stderr is not None else ""
    assert status == (0 if end == "normal" else -signal.SIGTERM), stderr
    assert "ResourceWarning" not in stderr
