"""Commands about the session of a running server: parse, ask, print; they never load the app."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click

from ..config import setting_of
from ..model import human_size
from .failure import Failure
from .options import Server, server, server_options, span, span_or_off, wants_json
from .render import is_terminal, moment, plain, say, say_json, show_failure, show_notes, table

# ending of an artifact -> where people open it
OPENED_WITH: dict[str, str] = {
    ".cpuprofile": "Chrome DevTools: Performance > Load profile",
    ".heapsnapshot": "Chrome DevTools: Memory > Load profile",
    ".heapprofile": "Chrome DevTools: Memory > Load profile",
    ".prof": "python -m pstats FILE, or snakeviz FILE",
    ".dot": "Graphviz: dot -Tsvg FILE",
    ".svg": "any browser",
    ".html": "any browser",
}

_CPU = setting_of("PROFILING_CPU").allowed
_STATUS = ("enabled", "active")
_REPORTS = ("reports",)


@click.command(short_help="Is a session running, and what is there?")
@server_options(seconds=10)
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show whether a session is running, the last one, and what is stored.

    \b
    Example:
      flask profiling status --json
    """
    remote = server(ctx)
    answer = remote.ask("GET", "/status", fields=_STATUS, doing="Asking for the status")
    if wants_json(ctx):
        say_json(answer)
        return
    _show_status(remote, answer)


def overview(ctx: click.Context) -> None:
    """Show the status and the next sensible step: what ``flask profiling`` does without a command."""
    remote = server(ctx)
    try:
        answer = remote.ask("GET", "/status", fields=_STATUS, doing="Asking for the status")
    except Failure as failure:
        show_failure(failure, as_json=wants_json(ctx))
        if not wants_json(ctx):
            say("\nAll commands: flask profiling help", err=True)
        raise click.exceptions.Exit(failure.exit_status) from None
    if wants_json(ctx):
        say_json(answer)
        return
    _show_status(remote, answer)
    say()
    if answer["active"]:
        say("Next: put load on the app, then run: flask profiling stop-session")
    elif answer.get("reports"):
        say("Next: list the files with: flask profiling reports")
        say("      or profile again with: flask profiling start-session")
    else:
        say("Next: flask profiling start-session")
    say("All commands: flask profiling help")


@click.command("start-session", short_help="Start to profile the running app.")
@click.option("--cpu", metavar="ENGINE", help=f"{_CPU}  [default: the server's]")
@click.option("--heap/--no-heap", default=None, help="Take a heap snapshot at stop  [default: the server's]")
@click.option(
    "--allocations",
    type=click.IntRange(0),
    metavar="FRAMES",
    help="Record where memory is allocated, this many frames deep; 0 is off  [default: the server's]",
)
@click.option("--seconds", type=span, metavar="N", help="Stop by itself after N seconds.")
@click.option(
    "--slow",
    type=span_or_off,
    metavar="N",
    help="Keep requests that take N seconds or longer one by one; 0 is off  [default: the server's]",
)
@server_options(seconds=30)
@click.pass_context
def start_session(
    ctx: click.Context,
    cpu: str | None,
    heap: bool | None,
    allocations: int | None,
    seconds: float | None,
    slow: float | None,
) -> None:
    """Start to profile the running app, in all its workers.

    \b
    Example:
      flask profiling start-session --seconds 30
      flask profiling start-session --cpu off --heap    (a heap snapshot alone)
      flask profiling start-session --cpu calltree --slow 0.5
    """
    given = {"cpu": cpu, "heap": heap, "allocations": allocations, "seconds": seconds, "slow": slow}
    remote = server(ctx)
    answer = remote.ask(
        "POST",
        "/start",
        fields=("success", "sessionId"),
        doing="Starting the session",
        body={name: value for name, value in given.items() if value is not None},
    )
    if wants_json(ctx):
        say_json(answer)
        return
    say(f"{_good('Started')} {plain(answer['sessionId'])}.")
    show_notes(answer)
    if isinstance(answer.get("devToolsUrl"), str):
        say(f"DevTools: {plain(answer['devToolsUrl'])}")
    if answer.get("deadline"):
        say(f"It stops by itself at {moment(answer['deadline'])}.")
    say("Next: put load on the app, then run: flask profiling stop-session")


@click.command("stop-session", short_help="Stop the session and write its files.")
@server_options(seconds=300)
@click.pass_context
def stop_session(ctx: click.Context) -> None:
    """Stop the session and write its files.

    Interrupting this command does not take the stop back: the server goes on writing.

    \b
    Example:
      flask profiling stop-session
    """
    answer = server(ctx).ask(
        "POST",
        "/stop",
        fields=("success", "sessionId", "artifacts"),
        doing="Stopping the session and writing its files",
    )
    if wants_json(ctx):
        say_json(answer)
        return
    say(f"{_good('Stopped')} {plain(answer['sessionId'])} after {plain(answer.get('duration') or 'an unknown time')}.")
    show_notes(answer)
    slow = len(_mappings(answer.get("slowRequests")))
    if slow:
        say(f"It kept {_count(slow, 'slow request')}; list them with: flask profiling slow")
    artifacts = [plain(path) for path in _items(answer["artifacts"])]
    if not artifacts:
        say("It wrote no files.")
        return
    say()
    for path in artifacts:
        say(f"  {path}")
    say()
    endings = [ending for ending in OPENED_WITH if any(path.endswith(ending) for path in artifacts)]
    say(table(("Open", "With"), [(ending, OPENED_WITH[ending]) for ending in endings], indent="  "))


@click.command(short_help="List the files of past sessions.")
@server_options(seconds=10)
@click.pass_context
def reports(ctx: click.Context) -> None:
    """List the files of past sessions, the newest session first.

    \b
    Example:
      flask profiling reports
    """
    answer = server(ctx).ask("GET", "/reports", fields=_REPORTS, doing="Asking for the reports")
    if wants_json(ctx):
        say_json(answer)
        return
    sessions = _by_session(_mappings(answer["reports"]))
    if not sessions:
        say("There are no reports yet. Next: flask profiling start-session")
        return
    for number, (session, files) in enumerate(sessions.items()):
        if number:
            say()
        say(f"{click.style(plain(session), bold=True)}  {moment(files[0].get('created', ''))}")
        rows = [(file.get("type", ""), file.get("size", ""), file.get("filename", "")) for file in files]
        say(table(("Type", "Size", "File"), rows, right=(1,), indent="  "))
    say(f"\n{_amount(sessions)}.")


@click.command(short_help="Delete the files of past sessions.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@server_options(seconds=60)
@click.pass_context
def clean(ctx: click.Context, yes: bool) -> None:
    """Delete the files of past sessions on the server; a running session keeps its own.

    A person at a terminal is asked first; a script, or --json, is not.

    \b
    Example:
      flask profiling clean --yes
    """
    remote = server(ctx)
    asks = not yes and not wants_json(ctx) and is_terminal(sys.stdin)
    if asks and not _confirmed(remote):
        return
    answer = remote.ask("DELETE", "/cleanup", fields=("success", "cleaned"), doing="Deleting the reports")
    if wants_json(ctx):
        say_json(answer)
        return
    cleaned = answer["cleaned"] if isinstance(answer["cleaned"], dict) else {}
    counted = f"{_count(cleaned.get('reports'), 'report')} of {_count(cleaned.get('sessions'), 'session')}"
    say(f"{_good('Deleted')} {counted}.")
    show_notes(answer)


def _confirmed(remote: Server) -> bool:
    """Ask before deleting; raises Failure where the answer is no."""
    answer = remote.ask("GET", "/reports", fields=_REPORTS, doing="Asking for the reports")
    sessions = _by_session(_mappings(answer["reports"]))
    if not sessions:
        say("There is nothing to delete.")
        return False
    if click.confirm(f"Delete {_amount(sessions)} at {remote.target.origin}?"):
        return True
    raise Failure("nothing was deleted", code="declined")


def _show_status(remote: Server, answer: Mapping[str, object]) -> None:
    where = remote.target.origin
    if not answer["active"]:
        say(f"Profiling is {_good('on')} and idle at {where}.")
    else:
        say(f"A session is {click.style('running', fg='yellow', bold=True)} at {where}.")
    rows = [*_running(answer), *_last(answer), *_stored(answer)]
    if rows:
        width = max(len(name) for name, _ in rows)
        say()
        for name, text in rows:
            say(f"  {name.ljust(width)}  {text}")
    show_notes(answer)


def _running(answer: Mapping[str, object]) -> list[tuple[str, str]]:
    session = answer.get("session")
    if not answer["active"] or not isinstance(session, dict):
        return []
    rows = [("Session", plain(session.get("id", "?"))), ("Started", moment(session.get("started", "?")))]
    if session.get("deadline"):
        rows.append(("Ends", f"{moment(session['deadline'])} at the latest"))
    if session.get("engines"):
        rows.append(("Engines", ", ".join(plain(engine) for engine in _items(session["engines"]))))
    workers = _mappings(answer.get("workers"))
    if workers:
        states = (f"{plain(worker.get('pid', '?'))} {plain(worker.get('state', ''))}" for worker in workers)
        rows.append(("Workers", ", ".join(states)))
    return rows


def _last(answer: Mapping[str, object]) -> list[tuple[str, str]]:
    last = answer.get("lastSession")
    if not isinstance(last, dict):
        return []
    ended = f", ended {moment(last['endTime'])}" if last.get("endTime") else ""
    return [("Last", f"{plain(last.get('id', '?'))}, {plain(last.get('duration') or 'of unknown length')}{ended}")]


def _stored(answer: Mapping[str, object]) -> list[tuple[str, str]]:
    stored = _mappings(answer.get("reports"))
    return [("Reports", _count(len(stored), "file") + _total(stored))]


def _amount(sessions: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    files = [file for group in sessions.values() for file in group]
    return f"{_count(len(files), 'file')} of {_count(len(sessions), 'session')}{_total(files)}"


def _total(files: Sequence[Mapping[str, object]]) -> str:
    sizes = [file.get("sizeBytes") for file in files]
    total = sum(count for count in sizes if isinstance(count, int))
    return f", {human_size(total)}" if total else ""


def _by_session(files: Sequence[Mapping[str, object]]) -> dict[str, list[Mapping[str, object]]]:
    """Group files by session in the server's order, the newest session first, its files as they were written.

    The server knows the order; the files' times do not, where the clock was set.
    """
    groups: dict[str, list[Mapping[str, object]]] = {}
    for file in files:
        groups.setdefault(str(file.get("sessionId", "?")), []).append(file)
    return {session: found[::-1] for session, found in groups.items()}


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _mappings(value: object) -> list[dict[str, object]]:
    return [item for item in _items(value) if isinstance(item, dict)]


def _count(number: object, thing: str) -> str:
    return f"{plain(number)} {thing}{'' if number == 1 else 's'}"


def _good(text: str) -> str:
    return click.style(text, fg="green", bold=True)
