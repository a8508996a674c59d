"""``flask profiling view``: a stored session in the browser, without a file to look for."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import click

from ..archive import LAST, artifacts, files_of_each, load, recordings
from ..exports import export as exports_of
from ..exports import report_with_files
from ..model import SessionRecording, utc
from . import completion
from .export import OPENED_BY
from .failure import Failure
from .options import json_option, wants_json
from .render import plain, progress, say, say_json, sentence, table
from .stored import directory_option
from .viewserver import Page, Site, ViewServer

# Files that speedscope reads as they are, besides our recordings.
_PROFILES = (".cpuprofile", ".speedscope.json", ".pb.gz", ".collapsed.txt")
_LARGEST = 512 * 1024 * 1024
_MOST_LISTED = 10


@click.command(short_help="Show a stored session in the browser.")
@click.argument("session", required=False, metavar="[SESSION|FILE]", shell_complete=completion.sessions)
@click.option("--viewer", type=click.Choice(["report", "speedscope"]), default="report", help="What to look with.")
@click.option(
    "--speedscope-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="PATH",
    help="Your copy of speedscope (where its index.html is).",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Listen here; by default, any free port.")
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
@directory_option
@json_option
@click.pass_context
def view(
    ctx: click.Context,
    session: str | None,
    viewer: str,
    speedscope_dir: Path | None,
    port: int,
    no_browser: bool,
    directory: Path,
) -> None:
    """Show a stored session in the browser, until Ctrl-C.

    A small server on 127.0.0.1 shows this one thing under an address that
    nobody can guess; it cannot be reached from other machines. SESSION is the
    id of a session, how it begins or "last"; FILE is a recording, a report
    or, for speedscope, a profile. Without either it lists the sessions there
    are and shows the newest. The page names the session's files, too.

    \b
    Example:
      flask profiling view
      flask profiling view --viewer speedscope --speedscope-dir ./speedscope
    """
    name = session or LAST
    with progress("reading"):
        if viewer == "speedscope":
            site, path = _speedscope(name, directory, speedscope_dir)
        else:
            site, path = Site({"": _report(name, directory)}), ""
    try:
        server = ViewServer(site, port=port)
    except OSError as error:
        raise Failure(f"port {port} cannot be used ({error.strerror}); choose another, or none") from None
    url = server.base + path
    with server, suppress(KeyboardInterrupt):  # how a viewer ends
        if wants_json(ctx):
            say_json({"success": True, "url": url})
        else:
            say(url)
            if session is None:
                _say_sessions(directory)
            say(sentence("Only this machine can reach it. Ctrl-C ends it."), err=True)
        if not no_browser and not webbrowser.open(url):
            say("No browser could be started; open the address yourself.", err=True)
        server.serve_forever(poll_interval=0.2)
    say(err=True)


def _report(name: str, directory: Path) -> Page:
    path = Path(name)
    if path.suffix == ".html":
        return Page(_content(path), "text/html; charset=utf-8")
    if path.name.endswith(_PROFILES):
        raise Failure(f"{plain(path.name)} is no report; add --viewer speedscope, or give the session's id")
    recording = load(name, directory)
    return Page(report_with_files(recording, _files(recording, directory)), "text/html; charset=utf-8")


def _files(recording: SessionRecording, directory: Path) -> list[tuple[str, int, str]]:
    found = artifacts(recording.session.id, directory)
    return [(str(directory / item.filename), item.size, OPENED_BY.get(item.type, "")) for item in found]


def _say_sessions(directory: Path) -> None:
    """List what can be viewed, the newest first, beside the address on stdout."""
    found, numbers = recordings(directory), files_of_each(directory)
    rows: list[tuple[str, str, str, str]] = []
    for item in found[:_MOST_LISTED]:
        stored = utc(item.created)
        number = str(numbers[item.session_id])
        rows.append(("" if rows else "*", item.session_id, f"{stored:%Y-%m-%d %H:%M:%S} UTC", number))
    say(table(("", "Session", "Stored", "Files"), rows, right=(3,)), err=True)
    more = f"{len(found) - len(rows)} older ones: flask profiling reports. " if len(found) > len(rows) else ""
    say(sentence(f"{more}* is shown; name another to see that: flask profiling view SESSION"), err=True)


def _speedscope(name: str, directory: Path, folder: Path | None) -> tuple[Site, str]:
    if folder is None or not (folder / "index.html").is_file():
        raise Failure(
            "speedscope is not part of this package; unpack a release of it "
            "(npm pack speedscope, or its zip) and give --speedscope-dir, the folder of its index.html"
        )
    if Path(name).name.endswith(_PROFILES):
        title, data = Path(name).name, _content(Path(name))
    else:
        (exported,) = exports_of(load(name, directory), "speedscope")
        title, data = exported.session_id, exported.data
    site = Site({"profile": Page(data, "application/octet-stream")}, folder)
    return site, f"viewer/index.html#profileURL=../profile&title={quote(title)}"


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise Failure(
            f"{plain(path)} cannot be read ({error.strerror}); list what there is: flask profiling reports"
        ) from None
    if len(data) > _LARGEST:
        raise Failure(f"{plain(path)} is larger than {_LARGEST >> 20} MiB; open it with the tool it is for")
    return data
