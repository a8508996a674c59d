"""An app whose calls, callers and shares of time are known: what the accuracy of a profiler is held against.

``python -m benchmarks.truth ROUNDS`` serves it to its threads in a process of its own, for profilers from outside.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask
from werkzeug.test import Client

THREADS = 4
PATHS = ("/cheap", "/dear", "/work")

# calls of each function, and of each caller and callee, in one round of all paths by one thread
SMALL = 6_000
CALLS = {
    "cheap_view": 1, "dear_view": 1, "work_view": 1, "cheap": 1, "dear": 1, "shared": 2, "leaf": 11, "recurse": 6,
    "chatty": 1, "small": SMALL, "solid": 1, "native": 1,
}  # fmt: skip
EDGES = {
    ("cheap_view", "cheap"): 1, ("cheap", "shared"): 1, ("dear_view", "dear"): 1, ("dear", "shared"): 1,
    ("shared", "leaf"): 11, ("dear_view", "recurse"): 1, ("recurse", "recurse"): 5, ("work_view", "chatty"): 1,
    ("chatty", "small"): SMALL, ("work_view", "solid"): 1, ("work_view", "native"): 1,
}  # fmt: skip
# what takes the time: many small calls, a loop without any, one long call into C
PIECES = ("chatty", "solid", "native")
_NUMBERS = [(number * 7919) % 100_003 for number in range(30_000)]


def leaf() -> None:
    """Let another thread run here, so that the stacks of all threads interleave."""
    time.sleep(0)


def shared(times: int) -> None:
    """Called by two functions, with different work."""
    for _ in range(times):
        leaf()


def cheap() -> None:
    """Call the shared function for one piece of work."""
    shared(1)


def dear() -> None:
    """Call the shared function for ten pieces of work."""
    shared(10)


def recurse(depth: int) -> int:
    """Call itself five times."""
    return 0 if depth == 0 else 1 + recurse(depth - 1)


def small(number: int) -> int:
    """Do little, about a microsecond of it."""
    for step in range(20):
        number ^= step
    return number


def chatty() -> int:
    """Take its time in many small calls."""
    total = 0
    for _ in range(SMALL):
        total = small(total)
    return total


def solid() -> int:
    """Take its time in a loop that calls nothing."""
    total = 0
    for number in range(120_000):
        total += number & 7
    return total


def native() -> list[int]:
    """Take its time in calls of C functions."""
    return sorted(_NUMBERS, reverse=True) + sorted(_NUMBERS[::3])


def make_app() -> Flask:
    """Return the app."""
    app = Flask(__name__)
    app.logger.disabled = True  # failures are counted

    @app.get("/cheap")
    def cheap_view() -> str:
        time.sleep(0.0005)
        cheap()
        return "cheap"

    @app.get("/dear")
    def dear_view() -> str:
        dear()
        return str(recurse(5))

    @app.get("/work")
    def work_view() -> str:
        return str(chatty() + solid() + len(native()))

    return app


def visit(app: Callable[..., Any], rounds: int) -> int:
    """Request every path ``rounds`` times in each of several threads at once; returns how many requests failed."""
    failed: list[str] = []
    barrier = threading.Barrier(THREADS)

    def browse() -> None:
        client = Client(app)
        barrier.wait()
        for _ in range(rounds):
            for path in PATHS:
                try:
                    if client.get(path).status_code != 200:
                        failed.append(path)
                except Exception:  # a profiler that raises outside of the app
                    failed.append(path)

    threads = [threading.Thread(target=browse) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(failed)


def shares(repeats: int) -> Mapping[str, float]:
    """Return the true share of each piece in the CPU time of all, without a profiler."""
    spent = dict.fromkeys(PIECES, 0.0)
    pieces: dict[str, Callable[[], object]] = {"chatty": chatty, "solid": solid, "native": native}
    for _ in range(repeats):
        for name, piece in pieces.items():
            began = time.thread_time()
            piece()
            spent[name] += time.thread_time() - began
    return {name: seconds / sum(spent.values()) for name, seconds in spent.items()}


if __name__ == "__main__":
    visit(make_app(), int(sys.argv[1]))
