"""P9: what answers, logs and sockets tell: no secret, no path, no traceback, nothing forged, nothing sent anywhere."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path

import pytest

from tests.integration.servers import PREFIX, Server, kinds, listeners_and_peers, serve

TOKEN = "s3cret-of-the-team-4715"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CONTROL = {chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))} - {"\n", "\t"}
# what a caller controls, each trying to write a line or a colour of its own into a log
FORGERIES = [
    f"GET {PREFIX}/status%0d%0aFORGED%20path HTTP/1.1\r\nHost: localhost\r\n",
    f"GET {PREFIX}/status?x=%0d%0aFORGED%1b[31m HTTP/1.1\r\nHost: localhost\r\n",
    f"GET {PREFIX}/status HTTP/1.1\r\nHost: evil\x1b[31m.example\r\n",
    f"GET {PREFIX}/status HTTP/1.1\r\nHost: localhost\r\nUser-Agent: \x1b]0;FORGED\x07\r\n",
    f"GET {PREFIX}/status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://x\x1b[2J\r\n",
    f"POST {PREFIX}/start?cpu=%0aFORGED%20engine HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n",
    f"POST {PREFIX}/start HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \x1b[31mFORGED\r\nContent-Length: 0\r\n",
    f'POST {PREFIX}/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 25\r\n\r\n{{"cpu": "\\nFORGED \\u001b"}}',
]


def send(server: Server, text: str) -> bytes:
    """Send bytes as they are; returns what came back."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(text.encode("latin-1") + (b"" if "\r\n\r\n" in text else b"\r\n"))
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
            return response.read()
        except http.client.HTTPException:
            return b""


def every_answer(server: Server) -> list[bytes]:
    """Return the bodies of all that the endpoints answer, well asked and badly asked."""
    calls = [
        ("POST", "start", b'{"heap": true}', BEARER),
        ("GET", "status", None, BEARER),
        ("POST", "start", None, BEARER),
        ("POST", "start", b"{", BEARER),
        ("POST", "start", b'{"cpu": "nothing"}', BEARER),
        ("POST", "stop", None, BEARER),
        ("POST", "stop", None, BEARER),
        ("GET", "reports", None, BEARER),
        ("GET", "status", None, {"Authorization": f"Bearer {TOKEN}x"}),
        ("GET", "status", None, {"Host": "evil.example"}),
        ("PUT", "status", None, BEARER),
        ("DELETE", "cleanup", None, BEARER),
    ]
    return [
        server.request(method, f"{PREFIX}/{name}", body, {**headers, "Content-Type": "application/json"}, 60).body
        for method, name, body, headers in calls
    ]


class TestP09NothingLeaks:
    """No secret, path or traceback in an answer or a log line, nothing forgeable, no connection, no other listener."""

    @pytest.mark.parametrize(("kind", "workers"), kinds("werkzeug", "waitress", "sync"))
    def test_answers_and_logs_hold_no_secret_no_path_and_no_line_of_the_callers(
        self, kind: str, workers: int, tmp_path: Path
    ) -> None:
        environment = {"PROFILING_TOKEN": TOKEN, "PROFILING_OUTPUT_DIR": str(tmp_path / "profiling")}
        with serve(kind, tmp_path, workers=workers, environment=environment) as server:
            answers = every_answer(server)
            answers += [send(server, forgery) for forgery in FORGERIES]
            assert server.get("/cheap").status == 200
            log = server.log.read_text("utf-8", "replace")
        for answer in answers:
            text = answer.decode("utf-8", "replace")
            assert TOKEN not in text
            assert str(tmp_path) not in text
            assert "Traceback" not in text
            assert CONTROL.isdisjoint(text.replace("\r\n", "\n"))
        assert TOKEN not in log
        assert "Traceback" not in log
        assert not [line for line in log.splitlines() if line.lstrip().startswith("FORGED")]
        lines = [line for line in log.splitlines() if "profil" in line and "HTTP/1." not in line]
        assert CONTROL.isdisjoint("".join(lines))

    @pytest.mark.parametrize(("kind", "workers"), kinds("werkzeug", "sync"))
    def test_it_listens_nowhere_and_calls_nobody(self, kind: str, workers: int, tmp_path: Path) -> None:
        if not os.access("/proc/self/net/tcp", os.R_OK):
            pytest.skip("sockets are looked up in /proc")
        with serve(kind, tmp_path, workers=workers) as server:
            pids = server.worker_pids(at_least=workers)

            def assert_alone() -> None:
                for pid in pids:
                    listening, peers = listeners_and_peers(pid)
                    assert listening == {("127.0.0.1", server.port)}
                    assert {address for address, _ in peers} <= {"127.0.0.1"}

            assert server.start(heap=True, allocations=1).status == 200
            server.load(["/dear"] * 5)
            assert_alone()
            assert server.stop().status == 200
            assert_alone()
