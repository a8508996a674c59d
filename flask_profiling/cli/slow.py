"""``flask profiling slow``: the slow requests of a stored session."""

from __future__ import annotations

from pathlib import Path

import click

from ..archive import load
from ..archive import slow as slow_requests
from ..model import SlowRequest
from .options import json_option, wants_json
from .render import progress, say, say_json, sentence, table
from .stored import directory_option, session_argument

_HEADERS = ("", "Wall", "CPU", "Status", "Trace", "Route, and where most of the time went")
# enough to tell traces apart, and to name one by
_TRACE_LETTERS = 8


@click.command("slow", short_help="List the slow requests of a stored session.")
@session_argument
@directory_option
@json_option
@click.pass_context
def slow(ctx: click.Context, session: str, directory: Path) -> None:
    """List the slow requests of a stored session, the slowest first.

    A session keeps them where PROFILING_SLOW_REQUEST is set or where it was
    started with --slow, and their calls too where its engine is calltree.
    SESSION is the id of a session, how it begins, "last" (the default) or the
    file of a recording.

    \b
    Example:
      flask profiling slow
      flask profiling report --request 1 --open
      flask profiling export --request 1 --format cpuprofile
    """
    with progress("reading"):
        recording = load(session, directory)
        found = slow_requests(recording)
    if wants_json(ctx):
        rows = [_document(number, request) for number, request in enumerate(found.requests, 1)]
        say_json(
            {
                "success": True,
                "sessionId": recording.session.id,
                "threshold": found.threshold,
                "seen": found.seen,
                "requests": rows,
            }
        )
        return
    say(sentence(found.summary()))
    if not found.requests:
        return
    say()
    say(
        table(_HEADERS, [_row(number, request) for number, request in enumerate(found.requests, 1)], right=(0, 1, 2, 3))
    )
    say()
    if any(request.tree is not None for request in found.requests):
        say("Look at one alone: flask profiling report --request 1 --open")
    else:
        say("Their calls were not recorded one by one; start a session with: --cpu calltree")


def _row(number: int, request: SlowRequest) -> tuple[object, ...]:
    mostly = request.mostly()
    return (
        number,
        f"{request.wall_time:.3f} s",
        "" if request.cpu_time is None else f"{request.cpu_time:.3f} s",
        "running" if request.is_running else request.status or "",
        request.trace_id[:_TRACE_LETTERS],
        request.route if mostly is None else f"{request.route}: {mostly[1]:.0%} in {mostly[0].name}",
    )


def _document(number: int, request: SlowRequest) -> dict[str, object]:
    document = request.to_json()
    has_calls = document.pop("tree") is not None
    return {"request": number, **document, "hasCalls": has_calls}
