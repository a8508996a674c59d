"""What no decent client sends, to real servers: each gets an answer that says what is wrong, and the app goes on."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.components import requires
from tests.integration.servers import NEEDS, PREFIX, Server, serve

MEGABYTE = b" " * 2**20


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=requires("asgiref", *NEEDS[kind]))
        for kind in ("werkzeug", "waitress", "sync", "gthread", "gevent")
    ],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running
        assert "Traceback" not in running.log.read_text("utf-8", "replace")


def exchange(server: Server, head: str, *body: bytes, timeout: float = 20) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are and read one answer; whether all of the body could be sent does not matter."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n")
        with suppress(ConnectionError):
            for part in body:
                connection.sendall(part)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, dict(response.getheaders()), response.read()


def post(path: str, *headers: str) -> str:
    return "\n".join([f"POST {PREFIX}/{path} HTTP/1.1", "Host: localhost", *headers, ""])


def assert_alive(server: Server) -> None:
    assert server.status()["active"] is False
    assert server.get("/cheap").status == 200


def memory(server: Server) -> int:
    """Return the resident bytes of the process that answers."""
    pid = int(server.get("/pid").body)
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    assert found is not None
    return int(found[1]) * 1024


def test_a_body_that_is_announced_as_a_gigabyte_is_refused_before_it_comes(server: Server) -> None:
    if "waitress" in server.log.parent.name:
        pytest.skip("waitress hands a request over once it has all of it")
    status, _, body = exchange(server, post("start", f"Content-Length: {2**30}", "Content-Type: application/json"))
    assert status == 413
    assert json.loads(body)["error"] == "too_large"
    assert_alive(server)


@pytest.mark.parametrize("size", [65_537, 2**20, 8 * 2**20])
def test_an_ordinary_client_that_sends_too_much_gets_the_413(server: Server, size: int) -> None:
    head = post("start", f"Content-Length: {size}", "Content-Type: application/json")
    status, headers, answer = exchange(server, head, b" " * size)
    assert status == 413
    assert headers["Content-Type"] == "application/json"
    assert json.loads(answer)["error"] == "too_large"
    assert_alive(server)


def test_chunks_without_end_are_cut_off_and_not_kept(server: Server) -> None:
    before = memory(server)
    chunk = b"100000\r\n" + MEGABYTE + b"\r\n"
    parts = [chunk] * 64 + [b"0\r\n\r\n"]
    status, _, body = exchange(server, post("start", "Transfer-Encoding: chunked"), *parts, timeout=60)
    assert status == 413
    assert json.loads(body)["error"] == "too_large"
    assert memory(server) - before < 32 * 2**20
    assert_alive(server)


def test_chunks_that_are_few_are_read(server: Server) -> None:
    body = b'11\r\n{"seconds": "no"}\r\n0\r\n\r\n'
    head = post("start", "Transfer-Encoding: chunked", "Content-Type: application/json")
    status, _, answer = exchange(server, head, body)
    assert status == 400
    assert "seconds is 'no'" in json.loads(answer)["message"]
    assert_alive(server)


def test_chunks_that_are_none_are_refused(server: Server) -> None:
    status, _, _ = exchange(server, post("start", "Transfer-Encoding: chunked"), b"xyz\r\nnonsense\r\n0\r\n\r\n")
    assert status == 400
    assert_alive(server)


@pytest.mark.parametrize("depth", [500, 20_000])
def test_nested_brackets_are_refused(server: Server, depth: int) -> None:
    body = b"[" * depth + b"]" * depth
    answer = server.request("POST", f"{PREFIX}/start", body, {"Content-Type": "application/json"})
    assert answer.status == 400
    assert answer.json()["error"] == "bad_request"
    assert_alive(server)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "PROPFIND", "FROBNICATE"])
def test_a_method_that_there_is_not_is_refused(server: Server, method: str) -> None:
    answer = server.request(method, f"{PREFIX}/status")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert answer.json()["error"] == "method_not_allowed"


def test_two_requests_on_one_connection_after_a_refusal_do_not_mix(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", f"{PREFIX}/start", b'{"seconds": "no"}', {"Content-Type": "application/json"})
    assert connection.getresponse().read().startswith(b'{"success": false')
    connection.request("GET", f"{PREFIX}/status")
    response = connection.getresponse()
    assert response.status == 200
    assert json.loads(response.read())["enabled"] is True
    connection.close()


@pytest.mark.parametrize(
    "head",
    [
        f"GET {PREFIX}/status HTTP/1.1\nHost: evil.example\n",
        f"GET {PREFIX}/status HTTP/1.1\nHost: evil.example\nX-Forwarded-Host: localhost\nForwarded: host=localhost\n",
        f"GET {PREFIX}/status HTTP/1.0\n",
        f"GET {PREFIX}/status HTTP/1.1\nHost: localhost\nOrigin: http://evil.example\n",
        f"GET {PREFIX}/status HTTP/1.1\nHost: localhost\nSec-Fetch-Site: cross-site\n",
        f"GET {PREFIX}/status HTTP/1.1\nHost: localhost\nX-Forwarded-Proto: https\nOrigin: https://evil.example\n",
    ],
    ids=["host", "forwarded", "none", "origin", "site", "scheme"],
)
def test_a_foreign_caller_is_refused(server: Server, head: str) -> None:
    status, headers, body = exchange(server, head)
    assert status == 403
    assert json.loads(body)["error"] == "forbidden"
    assert not [name for name in headers if name.lower().startswith("access-control-")]


def test_two_hosts_are_no_host(server: Server) -> None:
    head = f"GET {PREFIX}/status HTTP/1.1\nHost: localhost\nHost: evil.example\n"
    status, _, _ = exchange(server, head)
    assert status in (400, 403)
