"""``flask profiling report``: a stored session as one HTML file."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from ..archive import load
from ..exports import REPORT
from ..exports import export as exports_of
from ..model import human_size
from .backrefs import backrefs
from .failure import Failure
from .options import json_option, wants_json
from .render import plain, progress, say, say_json
from .stored import STDOUT, directory_option, output_option, request_option, save, session_argument


@click.command(short_help="Write a stored session as one HTML file.")
@session_argument
@output_option
@request_option
@click.option(
    "--backrefs",
    "class_name",
    metavar="CLASS",
    help="Instead, draw what holds the objects of a class in its heap snapshots: .dot, and .svg with Graphviz.",
)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@directory_option
@json_option
@click.pass_context
def report(
    ctx: click.Context,
    session: str,
    output: str | None,
    request: str | None,
    class_name: str | None,
    opens: bool,
    directory: Path,
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
      flask profiling report --backrefs shop.visits.Visit
    """
    if opens and output == STDOUT:
        raise click.UsageError("stdout cannot be opened in a browser; give -o FILE, or leave out --open")
    if class_name is not None:
        if request is not None:
            raise click.UsageError("a heap snapshot is of all requests; leave out --request or --backrefs")
        drawn = backrefs(session, class_name, output, directory, as_json=wants_json(ctx))
        if opens and drawn is not None:
            _open(drawn)
        return
    with progress("writing"):
        exported = exports_of(load(session, directory), REPORT, request=request)
        paths = save(exported, output, directory)
    if wants_json(ctx):
        files = [{"file": str(path), "size": len(exported[0].data)} for path in paths]
        say_json({"success": True, "sessionId": exported[0].session_id, "files": files})
    else:
        for path in paths:
            say(f"{plain(path)}  ({human_size(len(exported[0].data))})")
    if opens:
        _open(paths[0])


def _open(path: Path) -> None:
    if not webbrowser.open(path.absolute().as_uri()):
        raise Failure(f"no browser could be started; open {plain(path)} yourself")
