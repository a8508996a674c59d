"""``flask profiling k6``: a real k6 puts load on the app while a session runs; it is never downloaded nor replaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from .appserver import end
from .failure import INTERRUPTED, USAGE, Failure
from .loadtest_report import show_files, show_route
from .options import Server, server, server_options, wants_json
from .profiled import Interruption, artifacts_of, ended_by_signals, hot_routes, served, stop_session
from .render import plain, say, say_json, sentence, show_failure

NOT_FOUND = 127
_STDERR = 2
_SUMMARY_LIMIT = 4_000_000
_SCRIPTS = Path(__file__).with_name("k6_scripts")
BUILT_IN = ("smoke", "load")
# exit code of k6 -> what it means (go.k6.io/k6/errext/exitcodes)
WORDS: dict[int, str] = {
    0: "every threshold of the script held",
    99: "thresholds of the script were crossed; k6 names them above",
    100: "the script's setup took too long",
    101: "the script's teardown took too long",
    104: "k6 cannot use its options; correct them in the script or in the environment (K6_*)",
    105: "k6 was interrupted",
    107: "the script has an error; k6 names it above",
    108: "the script ended the test by itself",
    110: "the script marked the test as failed",
}


@click.command("k6", short_help="Profile the app under the load of a k6 script.")
@click.argument("script", default="smoke")
@click.option("--path", "paths", multiple=True, metavar="PATH", help="What smoke and load ask for  [default: /]")
@click.option("--k6-bin", metavar="FILE", help="The k6 program  [env: PROFILING_K6_BIN; default: k6 on PATH]")
@click.option("--env", "-e", "variables", multiple=True, metavar="NAME=VALUE", help="Variables for the script's __ENV.")
@click.option("--cpu", metavar="ENGINE", help="The session's CPU engine  [default: the server's]")
@click.option("--heap/--no-heap", default=False, show_default=True, help="Take a heap snapshot at the end.")
@click.option("--allow-remote", is_flag=True, help="Send load to an address that is not this machine.")
@server_options(seconds=60)
@click.pass_context
def k6(ctx: click.Context, /, script: str, **given: object) -> None:
    """Start a session, let k6 run SCRIPT, stop the session, show the hottest functions.

    SCRIPT is a file, or one that comes along: smoke (does every path answer?) or load (visitors
    come, stay and go; VUS, DURATION, RAMP and P95 in --env change it). It finds the app's address
    in __ENV.BASE_URL. The app is served by this command unless --url or PROFILING_URL names a
    server. Ends with 1 where k6 says that thresholds were crossed, and with 127 without k6.

    \b
    Example:
      flask --app shop profiling k6 load --path /deals --env VUS=20
      flask profiling k6 test.js --url http://127.0.0.1:5000
    """
    program = _program(given["k6_bin"])
    file = _script(script)
    variables = _variables(given)
    remote = server(ctx)
    options = {name: given[name] for name in ("cpu", "heap") if given[name] is not None}
    with ended_by_signals() as ended, served(ctx, remote, allow_remote=bool(given["allow_remote"])) as target:
        talk = Server(target, remote.token, remote.seconds)
        command = [program, *_arguments(file, {"BASE_URL": target.origin, **variables})]
        code, summary, stopped, trouble = _profile(talk, command, options, ended, quiet=wants_json(ctx))
    artifacts = artifacts_of(stopped)
    routes, more_trouble = hot_routes(artifacts)
    failure = _judged(code, trouble or more_trouble)
    if wants_json(ctx):
        outcome = failure.to_json() if failure else {"success": True}
        found = [route.to_json() for route in routes]
        say_json({**outcome, "k6Exit": code, "summary": summary, "routes": found, "artifacts": artifacts})
    else:
        for route in routes:
            show_route(route)
        show_files(artifacts)
        if failure:
            show_failure(failure, as_json=False)
        else:
            say()
            say(sentence(f"k6: {WORDS[0]}."))
    if failure:
        raise click.exceptions.Exit(failure.exit_status)


def _program(given: object) -> str:
    """Find k6, or say with status 127 how to get it."""
    wanted = str(given or os.environ.get("PROFILING_K6_BIN") or "k6")
    found = shutil.which(wanted)
    if found is None:
        raise Failure(
            f"there is no program {wanted!r}; install k6 (https://grafana.com/docs/k6/latest/set-up/install-k6/), name "
            "it with --k6-bin or PROFILING_K6_BIN, or use flask profiling load-test, which needs nothing",
            code="no_k6",
            exit_status=NOT_FOUND,
        )
    return found


def _script(name: str) -> Path:
    path = _SCRIPTS / f"{name}.js" if name in BUILT_IN else Path(name)
    if path.is_file():
        return path
    raise Failure(
        f"there is no script {name!r}; name a file, or one of {', '.join(BUILT_IN)}", code="usage", exit_status=USAGE
    )


def _variables(given: Mapping[str, object]) -> dict[str, str]:
    pairs, paths = given["variables"], given["paths"]
    assert isinstance(pairs, tuple)
    assert isinstance(paths, tuple)
    variables = {"PATHS": " ".join(paths or ("/",))}
    for pair in pairs:
        name, equals, value = str(pair).partition("=")
        if not equals or not name.isidentifier():
            raise Failure(f"{pair!r} is no variable; write --env NAME=VALUE", code="usage", exit_status=USAGE)
        variables[name] = value
    for path in paths:
        if not path.startswith("/") or " " in path:
            raise Failure(f"{path!r} is no path; write one such as /deals", code="usage", exit_status=USAGE)
    return variables


def _arguments(script: Path, variables: Mapping[str, str]) -> list[str]:
    """Return the arguments that all versions of k6 know; it opens no port and reports to nobody."""
    pairs = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    return ["run", "--quiet", "--no-usage-report", "--address", "", *pairs, str(script)]


def _profile(
    remote: Server, command: Sequence[str], options: Mapping[str, object], ended: Interruption, *, quiet: bool
) -> tuple[int, dict[str, object], Mapping[str, object], str]:
    """Run k6 inside a session, which is stopped whatever happens; returns k6's code and summary, and the stop."""
    ended.is_held = True  # a start that is cut short may have started a session all the same
    remote.ask("POST", "/start", fields=("sessionId",), doing="Starting the session", body=options)
    code, summary = INTERRUPTED, dict[str, object]()
    try:
        ended.is_held = False
        if ended.noted:
            raise KeyboardInterrupt
        with tempfile.TemporaryDirectory(prefix="flask-profiling-k6-") as scratch:
            export = Path(scratch, "summary.json")
            code = _run([command[0], command[1], "--summary-export", str(export), *command[2:]], quiet=quiet)
            summary = _summary(export)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        raise Failure(f"{command[0]} cannot be run ({error.strerror}); check --k6-bin", code="no_k6") from None
    finally:
        ended.is_held = True
        stopped, trouble = stop_session(remote)
    return code, summary, stopped, trouble


def _run(command: Sequence[str], *, quiet: bool) -> int:
    """Run k6 to its end; with ``quiet`` its own words go to stderr. Ctrl-C reaches it too: it ends by itself."""
    environment = {**os.environ, "K6_AUTO_EXTENSION_RESOLUTION": "false"}
    out = _STDERR if quiet else None
    sys.stdout.flush()
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out)
    try:
        return process.wait()
    finally:
        end(process)


def _summary(path: Path) -> dict[str, object]:
    """Return k6's numbers; its verdicts on thresholds are left out, for they are inverted in this file."""
    try:
        with path.open("rb") as file:
            metrics = json.loads(file.read(_SUMMARY_LIMIT))["metrics"]
        return {
            name: {key: value for key, value in numbers.items() if isinstance(value, (int, float))}
            for name, numbers in metrics.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _judged(code: int, trouble: str) -> Failure | None:
    if code == INTERRUPTED:
        return Failure(
            f"interrupted; {trouble or 'its session is stopped'}", code="interrupted", exit_status=INTERRUPTED
        )
    if code:
        words = WORDS.get(code, f"k6 ended with {code}; it says more above")
        message = f"{words}\n{plain(trouble)}" if trouble else words
        return Failure(message, code="thresholds_crossed" if code == 99 else "k6_failed")
    return Failure(plain(trouble), code="stop_failed") if trouble else None
