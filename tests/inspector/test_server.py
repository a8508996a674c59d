"""The endpoint on a real socket: who is answered, what hostile clients get, and that nothing stays behind."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from flask_profiling.inspector import server as server_module
from flask_profiling.inspector.protocol import CHUNK, Conversation
from flask_profiling.inspector.registry import Registry
from flask_profiling.inspector.server import Inspector
from flask_profiling.inspector.sources import Sources
from flask_profiling.system import PrivateDirectory
from tests.components import import_or_skip
from tests.integration.servers import PROJECT, wait_for
from tests.ports import free_port
from tests.pythons import PYTHON, run_alone

from .fakes import FakeTarget

import_or_skip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402

ORIGIN = "devtools://devtools"
Make = Callable[..., Inspector]


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def make(tmp_path: Path, target: FakeTarget) -> Iterator[Make]:
    made: list[Inspector] = []

    def maker(*, port: int = 0, start: bool = True) -> Inspector:
        inspector = Inspector(
            port=port,
            title="shop",
            url="file:///srv/shop",
            registry=Registry(PrivateDirectory(tmp_path / "out", ".state", "inspectors")),
            converse=lambda is_heard: Conversation(target, Sources(None), is_heard=is_heard),  # type: ignore[arg-type]
        )
        made.append(inspector)
        if start:
            inspector.start()
        return inspector

    yield maker
    for inspector in made:
        inspector.shut_down()
    wait_for(lambda: not ours(), "every thread of the endpoint to end")


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("flask-profiling-")]


def address(inspector: Inspector) -> tuple[str, int, str]:
    """Return host, port and path."""
    assert inspector.url is not None
    place = inspector.url.partition("?ws=")[2]
    host, _, rest = place.partition(":")
    port, _, path = rest.partition("/")
    return host, int(port), f"/{path}"


def get(inspector: Inspector, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, Any]:
    host, port, _ = address(inspector)
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def attach(inspector: Inspector, **options: Any) -> ClientConnection:
    host, port, path = address(inspector)
    options.setdefault("origin", ORIGIN)
    return connect(f"ws://{host}:{port}{path}", open_timeout=10, compression=None, **options)


def call(client: ClientConnection, method: str, **params: object) -> dict[str, Any]:
    client.send(json.dumps({"id": 1, "method": method, "params": params}))
    while True:
        answer: dict[str, Any] = json.loads(client.recv(timeout=20))
        if "id" in answer:
            return answer


def test_it_listens_on_loopback_only_and_says_where(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        inspector = make()
    host, port, path = address(inspector)
    assert host == "127.0.0.1"
    assert inspector.url == f"devtools://devtools/bundled/js_app.html?ws=127.0.0.1:{port}{path}"
    assert inspector.url in caplog.text
    with socket.socket() as other:
        other.settimeout(2)
        assert other.connect_ex(("127.0.0.2", port)) != 0


def test_it_is_discovered_as_chrome_inspect_asks(make: Make) -> None:
    inspector = make()
    status, body = get(inspector, "/json/version")
    assert status == 200
    assert set(json.loads(body)) == {"Browser", "Protocol-Version"}
    for path in ("/json", "/json/list", "/json/list?t=1"):
        status, body = get(inspector, path)
        (entry,) = json.loads(body)
        assert status == 200
        assert entry["title"] == f"shop (pid {os.getpid()})"
        assert entry["devtoolsFrontendUrl"] == inspector.url


def test_clients_that_ask_for_the_protocol_are_told_every_command_and_event(make: Make) -> None:
    status, body = get(make(), "/json/protocol")
    domains = {domain["domain"]: domain for domain in json.loads(body)["domains"]}
    assert status == 200
    assert {"name": "takeHeapSnapshot"} in domains["HeapProfiler"]["commands"]
    assert {"name": "evaluate"} in domains["Runtime"]["commands"]
    assert {"name": "addHeapSnapshotChunk"} in domains["HeapProfiler"]["events"]


def test_several_workers_are_listed_on_the_wanted_port(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    first = make()
    port = address(first)[1]
    with caplog.at_level(logging.WARNING):
        second = make(port=port)
    assert address(second)[1] != port
    assert f"port {port} is taken" in caplog.text
    ports = [entry["webSocketDebuggerUrl"] for entry in json.loads(get(first, "/json/list")[1])]
    assert [str(address(inspector)[1]) in url for inspector, url in zip((first, second), ports, strict=True)] == [
        True
    ] * 2
    second.shut_down()
    assert len(json.loads(get(first, "/json/list")[1])) == 1


@pytest.mark.parametrize("path", ["/", "/json/activate/x", "/favicon.ico", "/json/new?http://x", "/../json"])
def test_other_paths_do_not_exist(make: Make, path: str) -> None:
    assert get(make(), path)[0] == 404


@pytest.mark.parametrize("path", ["/json/list", "/json/version", "/", "secret"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "example.com"}, 400),
        ({"Host": "example.com:9229"}, 400),
        ({"Host": ""}, 400),
        ({"Origin": "http://localhost"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_foreign_hosts_and_origins_are_refused_on_every_path(
    make: Make, path: str, headers: dict[str, str], status: int
) -> None:
    inspector = make()
    found, body = get(inspector, address(inspector)[2] if path == "secret" else path, headers)
    assert found == status
    assert address(inspector)[2][1:].encode() not in body


def test_a_page_of_another_origin_cannot_connect(make: Make, target: FakeTarget) -> None:
    with pytest.raises(InvalidStatus) as raised:
        attach(make(), origin="http://localhost:5000")
    assert raised.value.response.status_code == 403


def test_a_wrong_path_cannot_connect(make: Make) -> None:
    host, port, _ = address(make())
    with pytest.raises(InvalidStatus):
        connect(f"ws://{host}:{port}/0f8fad5b-d9cb-469f-a165-70867728950e", origin=ORIGIN)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_do_nothing(make: Make, method: str) -> None:
    inspector = make()
    with suppress(OSError, http.client.HTTPException):
        assert get(inspector, "/json/list", method=method)[0] >= 400
    assert get(inspector, "/json/list")[0] == 200


def test_several_clients_talk_at_once(make: Make) -> None:
    inspector = make()
    with attach(inspector) as first, attach(inspector, origin=None) as second:
        for client in (first, second, first):
            assert call(client, "Runtime.getHeapUsage")["result"] == {"usedSize": 42, "totalSize": 42}


@pytest.mark.parametrize("frame", ["", "{", b"\x00\xff", "[" * 50_000, '{"id":1}', '{"id":1,"method":1}'])
def test_garbage_is_answered_and_the_conversation_goes_on(make: Make, frame: str | bytes) -> None:
    with attach(make()) as client:
        client.send(frame)
        assert "error" in json.loads(client.recv(timeout=10))
        assert call(client, "Profiler.enable")["result"] == {}


def test_a_huge_frame_ends_the_conversation_only(make: Make, target: FakeTarget) -> None:
    inspector = make()
    with attach(inspector) as client:
        call(client, "Profiler.start")
        with suppress(ConnectionClosed):
            client.send("x" * (server_module.MOST_FRAME_BYTES + 1))
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
    wait_for(lambda: target.running is None, "the recording to end")
    with attach(inspector) as client:
        assert call(client, "Profiler.enable")["result"] == {}


@pytest.mark.parametrize(
    "bytes_", [b"", b"\x16\x03\x01\x02\x00", b"GET", b"GET / HTTP/1.1\r\n", b"\r\n" * 100, b"A" * 9999]
)
def test_bytes_that_are_no_request_are_survived(make: Make, bytes_: bytes) -> None:
    inspector = make()
    with socket.create_connection(address(inspector)[:2], timeout=10) as client:
        client.sendall(bytes_)
        client.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while client.recv(4096):
                pass
    assert get(inspector, "/json/list")[0] == 200


def test_a_client_that_vanishes_while_it_records_ends_the_recording(make: Make, target: FakeTarget) -> None:
    with attach(make()) as client:
        call(client, "Profiler.start")
        assert target.running == "prof-1"
        client.socket.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: target.running is None, "the recording to end")


def test_a_client_that_vanishes_in_a_snapshot_leaves_nothing_open(make: Make, target: FakeTarget) -> None:
    target.content = b"x" * (200 * CHUNK)
    with attach(make(), max_size=None) as client:
        client.send('{"id":1,"method":"HeapProfiler.takeHeapSnapshot"}')
        client.recv(timeout=10)
        assert target.open_snapshots == 1
        client.socket.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: target.open_snapshots == 0, "the snapshot to be closed")


def test_a_client_that_does_not_read_is_given_up(
    make: Make, target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "SEND_PATIENCE", 1)
    target.content = b"x" * (200 * CHUNK)
    inspector = make()
    with attach(inspector, max_size=None) as client:
        client.send('{"id":1,"method":"HeapProfiler.takeHeapSnapshot"}')
        wait_for(lambda: target.open_snapshots == 1, "the snapshot to begin")
        wait_for(lambda: target.open_snapshots == 0, "the snapshot to be given up")
        assert get(inspector, "/json/list")[0] == 200
        client.socket.shutdown(socket.SHUT_RDWR)


def test_a_client_too_many_cannot_attach_and_the_others_stay(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_CLIENTS", 2)
    inspector = make()
    with attach(inspector), attach(inspector) as last:
        with pytest.raises(InvalidStatus) as raised:
            attach(inspector)
        assert raised.value.response.status_code == 503
        assert get(inspector, "/json/version")[0] == 200
        assert call(last, "Profiler.enable")["result"] == {}

    def has_room() -> bool:
        with suppress(InvalidStatus), attach(inspector):
            return True
        return False

    wait_for(has_room, "room for another")


def test_connections_that_say_nothing_give_way_to_those_that_ask(make: Make) -> None:
    inspector = make()
    with attach(inspector) as attached, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(address(inspector)[:2], timeout=10))
        assert get(inspector, "/json/version")[0] == 200
        assert call(attached, "Profiler.enable")["result"] == {}
        wait_for(lambda: len(ours()) <= server_module.MOST_WAITING + 2, "the threads of those hung up on to end")


@pytest.mark.parametrize("has_wanted_port", [True, False])
def test_a_process_that_had_no_descriptor_left_answers_once_it_has(make: Make, has_wanted_port: bool) -> None:
    resource = pytest.importorskip("resource", reason="this platform bounds no descriptors")
    with ExitStack() as stack:
        other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        inspector = make(port=0 if has_wanted_port else other.getsockname()[1])
        client = stack.enter_context(socket.socket())
        client.settimeout(2 * server_module._LOOK_SECONDS)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 256), before[1]))
        with ExitStack() as all_there_are:
            with suppress(OSError):
                while True:
                    all_there_are.enter_context(Path(os.devnull).open())
            client.connect(address(inspector)[:2])
            client.sendall(b"GET /json/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with pytest.raises(TimeoutError):
                client.recv(1)
        client.settimeout(20)
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_snapshot_ends_with_the_client_that_asked_for_it(make: Make, target: FakeTarget) -> None:
    target.takes_for_ever = True
    with attach(make()) as client:
        client.send('{"id":1,"method":"HeapProfiler.takeHeapSnapshot"}')
        for number in range(2, 60):  # more than the library reads ahead
            client.send(f'{{"id":{number},"method":"Runtime.getHeapUsage"}}')
        wait_for(lambda: target.open_snapshots == 1, "the snapshot to begin")
        client.socket.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: target.open_snapshots == 0, "the snapshot to be given up")


def test_the_end_waits_until_a_snapshot_is_put_away(make: Make, target: FakeTarget) -> None:
    target.takes_for_ever = True
    inspector = make()
    with attach(inspector) as client:
        client.send('{"id":1,"method":"HeapProfiler.takeHeapSnapshot"}')
        wait_for(lambda: target.open_snapshots == 1, "the snapshot to begin")
        inspector.shut_down()
        assert target.open_snapshots == 0


def test_the_end_hangs_up_ends_recordings_and_frees_the_port(make: Make, target: FakeTarget) -> None:
    inspector = make()
    port = address(inspector)[1]
    with attach(inspector) as client:
        call(client, "Profiler.start")
        inspector.shut_down()
        inspector.shut_down(recycled=True)
        assert inspector.url is None
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
    wait_for(lambda: target.running is None, "the recording to end")
    assert address(make(port=port))[1] == port
    inspector.start()
    assert inspector.url is None


def test_the_end_does_not_wait_for_ever_for_a_start_that_a_signal_interrupted(make: Make) -> None:
    inspector = make()
    with inspector._transition:
        inspector.shut_down()
    assert inspector.url is None


def test_a_second_start_changes_nothing(make: Make) -> None:
    inspector = make()
    url = inspector.url
    inspector.start()
    assert inspector.url == url


def test_a_start_that_cannot_listen_is_logged_and_harmless(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = make(start=False)
    monkeypatch.setitem(sys.modules, "websockets.sync.server", None)
    with caplog.at_level(logging.WARNING):
        inspector.start()
    assert inspector.url is None
    assert "pip install 'flask-profiling-devtools[inspector]'" in caplog.text


def test_the_sentence_goes_where_it_is_wanted(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    inspector = make(start=False)
    inspector.start(announce=said.append)
    assert said == [f"DevTools may attach to pid {os.getpid()}: {inspector.url}"]
    assert not caplog.records


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a thread's stack is not bounded so")
def test_where_no_thread_can_be_had_nothing_listens_and_nothing_is_listed(tmp_path: Path) -> None:
    port = free_port()
    finished = run_alone(
        f"""
        import resource, socket, threading
        from pathlib import Path
        from flask_profiling.inspector.registry import Registry
        from flask_profiling.inspector.server import Inspector
        from flask_profiling.system import PrivateDirectory
        directory = PrivateDirectory(Path("out"), "inspectors")
        inspector = Inspector(port={port}, title="shop", url="file:///", registry=Registry(directory), converse=print)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (512 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        threading.stack_size(1 << 30)
        inspector.start()
        print(inspector.url, directory.names(), socket.socket().connect_ex(("127.0.0.1", {port})))
        """,
        tmp_path,
    )
    assert finished.stdout == f"None [] {errno.ECONNREFUSED}\n", finished.stderr
    assert "DevTools cannot attach" in finished.stderr


FORK = """
import os, socket, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from flask_profiling.inspector.registry import Registry
from flask_profiling.inspector.server import Inspector
from flask_profiling.system import PrivateDirectory
directory = PrivateDirectory(Path(sys.argv[1]), "inspectors")
inspector = Inspector(port=0, title="shop", url="file:///", registry=Registry(directory), converse=print)
inspector.start(announce=lambda text: None)
port = inspector.url.partition("ws=")[2].partition("/")[0]
assert len(directory.names()) == 1
read, write = os.pipe()
child = os.fork()
if child == 0:
    inspector.forget()
    assert inspector.url is None
    inspector.start(announce=lambda text: None)
    own = inspector.url.partition("ws=")[2].partition("/")[0]
    inspector.shut_down()
    os.write(write, own.encode())
    os._exit(0)
own = os.read(read, 100).decode()
assert os.waitpid(child, 0)[1] == 0
assert own != port, own
host, number = port.split(":")
socket.create_connection((host, int(number)), 5).close()
assert len(directory.names()) == 1, directory.names()
inspector.shut_down()
assert directory.names() == []
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_child_listens_anew_and_leaves_the_parent_its_port(tmp_path: Path) -> None:
    finished = subprocess.run(
        [PYTHON, "-W", "ignore::DeprecationWarning", "-c", FORK, str(tmp_path / "out"), str(PROJECT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.stdout == "fine\n", finished.stderr
