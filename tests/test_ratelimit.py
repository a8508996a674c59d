"""The rate limit: what counts, for whom, and that the app's own Flask-Limiter notices nothing of it."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask, Response, jsonify
from flask.testing import FlaskClient
from flask_limiter import Limiter
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_profiling.config import Config, load
from flask_profiling.errors import ConfigurationError, TooManyRequests
from flask_profiling.ratelimit import CHECKS, RateLimit, peer
from tests.ports import free_port
from tests.pythons import run_alone

TWICE = replace(load({}, {}), rate_limit="2 per minute")
OWN_MESSAGE = "more than 2 per minute from one address"


def limited(app: Flask, config: Config = TWICE, *, now: Callable[[], float] = time.time) -> FlaskClient:
    """Add two endpoints that are limited, and answer as our views would."""
    limit = RateLimit(app, config, now=now)

    def view() -> Response:
        try:
            limit.check()
        except TooManyRequests as error:
            response = jsonify(message=error.message)
            response.status_code = error.status
            response.headers["Retry-After"] = str(error.retry_after)
            return response
        return jsonify(message="passed")

    app.add_url_rule("/start", "profiling.start", view, methods=["GET", "POST"])
    app.add_url_rule("/stop", "profiling.stop", view, methods=["GET", "POST"])
    return app.test_client()


def statuses(client: FlaskClient, path: str = "/start", times: int = 3, **options: object) -> list[int]:
    return [client.post(path, **options).status_code for _ in range(times)]  # type: ignore[arg-type]


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port on which somebody listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# -- what counts -------------------------------------------------------------------------------------------------------


def test_calls_over_the_limit_are_refused_and_told_when_to_come_again() -> None:
    client = limited(Flask(__name__))
    assert statuses(client, times=2) == [200, 200]
    refused = client.post("/start")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json["message"].startswith(OWN_MESSAGE)


def test_each_endpoint_is_counted_by_itself_so_that_a_session_can_always_be_stopped() -> None:
    client = limited(Flask(__name__))
    assert statuses(client, "/start") == [200, 200, 429]
    assert statuses(client, "/stop") == [200, 200, 429]


def test_each_address_is_counted_by_itself() -> None:
    client = limited(Flask(__name__))
    assert statuses(client, environ_base={"REMOTE_ADDR": "10.0.0.1"}) == [200, 200, 429]
    assert statuses(client, environ_base={"REMOTE_ADDR": "10.0.0.2"}) == [200, 200, 429]


def test_a_forwarded_address_is_not_believed() -> None:
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)  # type: ignore[method-assign]
    client = limited(app)
    found = [client.post("/start", headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code for n in range(3)]
    assert found == [200, 200, 429]


def test_a_client_without_an_address_is_limited_too() -> None:
    client = limited(Flask(__name__))
    assert statuses(client, environ_base={"REMOTE_ADDR": ""}) == [200, 200, 429]


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"REMOTE_ADDR": "10.0.0.1"}, "10.0.0.1"),
        ({"REMOTE_ADDR": ""}, "unknown"),
        ({}, "unknown"),
        ({"REMOTE_ADDR": "1.1.1.1", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": "10.0.0.1"}}, "10.0.0.1"),
        ({"REMOTE_ADDR": "1.1.1.1", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": None}}, "unknown"),
        ({"REMOTE_ADDR": "1.1.1.1", "HTTP_X_FORWARDED_FOR": "2.2.2.2", "HTTP_FORWARDED": "for=2.2.2.2"}, "1.1.1.1"),
    ],
)
def test_the_peer_is_who_the_server_saw(environ: dict[str, object], address: str) -> None:
    assert peer(environ) == address


def test_two_apps_count_apart() -> None:
    first, second = limited(Flask(__name__)), limited(Flask(__name__))
    assert statuses(first) == [200, 200, 429]
    assert statuses(second) == [200, 200, 429]


def test_several_limits_hold_together() -> None:
    client = limited(Flask(__name__), replace(TWICE, rate_limit="1/hour; 10/day"))
    assert statuses(client) == [200, 429, 429]


def test_many_threads_pass_no_more_often_than_the_limit_says() -> None:
    app = Flask(__name__)
    # The first call opens the window: until it stands, the in-memory storage of limits may lose a count.
    found = statuses(limited(app, replace(TWICE, rate_limit="20 per hour")), times=1)

    def call() -> None:
        found.append(app.test_client().post("/start").status_code)

    threads = [threading.Thread(target=call) for _ in range(39)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [200] * 20 + [429] * 20


def test_time_heals() -> None:
    app = Flask(__name__)
    client = limited(app, replace(TWICE, rate_limit="1 per second"))
    assert statuses(client, times=2) == [200, 429]
    until = time.monotonic() + 10
    while time.monotonic() < until and client.post("/start").status_code != 200:
        time.sleep(0.05)
    assert time.monotonic() < until


@pytest.mark.parametrize(("seconds", "status"), [(0, 429), (30, 200), (86_400, 200)])
def test_nobody_waits_until_a_clock_that_was_put_back_is_where_it_was(seconds: int, status: int) -> None:
    put_back = 0
    client = limited(Flask(__name__), replace(TWICE, rate_limit="2 per hour"), now=lambda: time.time() - put_back)
    assert statuses(client) == [200, 200, 429]
    put_back = seconds
    assert statuses(client, times=1) == [status]


def test_only_the_window_that_was_used_up_is_forgotten_when_the_clock_is_put_back() -> None:
    put_back = 0
    client = limited(Flask(__name__), replace(TWICE, rate_limit="2 per hour"), now=lambda: time.time() - put_back)
    assert statuses(client, "/stop", times=2) == statuses(client, times=2) == [200, 200]
    put_back = 86_400
    assert statuses(client, times=1) == [200]
    put_back = 0
    assert statuses(client, "/stop", times=1) == [429]


def test_no_thread_is_started_before_the_first_call() -> None:
    before = set(threading.enumerate())
    client = limited(Flask(__name__))
    assert set(threading.enumerate()) <= before
    assert statuses(client, times=1) == [200]


# -- what is configured ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["30 per minute", "5/second;100/hour", "1 per 2 days", "10/minute, 20/hour", "1/day|2/day"]
)
def test_a_limit_that_flask_limiter_understands_is_accepted(text: str) -> None:
    assert load({"PROFILING_RATE_LIMIT": text}, {}, checks=CHECKS).rate_limit == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "often",
        "30",
        "30 per moment",
        "0 per minute",
        "-1 per minute",
        "1/minute;",
        "1/minute\n2",
    ],
)
def test_another_one_is_a_mistake_at_start_up(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"PROFILING_RATE_LIMIT is '.*it must be a rate limit such as '30 per min"
    ):
        load({"PROFILING_RATE_LIMIT": text}, {}, checks=CHECKS)


def test_the_switch_of_flask_limiter_turns_ours_off() -> None:
    app = Flask(__name__)
    app.config["RATELIMIT_ENABLED"] = False
    assert statuses(limited(app), times=5) == [200] * 5


# -- the app's own limiter ---------------------------------------------------------------------------------------------


def app_with_limiter(**config: object) -> tuple[Flask, Limiter]:
    app = Flask(__name__)
    app.config.update(RATELIMIT_STORAGE_URI="memory://", **config)

    @app.get("/")
    def index() -> str:
        return "hello"

    return app, Limiter(lambda: "everybody", app=app)


def test_the_app_is_not_touched() -> None:
    app, limiter = app_with_limiter(RATELIMIT_DEFAULT="5 per hour")
    config, extensions = dict(app.config), {"limiter": {limiter}}
    hooks = [dict(app.before_request_funcs), dict(app.after_request_funcs), dict(app.teardown_request_funcs)]
    client = limited(app)
    client.post("/start")
    assert dict(app.config) == config
    assert app.extensions == extensions
    assert [dict(app.before_request_funcs), dict(app.after_request_funcs), dict(app.teardown_request_funcs)] == hooks


def test_an_app_without_a_limiter_gets_none() -> None:
    app = Flask(__name__)
    config = dict(app.config)
    assert statuses(limited(app)) == [200, 200, 429]
    assert app.extensions == {}
    assert dict(app.config) == config


def test_the_apps_default_limit_is_enforced_once_and_ours_does_not_use_it_up() -> None:
    app, _ = app_with_limiter(RATELIMIT_DEFAULT="4 per hour", RATELIMIT_APPLICATION="100 per hour")
    client = limited(app)
    assert statuses(client) == [200, 200, 429]
    assert [client.get("/").status_code for _ in range(5)] == [200] * 4 + [429]


def test_the_apps_counters_hold_what_the_app_counts_and_nothing_else() -> None:
    app, limiter = app_with_limiter(RATELIMIT_DEFAULT="9 per hour")
    client = limited(app)
    client.get("/")
    before = dict(limiter.storage.storage)  # type: ignore[attr-defined]
    statuses(client, "/start")
    added = set(limiter.storage.storage) - set(before)  # type: ignore[attr-defined]
    assert all("profiling.start" in key and "flask_profiling" not in key for key in added)
    assert len(added) == 1


def test_a_limiter_that_the_app_made_after_us_and_switched_off_stays_off() -> None:
    app = Flask(__name__)
    client = limited(app)
    statuses(client)
    later = Flask(__name__)
    limited(later)
    limiter = Limiter(lambda: "everybody", app=later, default_limits=["1 per day"], enabled=False)
    assert not limiter.enabled


def test_the_apps_headers_speak_of_the_apps_limits() -> None:
    app, _ = app_with_limiter(RATELIMIT_DEFAULT="7 per hour", RATELIMIT_HEADERS_ENABLED=True)
    client = limited(app)
    assert client.post("/start").headers["X-RateLimit-Limit"] == "7"


# -- PROFILING_LIMITER=host --------------------------------------------------------------------------------------------

HOST = replace(TWICE, limiter="host")


def test_the_apps_limiter_counts_where_it_is_asked_to() -> None:
    app, limiter = app_with_limiter()
    client = limited(app, HOST)
    assert statuses(client) == [200, 200, 429]
    assert any("profiling.start" in key for key in limiter.storage.storage)  # type: ignore[attr-defined]
    limiter.reset()
    assert statuses(client) == [200, 200, 429]


def test_the_apps_limiter_still_counts_by_the_peer() -> None:
    app, _ = app_with_limiter()
    client = limited(app, HOST)
    assert statuses(client, environ_base={"REMOTE_ADDR": "10.0.0.1"}) == [200, 200, 429]
    assert statuses(client, environ_base={"REMOTE_ADDR": "10.0.0.2"}) == [200, 200, 429]


def test_the_apps_limiter_may_be_made_after_us() -> None:
    app = Flask(__name__)
    client = limited(app, HOST)
    limiter = Limiter(lambda: "everybody", app=app, storage_uri="memory://")
    assert statuses(client) == [200, 200, 429]
    assert limiter.storage.storage  # type: ignore[attr-defined]


def test_without_a_limiter_of_the_app_ours_counts_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    assert statuses(limited(Flask(__name__), HOST)) == [200, 200, 429]
    assert [record.message for record in caplog.records if record.name == "flask_profiling"] == [
        "PROFILING_LIMITER is host, and the app has no Flask-Limiter; a limiter of our own counts"
    ]


def test_a_failing_storage_of_the_apps_limiter_lets_requests_pass(caplog: pytest.LogCaptureFixture) -> None:
    app, limiter = app_with_limiter()
    client = limited(app, HOST)

    class Broken:
        def hit(self, *args: object, **named: object) -> bool:
            raise ConnectionError("redis://:hunter2@host is down")

    limiter._limiter = Broken()  # type: ignore[assignment]  # there is no public way to a storage that fails
    assert statuses(client, times=4) == [200] * 4
    ours = [record for record in caplog.records if record.name == "flask_profiling"]
    assert [record.message for record in ours] == [
        "the rate limit cannot be counted (ConnectionError); requests pass uncounted"
    ]


class Refusing:
    """The strategy of a limiter whose limit is used up until the moment that ``until`` tells."""

    def __init__(self, until: Callable[[], float]) -> None:
        self._until = until

    def hit(self, *args: object, **named: object) -> bool:
        return False

    def get_window_stats(self, *args: object) -> tuple[float, int]:
        return self._until(), 0


def unknown() -> float:
    raise ConnectionError


@pytest.mark.parametrize(
    "until",
    [
        pytest.param(lambda: time.time() + 61.4, id="a storage that rounds up"),
        pytest.param(unknown, id="a storage that fails after counting"),
    ],
)
def test_nobody_waits_longer_than_the_window(until: Callable[[], float]) -> None:
    app, limiter = app_with_limiter()
    client = limited(app, HOST)
    limiter._limiter = Refusing(until)  # type: ignore[assignment]  # there is no public way to such a storage
    refused = client.post("/start")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")


# -- storages ----------------------------------------------------------------------------------------------------------


def test_a_storage_that_refuses_leaves_the_limit_to_the_worker() -> None:
    pytest.importorskip("redis")
    app = Flask(__name__)
    app.config["RATELIMIT_STORAGE_URI"] = f"redis://127.0.0.1:{free_port()}/0"
    assert statuses(limited(app)) == [200, 200, 429]


def test_a_storage_that_does_not_answer_holds_nobody_up(silent_server: int) -> None:
    pytest.importorskip("redis")
    app = Flask(__name__)
    app.config["RATELIMIT_STORAGE_URI"] = f"redis://127.0.0.1:{silent_server}/0"
    begun = time.monotonic()
    assert statuses(limited(app)) == [200, 200, 429]
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("uri", ["nonsense://:hunter2@host", "hunter2", "redis://:hunter2@host:port", "memcached://"])
def test_a_storage_that_cannot_be_made_is_said_without_its_password(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)
    app.config["RATELIMIT_STORAGE_URI"] = uri
    with caplog.at_level(logging.INFO, "flask_profiling"):
        assert statuses(limited(app)) == [200, 200, 429]
    assert "hunter2" not in "".join(
        record.getMessage() for record in caplog.records if record.name == "flask_profiling"
    )


def test_a_storage_with_a_wrong_option_leaves_the_limit_to_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("redis")
    app = Flask(__name__)
    app.config["RATELIMIT_STORAGE_URI"] = "redis://127.0.0.1:1/0"
    app.config["RATELIMIT_STORAGE_OPTIONS"] = {"no_such_option": 1}
    assert statuses(limited(app)) == [200, 200, 429]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a thread's stack is not bounded so")
def test_where_no_thread_can_be_had_sessions_start_and_end_uncounted(tmp_path: Path) -> None:
    finished = run_alone(
        """
        import resource
        import threading
        from pathlib import Path
        from flask import Flask
        from flask_profiling import Profiling
        app = Flask("shop")
        app.config.update(
            FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_HEAP=False, PROFILING_RATE_LIMIT="2 per minute"
        )
        Profiling(app)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (512 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        client = app.test_client()
        for stack in (1 << 30, 0):
            threading.stack_size(stack)
            for name in ("start", "stop") * 3:
                print(client.post(f"/debug/profiling/{name}").status_code)
        """,
        tmp_path,
    )
    assert finished.stdout.split() == ["200"] * 6 + ["200"] * 4 + ["429"] * 2, finished.stderr
