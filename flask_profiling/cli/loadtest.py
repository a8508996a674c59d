"""``flask profiling load-test``: serve the app (or take one that runs), profile it under load, show what it cost."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from ..errors import BadRequest
from ..loadtest import (
    Address,
    Condition,
    HotRoute,
    Load,
    Outcome,
    Plan,
    Scenario,
    from_paths,
    parse_condition,
    parse_scenario,
)
from .client import Target
from .failure import INTERRUPTED, USAGE, Failure
from .loadtest_report import show
from .options import Server, number, server, server_options, span, wants_json
from .profiled import Interruption, artifacts_of, ended_by_signals, hot_routes, served, stop_session
from .render import live_line, plain, progress, say, say_json, sentence, show_failure

_VISITORS, _VISITORS_WITH_RATE, _SECONDS = 4, 32, 10.0
_LOOK_EVERY = 0.2
_WARM_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Profiled:
    """What the load and the session around it gave: ``stopped`` is the server's answer, empty where there is none."""

    outcome: Outcome
    session_id: str
    stopped: Mapping[str, object]
    trouble: str
    interrupted: bool
    routes: list[HotRoute]

    @property
    def artifacts(self) -> list[str]:
        """The files as the server named them."""
        return artifacts_of(self.stopped)


@click.command("load-test", short_help="Profile the app under load, and show what it cost.")
@click.option("--path", "paths", multiple=True, metavar="PATH[=WEIGHT]", help="What to ask for  [default: /]")
@click.option("--scenario", type=click.Path(dir_okay=False), metavar="FILE", help="A JSON file; see above.")
@click.option("--duration", type=span, metavar="SECONDS", help=f"How long to send  [default: {_SECONDS:g}]")
@click.option("--requests", type=click.IntRange(1), metavar="N", help="How many requests to send.")
@click.option("--concurrency", type=click.IntRange(1, 512), metavar="N", help="Visitors at a time  [default: 4; 32]")
@click.option("--rate", type=number(100_000, "requests per second"), metavar="N", help="Requests per second.")
@click.option("--fail-if", "conditions", multiple=True, metavar="RULE", help="End with 1 if so, as in 'p95>200ms'.")
@click.option("--warm-up/--no-warm-up", default=True, show_default=True, help="Ask for everything before, unprofiled.")
@click.option("--cpu", metavar="ENGINE", help="The session's CPU engine  [default: the server's]")
@click.option("--heap/--no-heap", default=False, show_default=True, help="Take a heap snapshot at the end.")
@click.option("--allow-remote", is_flag=True, help="Send load to an address that is not this machine.")
@server_options(seconds=30)
@click.pass_context
def load_test(ctx: click.Context, /, **given: object) -> None:
    """Start a session, put load on the app, stop the session, show requests and hottest functions.

    The app is served by this command, as by flask profiling start, unless --url or PROFILING_URL
    names a server. Each visitor sends its next request when the last is answered (closed loop);
    with --rate, requests are due at fixed times whether or not the app keeps up, and their latency
    counts from then. An answer of 400 and up is an error. What the app does once (compile templates,
    fill caches) is left out by asking for everything a few times before.

    A scenario file holds {"mix": [...]} (weighted, independent) or {"steps": [...]} (in order) of
    requests with path, method, headers, json|form|text, name, weight, capture.

    \b
    Example:
      flask --app shop profiling load-test --path / --path /deals=3
      flask profiling load-test --url http://127.0.0.1:5000 --rate 50
      flask --app shop profiling load-test --fail-if "p95>200ms"
    """
    scenario, plan, conditions = _wanted(given)
    options = {name: given[name] for name in ("cpu", "heap") if given[name] is not None}
    remote = server(ctx)
    with ended_by_signals() as ended, served(ctx, remote, allow_remote=bool(given["allow_remote"])) as target:
        if given["warm_up"]:
            _warm_up(target, scenario, plan, remote.seconds)
        profiled = _profile(Server(target, remote.token, remote.seconds), scenario, plan, options, ended)
    broken = [found for condition in conditions if (found := condition.broken_by(profiled.outcome))]
    failure = _judged(profiled, broken)
    if wants_json(ctx):
        say_json(_document(profiled, broken, failure))
    else:
        show(profiled.outcome, profiled.routes, profiled.artifacts)
        if failure:
            show_failure(failure, as_json=False)
        elif profiled.outcome.total().errors and not any(condition.is_about_errors for condition in conditions):
            say()
            say(sentence("Some requests failed. To end with 1 on that, add: --fail-if 'errors>0'"))
    if failure:
        raise click.exceptions.Exit(failure.exit_status)


def _wanted(given: Mapping[str, object]) -> tuple[Scenario, Plan, list[Condition]]:
    """Read what to send and how; raises Failure with the usage status before anything is started."""
    paths, file, rate = given["paths"], given["scenario"], given["rate"]
    assert isinstance(paths, tuple)
    try:
        if paths and file:
            raise BadRequest("--path and --scenario exclude each other; put the paths into the file")
        scenario = _scenario(Path(str(file))) if file else from_paths(paths or ("/",))
        conditions = given["conditions"]
        assert isinstance(conditions, tuple)
        parsed = [parse_condition(text) for text in conditions]
    except BadRequest as error:
        raise Failure(error.message, code="usage", exit_status=USAGE) from None
    duration, requests = given["duration"], given["requests"]
    if duration is None and requests is None:
        duration = _SECONDS
    visitors = given["concurrency"] or (_VISITORS if rate is None else _VISITORS_WITH_RATE)
    plan = Plan(visitors, duration, requests, rate)  # type: ignore[arg-type]  # click has read the numbers
    return scenario, plan, parsed


def _scenario(path: Path) -> Scenario:
    try:
        with path.open("rb") as file:
            return parse_scenario(file.read(2_000_000), path.name)
    except OSError as error:
        raise BadRequest(f"the scenario {path} cannot be read ({error.strerror}); check --scenario") from None


def _warm_up(target: Target, scenario: Scenario, plan: Plan, seconds: float) -> None:
    """Ask for every step from several visitors, so that each worker has probably done what it does once."""
    visitors = min(plan.concurrency, _VISITORS)
    warming = Plan(visitors, duration=seconds, requests=visitors * _WARM_ROUNDS * len(scenario.steps))
    load = Load(Address(target.scheme, target.host, target.port), scenario.evenly(), warming, seconds=seconds)
    try:
        with progress("Warming up"):
            load.start()
            load.wait(2 * seconds)
    finally:
        load.stop()


def _profile(
    remote: Server, scenario: Scenario, plan: Plan, options: Mapping[str, object], ended: Interruption
) -> Profiled:
    """Run the load inside a session, which is stopped whatever happens."""
    target = remote.target
    load = Load(Address(target.scheme, target.host, target.port), scenario, plan, seconds=remote.seconds)
    ended.is_held = True  # a start that is cut short may have started a session all the same
    started = remote.ask("POST", "/start", fields=("sessionId",), doing="Starting the session", body=options)
    try:
        ended.is_held = False
        if not ended.noted:
            load.start()
            _watch(load, plan, remote.seconds)
    except KeyboardInterrupt:
        pass
    finally:
        ended.is_held = True
        load.stop()
        stopped, trouble = stop_session(remote)
    session_id, interrupted = plain(started["sessionId"]), bool(ended.noted)
    routes, more_trouble = hot_routes(artifacts_of(stopped))
    return Profiled(load.outcome(), session_id, stopped, trouble or more_trouble, interrupted, routes)


def _watch(load: Load, plan: Plan, seconds: float) -> None:
    """Wait for the load's end and show how it goes; requests that outlast it are given up in time."""
    with live_line(sys.stderr) as draw:
        while not load.wait(_LOOK_EVERY):
            requests, errors, elapsed = load.so_far()
            of = f" of {plan.duration:g}" if plan.duration is not None else ""
            left = f"/{plan.requests}" if plan.requests is not None else ""
            rate = requests / elapsed if elapsed else 0.0
            draw(f"{elapsed:.0f}{of} s  {requests}{left} requests  {rate:.0f}/s  {errors} errors")
            if plan.duration is not None and elapsed > plan.duration + seconds:
                return


def _judged(profiled: Profiled, broken: list[str]) -> Failure | None:
    """Return how the command ends: as a failure, or well."""
    outcome = profiled.outcome
    total = outcome.total()
    if profiled.interrupted:
        ended = "its session is stopped" if profiled.stopped else profiled.trouble
        return Failure(f"interrupted; {ended}", code="interrupted", exit_status=INTERRUPTED)
    if outcome.gave_up:
        early = f"the load ended early: {outcome.gave_up}"
        return Failure(f"{early}; {profiled.trouble or 'look at the log of the server'}", code="server_died")
    if profiled.trouble:
        return Failure(profiled.trouble, code="stop_failed")
    if total.requests and total.errors == total.requests:
        status = total.statuses.most_common(1)[0][0]
        return Failure(f"every request failed ({status}); check --path and the server's log", code="all_failed")
    if broken:
        return Failure("\n".join(["the test failed:", *(f"  {text}" for text in broken)]), code="beyond_bounds")
    return None


def _document(profiled: Profiled, broken: list[str], failure: Failure | None) -> dict[str, object]:
    return {
        **(failure.to_json() if failure else {"success": True}),
        "sessionId": profiled.session_id,
        "load": profiled.outcome.to_json(),
        "failed": broken,
        "routes": [route.to_json() for route in profiled.routes],
        "artifacts": profiled.artifacts,
        "notes": profiled.stopped.get("notes", []),
    }
