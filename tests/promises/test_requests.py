"""P3, P5, P6, P7: what is asked of the five endpoints, by decent clients and by others, on every real server."""

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
from tests.faults import tree
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


class TestP03FiveEndpointsAsPublished:
    """Five endpoints, errors in JSON, 405 with Allow, and reading changes nothing."""

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "PROPFIND", "FROBNICATE"])
    def test_a_method_that_there_is_not_is_refused(self, server: Server, method: str) -> None:
        answer = server.request(method, f"{PREFIX}/status")
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert answer.json()["error"] == "method_not_allowed"

    def test_the_five_are_there_and_answer_as_published(self, server: Server) -> None:
        started = server.start()
        assert started.status == 200
        assert started.json()["sessionId"].startswith("prof-")
        server.get("/cheap")
        stopped = server.stop()
        answers = [started, stopped, *(server.get(f"{PREFIX}/{name}") for name in ("status", "reports"))]
        answers.append(server.request("DELETE", f"{PREFIX}/cleanup"))
        assert [answer.status for answer in answers] == [200] * 5
        wanted = [
            {"success", "message", "sessionId", "devToolsUrl"},
            {"success", "message", "sessionId", "duration", "artifacts"},
            {"enabled", "active", "lastSession", "reports"},
            {"reports"},
            {"success", "message", "cleaned"},
        ]
        assert [fields - set(answer.json()) for fields, answer in zip(wanted, answers, strict=True)] == [set()] * 5
        for answer in answers:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"

    def test_reading_changes_nothing(self, server: Server) -> None:
        for method in ("GET", "HEAD", "OPTIONS"):
            for name in ("start", "stop", "status", "reports", "cleanup"):
                before = tree(server.output)
                answer = server.request(method, f"{PREFIX}/{name}")
                refused = method != "OPTIONS" and name not in ("status", "reports")
                assert answer.status == (405 if refused else 204 if method == "OPTIONS" else 200), (method, name)
                allowed = {"cleanup": "DELETE", "start": "POST", "stop": "POST"}.get(name, "GET")
                assert not refused or allowed in answer.headers["Allow"].split(", ")
                assert tree(server.output) == before
        assert_alive(server)


class TestP05NoInputBreaksIt:
    """No input gives a 5xx or takes memory without bound."""

    def test_a_body_that_is_announced_as_a_gigabyte_is_refused_before_it_comes(self, server: Server) -> None:
        if "waitress" in server.log.parent.name:
            pytest.skip("waitress hands a request over once it has all of it")
        status, _, body = exchange(server, post("start", f"Content-Length: {2**30}", "Content-Type: application/json"))
        assert status == 413
        assert json.loads(body)["error"] == "too_large"
        assert_alive(server)

    @pytest.mark.parametrize("size", [65_537, 2**20, 8 * 2**20])
    def test_an_ordinary_client_that_sends_too_much_gets_the_413(self, server: Server, size: int) -> None:
        head = post("start", f"Content-Length: {size}", "Content-Type: application/json")
        status, headers, answer = exchange(server, head, b" " * size)
        assert status == 413
        assert headers["Content-Type"] == "application/json"
        assert json.loads(answer)["error"] == "too_large"
        assert_alive(server)

    def test_chunks_without_end_are_cut_off_and_not_kept(self, server: Server) -> None:
        before = memory(server)
        chunk = b"100000\r\n" + MEGABYTE + b"\r\n"
        parts = [chunk] * 64 + [b"0\r\n\r\n"]
        status, _, body = exchange(server, post("start", "Transfer-Encoding: chunked"), *parts, timeout=60)
        assert status == 413
        assert json.loads(body)["error"] == "too_large"
        assert memory(server) - before < 32 * 2**20
        assert_alive(server)

    def test_chunks_that_are_few_are_read(self, server: Server) -> None:
        body = b'11\r\n{"seconds": "no"}\r\n0\r\n\r\n'
        head = post("start", "Transfer-Encoding: chunked", "Content-Type: application/json")
        status, _, answer = exchange(server, head, body)
        assert status == 400
        assert "seconds is 'no'" in json.loads(answer)["message"]
        assert_alive(server)

    def test_chunks_that_are_none_are_refused(self, server: Server) -> None:
        status, _, _ = exchange(server, post("start", "Transfer-Encoding: chunked"), b"xyz\r\nnonsense\r\n0\r\n\r\n")
        assert status == 400
        assert_alive(server)

    @pytest.mark.parametrize("depth", [500, 20_000])
    def test_nested_brackets_are_refused(self, server: Server, depth: int) -> None:
        body = b"[" * depth + b"]" * depth
        answer = server.request("POST", f"{PREFIX}/start", body, {"Content-Type": "application/json"})
        assert answer.status == 400
        assert answer.json()["error"] == "bad_request"
        assert_alive(server)

    def test_two_requests_on_one_connection_after_a_refusal_do_not_mix(self, server: Server) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("POST", f"{PREFIX}/start", b'{"seconds": "no"}', {"Content-Type": "application/json"})
        assert connection.getresponse().read().startswith(b'{"success": false')
        connection.request("GET", f"{PREFIX}/status")
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["enabled"] is True
        connection.close()


STRANGERS = {
    "origin": "Host: localhost\nOrigin: http://evil.example",
    "opaque": "Host: localhost\nOrigin: null",
    "port": "Host: localhost:1\nOrigin: http://localhost:2",
    "site": "Host: localhost\nSec-Fetch-Site: cross-site",
    "same site": "Host: localhost\nSec-Fetch-Site: same-site",
    "scheme": "Host: localhost\nX-Forwarded-Proto: https\nOrigin: https://evil.example",
}
FOREIGN_HOSTS = {
    "host": "Host: evil.example",
    "forwarded": "Host: evil.example\nX-Forwarded-Host: localhost\nForwarded: host=localhost",
    "rebound": "Host: 127.0.0.1.evil.example",
    "address": "Host: 10.0.0.1",
}
CALLS = ["POST start", "POST stop", "GET status", "GET reports", "DELETE cleanup"]


def assert_refused(server: Server, call: str, head: str, version: str = "1.1") -> None:
    method, name = call.split()
    status, headers, body = exchange(server, f"{method} {PREFIX}/{name} HTTP/{version}\n{head}\n")
    assert status == 403
    assert json.loads(body)["error"] == "forbidden"
    assert not [name for name in headers if name.lower().startswith("access-control-")]


class TestP06CrossSiteRequestsAreRefused:
    """What a page of another site makes a browser send is refused, and nothing allows it in advance."""

    @pytest.mark.parametrize("stranger", STRANGERS)
    def test_a_page_of_another_site_is_refused_on_every_endpoint(self, server: Server, stranger: str) -> None:
        for call in CALLS:
            assert_refused(server, call, STRANGERS[stranger])
        assert_alive(server)

    def test_a_preflight_is_granted_nothing(self, server: Server) -> None:
        asked = "Access-Control-Request-Method: POST\nAccess-Control-Request-Private-Network: true"
        head = f"OPTIONS {PREFIX}/start HTTP/1.1\nHost: localhost\nOrigin: http://evil.example\n{asked}\n"
        status, headers, _ = exchange(server, head)
        assert status == 403
        assert not [name for name in headers if name.lower().startswith("access-control-")]


class TestP07ForeignHostsAreRefused:
    """A Host that is not this machine's is refused on every endpoint, whatever a proxy is said to have forwarded."""

    @pytest.mark.parametrize("foreign", FOREIGN_HOSTS)
    def test_a_foreign_host_is_refused_on_every_endpoint(self, server: Server, foreign: str) -> None:
        for call in CALLS:
            assert_refused(server, call, FOREIGN_HOSTS[foreign])
        assert_alive(server)

    def test_no_host_is_none_of_ours(self, server: Server) -> None:
        assert_refused(server, "GET status", "Accept: */*", version="1.0")

    def test_two_hosts_are_no_host(self, server: Server) -> None:
        head = f"GET {PREFIX}/status HTTP/1.1\nHost: localhost\nHost: evil.example\n"
        status, _, _ = exchange(server, head)
        assert status in (400, 403)
