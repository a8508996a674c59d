"""``flask profiling doctor``: what is open or closed, what is here, what stands in the way, each with the way out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import click
from flask.cli import ScriptInfo

from .. import doctor as checks
from ..config import load
from ..doctor import NOTE, OK, PROBLEM, Finding
from ..extension import Condition, examine
from .configuration import read_app_config
from .failure import FAILED, UNREACHABLE, Failure
from .options import server, server_is_named, server_options, wants_json
from .render import say, say_json, sentence, table

_COLOURS = {OK: "green", NOTE: "yellow", PROBLEM: "red"}


@click.command(short_help="Find out what stands in the way, and the way out.")
@server_options(seconds=5)
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Look at the gate, the configuration, the running server and the memory that a session holds in it,
    the engines and extras, the output directory, other profilers, ports and the clock; nothing is changed.

    Ends with 1 where something stands in the way.

    \b
    Example:
      flask --app shop profiling doctor
    """
    app_config, about_app, failure = read_app_config(ctx.ensure_object(ScriptInfo))
    found = [*_app(about_app, failure), *_server(ctx)]
    answers = any(finding.topic == "server" and finding.state == OK for finding in found)
    condition = examine(app_config, os.environ)
    found += _gate(condition, server_answers=answers)
    if condition.mistakes:
        found.append(Finding("configuration", PROBLEM, condition.mistakes, "flask profiling config"))
        found += checks.findings(None)
    else:
        found.append(Finding("configuration", OK, "every setting can be used"))
        found += checks.findings(load(app_config, os.environ))
    problems = [finding for finding in found if finding.state == PROBLEM]
    if wants_json(ctx):
        say_json({"success": not problems, "findings": [asdict(finding) for finding in found]})
    else:
        _show(found)
    if problems:
        raise click.exceptions.Exit(FAILED)


def _app(about_app: str, failure: Failure | None) -> Iterator[Finding]:
    if failure is None:
        yield Finding("app", OK, about_app)
        return
    what, _, way_out = failure.message.partition("; ")
    yield Finding("app", PROBLEM, what, way_out or "flask profiling config")


def _server(ctx: click.Context) -> Iterator[Finding]:
    """Ask the server for its status; that none runs is no fault unless its address was given."""
    remote = server(ctx)
    try:
        answer = remote.ask("GET", "/status", fields=("enabled", "active"), doing="Asking the server")
    except Failure as failure:
        what, _, way_out = failure.message.partition("; ")
        silent = failure.exit_status == UNREACHABLE and not server_is_named(ctx)
        yield Finding("server", NOTE if silent else PROBLEM, what, way_out)
        return
    state = "a session is running" if answer["active"] else "idle"
    yield Finding("server", OK, f"{remote.target.origin} answers: profiling is on, {state}{_workers(answer)}")
    yield Finding("memory", OK, _memory(answer))


def _memory(answer: Mapping[str, object]) -> str:
    """Say what the session that runs holds in the worker that answered, of what can be measured."""
    memory = answer.get("memory")
    if not isinstance(memory, dict) or not isinstance(memory.get("held"), list):
        return "the worker that answered records nothing, so profiling holds no memory there"
    parts = [f"{part.get('what')} {part.get('size')}" for part in memory["held"] if isinstance(part, dict)]
    return f"the session holds in worker {memory.get('pid')}: {', '.join(parts) or 'nothing that can be measured'}"


def _workers(answer: Mapping[str, object]) -> str:
    workers = answer.get("workers")
    if not isinstance(workers, list) or not workers:
        return ""
    pids = ", ".join(str(worker.get("pid")) for worker in workers if isinstance(worker, dict))
    return f"; {len(workers)} worker{'s' if len(workers) > 1 else ''} ({pids})"


def _gate(condition: Condition, *, server_answers: bool) -> Iterator[Finding]:
    """Say whether profiling is open in this shell: closed is no fault where the server itself is open."""
    if condition.is_open:
        yield Finding("gate", OK, f"open here: {condition.reason}")
        return
    state = NOTE if server_answers else PROBLEM
    way_out = "correct that, or let the command open it for the server that it runs: flask profiling start"
    yield Finding("gate", state, f"closed here: {condition.reason}", way_out)


def _show(found: list[Finding]) -> None:
    for finding in found:
        mark = click.style(finding.state.rjust(7), fg=_COLOURS[finding.state], bold=True)
        say(f"{mark}  {click.style(finding.topic, bold=True)}")
        for line in finding.message.splitlines():
            say(sentence(line, indent=" " * 9))
        if finding.state != OK and finding.way_out:
            say(sentence(f"Way out: {finding.way_out}", indent=" " * 9))
    say()
    counts = {state: sum(finding.state == state for finding in found) for state in (PROBLEM, NOTE, OK)}
    say(table(("Problems", "Notes", "Fine"), [tuple(counts.values())], right=(0, 1, 2)))
