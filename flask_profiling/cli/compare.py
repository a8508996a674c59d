"""``flask profiling compare`` and ``baseline``: recordings against recordings; exit status 1 where something grew."""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from .. import archive
from ..compare import RENDERERS, Rules, Run, Verdict, baseline_from_json, baseline_to_json, summarise
from ..compare import compare as verdict_of
from ..exports import difference
from . import completion
from .failure import FAILED, USAGE, Failure
from .options import json_option, output_directory, wants_json
from .render import plain, progress, say, say_json

Command = TypeVar("Command", bound=Callable[..., object])

THRESHOLDS = "profiling-thresholds.toml"
BASELINES = "profiling-baselines"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LARGEST = 64 * 1024 * 1024
_MOST_RUNS = 20


def _comparing(command: Command) -> Command:
    """Add the options of every command that compares."""
    options = [
        click.option(
            "--format",
            "style",
            type=click.Choice(list(RENDERERS)),
            default="text",
            help="How to print.",
            show_default=True,
        ),
        click.option(
            "--thresholds",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help=f"TOML with how much may grow  [default: {THRESHOLDS}, where it is]",
        ),
        click.option("--across-versions", is_flag=True, help="Compare although Python or packages differ."),
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(short_help="Compare two sessions: what is called more often now?")
@click.argument("base", shell_complete=completion.sessions)
@click.argument("new", default=archive.LAST, shell_complete=completion.sessions)
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a differential flame graph: one HTML file that needs no other.",
)
@_comparing
@click.pass_context
def compare(ctx: click.Context, /, base: str, new: str, page: Path | None, **given: object) -> None:
    """Compare the session NEW with BASE, per request of each route: exact call counts first, then
    allocations, then time. Each is a session's id or how it begins, "last", or a recording's file.

    Ends with 1 where a function is called more often than the thresholds allow. In their TOML file
    the first pattern that matches counts: [calls] with "shop.models:*" = "5%" or
    "sqlalchemy.pool.*" = "ignore"; [allocations] likewise; [time] with "GET /deals*" = "30%".

    \b
    Example:
      flask profiling compare prof-20261123-0301 last --format markdown
      flask profiling compare prof-20261123-0301 --html difference.html
    """
    directory = output_directory()
    rules = _rules(given)
    with progress("Reading the recordings"):
        before, after = archive.load(base, directory), archive.load(new, directory)
        runs = summarise(before), summarise(after)
    verdict = verdict_of(runs[:1], runs[1], rules, across_versions=bool(given["across_versions"]))
    if page is not None:
        with progress("Drawing what changed"):
            _write(page, difference(before, after, verdict), instead="name another file")
        say(f"{plain(page)} shows what changed, in any browser.", err=True)
    _finish(ctx, verdict, given)


@click.group(short_help="Save a session as a baseline, and check later ones.")
def baseline() -> None:
    """Keep what a session counted beside the code, and hold later sessions against it.

    \b
    Example:
      flask profiling baseline save main
      flask profiling baseline check main --format junit
    """


def _directory_option(command: Command) -> Command:
    return click.option(
        "--directory",
        "folder",
        type=click.Path(file_okay=False),
        default=BASELINES,
        show_default=True,
        help="Where baselines are.",
    )(command)


@baseline.command(short_help="Save sessions as a baseline.")
@click.argument("name", shell_complete=completion.baselines)
@click.argument("sessions", nargs=-1, shell_complete=completion.sessions)
@click.option("--add", is_flag=True, help="Add to its runs: several tell how much time varies by itself.")
@_directory_option
@json_option
@click.pass_context
def save(ctx: click.Context, name: str, sessions: tuple[str, ...], *, add: bool, folder: str) -> None:
    """Save SESSIONS (the last one, if none is named) as the baseline NAME.

    \b
    Example:
      flask profiling baseline save main
    """
    path = _baseline_path(folder, name)
    output = output_directory()
    with progress("Reading the recordings"):
        runs = [summarise(archive.load(session, output)) for session in sessions or (archive.LAST,)]
    if not all(run.routes for run in runs):
        raise Failure("a session without a request is no baseline; put load on the app while it runs", code="empty")
    if add and path.exists():
        runs = [*_read(path), *runs]
    runs = runs[-_MOST_RUNS:]
    _write(path, baseline_to_json(runs))
    if wants_json(ctx):
        say_json({"success": True, "file": str(path), "runs": [run.session_id for run in runs]})
        return
    say(f"Saved {plain(path)}: {', '.join(run.session_id for run in runs)}.")
    say(f"Next: keep it with the code, and run: flask profiling baseline check {name}")


@baseline.command(short_help="Check a session against a baseline.")
@click.argument("name", shell_complete=completion.baselines)
@click.argument("session", default=archive.LAST, shell_complete=completion.sessions)
@_directory_option
@_comparing
@click.pass_context
def check(ctx: click.Context, /, name: str, session: str, folder: str, **given: object) -> None:
    """Hold SESSION (the last one, if none is named) against the baseline NAME; ends with 1 where it
    calls more, as flask profiling compare does.

    \b
    Example:
      flask profiling baseline check main
    """
    path = _baseline_path(folder, name)
    base = _read(path)
    rules = _rules(given)
    with progress("Reading the recording"):
        new = summarise(archive.load(session, output_directory()))
    _finish(ctx, verdict_of(base, new, rules, across_versions=bool(given["across_versions"])), given)


def _finish(ctx: click.Context, verdict: Verdict, given: dict[str, object]) -> None:
    style = "json" if wants_json(ctx) else str(given["style"])
    say(RENDERERS[style](verdict))
    if verdict.regressions:
        raise click.exceptions.Exit(FAILED)


def _rules(given: dict[str, object]) -> Rules:
    """Read the thresholds: those that were named must be there."""
    named = given["thresholds"]
    path = Path(str(named or THRESHOLDS))
    if named is None and not path.is_file():
        return Rules.default()
    for module in ("tomllib", "tomli"):
        try:
            toml = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        return Rules.from_toml(_parsed(path, toml.loads, toml.TOMLDecodeError), path.name)
    here = sys.version.split()[0]
    raise Failure(
        f"reading {path} needs Python 3.11 or the package tomli (this is {here}); run: pip install tomli",
        code="missing_package",
    )


def _parsed(path: Path, parse: Callable[[str], dict[str, object]], fault: type[Exception]) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return parse(file.read(1_000_000).decode("utf-8"))
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except (fault, UnicodeDecodeError) as error:
        reason = f"is not TOML ({error})"
    raise Failure(f"the thresholds {path} {reason}; correct it, or --thresholds", code="usage", exit_status=USAGE)


def _baseline_path(folder: str, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise Failure(
            f"{name[:80]!r} cannot be the name of a baseline; use letters, digits, '.', '_' and '-'",
            code="usage",
            exit_status=USAGE,
        )
    return Path(folder) / f"{name}.json"


def _read(path: Path) -> Sequence[Run]:
    try:
        if not path.is_file():
            known = ", ".join(sorted(item.stem for item in path.parent.glob("*.json"))[:10]) or "none"
            raise Failure(
                f"there is no baseline {path.stem} in {path.parent} (there are: {known}); "
                f"save one: flask profiling baseline save {path.stem}",
                code="no_baseline",
            )
        with path.open("rb") as file:
            return baseline_from_json(file.read(_LARGEST), path.name)
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror}); check --directory") from None


def _write(path: Path, data: bytes, *, instead: str = "check --directory") -> None:
    """Write whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".tmp", delete=False) as file:
            try:
                file.write(data)
                file.close()
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise Failure(f"{path} cannot be written ({error.strerror}); {instead}") from None
