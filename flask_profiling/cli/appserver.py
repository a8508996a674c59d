"""The app in a child process for as long as a command needs it, on a free port, with profiling on."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from flask.cli import ScriptInfo

from .client import Target
from .failure import Failure
from .render import plain, say

SECONDS_TO_START = 30.0
SECONDS_TO_END = 15.0
_LAST_LINES = 12
_LOOK_EVERY = 0.05
# Werkzeug's line for an answer: there are hundreds, and none says why a server ended
_ANSWERED = re.compile(r'" \d{3} -$')


def command_line(info: ScriptInfo, port: int) -> list[str]:
    """Return the command that serves the app of this command line on ``port``, as ``flask profiling start`` does."""
    app = ["--app", info.app_import_path] if info.app_import_path else []
    serve = ["profiling", "start", "--host", "127.0.0.1", "--port", str(port), "--no-reload", "--no-debugger"]
    return [sys.executable, "-m", "flask", *app, *serve]


@contextlib.contextmanager
def serving(info: ScriptInfo, prefix: str) -> Iterator[Target]:
    """Serve the app, which has its endpoints below ``prefix``, until the block ends.

    Raises Failure with the server's last words where it does not come up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile("w+b") as log:
        # a session of its own: Ctrl-C in the terminal is for this command, which stops the profiling first
        process = subprocess.Popen(
            command_line(info, port), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _await(process, port, lambda: _last_words(log.fileno()))
            yield Target("http", "127.0.0.1", port, prefix)
            if process.poll() is not None:
                say("The app's server has ended; it said:", err=True)
                for line in _last_words(log.fileno()):
                    say(line, err=True)
        finally:
            end(process)


def _await(process: subprocess.Popen[bytes], port: int, last_words: Callable[[], Sequence[str]]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(_LOOK_EVERY)
    what = "ended" if process.poll() is not None else f"was not ready within {SECONDS_TO_START:g} s"
    raise Failure("\n".join([f"the app's server {what}; it said:", *last_words()]), code="app_failed")


def _last_words(log: int) -> Sequence[str]:
    size = os.fstat(log).st_size
    text = os.pread(log, 20_000, max(0, size - 20_000)).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not _ANSWERED.search(line)]
    return [f"  {plain(line)}" for line in lines[-_LAST_LINES:]] or ["  (nothing)"]


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours: it is asked to, and killed where it does not."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def here(paths: Sequence[str]) -> list[Path]:
    """Return those of a server's artifacts that are files on this machine, seen from this directory."""
    return [path for path in map(Path, paths) if path.is_file()]
