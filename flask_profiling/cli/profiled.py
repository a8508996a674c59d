"""Commands that put load on the app while a session runs: the server, the session around the load, what it found."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from types import FrameType

import click
from flask.cli import ScriptInfo

from .. import archive
from ..errors import ProfilingError
from ..loadtest import HotRoute, hottest
from .appserver import here, serving
from .client import Target
from .failure import USAGE, Failure
from .options import Server, server_is_named
from .render import plain

_INSISTING = 3


@contextlib.contextmanager
def served(ctx: click.Context, remote: Server, *, allow_remote: bool) -> Iterator[Target]:
    """Give the server that was named, or serve the app until the block ends.

    Raises Failure where the named one is not this machine, unless ``allow_remote``.
    """
    if not server_is_named(ctx):
        with serving(ctx.ensure_object(ScriptInfo), remote.target.prefix) as target:
            yield target
        return
    if not allow_remote and not remote.target.local:
        raise Failure(
            f"{remote.target.origin} is not this machine; load on somebody else's server needs --allow-remote",
            code="remote",
            exit_status=USAGE,
        )
    yield remote.target


class Interruption:
    """Ctrl-C, SIGTERM and SIGHUP while a session runs: the first one is a KeyboardInterrupt, or is only noted where
    :attr:`is_held`; the next one changes nothing, for the session is being stopped; a third one insists."""

    def __init__(self) -> None:
        self.is_held = False
        self.noted = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.noted += 1
        if (self.noted == 1 and not self.is_held) or self.noted >= _INSISTING:
            raise KeyboardInterrupt


@contextlib.contextmanager
def ended_by_signals() -> Iterator[Interruption]:
    """Handle the signals that end a command in a way that leaves no session behind."""
    interruption = Interruption()
    numbers = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    before = {number: signal.signal(number, interruption.note) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_session(remote: Server) -> tuple[Mapping[str, object], str]:
    """Stop the session; returns the server's answer, or an empty one and why there is none."""
    try:
        answer = remote.ask(
            "POST", "/stop", fields=("sessionId", "artifacts"), doing="Stopping the session, writing its files"
        )
    except Failure as failure:
        if failure.code == "unreachable":
            return {}, "the server is gone, so the session could not be stopped; look at the server's log"
        return {}, f"the session could not be stopped: {failure.message}"
    except KeyboardInterrupt:
        return {}, "the session was left running; end it with: flask profiling stop-session"
    return answer, ""


def artifacts_of(stopped: Mapping[str, object]) -> list[str]:
    """Return the files that a stop answered, as the server named them."""
    paths = stopped.get("artifacts")
    return [plain(path) for path in paths] if isinstance(paths, list) else []


def hot_routes(artifacts: list[str]) -> tuple[list[HotRoute], str]:
    """Read the hottest functions from the stored recording, where it lies on this machine."""
    files = [path for path in here(artifacts) if path.name.startswith("recording-")]
    if not files:
        return [], ""
    try:
        recording = archive.load_file(files[0])
    except ProfilingError as error:
        return [], error.message
    graphs = recording.call_graphs()
    if graphs is None:
        return [], ""
    return hottest(graphs, recording.requests, has_overhead=recording.session.options.cpu == "cprofile"), ""
