"""P1, P2: where it is not opened on purpose it is closed, and closed means that nothing of it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.components import requires
from tests.integration.servers import OWN_APP, PREFIX, Server, own_app, serve

INSIDE = """
import gc, os, signal, sys, threading
from flask import Flask, jsonify
from flask_profiling import Profiling
def create_app():
    app = Flask("host")
    app.config.from_prefixed_env("HOST")
    if os.environ.get("WIRED") == "yes":
        Profiling(app)
    @app.errorhandler(404)
    def nothing(error):
        return "the host's own 404", 404
    @app.get("/pid")
    def pid_view():
        return str(os.getpid())
    @app.get("/inside")
    def inside():
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
        return jsonify(
            threads=sorted({thread.name.partition("-")[0].partition(" ")[0] for thread in threading.enumerate()}),
            handlers=[getattr(signal.getsignal(n), "__module__", str(signal.getsignal(n))) for n in numbers],
            hooks=[repr(sys.gettrace()), repr(sys.getprofile()), repr(threading.getprofile()), len(gc.callbacks)],
            routes=sorted(str(rule) for rule in app.url_map.iter_rules()),
            functions=[len(app.before_request_funcs), len(app.after_request_funcs), len(app.teardown_request_funcs)],
            wrapped=type(app.__dict__.get("wsgi_app")).__name__,
            extensions=sorted(app.extensions),
            heavy=sorted(
                name for name in sys.modules
                if name.split(".")[0] in ("cProfile", "tracemalloc", "objgraph", "gprof2dot", "websockets", "redis")
                or name.startswith(("flask_profiling.engines._", "flask_profiling.formats.", "flask_profiling.ins"))
            ),
        )
    return app
"""

# what closes -> the environment of the server (config by way of HOST_...)
CLOSED: dict[str, dict[str, str | None]] = {
    "nothing said": {"FLASK_ENV": None, "PROFILING_ENABLED": None},
    "production": {"FLASK_ENV": "production", "PROFILING_ENABLED": "true"},
    "no environment": {"FLASK_ENV": None, "PROFILING_ENABLED": "true"},
    "switched off": {"FLASK_ENV": "staging", "PROFILING_ENABLED": "off"},
    "sources disagree": {"FLASK_ENV": "staging", "HOST_ENV": "production", "PROFILING_ENABLED": "true"},
}
OPEN: dict[str, dict[str, str | None]] = {
    "staging": {"FLASK_ENV": "staging", "PROFILING_ENABLED": "true"},
    "sources agree": {"FLASK_ENV": None, "HOST_ENV": "local", "HOST_PROFILING_ENABLED": "true"},
}


def answers(server: Server) -> set[tuple[int, bytes]]:
    calls = [("POST", "start"), ("POST", "stop"), ("GET", "status"), ("GET", "reports"), ("DELETE", "cleanup")]
    found = [server.request(method, f"{PREFIX}/{name}") for method, name in calls]
    return {(answer.status, answer.body) for answer in found}


def inside(server: Server) -> Any:
    return json.loads(server.get("/inside").body)


class TestP01ClosedUnlessOpened:
    """Closed unless the environment is development, staging or local and the switch is on; who disagrees, closes.

    Every spelling and every pair of sources is in tests/test_gates.py.
    """

    @pytest.mark.parametrize("closed", CLOSED)
    def test_it_is_closed(self, closed: str, tmp_path: Path) -> None:
        environment = {**own_app(tmp_path, INSIDE), "WIRED": "yes", **CLOSED[closed]}
        with serve("werkzeug", tmp_path, app=OWN_APP, environment=environment) as server:
            assert answers(server) == {(404, b"the host's own 404")}

    @pytest.mark.parametrize("opened", OPEN)
    def test_it_is_open(self, opened: str, tmp_path: Path) -> None:
        environment = {**own_app(tmp_path, INSIDE), "WIRED": "yes", **OPEN[opened]}
        with serve("werkzeug", tmp_path, app=OWN_APP, environment=environment) as server:
            assert server.status()["enabled"] is True


class TestP02ClosedLeavesNothing:
    """Closed means no route, hook, thread, signal handler, file or heavy import: as an app without us."""

    @pytest.mark.parametrize("kind", ["werkzeug", pytest.param("preload", marks=requires("gunicorn"))])
    def test_a_closed_app_is_an_app_without_us(self, kind: str, tmp_path: Path) -> None:
        environment = own_app(tmp_path, INSIDE) | CLOSED["production"]
        with serve(kind, tmp_path, app=OWN_APP, environment=environment) as server:
            plain = inside(server)
        with serve(kind, tmp_path, app=OWN_APP, environment={**environment, "WIRED": "yes"}) as server:
            assert answers(server) == {(404, b"the host's own 404")}
            assert inside(server) == plain
            lines = [
                line for line in server.log.read_text("utf-8").splitlines() if "profiling:" in line or "stays" in line
            ]
            assert len(lines) == 1, "somebody wanted it open, so that one line says why it is not"
            assert "FLASK_ENV is 'production'" in lines[0]
        assert plain["heavy"] == []
        assert {path.name for path in tmp_path.iterdir() if path.suffix != ".log"} <= {"__pycache__", "own.py"}

    def test_the_comparison_would_see_an_open_one(self, tmp_path: Path) -> None:
        environment = {**own_app(tmp_path, INSIDE), "WIRED": "yes"}
        with serve("werkzeug", tmp_path, app=OWN_APP, environment=environment) as server:
            assert server.start().status == 200
            seen = inside(server)
            assert server.stop().status == 200
        assert "flask" in seen["threads"]
        assert seen["handlers"][0] == "flask_profiling.lifecycle"
        assert seen["wrapped"] == "RequestWatch"
        assert seen["extensions"] == ["profiling"]
        assert seen["heavy"]
        assert (tmp_path / "profiling").is_dir()
