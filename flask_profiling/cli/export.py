"""``flask profiling export``: a stored session in the format of another tool."""

from __future__ import annotations

from pathlib import Path

import click

from ..archive import load
from ..exports import TYPES
from ..exports import export as exports_of
from ..model import human_size
from .options import json_option, wants_json
from .render import plain, progress, say, say_json
from .stored import directory_option, output_option, request_option, save, session_argument

# What opens each type of file.
OPENED_BY = {
    "collapsed": "flamegraph.pl, inferno, speedscope",
    "speedscope": "speedscope.app, or: flask profiling view --viewer speedscope",
    "pprof": "go tool pprof, speedscope",
    "callgrind": "KCachegrind, QCachegrind",
    "cpuprofile": "Chrome DevTools (Performance), VS Code, speedscope",
    "trace": "ui.perfetto.dev, Chrome DevTools (Performance)",
    "pstats": "python -m pstats, snakeviz",
    "dot": "Graphviz",
    "svg": "any browser",
    "html": "any browser",
    "heapsnapshot": "Chrome DevTools (Memory), or: flask profiling heap-paths",
    "heapprofile": "Chrome DevTools (Memory), speedscope",
    "recording": "flask profiling report, export, compare",
}


@click.command(short_help="Write a stored session in another tool's format.")
@session_argument
@click.option(
    "--format", "type_", type=click.Choice(TYPES), required=True, metavar="FORMAT", help=f"One of {', '.join(TYPES)}."
)
@output_option
@request_option
@click.option("--per-thread", is_flag=True, help="One file for each thread (needs cpu=calltree).")
@directory_option
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    session: str,
    type_: str,
    output: str | None,
    request: str | None,
    per_thread: bool,
    directory: Path,
) -> None:
    """Write a stored session in another tool's format.

    SESSION is the id of a session, how it begins, "last" (the default) or the
    file of a recording. All formats are made of the same recording, so they
    agree with each other.

    \b
    Example:
      flask profiling export --format speedscope
      flask profiling export prof-2026 --format pprof -o profile.pb.gz
      flask profiling export --request 1 --format cpuprofile
    """
    with progress("writing"):
        exported = exports_of(load(session, directory), type_, per_thread=per_thread, request=request)
        paths = save(exported, output, directory)
    rows = list(zip(paths, exported, strict=False))
    if wants_json(ctx):
        files = [{"file": str(path), "size": len(item.data), "thread": item.title or None} for path, item in rows]
        say_json({"success": True, "sessionId": exported[0].session_id, "format": type_, "files": files})
        return
    for path, item in rows:
        say(f"{plain(path)}  ({human_size(len(item.data))}{', ' + plain(item.title) if item.title else ''})")
    if rows:
        say(f"Open with: {OPENED_BY[type_]}")
