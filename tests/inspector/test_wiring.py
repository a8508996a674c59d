"""The inspector in an app: there only where it is asked for, from the first request to the end of the process."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from flask import Flask

from flask_profiling import Profiling
from flask_profiling.errors import ConfigurationError
from tests.components import requires
from tests.integration.servers import PROJECT, serve, wait_for

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listed(port: int) -> list[dict[str, str]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        entries: list[dict[str, str]] = json.load(answer)
        return entries


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
    python = os.environ.get("PROFILING_TEST_PYTHON", sys.executable)
    finished = subprocess.run(
        [python, "-c", OFF.format(settings=settings)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
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
        assert {int(entry["title"].partition("(pid ")[2].rstrip(")")) for entry in entries} == pids
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
