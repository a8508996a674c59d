"""Profiling: what is wired on an app, and what is not where the gate is closed."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from flask import Blueprint, Flask, Response, abort, request, send_file
from werkzeug.routing import BaseConverter
from werkzeug.wsgi import FileWrapper

import flask_profiling
from flask_profiling import Profiling, ProfilingError, profiling_blueprint
from flask_profiling.errors import ConfigurationError
from flask_profiling.extension import ProfilingState
from flask_profiling.lifecycle import Lifecycle
from flask_profiling.model import Allocations, CallGraphs
from flask_profiling.sessions import Stopped
from tests.components import requires
from tests.pythons import run_alone

START = "/debug/profiling/start"
STOP = "/debug/profiling/stop"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("FLASK_", "PROFILING_"))]:
        monkeypatch.delenv(name)


def open_app(tmp_path: Path, **settings: object) -> Flask:
    app = Flask("shop")
    app.config.update(
        FLASK_ENV="development",
        PROFILING_ENABLED=True,
        PROFILING_HEAP=False,
        PROFILING_OUTPUT_DIR=str(tmp_path / "profiling"),
        **settings,
    )
    return app


def routes(app: Flask) -> list[str]:
    return sorted(rule.rule for rule in app.url_map.iter_rules())


def sessions_of(app: Flask) -> ProfilingState:
    state = app.extensions["profiling"]
    assert isinstance(state, ProfilingState)
    return state


CLOSED = """
    import os, signal, sys, threading
    import click.testing  # Flask's test client brings it, and on 3.14 it brings asyncio
    import flask
    import flask.cli
    from flask import Flask
    before = set(sys.modules)
    forks = []
    os.register_at_fork = lambda **hooks: forks.append(hooks)
    from flask_profiling import Profiling, profiling_blueprint
    app = Flask("closed")
    wsgi, to_sync = app.wsgi_app, app.async_to_sync
    Profiling(app)
    Profiling().init_app(app)
    app.register_blueprint(profiling_blueprint)
    app.register_blueprint(profiling_blueprint, url_prefix="/elsewhere")
    client = app.test_client()
    assert [rule.rule for rule in app.url_map.iter_rules()] == ["/static/<path:filename>"]
    for name in ("start", "stop", "status", "reports", "cleanup"):
        for method in ("GET", "POST", "DELETE"):
            assert client.open("/debug/profiling/" + name, method=method).status_code == 404
    heavy = {"cProfile", "_lsprof", "tracemalloc", "gprof2dot", "objgraph", "flask_limiter", "limits", "websockets",
             "redis", "opentelemetry", "asyncio"}
    print(sorted(heavy & (set(sys.modules) - before)))
    assert app.extensions == {} and app.blueprints == {}
    assert not any(app.before_request_funcs.values()) and not any(app.after_request_funcs.values())
    assert not any(app.teardown_request_funcs.values()) and not app.teardown_appcontext_funcs
    assert app.wsgi_app == wsgi and app.async_to_sync == to_sync
    assert "wsgi_app" not in vars(app)
    assert threading.enumerate() == [threading.main_thread()]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not forks
    assert os.listdir(".") == []
"""


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PROFILING_ENABLED": "true"},
        {"FLASK_ENV": "production", "PROFILING_ENABLED": "true"},
        {"FLASK_ENV": "development"},
        {"FLASK_ENV": "development", "PROFILING_ENABLED": "false"},
        {"FLASK_ENV": "develop", "PROFILING_ENABLED": "true"},
    ],
)
def test_a_closed_gate_leaves_nothing_behind(environment: dict[str, str], tmp_path: Path) -> None:
    finished = run_alone(CLOSED, tmp_path, **environment)
    assert (finished.returncode, finished.stdout) == (0, "[]\n"), finished.stderr


def test_a_closed_gate_that_somebody_wanted_open_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("shop")
    app.config.update(PROFILING_ENABLED=True)
    with caplog.at_level(logging.INFO):
        Profiling(app)
    assert ["FLASK_ENV is unset, which means production" in record.getMessage() for record in caplog.records] == [True]


def test_a_closed_gate_that_nobody_wanted_open_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Profiling(Flask("shop"))
    assert caplog.records == []


@pytest.mark.parametrize("way", ["constructor", "init_app", "blueprint"])
def test_all_ways_of_wiring_give_the_same_five_endpoints(way: str, tmp_path: Path) -> None:
    app = open_app(tmp_path)
    if way == "constructor":
        Profiling(app)
    if way == "init_app":
        Profiling().init_app(app)
    if way == "blueprint":
        app.register_blueprint(profiling_blueprint)
    assert [route for route in routes(app) if "profiling" in route] == [
        f"/debug/profiling/{name}" for name in ("cleanup", "reports", "start", "status", "stop")
    ]
    assert app.test_client().get("/debug/profiling/status").status_code == 200


def test_a_prefix_given_with_the_blueprint_wins(tmp_path: Path) -> None:
    app = open_app(tmp_path, PROFILING_URL_PREFIX="/from/config")
    app.register_blueprint(profiling_blueprint, url_prefix="/mine")
    assert app.test_client().get("/mine/status").status_code == 200
    assert app.test_client().get("/from/config/status").status_code == 404


def test_a_second_wiring_changes_nothing(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    profiling = Profiling(app)
    state, wsgi, known = sessions_of(app), app.wsgi_app, routes(app)
    profiling.init_app(app)
    Profiling(app)
    app.register_blueprint(profiling_blueprint)
    assert (sessions_of(app), app.wsgi_app, routes(app)) == (state, wsgi, known)


def test_another_extension_or_blueprint_of_the_same_name_is_told(tmp_path: Path) -> None:
    extended, blueprinted = open_app(tmp_path), open_app(tmp_path)
    extended.extensions["profiling"] = object()
    with pytest.raises(ConfigurationError, match="another extension called 'profiling'; rename or remove"):
        Profiling(extended)
    blueprinted.register_blueprint(Blueprint("profiling", __name__))
    with pytest.raises(ConfigurationError, match="another blueprint called 'profiling'; rename or remove"):
        Profiling(blueprinted)
    assert not [route for app in (extended, blueprinted) for route in routes(app) if "start" in route]


@pytest.mark.parametrize("prefix", ["mine", "/<tenant>/mine", "/a b", "/../mine", 5])
def test_a_prefix_that_cannot_stand_before_a_path_is_a_mistake(tmp_path: Path, prefix: str) -> None:
    app = open_app(tmp_path)
    with pytest.raises(ConfigurationError, match="url_prefix is .*; it must be a path that starts with /"):
        app.register_blueprint(profiling_blueprint, url_prefix=prefix)
    assert routes(app) == routes(Flask("plain"))


@pytest.mark.parametrize("prefix", ["", "/"])
def test_the_endpoints_may_stand_at_the_root(tmp_path: Path, prefix: str) -> None:
    app = open_app(tmp_path)
    app.register_blueprint(profiling_blueprint, url_prefix=prefix)
    assert app.test_client().get("/status").status_code == 200


def test_what_hangs_on_the_public_blueprint_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mark(response: Response) -> Response:
        response.headers["X-Marked"] = "yes"
        return response

    for hooks in ("before_request_funcs", "after_request_funcs"):
        monkeypatch.setattr(profiling_blueprint, hooks, defaultdict(list))
    profiling_blueprint.before_request(lambda: abort(401) if "X-Admin" not in request.headers else None)
    profiling_blueprint.after_request(mark)
    app = open_app(tmp_path)
    app.register_blueprint(profiling_blueprint)
    assert app.blueprints["profiling"] is profiling_blueprint, "Flask-WTF exempts blueprints by identity"
    refused = app.test_client().post(START)
    assert (refused.status_code, refused.get_json()["error"]) == (401, "unauthorized")
    assert refused.headers["X-Marked"] == "yes"
    assert app.test_client().get("/debug/profiling/status", headers={"X-Admin": "me"}).status_code == 200
    assert "X-Marked" not in app.test_client().get("/").headers


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, "/ops/debug/profiling/status"), ({"url_prefix": "/mine"}, "/ops/mine/status")],
)
def test_in_a_parent_blueprint_the_endpoints_stand_below_it(
    tmp_path: Path, options: dict[str, str], expected: str
) -> None:
    app = open_app(tmp_path)
    parent = Blueprint("ops", __name__, url_prefix="/ops")
    parent.register_blueprint(profiling_blueprint, **options)
    app.register_blueprint(parent)
    assert expected in routes(app)
    assert app.test_client().get(expected).status_code == 200


def test_two_apps_in_one_process_have_sessions_of_their_own(tmp_path: Path) -> None:
    profiling = Profiling()
    apps = [open_app(tmp_path / name) for name in ("one", "two")]
    for app in apps:
        profiling.init_app(app)
    one, two = (app.test_client() for app in apps)
    assert one.post(START).status_code == 200
    assert two.get("/debug/profiling/status").get_json()["active"] is False
    assert two.post(START).status_code == 200
    assert one.post(STOP).status_code == two.post(STOP).status_code == 200


def test_every_mistake_in_the_configuration_is_in_one_message(tmp_path: Path) -> None:
    app = open_app(tmp_path, PROFILING_CPU="fast", PROFILING_MAX_DURATION="-1", PROFILING_RATE_LIMIT="often")
    with pytest.raises(ConfigurationError) as caught:
        Profiling(app)
    assert all(key in str(caught.value) for key in ("PROFILING_CPU", "PROFILING_MAX_DURATION", "PROFILING_RATE_LIMIT"))
    assert "profiling" not in app.extensions


def profiled(app: Flask, *requests: str) -> CallGraphs:
    """Profile some requests and return the call graphs."""
    client = app.test_client()
    state = sessions_of(app)
    assert client.post(START).status_code == 200
    for path in requests:
        client.get(path).get_data()
    return graphs(state.sessions.stop())


def graphs(stopped: Stopped) -> CallGraphs:
    recording = stopped.recording.recording(CallGraphs.kind)
    assert recording is not None
    assert isinstance(recording.data, CallGraphs)
    return recording.data


def called(graphs: CallGraphs, name: str) -> dict[str, int]:
    """Return how often the function ``name`` of this module was called, by route."""
    return {
        route: cost.calls
        for route, graph in graphs.routes.items()
        for function, cost in graph.functions.items()
        if function.name == name and function.file == __file__
    }


def test_requests_are_recorded_under_their_route(tmp_path: Path) -> None:
    app = open_app(tmp_path)

    @app.route("/items/<int:number>", methods=["GET"], endpoint="shop.item")
    def item(number: int) -> str:
        return str(number)

    Profiling(app)
    assert called(profiled(app, "/items/1", "/items/2"), "item") == {"GET /items/<int:number> [shop.item]": 2}


def test_a_path_without_a_route_is_recorded_as_such(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    Profiling(app)
    assert set(profiled(app, "/nowhere").routes) == {"GET (no route)"}


def test_a_converter_of_the_app_runs_once_per_request(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    runs = []

    class Loaded(BaseConverter):
        def to_python(self, value: str) -> str:
            runs.append(value)
            return value

    app.url_map.converters["loaded"] = Loaded

    @app.get("/things/<loaded:thing>")
    def view(thing: str) -> str:
        return thing

    Profiling(app)
    graphs = profiled(app, "/things/a", "/things/b")
    assert runs == ["a", "b"]
    assert called(graphs, "view") == {"GET /things/<loaded:thing> [view]": 2}


def test_a_streamed_body_belongs_to_its_request(tmp_path: Path) -> None:
    app = open_app(tmp_path)

    def body() -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    @app.get("/stream")
    def view() -> Response:
        return Response(body())

    Profiling(app)
    assert called(profiled(app, "/stream"), "body") == {"GET /stream [view]": 3}


def test_a_body_that_is_given_up_is_closed_and_counted(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    closed = []

    def body() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            closed.append(True)

    @app.get("/stream")
    def view() -> Response:
        return Response(body())

    Profiling(app)
    client = app.test_client()
    client.post(START)
    response = client.get("/stream", buffered=False)
    next(response.iter_encoded())
    response.close()
    stopped = sessions_of(app).sessions.stop()
    assert closed == [True]
    assert stopped.recording.requests["GET /stream [view]"].requests == 1


def test_a_file_goes_out_in_the_wrapper_of_the_server(tmp_path: Path) -> None:
    app = open_app(tmp_path)

    @app.get("/file")
    def view() -> Response:
        return send_file(BytesIO(b"content"), mimetype="text/plain")

    Profiling(app)
    client = app.test_client()
    client.post(START)
    handed: list[object] = []
    inner = app.wsgi_app

    def outside(environ, start_response):  # type: ignore[no-untyped-def]
        environ["wsgi.file_wrapper"] = FileWrapper
        result = inner(environ, start_response)
        handed.append(result)
        return result

    app.wsgi_app = outside  # type: ignore[method-assign]
    assert client.get("/file").get_data() == b"content"
    assert isinstance(handed[0], FileWrapper)


def test_an_exception_of_the_app_passes_through_and_counts_as_an_error(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    app.testing = True

    @app.get("/error")
    def view() -> str:
        raise LookupError("the host's own")

    Profiling(app)
    client = app.test_client()
    client.post(START)
    with pytest.raises(LookupError, match="the host's own"):
        client.get("/error")
    assert sessions_of(app).sessions.stop().recording.requests["GET /error [view]"].errors == 1


@requires("asgiref")
def test_an_async_view_is_followed_into_its_thread(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    threads = []

    def helper() -> str:
        threads.append(threading.current_thread())
        return "done"

    @app.get("/async")
    async def view() -> str:
        return helper()

    Profiling(app)
    graphs = profiled(app, "/async")
    assert threads[0] is not threading.current_thread()
    assert called(graphs, "helper") == {"GET /async [view]": 1}
    assert called(graphs, "view") == {"GET /async [view]": 1}


@pytest.mark.parametrize("path", ["/plain", pytest.param("/async", marks=requires("asgiref"))])
def test_what_a_view_allocates_is_the_apps_however_much_of_the_stack_is_known(tmp_path: Path, path: str) -> None:
    app = open_app(tmp_path)
    profiling = Profiling(app)
    kept = []

    @app.get("/plain")
    def plain() -> str:
        kept.append(bytearray(50_000))
        return "kept"

    @app.get("/async")
    async def view() -> str:
        return plain()

    client = app.test_client()
    # a server without threads runs in a command of ours
    command = compile("answer = ask()", Path(flask_profiling.__file__).with_name("cli") / "serve.py", "exec")
    with profiling.session(cpu="off", allocations=30) as measurement:
        exec(command, {"ask": lambda: client.get(path)})
    assert measurement.result is not None
    allocations = measurement.result.recording.recording("allocations")
    assert allocations is not None
    assert isinstance(allocations.data, Allocations)
    found = {frame.name: amount.size for frame, amount in allocations.data.by_line().items() if frame.file == __file__}
    assert found["plain"] >= 50_000


def test_the_endpoints_themselves_are_not_profiled(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    Profiling(app)
    assert profiled(app, "/debug/profiling/status").routes == {}


def test_code_is_profiled_by_a_session_of_its_own(tmp_path: Path) -> None:
    def work() -> int:
        return 1

    app = open_app(tmp_path)
    profiling = Profiling(app)
    with profiling.session(cpu="cprofile") as measurement:
        assert measurement.result is None
        work()
        work()
    assert measurement.result is not None
    assert measurement.result.session.id == measurement.session_id
    assert called(graphs(measurement.result), "work") == {"(code)": 2}
    assert (tmp_path / "profiling" / measurement.result.artifacts[0].filename).is_file()


def test_a_session_in_code_ends_with_an_exception_of_the_block(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    profiling = Profiling(app)
    with pytest.raises(LookupError), profiling.session():
        raise LookupError
    assert sessions_of(app).sessions.idle


def test_a_session_in_code_ends_no_other_and_lets_the_block_say_what_went_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = open_app(tmp_path)
    profiling = Profiling(app)
    client = app.test_client()
    with pytest.raises(LookupError), profiling.session() as measurement:
        client.post(STOP)
        other = client.post(START).get_json()["sessionId"]
        raise LookupError
    assert measurement.result is None
    assert f"{measurement.session_id} is over" in caplog.text
    assert client.post(STOP).get_json()["sessionId"] == other


def test_a_session_in_code_that_cannot_be_stored_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = open_app(tmp_path)
    with Profiling(app).session() as measurement:
        shutil.rmtree(tmp_path / "profiling")
    assert measurement.result is None
    assert f"session {measurement.session_id} is lost" in caplog.text


def test_a_session_in_code_says_why_the_gate_is_closed() -> None:
    app = Flask("shop")
    profiling = Profiling(app)
    with pytest.raises(ProfilingError, match="PROFILING_ENABLED"), profiling.session(app=app):
        pass
    with pytest.raises(ProfilingError, match="PROFILING_ENABLED"), profiling.session():
        pass


def test_a_session_in_code_takes_the_one_app_that_is_open(tmp_path: Path) -> None:
    closed, opened = Flask("closed"), open_app(tmp_path)
    profiling = Profiling(closed)
    profiling.init_app(opened)
    with profiling.session() as measurement:
        assert not sessions_of(opened).sessions.idle
    assert measurement.result is not None


def test_a_session_in_code_says_when_it_does_not_know_the_app() -> None:
    with pytest.raises(ProfilingError, match="pass app="), Profiling().session():
        pass


def test_a_fork_of_the_host_carries_no_session(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    Profiling(app)
    client = app.test_client()
    client.post(START)
    sessions = sessions_of(app).sessions
    lifecycle = Lifecycle()
    lifecycle._machines.add(sessions)
    lifecycle._after_fork()
    assert sessions.live is None
    sessions.attend()


def test_artifacts_hold_only_what_was_recorded(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    Profiling(app)
    client = app.test_client()
    client.post(START)
    answer = client.post(STOP).get_json()
    names = sorted(Path(name).name for name in answer["artifacts"])
    assert names == sorted(path.name for path in (tmp_path / "profiling").iterdir() if path.is_file())
    assert json.loads((tmp_path / "profiling" / next(name for name in names if name.endswith(".json"))).read_bytes())


def test_the_status_says_how_much_memory_a_session_holds(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    app.add_url_rule("/memory", view_func=lambda: "held")
    Profiling(app)
    client = app.test_client()
    prefix = "/debug/profiling"
    assert "memory" not in client.get(f"{prefix}/status").get_json()
    options = {"cpu": "calltree", "allocations": 1, "heap": False}
    assert client.post(f"{prefix}/start", json=options).status_code == 200

    def held() -> dict[str, int]:
        memory = client.get(f"{prefix}/status").get_json()["memory"]
        assert memory["pid"] == os.getpid()
        return {part["what"]: part["sizeBytes"] for part in memory["held"]}

    client.get("/memory")
    before = held()
    for _ in range(200):
        client.get("/memory")
    after = held()
    client.post(f"{prefix}/stop")
    assert set(after) == {"calltree", "tracemalloc"}
    # a time (8 bytes) and a place (8 bytes) for each call that began or ended: at least one of each per request
    assert after["calltree"] >= before["calltree"] + 200 * 2 * 16
    assert after["tracemalloc"] > 0
