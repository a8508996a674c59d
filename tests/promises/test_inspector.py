"""P20: the DevTools endpoint of a real server: this machine only, nobody's page, no code, and no harm."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from flask_profiling.processes import pid_alive
from tests.components import import_or_skip, requires
from tests.integration.servers import NEEDS, Server, listeners_and_peers, own_app, serve, wait_for
from tests.ports import free_port
from tests.promises.failures import publish

import_or_skip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

pytestmark = requires(*NEEDS["gthread"])
HOSTILE_FRAMES: list[str | bytes] = [
    "",
    "{",
    "[" * 10_000,
    "null",
    '{"id": 1e999, "method": "Profiler.start"}',
    '{"id": 1, "method": {"a": 1}}',
    '{"id": 1, "method": "Runtime.evaluate", "params": {"expression": "1+1"}}',
    b"\xff\xfe\x00",
    "\ud83d".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
]


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    port = free_port()
    environment = {"PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": str(port)}
    with serve("gthread", tmp_path_factory.mktemp("inspected"), workers=2, environment=environment) as server:
        server.worker_pids(at_least=2)
        wait_for(lambda: len(targets(port)) == 2, "both workers to be listed")
        yield server, port


def asked(port: int, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def targets(port: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(asked(port, "/json/list", {})[1])
    return found


class TestP20InspectorIsClosedToStrangers:
    """Loopback only, Host, Origin and an unguessable path; evaluate refused, hostile frames survived.

    Each message and each way of connecting: tests/inspector.
    """

    def test_it_listens_on_this_machine_only(self, inspected: tuple[Server, int]) -> None:
        server, port = inspected
        if not os.access("/proc/self/net/tcp", os.R_OK):
            pytest.skip("sockets are looked up in /proc")
        listening = [listeners_and_peers(pid)[0] for pid in server.worker_pids(at_least=2)]
        assert ("127.0.0.1", port) in set().union(*listening)
        assert {address for places in listening for address, _ in places} == {"127.0.0.1"}

    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "evil.example"},
            {"Host": "localhost.evil.example:9229"},
            {"Origin": "http://evil.example"},
            {"Origin": "http://localhost:5000"},
        ],
        ids=str,
    )
    def test_a_foreign_host_or_page_is_refused(self, headers: dict[str, str], inspected: tuple[Server, int]) -> None:
        _, port = inspected
        for path in ("/json/list", "/json/version", targets(port)[0]["webSocketDebuggerUrl"].partition(str(port))[2]):
            status, body = asked(port, path, headers)
            assert status in (400, 403, 404), path
            assert b"webSocketDebuggerUrl" not in body

    def test_the_path_cannot_be_guessed(self, inspected: tuple[Server, int]) -> None:
        _, port = inspected
        paths = [entry["webSocketDebuggerUrl"].rpartition("/")[2] for entry in targets(port)]
        assert len(set(paths)) == 2
        assert all(len(path) >= 32 for path in paths)
        for guess in ("", "1", paths[0][:-1], paths[0] + "0"):
            with pytest.raises(InvalidStatus):
                connect(f"ws://127.0.0.1:{port}/{guess}", open_timeout=10).close()

    def test_code_is_refused_and_hostile_frames_are_survived(self, inspected: tuple[Server, int]) -> None:
        server, port = inspected
        with connect(targets(port)[0]["webSocketDebuggerUrl"], open_timeout=10, max_size=None) as client:
            for frame in HOSTILE_FRAMES:
                client.send(frame)
            client.send(json.dumps({"id": 77, "method": "Runtime.evaluate", "params": {"expression": "1+1"}}))
            answer = answered(client, 77)
        assert "value" not in answer["result"]["result"]
        assert answer["result"]["exceptionDetails"]["exception"]["className"] == "EvalError"
        assert server.get("/dear").status == 200
        assert len(targets(port)) == 2

    def test_a_port_that_is_taken_is_harmless(self, tmp_path: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            environment = {"PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": str(taken)}
            with serve("gthread", tmp_path, environment=environment) as server:
                started = server.start()
                statuses = server.load(["/dear"] * 4)
                assert server.stop().status == 200
        address = started.json()["devToolsUrl"].partition("ws=127.0.0.1:")[2]
        assert int(address.partition("/")[0]) != taken
        publish(
            "the port of the DevTools endpoint is taken",
            requests=statuses,
            answer="200, and the next free port is named",
            kept="everything",
            lost="nothing",
        )


SNAPSHOT = '{"id": 1, "method": "HeapProfiler.takeHeapSnapshot", "params": {"reportProgress": true}}'
LARGE = """
from tests.integration.known_app import create_app as known
def create_app():
    app = known()
    app.kept = [[number] for number in range(400_000)]
    return app
"""


@contextmanager
def snapshot_under_way(tmp_path: Path) -> Iterator[tuple[Server, Any, int]]:
    """Serve an app, ask for a snapshot and stop the process that takes it; gives server, client and that pid."""
    port = free_port()
    environment = own_app(tmp_path, LARGE) | {"PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": str(port)}
    with serve("werkzeug", tmp_path, app="own:create_app()", environment=environment) as server:
        worker = int(server.get("/pid").body)
        with connect(targets(port)[0]["webSocketDebuggerUrl"], open_timeout=10, max_size=None) as client:
            client.send(SNAPSHOT)
            wait_for(lambda: children_of(worker), "the process that takes the snapshot")
            (child,) = children_of(worker)
            os.kill(child, signal.SIGSTOP)
            yield server, client, child


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="children are looked up in /proc")
class TestP20SnapshotsLeaveNothing:
    """A DevTools that goes away, and a server that ends, take the snapshot along that they were at."""

    def test_with_its_client_goes_a_snapshot(self, tmp_path: Path) -> None:
        with snapshot_under_way(tmp_path) as (server, client, child):
            client.socket.shutdown(socket.SHUT_RDWR)
            wait_for(lambda: not pid_alive(child), "the process that takes the snapshot to end")
            wait_for(lambda: left_in(tmp_path) == [], "its files to go")
            assert server.get("/dear").status == 200

    def test_with_the_server_goes_a_snapshot(self, tmp_path: Path) -> None:
        with snapshot_under_way(tmp_path) as (server, _, child):
            server.process.terminate()
            server.process.wait(20)
            wait_for(lambda: not pid_alive(child), "the process that takes the snapshot to end")
            assert left_in(tmp_path) == []

    def test_what_a_killed_server_left_goes_with_the_next(self, tmp_path: Path) -> None:
        with snapshot_under_way(tmp_path) as (server, _, child):
            os.kill(int(server.get("/pid").body), signal.SIGKILL)
            server.process.wait(20)
            os.kill(child, signal.SIGCONT)
            wait_for(lambda: not pid_alive(child), "the process that takes the snapshot to end")
            (left,) = left_in(tmp_path)
            assert list((tmp_path / "profiling/.state/snapshots" / left).iterdir()) == []
        with serve("werkzeug", tmp_path, environment={"PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": "0"}):
            wait_for(lambda: left_in(tmp_path) == [], "what the killed one left to go")


def test_p20_silent_connections_do_not_hide_the_process(inspected: tuple[Server, int]) -> None:
    _, port = inspected
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        assert asked(port, "/json/version", {})[0] == 200
        assert len(targets(port)) == 2


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text("ascii").split())
    return found


def left_in(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "profiling/.state/snapshots").iterdir()]


def answered(client: Any, number: int) -> Any:
    """Return the answer to a call; what else comes is passed over."""
    while True:
        try:
            document = json.loads(client.recv(timeout=30))
        except ConnectionClosed as error:
            raise AssertionError("a hostile frame ended the conversation") from error
        if document.get("id") == number:
            return document
