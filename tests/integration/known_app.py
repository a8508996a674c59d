"""A Flask app whose calls are known exactly: what the integration tests serve by real servers and count."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

from flask import Flask, Response

from flask_profiling import Profiling

# the application's paths below each route -> calls per round
TRUE_PATHS = {
    "GET /cheap [cheap_view]": {
        ("cheap_view",): 1,
        ("cheap_view", "cheap"): 1,
        ("cheap_view", "cheap", "shared"): 1,
        ("cheap_view", "cheap", "shared", "leaf"): 1,
    },
    "GET /dear [dear_view]": {
        ("dear_view",): 1,
        ("dear_view", "dear"): 1,
        ("dear_view", "dear", "shared"): 1,
        ("dear_view", "dear", "shared", "leaf"): 10,
        **{("dear_view", *["recurse"] * depth): 1 for depth in range(1, 7)},
    },
    "GET /stream [stream_view]": {("stream_view",): 1, ("chunks",): 4, ("chunks", "leaf"): 3},
    "GET /error [error_view]": {("error_view",): 1},
    "GET /items/<int:number> [item_view]": {("item_view",): 1},
    "GET /both [both_view]": {
        ("both_view",): 1,
        ("both_view", "quick"): 1,
        ("both_view", "quick", "prepare"): 1,
        ("both_view", "quick", "prepare", "pause"): 1,
        ("both_view", "slow"): 1,
        ("both_view", "slow", "prepare"): 1,
        ("both_view", "slow", "prepare", "pause"): 1,
    },
    "GET /async [async_view]": {
        ("async_view",): 1,
        ("async_view", "dear"): 1,
        ("async_view", "dear", "shared"): 1,
        ("async_view", "dear", "shared", "leaf"): 10,
    },
}

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


def pause(seconds: float) -> None:
    time.sleep(seconds)


def prepare(seconds: float) -> None:
    pause(seconds)


def quick() -> None:
    prepare(0.002)


def slow() -> None:
    prepare(0.1)


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

    @app.get("/both")
    def both_view() -> str:
        quick()
        slow()
        return "both"

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
