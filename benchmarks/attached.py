"""A process that DevTools is attached to and that records nothing: the client does what an open panel does.

It runs in a process of its own, so that its CPU time is not counted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

from flask_profiling import Profiling

# What the front end sends when it attaches; then it asks for the heap's size every two seconds.
ATTACHING = (
    "Profiler.enable",
    "Runtime.enable",
    "Debugger.enable",
    "Runtime.getIsolateId",
    "Runtime.runIfWaitingForDebugger",
)
ASKED_EVERY = 2.0

CLIENT = f"""
import json, sys, time
from websockets.sync.client import connect
with connect(sys.argv[1], max_size=None) as client:
    def call(method):
        client.send(json.dumps({{"id": 1, "method": method}}))
        while "id" not in json.loads(client.recv()):
            pass
    for method in {ATTACHING!r}:
        call(method)
    print("attached", flush=True)
    while True:
        call("Runtime.getHeapUsage")
        time.sleep({ASKED_EVERY})
"""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]


@contextmanager
def inspected(make_app: Callable[[], Flask], *, is_attached: bool) -> Iterator[Wsgi]:
    """Serve an app with its inspector open; ``is_attached`` says whether a client is there."""
    app = make_app()
    with tempfile.TemporaryDirectory() as directory:
        app.config.update(
            FLASK_ENV="development",
            PROFILING_ENABLED=True,
            PROFILING_OUTPUT_DIR=directory,
            PROFILING_INSPECTOR=True,
            PROFILING_INSPECTOR_PORT=0,
        )
        Profiling(app)
        state = app.extensions["profiling"]
        state.inspector.start(announce=lambda sentence: None)
        address = f"ws://{state.inspector.url.partition('?ws=')[2]}"
        client = _client(address) if is_attached else None
        try:
            yield app
        finally:
            if client is not None:
                client.kill()
                client.communicate()
            state.inspector.shut_down()
            state.sessions.shut_down()


def _client(address: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CLIENT, address]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if client.stdout is None or client.stdout.readline() != b"attached\n":
        raise RuntimeError("the client could not attach; is websockets installed?")
    return client
