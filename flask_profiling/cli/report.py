"""``flask profiling report``: a stored session as one HTML file."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from ..archive import load
from ..exports import REPORT
from ..exports import export as exports_of
from ..model import human_size
from .failure import Failure
from .options import json_option, wants_json
from .render import plain, progress, say, say_json
from .stored import STDOUT, directory_option, output_option, request_option, save, session_argument


@click.command(short_help="Write a stored session as one HTML file.")
@session_argument
@output_option
@request_option
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@directory_option
@json_option
@click.pass_context
def report(
    ctx: click.Context, session: str, output: str | None, request: str | None, opens: bool, directory: Path
) -> None:
    """Write a stored session as one HTML file that needs no other.

    Flame graph, routes, functions, memory, and what the session did not see.
    The file asks nobody for anything; it can be mailed as it is. SESSION is
    the id of a session, how it begins, "last" (the default) or the file of a
    recording.

    \b
    Example:
      flask profiling report --open
      flask profiling report --request 1
    """
    if opens and output == STDOUT:
        raise click.UsageError("stdout cannot be opened in a browser; give -o FILE, or leave out --open")
    with progress("writing"):
        exported = exports_of(load(session, directory), REPORT, request=request)
        paths = save(exported, output, directory)
    if wants_json(ctx):
        files = [{"file": str(path), "size": len(exported[0].data)} for path in paths]
        say_json({"success": True, "sessionId": exported[0].session_id, "files": files})
    else:
        for path in paths:
            say(f"{plain(path)}  ({human_size(len(exported[0].data))})")
    if opens and not webbrowser.open(paths[0].absolute().as_uri()):
        raise Failure(f"no browser could be started; open {plain(paths[0])} yourself")
