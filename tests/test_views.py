"""The five endpoints over sessions that do nothing: shapes, methods, refusals, bodies, and the app around us."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Blueprint, Flask, Response, abort, request
from flask.json.provider import JSONProvider
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response as AnyResponse

from flask_profiling.config import Config, load
from flask_profiling.errors import DiskFull, TooManyRequests
from flask_profiling.extension import ProfilingState
from flask_profiling.gates import caller_of, check_caller
from flask_profiling.model import Session, SessionOptions
from flask_profiling.views import (
    BODY_LIMIT,
    ENDPOINTS,
    build_blueprint,
    human_duration,
    iso_time,
    shown_directory,
)
from tests.fake_sessions import BEGIN, HERE, FakeSessions, artifact
from tests.pythons import run_alone

PREFIX = "/debug/profiling"
CONFIG = load({}, {})
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X" * 50]


def nothing() -> None:
    """A limit that lets everybody pass."""


def make_app(
    sessions: FakeSessions | None = None,
    *,
    config: Config = CONFIG,
    limit: Callable[[], None] = nothing,
    admit: Callable[[Mapping[str, object]], None] | None = None,
    prefix: str = PREFIX,
) -> Flask:
    app = Flask(__name__)
    app.testing = True
    wire(app, sessions, config=config, limit=limit, admit=admit, prefix=prefix)
    return app


def wire(
    app: Flask,
    sessions: FakeSessions | None = None,
    *,
    config: Config = CONFIG,
    limit: Callable[[], None] = nothing,
    admit: Callable[[Mapping[str, object]], None] | None = None,
    prefix: str = PREFIX,
) -> None:
    app.extensions["profiling"] = ProfilingState(config, sessions or FakeSessions())  # type: ignore[arg-type]
    check = admit or (lambda environ: check_caller(config, caller_of(environ)))
    app.register_blueprint(build_blueprint(admit=check, limit=limit), url_prefix=prefix)


@pytest.fixture
def sessions() -> FakeSessions:
    return FakeSessions()


@pytest.fixture
def client(sessions: FakeSessions) -> FlaskClient:
    return make_app(sessions).test_client()


def error_of(response: TestResponse | AnyResponse) -> tuple[int, str, str]:
    """Return status, code and message, after checking that the shape is the published one."""
    document = json.loads(response.get_data(as_text=True))
    assert set(document) == {"success", "error", "message"}
    assert document["success"] is False
    assert_headers(response)
    return response.status_code, document["error"], document["message"]


def assert_headers(response: TestResponse | AnyResponse) -> None:
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name, _ in response.headers if name.lower().startswith("access-control-")]


# -- the shapes --------------------------------------------------------------------------------------------------------


def test_start_answers_as_published(client: FlaskClient, sessions: FakeSessions) -> None:
    response = client.post(f"{PREFIX}/start")
    assert response.status_code == 200
    assert_headers(response)
    assert response.json == {
        "success": True,
        "message": "Profiling session started",
        "sessionId": "prof-1",
        "devToolsUrl": None,
        "deadline": "2026-03-01T12:05:00.250Z",
        "engines": ["cprofile", "heap"],
        "workers": [{"pid": 811, "host": "alpha"}],
        "missing": [{"pid": 812, "host": "alpha"}],
        "notes": ["one worker is missing"],
    }
    assert sessions.asked == [SessionOptions("cprofile", True, 0, 300.0)]


def test_stop_answers_as_published(client: FlaskClient) -> None:
    client.post(f"{PREFIX}/start")
    response = client.post(f"{PREFIX}/stop")
    assert response.status_code == 200
    assert_headers(response)
    assert response.json == {
        "success": True,
        "message": "Profiling session stopped",
        "sessionId": "prof-1",
        "duration": "45.2s",
        "durationSeconds": 45.21,
        "artifacts": ["profiling/profile-prof-1.cpuprofile", "profiling/heap-prof-1.heapsnapshot"],
        "workers": [{"pid": 811, "host": "alpha"}, {"pid": 812, "host": "alpha"}],
        "missing": [],
        "notes": ["seen in part"],
    }


def test_status_of_an_app_that_was_never_profiled(client: FlaskClient) -> None:
    response = client.get(f"{PREFIX}/status")
    assert response.status_code == 200
    assert_headers(response)
    assert response.json == {"enabled": True, "active": False, "lastSession": None, "reports": [], "notes": []}


def test_status_of_a_running_session(client: FlaskClient) -> None:
    client.post(f"{PREFIX}/start", json={"cpu": "off", "allocations": 3, "seconds": 60})
    answer = client.get(f"{PREFIX}/status").json
    assert answer["active"] is True
    assert answer["session"] == {
        "id": "prof-1",
        "started": "2026-03-01T12:00:00.250Z",
        "deadline": "2026-03-01T12:01:00.250Z",
        "state": "profiling",
        "engines": ["heap", "allocations"],
    }
    assert answer["workers"] == [
        {"pid": 811, "host": "alpha", "state": "profiling"},
        {"pid": 812, "host": "alpha", "state": "writing"},
    ]


def test_status_of_a_session_whose_artifacts_are_being_written(client: FlaskClient, sessions: FakeSessions) -> None:
    client.post(f"{PREFIX}/start")
    sessions.collecting = True
    answer = client.get(f"{PREFIX}/status").json
    assert answer["active"] is True
    assert answer["session"]["state"] == "collecting"


def test_status_after_a_session(client: FlaskClient) -> None:
    client.post(f"{PREFIX}/start")
    client.post(f"{PREFIX}/stop")
    answer = client.get(f"{PREFIX}/status").json
    assert "session" not in answer
    assert answer["lastSession"] == {
        "id": "prof-1",
        "startTime": "2026-03-01T12:00:00.250Z",
        "endTime": "2026-03-01T12:00:45.460Z",
        "duration": "45.2s",
        "durationSeconds": 45.21,
        "endedBy": "stop",
    }
    assert answer["reports"][0] == {
        "id": "prof-1",
        "type": "cpuprofile",
        "filename": "profile-prof-1.cpuprofile",
        "size": "2.4MB",
        "sizeBytes": 2_400_000,
        "created": "2026-03-01T12:00:46.250Z",
    }


def test_a_session_that_was_recovered_has_no_end(client: FlaskClient, sessions: FakeSessions) -> None:
    sessions.last = Session("prof-0", HERE, BEGIN, SessionOptions("off", True, 0, 1.0), ended_by="recovered")
    last = client.get(f"{PREFIX}/status").json["lastSession"]
    assert (last["endTime"], last["duration"], last["durationSeconds"]) == (None, None, None)
    assert last["endedBy"] == "recovered"


def test_reports_answers_as_published(client: FlaskClient, sessions: FakeSessions) -> None:
    assert client.get(f"{PREFIX}/reports").json == {"reports": []}
    sessions.stored = [artifact("heap-prof-1.heapsnapshot", "heapsnapshot", 999)]
    assert client.get(f"{PREFIX}/reports").json == {
        "reports": [
            {
                "sessionId": "prof-1",
                "type": "heapsnapshot",
                "filename": "heap-prof-1.heapsnapshot",
                "size": "999B",
                "sizeBytes": 999,
                "created": "2026-03-01T12:00:46.250Z",
            }
        ]
    }


def test_cleanup_answers_as_published(client: FlaskClient, sessions: FakeSessions) -> None:
    sessions.stored = [artifact("a", "dot"), artifact("b", "dot"), artifact("c", "dot", session_id="prof-2")]
    response = client.delete(f"{PREFIX}/cleanup")
    assert response.status_code == 200
    assert_headers(response)
    assert response.json == {
        "success": True,
        "message": "Profiling cleanup completed",
        "cleaned": {"reports": 3, "sessions": 2},
    }


def test_a_file_name_that_is_no_text_is_written_in_ascii(client: FlaskClient, sessions: FakeSessions) -> None:
    sessions.stored = [artifact("caf\xe9-\udcff.dot", "dot")]
    body = client.get(f"{PREFIX}/reports").get_data()
    assert b"caf\\u00e9-\\udcff.dot" in body


def test_a_stored_time_that_is_none_is_null(client: FlaskClient, sessions: FakeSessions) -> None:
    sessions.stored = [replace(artifact("a", "dot"), created=1e300)]
    assert client.get(f"{PREFIX}/reports").json["reports"][0]["created"] is None


# -- methods -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_answered_by_us(client: FlaskClient, sessions: FakeSessions, name: str, method: str) -> None:
    response = client.open(f"{PREFIX}/{name}", method=method)
    allowed = ENDPOINTS[name].methods
    if method == "OPTIONS":
        assert response.status_code == 204
        assert response.get_data() == b""
        assert response.headers["Allow"] == ", ".join(allowed)
    elif method.upper() in allowed:  # the test client writes methods in capitals
        assert response.status_code in (200, 409)
    else:
        assert response.status_code == 405
        assert response.headers["Allow"] == ", ".join(allowed)
        if method != "HEAD":
            assert error_of(response)[1] == "method_not_allowed"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["start", "stop", "cleanup"])
def test_get_changes_nothing(client: FlaskClient, sessions: FakeSessions, name: str) -> None:
    sessions.stored = [artifact("a", "dot")]
    for method in ("GET", "HEAD", "OPTIONS"):
        client.open(f"{PREFIX}/{name}", method=method)
    assert sessions.asked == []
    assert len(sessions.stored) == 1


def test_head_is_get_without_a_body(client: FlaskClient) -> None:
    for name in ("status", "reports"):
        get, head = client.get(f"{PREFIX}/{name}"), client.head(f"{PREFIX}/{name}")
        assert head.get_data() == b""
        assert dict(head.headers) == dict(get.headers)


def test_other_addresses_are_the_apps_own(client: FlaskClient) -> None:
    for path in ("", "/", "/start/", "/statuses", "/start/x"):
        response = client.get(PREFIX + path)
        assert response.status_code == 404
        assert response.mimetype == "text/html"


# -- who may ask -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PUT"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example", "X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"},
    ],
    ids=["host", "origin", "null", "site", "forwarded"],
)
def test_a_foreign_caller_is_refused_whatever_it_asks(
    client: FlaskClient, sessions: FakeSessions, name: str, method: str, headers: dict[str, str]
) -> None:
    assert error_of(client.open(f"{PREFIX}/{name}", method=method, headers=headers))[:2] == (403, "forbidden")
    assert sessions.asked == []


def test_a_missing_token_is_asked_for() -> None:
    config = load({"PROFILING_ALLOWED_HOSTS": "staging.example", "PROFILING_TOKEN": "s3cret"}, {})
    client = make_app(config=config).test_client()
    response = client.get(f"{PREFIX}/status", headers={"Host": "staging.example"})
    assert error_of(response)[:2] == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    headers = {"Host": "staging.example", "Authorization": "Bearer s3cret"}
    assert client.get(f"{PREFIX}/status", headers=headers).status_code == 200


def test_a_foreign_caller_does_not_use_up_the_limit_and_neither_does_a_wrong_method() -> None:
    calls: list[str] = []
    client = make_app(limit=lambda: calls.append(request.path)).test_client()
    client.post(f"{PREFIX}/start", headers={"Origin": "http://evil.example"})
    client.get(f"{PREFIX}/start")
    client.options(f"{PREFIX}/start")
    client.get(f"{PREFIX}/status")
    client.get(f"{PREFIX}/reports")
    assert calls == []
    client.post(f"{PREFIX}/start", json=5)
    client.post(f"{PREFIX}/stop")
    client.delete(f"{PREFIX}/cleanup")
    assert calls == [f"{PREFIX}/start", f"{PREFIX}/stop", f"{PREFIX}/cleanup"]


def test_a_used_up_limit_is_said_with_the_time_to_wait(sessions: FakeSessions) -> None:
    def limit() -> None:
        raise TooManyRequests("too often; wait", retry_after=17)

    response = make_app(sessions, limit=limit).test_client().post(f"{PREFIX}/start")
    assert error_of(response) == (429, "too_many_requests", "too often; wait")
    assert response.headers["Retry-After"] == "17"
    assert sessions.asked == []


# -- what start is told ------------------------------------------------------------------------------------------------


def test_a_body_is_read(client: FlaskClient, sessions: FakeSessions) -> None:
    client.post(f"{PREFIX}/start", json={"cpu": "off", "heap": True, "allocations": 2, "seconds": 1.5})
    assert sessions.asked == [SessionOptions("off", True, 2, 1.5)]


def test_a_query_is_read(client: FlaskClient, sessions: FakeSessions) -> None:
    client.post(f"{PREFIX}/start?cpu=calltree&heap=no&allocations=2&seconds=1.5")
    assert sessions.asked == [SessionOptions("calltree", False, 2, 1.5)]


def test_a_query_beside_an_empty_object_is_read(client: FlaskClient, sessions: FakeSessions) -> None:
    assert client.post(f"{PREFIX}/start?seconds=9", json={}).status_code == 200
    assert sessions.asked[0].seconds == 9.0


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"{}", b' {"seconds": 5} '])
@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", None]
)
def test_a_body_may_be_empty_and_need_not_be_declared(
    client: FlaskClient, body: bytes, content_type: str | None
) -> None:
    assert client.post(f"{PREFIX}/start", data=body, content_type=content_type).status_code == 200


def test_an_empty_body_may_be_declared_as_anything(client: FlaskClient) -> None:
    assert client.post(f"{PREFIX}/start", content_type="application/x-www-form-urlencoded").status_code == 200


BAD_BODIES = [
    b"null",
    b"5",
    b'"text"',
    b"[]",
    b"[{}]",
    b"{",
    b"{} {}",
    b"{'cpu': 'off'}",
    b'{"cpu": "off",}',
    b'{"seconds": NaN}',
    b'{"seconds": Infinity}',
    b'{"seconds": 1e999}',
    b'{"seconds": ' + b"9" * 5000 + b"}",
    b'{"seconds": 5, "seconds": 6}',
    b'{"cpu": {"a": 1, "a": 2}}',
    b'{"cpu": "\xff"}',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'{"unknown": 1}',
    b'{"\\ud800": 1}',
    b'{"cpu": "\\ud800"}',
    b"[" * 20_000,
    b'{"a":' * 10_000,
    b'{"cpu": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"cpu": ' + b"[" * 400 + b"]" * 400 + b"}",
    b"\x00" * 1000,
    b"cpu=off",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_bad_body_is_refused_and_nothing_starts(client: FlaskClient, sessions: FakeSessions, body: bytes) -> None:
    status, code, message = error_of(client.post(f"{PREFIX}/start", data=body, content_type="application/json"))
    assert (status, code) == (400, "bad_request")
    assert len(message) < 400
    assert sessions.asked == []


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x", "/;;"]
)
def test_a_body_that_is_declared_as_something_else_is_refused(client: FlaskClient, content_type: str) -> None:
    status, _, message = error_of(client.post(f"{PREFIX}/start", data=b'{"seconds": 5}', content_type=content_type))
    assert status == 400
    assert "Content-Type: application/json" in message


def test_unknown_fields_are_named(client: FlaskClient) -> None:
    assert "'frobnicate'" in error_of(client.post(f"{PREFIX}/start", json={"frobnicate": 1}))[2]
    assert "'frobnicate'" in error_of(client.post(f"{PREFIX}/start?frobnicate=1"))[2]


@pytest.mark.parametrize(
    "query",
    ["seconds=1&seconds=2", "seconds=x", "seconds", "=", "&".join("a=1" for _ in range(200)), "%ff=%00", "a" * 9000],
)
def test_a_bad_query_is_refused(client: FlaskClient, sessions: FakeSessions, query: str) -> None:
    assert error_of(client.post(f"{PREFIX}/start?{query}"))[:2] == (400, "bad_request")
    assert sessions.asked == []


def test_fields_in_body_and_query_are_refused(client: FlaskClient) -> None:
    assert error_of(client.post(f"{PREFIX}/start?seconds=5", json={"seconds": 5}))[0] == 400
    assert error_of(client.post(f"{PREFIX}/start?seconds=5", json={"heap": True}))[0] == 400


@pytest.mark.parametrize(("method", "name"), [("POST", "stop"), ("DELETE", "cleanup")])
def test_stop_and_cleanup_take_no_fields(client: FlaskClient, sessions: FakeSessions, method: str, name: str) -> None:
    sessions.stored = [artifact("a", "dot")]
    for options in ({"json": {"force": 1}}, {"query_string": "force=1"}, {"json": 5}, {"data": b"force=1"}):
        assert error_of(client.open(f"{PREFIX}/{name}", method=method, **options))[0] == 400
    assert "leave them out" in error_of(client.open(f"{PREFIX}/{name}", method=method, json={"force": 1}))[2]
    assert "'force'" in error_of(client.open(f"{PREFIX}/{name}?force=1", method=method))[2]
    assert len(sessions.stored) == 1
    assert client.open(f"{PREFIX}/{name}", method=method, json={}).status_code in (200, 409)


# -- large bodies ------------------------------------------------------------------------------------------------------


class Counting(io.RawIOBase):
    """A body without end, which counts what is read of it."""

    def __init__(self, bound: int | None = None) -> None:
        self.taken = 0
        self.bound = bound

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        size = len(buffer)  # type: ignore[arg-type]
        if self.bound is not None:
            size = min(size, self.bound - self.taken)
        buffer[:size] = b" " * size  # type: ignore[index]
        self.taken += size
        return size


def chunked(stream: io.RawIOBase) -> dict[str, object]:
    """Return what a server hands over for a body in chunks."""
    return {"wsgi.input": stream, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}


def test_a_body_that_says_it_is_large_is_refused_unread(client: FlaskClient) -> None:
    stream = Counting()
    response = client.post(f"{PREFIX}/start", environ_overrides={"wsgi.input": stream, "CONTENT_LENGTH": str(2**30)})
    assert error_of(response)[:2] == (413, "too_large")
    assert stream.taken == 0


@pytest.mark.parametrize("name", ["start", "stop"])
def test_a_body_in_chunks_is_read_no_further_than_the_bound(client: FlaskClient, name: str) -> None:
    stream = Counting()
    response = client.post(f"{PREFIX}/{name}", environ_overrides=chunked(stream))
    assert error_of(response)[:2] == (413, "too_large")
    assert stream.taken == BODY_LIMIT + 1


def test_a_body_as_large_as_the_bound_is_read(client: FlaskClient) -> None:
    body = b'{"seconds": 5}'.ljust(BODY_LIMIT)
    assert client.post(f"{PREFIX}/start", data=body, content_type="application/json").status_code == 200
    assert client.post(f"{PREFIX}/start", data=body + b" ", content_type="application/json").status_code == 413
    assert client.post(f"{PREFIX}/start", environ_overrides=chunked(Counting(BODY_LIMIT))).status_code == 409


def test_no_nesting_ends_a_process_whose_recursion_limit_was_raised(tmp_path: Path) -> None:
    finished = run_alone(
        """
        import sys
        import threading
        from flask import Flask
        from flask_profiling import Profiling
        app = Flask("shop")
        app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True)
        Profiling(app)
        def ask():
            for body in (b"[" * 65536, b'{"":' * 16384):
                print(app.test_client().post("/debug/profiling/start", data=body).status_code)
        sys.setrecursionlimit(10**6)
        threading.stack_size(512 << 10)  # half of what a thread has on Alpine
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        """,
        tmp_path,
    )
    assert finished.stdout.split() == ["400", "400"], (finished.returncode, finished.stderr)


def test_a_body_that_ends_early_is_refused(client: FlaskClient, sessions: FakeSessions) -> None:
    response = client.post(
        f"{PREFIX}/start", input_stream=io.BytesIO(b'{"heap": '), content_length=50, content_type="application/json"
    )
    assert error_of(response)[:2] == (400, "bad_request")
    assert sessions.asked == []


def test_a_body_that_cannot_be_read_is_refused(client: FlaskClient, sessions: FakeSessions) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            raise OSError("invalid chunk header")

    response = client.post(f"{PREFIX}/start", environ_overrides=chunked(Broken()))
    assert error_of(response)[:2] == (400, "bad_request")
    assert sessions.asked == []


@pytest.mark.parametrize("length", ["-1", "abc", "", "1e9", "\u0665", "9" * 30])
def test_a_length_that_is_none_is_a_bad_request_or_no_body(client: FlaskClient, length: str) -> None:
    response = client.post(f"{PREFIX}/start", environ_overrides={"CONTENT_LENGTH": length})
    assert response.status_code in (200, 400, 413)


def test_the_apps_own_bound_is_respected(sessions: FakeSessions) -> None:
    app = make_app(sessions)
    app.config["MAX_CONTENT_LENGTH"] = 10
    response = app.test_client().post(f"{PREFIX}/start", json={"seconds": 5, "heap": True})
    assert error_of(response)[:2] == (413, "too_large")
    assert "the app's MAX_CONTENT_LENGTH" in response.json["message"]


@pytest.mark.parametrize("read", ["get_data", "get_json", "form", "stream"])
def test_a_body_that_the_app_has_read_before_does_not_hang_us(sessions: FakeSessions, read: str) -> None:
    app = make_app(sessions)

    @app.before_request
    def look_at_the_body() -> None:
        found = getattr(request, read)
        if read == "stream":
            found.read()
        elif callable(found):
            found()

    response = app.test_client().post(f"{PREFIX}/start", json={"seconds": 5})
    assert response.status_code == 200
    assert sessions.asked[0].seconds == (300.0 if read == "stream" else 5.0)


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_failure_of_the_session_is_answered_by_its_own_words(client: FlaskClient, sessions: FakeSessions) -> None:
    assert error_of(client.post(f"{PREFIX}/stop"))[:2] == (409, "not_running")
    client.post(f"{PREFIX}/start")
    assert error_of(client.post(f"{PREFIX}/start"))[:2] == (409, "already_running")
    sessions.fault = DiskFull("the disk is full; make room")
    assert error_of(client.post(f"{PREFIX}/stop")) == (507, "disk_full", "the disk is full; make room")


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize(
    "fault", [RuntimeError("s3cret"), RecursionError(), MemoryError(), OSError(28, "s3cret", "/root")]
)
def test_a_fault_is_an_internal_error_that_is_logged_once_and_says_nothing(
    sessions: FakeSessions, name: str, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(sessions)
    app.debug = True
    app.config.update(PROPAGATE_EXCEPTIONS=True, TRAP_HTTP_EXCEPTIONS=True, TRAP_BAD_REQUEST_ERRORS=True)
    sessions.fault = fault
    status, code, message = error_of(app.test_client().open(f"{PREFIX}/{name}", method=ENDPOINTS[name].method))
    assert (status, code) == (500, "internal")
    assert "s3cret" not in message
    assert "Traceback" not in message
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == ["flask_profiling"]


def test_refusals_need_none_of_flasks_settings(sessions: FakeSessions) -> None:
    app = make_app(sessions)
    app.debug = True
    app.config.update(PROPAGATE_EXCEPTIONS=True, TRAP_HTTP_EXCEPTIONS=True, TRAP_BAD_REQUEST_ERRORS=True)
    client = app.test_client()
    assert error_of(client.post(f"{PREFIX}/start", json=5))[0] == 400
    assert error_of(client.post(f"{PREFIX}/start", data=b"x" * 70_000))[0] == 413
    assert error_of(client.get(f"{PREFIX}/start"))[0] == 405


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), SystemExit(3)])
def test_the_end_of_the_process_is_not_held_up(
    client: FlaskClient, sessions: FakeSessions, fault: BaseException
) -> None:
    sessions.fault = fault
    with pytest.raises(type(fault)):
        client.get(f"{PREFIX}/status")


def test_a_gate_that_breaks_lets_nobody_in(sessions: FakeSessions) -> None:
    def admit(environ: Mapping[str, object]) -> None:
        raise ZeroDivisionError

    assert error_of(make_app(sessions, admit=admit).test_client().post(f"{PREFIX}/start"))[0] == 500
    assert sessions.asked == []


# -- the app around us -------------------------------------------------------------------------------------------------


def test_the_apps_json_provider_is_not_used(sessions: FakeSessions) -> None:
    class Refusing(JSONProvider):
        def dumps(self, obj: object, **kwargs: object) -> str:
            raise AssertionError("not ours to use")

        def loads(self, s: str | bytes, **kwargs: object) -> object:
            raise AssertionError("not ours to use")

    app = make_app(sessions)
    app.json = Refusing(app)
    response = app.test_client().post(f"{PREFIX}/start", data=b'{"seconds": 5}', content_type="application/json")
    assert response.status_code == 200
    assert json.loads(response.get_data())["sessionId"] == "prof-1"


def test_the_apps_error_pages_are_not_used_for_our_errors_and_stay_for_the_apps(client: FlaskClient) -> None:
    app = make_app()

    @app.errorhandler(Exception)
    def page(error: Exception) -> tuple[str, int]:
        return "the app's page", 599

    client = app.test_client()
    assert error_of(client.post(f"{PREFIX}/stop"))[0] == 409
    assert error_of(client.get(f"{PREFIX}/stop"))[0] == 405
    assert client.get("/nowhere").status_code == 599


def test_what_the_app_does_after_each_request_is_done_for_ours_too() -> None:
    app = make_app()

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-App"] = "yes"
        return response

    for response in (app.test_client().get(f"{PREFIX}/status"), app.test_client().post(f"{PREFIX}/stop")):
        assert response.headers["X-App"] == "yes"


def test_an_http_error_of_the_app_before_our_view_is_json_too() -> None:
    app = make_app()

    @app.before_request
    def log_in() -> None:
        raise Teapot

    status, code, message = error_of(app.test_client().get(f"{PREFIX}/status"))
    assert (status, code) == (418, "i'm_a_teapot")
    assert "the app refused" in message


class Teapot(HTTPException):
    code = 418


def test_a_page_that_the_app_has_for_its_own_error_is_shown() -> None:
    app = make_app()

    @app.before_request
    def log_in() -> None:
        abort(401)

    @app.errorhandler(401)
    def page(error: Exception) -> tuple[str, int]:
        return "log in first", 401

    assert app.test_client().get(f"{PREFIX}/status").get_data(as_text=True) == "log in first"


def test_an_answer_that_the_app_gives_before_our_view_is_given() -> None:
    app = make_app()

    @app.before_request
    def redirect() -> None:
        abort(Response("elsewhere", 302, {"Location": "/login"}))

    assert app.test_client().get(f"{PREFIX}/status").headers["Location"] == "/login"


def test_an_error_of_the_app_that_carries_its_own_answer_is_given_as_it_is() -> None:
    app = make_app()

    @app.before_request
    def refuse() -> None:
        raise Teapot(response=Response("the app's own words", 418))

    assert app.test_client().get(f"{PREFIX}/status").get_data(as_text=True) == "the app's own words"


def test_an_exception_of_the_app_before_our_view_is_the_apps() -> None:
    class NotLoggedIn(Exception):
        pass

    app = make_app()

    @app.before_request
    def log_in() -> None:
        raise NotLoggedIn

    @app.errorhandler(NotLoggedIn)
    def page(error: Exception) -> tuple[str, int]:
        return "log in first", 403

    assert app.test_client().get(f"{PREFIX}/status").get_data(as_text=True) == "log in first"


def test_two_apps_have_their_own_sessions() -> None:
    first, second = FakeSessions(), FakeSessions()
    clients = make_app(first).test_client(), make_app(second).test_client()
    clients[0].post(f"{PREFIX}/start")
    assert (len(first.asked), len(second.asked)) == (1, 0)
    assert clients[1].get(f"{PREFIX}/status").json["active"] is False


def test_another_prefix_is_served() -> None:
    assert make_app(prefix="/internal/x").test_client().get("/internal/x/status").status_code == 200


def test_inside_another_blueprint_it_is_served_under_both_prefixes() -> None:
    app = Flask(__name__)
    app.extensions["profiling"] = ProfilingState(CONFIG, FakeSessions())  # type: ignore[arg-type]
    outer = Blueprint("outer", __name__, url_prefix="/outer")
    outer.register_blueprint(build_blueprint(admit=lambda environ: None, limit=nothing), url_prefix="/inner")
    app.register_blueprint(outer)
    assert app.test_client().get("/outer/inner/status").status_code == 200
    assert "outer.profiling.status" in app.view_functions


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:8000", "[::1]:8000"])
@pytest.mark.parametrize(
    "kind",
    [
        {"host_matching": True, "static_host": "localhost"},
        {"subdomain_matching": True},
        {},  # before Flask 3.1 a SERVER_NAME alone restricts the Hosts
    ],
)
def test_an_app_that_finds_its_routes_by_host_is_served_on_each(kind: dict[str, object], host: str) -> None:
    app = Flask(__name__, **kind)  # type: ignore[arg-type]
    app.config["SERVER_NAME"] = "shop.test"
    wire(app)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Werkzeug: the Host is not the SERVER_NAME
        answer = app.test_client().post(f"{PREFIX}/start", headers={"Host": host})
    assert (answer.status_code, answer.json["message"]) == (200, "Profiling session started")


def test_a_foreign_host_is_refused_by_an_app_that_finds_its_routes_by_host() -> None:
    app = Flask(__name__, host_matching=True, static_host="localhost")
    wire(app)
    answer = app.test_client().post(f"{PREFIX}/stop", headers={"Host": "evil.test"})
    assert answer.status_code == 403


def test_a_catch_all_of_the_app_does_not_take_our_addresses() -> None:
    app = make_app()

    @app.route("/<path:anything>", methods=["GET", "POST"])
    def everything(anything: str) -> str:
        return "the app"

    client = app.test_client()
    assert client.get(f"{PREFIX}/status").json["enabled"] is True
    assert error_of(client.post(f"{PREFIX}/status"))[0] == 405
    assert client.get(f"{PREFIX}/other").get_data(as_text=True) == "the app"


# -- writing for people ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.04, "0.0s"),
        (45.21, "45.2s"),
        (59.94, "59.9s"),
        (59.96, "1m"),
        (60, "1m"),
        (300, "5m"),
        (312.4, "5m 12s"),
        (3599.6, "1h"),
        (3723, "1h 2m 3s"),
        (7205, "2h 5s"),
    ],
)
def test_a_duration_is_written_for_people(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (BEGIN, "2026-03-01T12:00:00.250Z"),
        (None, None),
        (1e300, None),
        (-1e300, None),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(seconds: float | None, text: str | None) -> None:
    assert iso_time(seconds) == text


def test_no_absolute_path_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_directory(Path("profiling")) == "profiling"
    assert shown_directory(Path("var/x")) == "var/x"
    assert shown_directory(tmp_path / "var" / "x") == "var/x"
    assert shown_directory(Path("/somewhere/else/x")) == "x"


def test_the_artifacts_of_an_absolute_directory_are_named_without_it(sessions: FakeSessions) -> None:
    config = replace(CONFIG, output_dir=Path("/srv/hidden/out"))
    client = make_app(sessions, config=config).test_client()
    client.post(f"{PREFIX}/start")
    body = client.post(f"{PREFIX}/stop").get_data(as_text=True)
    assert "out/profile-prof-1.cpuprofile" in body
    assert "hidden" not in body


# -- whatever is sent --------------------------------------------------------------------------------------------------

header_text = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=30)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=10,
)
documents = st.dictionaries(
    st.one_of(st.sampled_from(["cpu", "heap", "allocations", "seconds"]), st.text(max_size=8)), json_values, max_size=5
)
FUZZED = make_app().test_client()
bodies = st.one_of(st.binary(max_size=200), documents.map(lambda document: json.dumps(document).encode()))


@given(
    name=st.sampled_from([*ENDPOINTS]),
    method=st.sampled_from(METHODS),
    query=st.binary(max_size=60),
    body=bodies,
    content_type=st.one_of(st.none(), st.sampled_from(["application/json", "text/plain"]), header_text),
    host=st.sampled_from(["localhost", "127.0.0.1:5000", "evil.example"]),  # odd ones are for the gate's own tests
    headers=st.dictionaries(
        st.sampled_from(["Origin", "Sec-Fetch-Site", "Authorization", "Content-Encoding", "X-Forwarded-For"]),
        st.one_of(header_text, st.sampled_from(["localhost", "http://localhost", "none", "Bearer x"])),
        max_size=2,
    ),
)
def test_nothing_that_is_sent_makes_us_fail(
    name: str, method: str, query: bytes, body: bytes, content_type: str | None, host: str, headers: dict[str, str]
) -> None:
    response = FUZZED.open(
        f"{PREFIX}/{name}",
        method=method,
        query_string=query.decode("latin-1"),
        data=body,
        content_type=content_type,
        headers={"Host": host, **headers},
    )
    assert response.status_code in (200, 204, 400, 403, 405, 409)
    if response.status_code >= 400 and method != "HEAD":
        error_of(response)
