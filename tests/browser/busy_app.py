"""An app with a function that is known to be hot and a class that is known to leak, for the tests in a browser."""

from __future__ import annotations

import os

from flask import Flask

from flask_profiling import Profiling

KEPT: list[Leaked] = []


class Leaked:
    """What one route keeps for ever."""


# Both do a little themselves, more than recording their calls takes: else nothing of their own is left to show.
def hot() -> int:
    return spin(30_000) + sum(range(5_000))


def mild() -> int:
    return spin(10_000) + sum(range(5_000))


def spin(times: int) -> int:
    total = 0
    for number in range(times):
        total += number * number % 7
    return total


def create_app() -> Flask:
    """Make the app: ``/work`` spends three quarters of its time below :func:`hot`."""
    app = Flask("busy", root_path=os.path.dirname(__file__))

    @app.get("/work")
    def work() -> str:
        return str(sum(hot() + mild() for _ in range(5)))

    @app.get("/leak/<int:number>")
    def leak(number: int) -> str:
        KEPT.extend(Leaked() for _ in range(number))
        return str(len(KEPT))

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    Profiling(app)
    return app
