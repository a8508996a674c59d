"""How a load test is printed: latencies, schedule, hottest functions, and where the files are; nothing is measured."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..loadtest import HotRoute, Outcome, Tally, place
from .render import columns, plain, say, sentence, table

_HEADERS = ("Requests", "Errors", "p50", "p90", "p95", "p99", "What")
_LATE = 0.05


def show(outcome: Outcome, routes: Sequence[HotRoute], artifacts: Sequence[str]) -> None:
    """Print a load test that is over."""
    say(sentence(_totals(outcome)))
    rows = [_row(tally, label) for label, tally in outcome.steps.items()]
    if len(rows) > 1:
        rows.append(_row(outcome.total(), "all"))
    say()
    say(table(_HEADERS, rows, right=tuple(range(6))))
    total = outcome.total()
    if total.errors:
        statuses = total.statuses.most_common()
        say()
        say(sentence(f"Answers: {', '.join(f'{count} x {plain(status)}' for status, count in statuses)}"))
        unanswered = total.requests - total.latencies.count
        if unanswered:
            say(sentence(f"The times leave out {unanswered} without an answer."))
    if outcome.scheduled is not None:
        _show_schedule(outcome, outcome.scheduled)
    for route in routes:
        show_route(route)
    show_files(artifacts)


def show_files(artifacts: Sequence[str]) -> None:
    """Print where the artifacts are."""
    if artifacts:
        say("\nFiles:")
    for path in artifacts:
        say(f"  {path}")


def _totals(outcome: Outcome) -> str:
    total = outcome.total()
    return (
        f"{total.requests} requests in {outcome.elapsed:.1f} s, {outcome.throughput():.1f} per second, "
        f"{total.errors} errors; the session's own cost is in these times."
    )


def _row(tally: Tally, label: str) -> tuple[object, ...]:
    latencies = tally.latencies
    times = [_time(latencies.quantile(fraction)) if latencies.count else "-" for fraction in (0.5, 0.9, 0.95, 0.99)]
    return tally.requests, tally.errors, *times, label


def _time(seconds: float) -> str:
    return f"{seconds:.2f}s" if seconds >= 1 else f"{seconds * 1e3:.1f}ms"


def _show_schedule(outcome: Outcome, scheduled: int) -> None:
    sent = outcome.total().requests
    say(f"\nScheduled {scheduled}, sent {sent}; the latest was sent {_time(outcome.late)} after it was due.")
    if outcome.late > _LATE or sent < scheduled:
        say(sentence("The app did not keep up with the rate. Latencies count from when a request was due, so that "
                     "its waiting is in them; raise --concurrency if the visitors were too few."))  # fmt: skip


def show_route(route: HotRoute) -> None:
    """Print a route and its hottest functions."""
    times = route.times
    mean = f", mean {_time(times.wall_time / times.requests)}" if times.requests else ""
    say()
    say(click.style(f"{plain(route.route)}  {times.requests} requests{mean}"[: columns()], bold=True))
    rows = [
        (
            f"{cost.self_time / route.total:.0%}" if route.total else "",
            _time(cost.self_time),
            cost.calls,
            f"{function.name}  {place(function)}",
        )
        for function, cost in route.functions
    ]
    say(table(("Share", "Self", "Calls", "Function"), rows, right=(0, 1, 2), indent="  "))
    for function, cost in route.mostly_recorded():
        each = f"{cost.self_time / cost.calls * 1e6:.1f} µs"
        say(sentence(f"{plain(function.name)} was called {cost.calls:,} times and took {each} each: much of that may "
                     "be what recording a call takes; cpu=calltree takes that off."))  # fmt: skip
