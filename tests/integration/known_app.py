"""A Flask app whose calls are known exactly: what the integration tests serve by real servers and count."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

from flask import Flask, Response

from flask_profiling import Profiling

KEPT: list[Kept] = []
BLOCKS: list[bytearray] = []
WAITING: list[bool] = []
_running = threading.Semaphore(0)


class Kept:
    """What the leaking route keeps for ever."""


def leaf() -> int:
    return 1


def shared(times: int) -> int:
    total = 0
    for _ in range(times):
        total += leaf()
    return total


def cheap() -> int:
    return shared(1)


def dear() -> int:
    return shared(10)


def recurse(depth: int) -> int:
    return 1 if depth == 0 else 1 + recurse(depth - 1)


def chunks() -> Iterator[bytes]:
    for _ in range(3):
        yield b"x" * leaf()


def create_app() -> Flask:  # noqa: C901  # many small views
    """Make the app; profiling is wired as a user would."""
    app = Flask(__name__)

    @app.get("/cheap")
    def cheap_view() -> str:
        time.sleep(0.001)  # lets another thread in between
        return str(cheap())

    @app.get("/dear")
    def dear_view() -> str:
        return str(dear() + recurse(5))

    @app.get("/stream")
    def stream_view() -> Response:
        return Response(chunks())

    @app.get("/async")
    async def async_view() -> str:
        return str(dear())

    @app.get("/items/<int:number>")
    def item_view(number: int) -> str:
        return str(number)

    @app.get("/error")
    def error_view() -> str:
        raise RuntimeError("wanted")

    @app.get("/leak")
    def leak_view() -> str:
        KEPT.append(Kept())
        return "kept"

    @app.get("/keep/<int:size>")
    def keep_view(size: int) -> str:
        BLOCKS.append(bytearray(size))
        return "kept"

    @app.get("/wait")
    def wait_view() -> str:
        WAITING.append(True)
        return str(_running.acquire(timeout=20))

    @app.get("/waiting")
    def waiting_view() -> str:
        return str(len(WAITING))

    @app.post("/release")
    def release_view() -> str:
        _running.release()
        return "released"

    @app.get("/pid")
    def pid_view() -> str:
        return str(os.getpid())

    Profiling(app)
    return app
