"""What is sent, what is believed, and what is said about answers that are not ours."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from flask_profiling.cli import client
from flask_profiling.cli.client import Target, ask
from flask_profiling.cli.failure import FAILED, UNREACHABLE, USAGE, Failure
from tests.cli.conftest import FakeServer


@pytest.mark.parametrize(
    ("url", "prefix", "expected"),
    [
        ("http://127.0.0.1:5000", None, "http://127.0.0.1:5000/debug/profiling"),
        ("http://127.0.0.1:5000/", None, "http://127.0.0.1:5000/debug/profiling"),
        ("localhost:8000", None, "http://localhost:8000/debug/profiling"),
        ("localhost", None, "http://localhost:80/debug/profiling"),
        ("https://shop.example", None, "https://shop.example:443/debug/profiling"),
        ("http://[::1]:5000", None, "http://[::1]:5000/debug/profiling"),
        ("http://127.0.0.1:5000/internal/p/", None, "http://127.0.0.1:5000/internal/p"),
        ("http://127.0.0.1:5000", "/internal/p", "http://127.0.0.1:5000/internal/p"),
        ("http://127.0.0.1:5000", "internal/p/", "http://127.0.0.1:5000/internal/p"),
        ("http://127.0.0.1:5000", "/", "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000/shop", "/internal/p", "http://127.0.0.1:5000/shop/internal/p"),
        ("http://127.0.0.1:5000/shop/internal/p", "/internal/p", "http://127.0.0.1:5000/shop/internal/p"),
    ],
)
def test_an_address_is_read_with_and_without_a_prefix(url: str, prefix: str | None, expected: str) -> None:
    target = Target.parse(url, prefix)
    assert target.origin + target.prefix == expected


@pytest.mark.parametrize(
    "url",
    ["", "ftp://host", "http://", "http://host:port", "http://host:99999", "http://user:secret@host", "http://host/?a=1",
     "http://host/#a", "http://host/a b", "http://ho st", "http://host/a\r\nX: 1", "http://[::1", "file:///etc/passwd"],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_a_usage_error(url: str) -> None:
    with pytest.raises(Failure) as caught:
        Target.parse(url)
    assert caught.value.exit_status == USAGE
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "private"),
    [("http://localhost", True), ("http://127.8.8.8", True), ("http://[::1]", True), ("https://far.example", True),
     ("http://far.example", False), ("http://10.0.0.1", False), ("http://localhost.example", False)],
)  # fmt: skip
def test_only_loopback_and_tls_keep_a_token_private(url: str, private: bool) -> None:
    assert Target.parse(url).private is private


def test_a_request_carries_the_token_and_the_body(fake: FakeServer) -> None:
    fake.on("POST /start", {"success": True, "sessionId": "prof-1"})
    answer = ask(Target.parse(fake.url), "POST", "/start", fields=("sessionId",), body={"seconds": 3.5}, token="abc~1")
    (request, headers, body), *others = fake.requests
    assert answer["sessionId"] == "prof-1"
    assert request == "POST /debug/profiling/start"
    assert headers["Authorization"] == "Bearer abc~1"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"seconds": 3.5}
    assert not others


def test_without_a_token_no_authorization_is_sent(fake: FakeServer) -> None:
    fake.on("GET /status", {"enabled": True})
    ask(Target.parse(fake.url), "GET", "/status", fields=("enabled",))
    assert "Authorization" not in fake.requests[0][1]


@pytest.mark.parametrize("token", ["two words", "new\nline", "gr\u00fcn", "\x00"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_repeated(closed_port: int, token: str) -> None:
    with pytest.raises(Failure) as caught:
        ask(Target.parse(f"127.0.0.1:{closed_port}"), "GET", "/status", fields=(), token=token)
    assert caught.value.exit_status == USAGE
    assert token not in caught.value.message


def test_a_redirect_is_not_followed(fake: FakeServer) -> None:
    fake.on("GET /status", b"", status=302, headers={"Location": f"{fake.url}/elsewhere"})
    with pytest.raises(Failure, match=r"302 application/json: a redirect to .*/elsewhere, which is not followed"):
        ask(Target.parse(fake.url), "GET", "/status", fields=(), token="abc")
    assert len(fake.requests) == 1


def test_a_proxy_in_the_environment_is_not_used(
    fake: FakeServer, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    fake.on("GET /status", {"enabled": True})
    assert ask(Target.parse(fake.url), "GET", "/status", fields=("enabled",)) == {"enabled": True}


def test_a_refusal_of_the_server_keeps_its_words_and_its_json(fake: FakeServer) -> None:
    refusal = {"success": False, "error": "already_running", "message": "profiling is already running; stop it"}
    fake.on("POST /start", refusal, status=409)
    with pytest.raises(Failure) as caught:
        ask(Target.parse(fake.url), "POST", "/start", fields=("sessionId",))
    assert (caught.value.message, caught.value.code) == ("profiling is already running; stop it", "already_running")
    assert caught.value.exit_status == FAILED
    assert caught.value.to_json() == refusal


@pytest.mark.parametrize(
    ("body", "how", "said"),
    [
        (
            b"<h1>Not Found</h1>",
            {"status": 404, "type": "text/html; charset=utf-8"},
            "answered 404 HTML: profiling is closed",
        ),
        ({"error": "not found"}, {"status": 404}, "answered 404 JSON: profiling is closed"),
        (b"", {"status": 403, "type": "", "headers": {"Server": "AirTunes/690.7.1"}}, "AirPlay receiver"),
        (b"nginx", {"status": 502, "type": "text/html"}, "answered 502 HTML: a proxy"),
        (b"sign in", {"status": 401, "type": "text/html"}, "something in front of the app refuses"),
        (b"<h1>Hello</h1>", {"status": 200, "type": "text/html"}, "answered 200 HTML: that is not flask_profiling"),
        ({"enabled": 1}, {"status": 200}, "answered 200 JSON: that is not flask_profiling"),
        ([1, 2], {"status": 200}, "that is not flask_profiling"),
        (b'{"active": ', {"status": 200}, "that is not flask_profiling"),
        (b"[" * 100_000, {"status": 200}, "that is not flask_profiling"),
        (b"\xff\xfe\x00", {"status": 200}, "that is not flask_profiling"),
        ({"success": False, "message": 7}, {"status": 500}, "answered 500 JSON"),
    ],
)
def test_an_answer_that_is_not_ours_is_explained(
    fake: FakeServer, body: object, how: dict[str, object], said: str
) -> None:
    fake.on("GET /status", body, **how)
    with pytest.raises(Failure) as caught:
        ask(Target.parse(fake.url), "GET", "/status", fields=("active",))
    assert said in caught.value.message
    assert f"GET {fake.url}/debug/profiling/status" in caught.value.message
    assert caught.value.exit_status == FAILED
    assert caught.value.to_json()["error"] == "foreign_answer"


def test_an_answer_without_end_is_not_read_to_its_end(fake: FakeServer) -> None:
    fake.on("GET /status", b"x" * (client.ANSWER_LIMIT + 4096))
    with pytest.raises(Failure, match="answered more than 16 MiB"):
        ask(Target.parse(fake.url), "GET", "/status", fields=())


def test_a_port_where_nobody_listens_is_not_reachable(closed_port: int) -> None:
    with pytest.raises(Failure, match=r"no server listens at http://127\.0\.0\.1:.*flask profiling start") as caught:
        ask(Target.parse(f"127.0.0.1:{closed_port}"), "GET", "/status", fields=())
    assert caught.value.exit_status == UNREACHABLE


@pytest.mark.parametrize("host", ["[::1%nowhere]", f"{'a' * 300}.invalid"])
def test_a_host_that_does_not_exist_is_not_reachable(host: str) -> None:
    """Neither name gets as far as a question to a name server."""
    with pytest.raises(Failure, match="is not known; check --url") as caught:
        ask(Target.parse(f"http://{host}:1"), "GET", "/status", fields=())
    assert caught.value.exit_status == UNREACHABLE


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "took no connection within 5 s"),
        (OSError(113, "No route to host"), r"cannot be reached \(OSError\)"),
    ],
)
def test_a_connection_that_fails_otherwise_is_explained(error: OSError, said: str) -> None:
    assert re.search(said, client._no_connection(Target.parse("http://127.0.0.1"), error))


def test_a_certificate_that_is_not_trusted_is_explained() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_message = "self-signed certificate"
    said = client._no_connection(Target.parse("https://127.0.0.1"), error)
    assert "is not trusted (self-signed certificate); name its authority's file in SSL_CERT_FILE" in said


RawServer = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    """Accept one connection and hand the socket to a function."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(speak: Callable[[socket.socket], None]) -> str:
        def accept() -> None:
            connected, _ = listener.accept()
            with connected:
                try:
                    speak(connected)
                except OSError:  # the client hung up, as it should
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        threads.append(thread)
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    listener.close()


def test_a_server_that_drips_is_left_when_the_time_is_over(raw_server: RawServer) -> None:
    pause = threading.Event()

    def drip(connected: socket.socket) -> None:
        connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        while not pause.wait(0.05):
            connected.sendall(b"X-Drop: 1\r\n" if pause.is_set() else b"X")

    url = raw_server(drip)
    with pytest.raises(Failure, match=r"no whole answer within 0\.5 s.*--timeout") as caught:
        ask(Target.parse(url), "GET", "/status", fields=(), seconds=0.5)
    assert caught.value.exit_status == UNREACHABLE
    pause.set()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x46"])
def test_what_does_not_speak_http_is_not_reachable(raw_server: RawServer, answer: bytes) -> None:
    def speak(connected: socket.socket) -> None:
        connected.recv(65536)
        connected.sendall(answer)

    with pytest.raises(Failure, match="hung up or does not speak HTTP") as caught:
        ask(Target.parse(raw_server(speak)), "GET", "/status", fields=())
    assert caught.value.exit_status == UNREACHABLE


def test_a_server_that_dies_in_its_answer_is_not_taken_for_a_stranger(raw_server: RawServer) -> None:
    def speak(connected: socket.socket) -> None:
        connected.recv(65536)
        connected.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"ena')

    with pytest.raises(Failure, match="hung up or does not speak HTTP \\(IncompleteRead\\)") as caught:
        ask(Target.parse(raw_server(speak)), "GET", "/status", fields=())
    assert caught.value.exit_status == UNREACHABLE


def test_tls_towards_a_plain_port_says_so(fake: FakeServer) -> None:
    with pytest.raises(Failure, match="does not speak TLS; use http://") as caught:
        ask(Target.parse(fake.url.replace("http:", "https:")), "GET", "/status", fields=())
    assert caught.value.exit_status == UNREACHABLE


def test_no_thread_is_left_behind(fake: FakeServer) -> None:
    fake.on("GET /status", {"enabled": True})
    ask(Target.parse(fake.url), "GET", "/status", fields=("enabled",), seconds=60)
    assert not [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and not thread.finished.is_set()
    ]
