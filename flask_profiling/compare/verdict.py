"""The comparison itself: what grew per request, by how much more than it may, and who calls it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import Conflict
from .runs import ROOT, RouteRun, Run, aligned
from .thresholds import Rules

# less than this per request is nothing that a request does: it happens once in a while
LEAST_CALLS = 0.5
LEAST_BYTES = 256.0
# calls per call of the caller: no more apart than this is the same
LEAST_EACH, SAME_EACH = 0.25, 0.02
# they run when hashes collide, which differs from process to process, or when garbage is collected
BY_CHANCE = frozenset({"__eq__", "__ne__", "__hash__", "__del__"})
LOOSE_TIME = 0.5
SPREADS = 3.0
MOST_CALLERS = 3
_NOT_COMPARED = ("flask-profiling-devtools",)


@dataclass(frozen=True, slots=True)
class Change:
    """One number that changed: ``before`` and ``after`` are per request (calls, bytes, seconds).

    ``regression`` says that it grew beyond what the rules allow. ``callers`` are ``(caller, before, after)`` of the
    calls that changed most; ``begins_here`` that one of them leads to more of these calls each time it runs: the cause,
    not a consequence.
    """

    kind: str
    route: str
    name: str
    before: float
    after: float
    regression: bool
    callers: tuple[tuple[str, float, float], ...] = ()
    begins_here: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the fields by name."""
        return {
            "kind": self.kind,
            "route": self.route,
            "name": self.name,
            "before": round(self.before, 6),
            "after": round(self.after, 6),
            "regression": self.regression,
            "beginsHere": self.begins_here,
            "callers": [{"caller": name, "before": before, "after": after} for name, before, after in self.callers],
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What changed, the causes of regressions first; ``compared`` counts the numbers that were looked at."""

    base: str
    new: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    compared: int = field(default=0)

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The changes that fail."""
        return tuple(change for change in self.changes if change.regression)

    def to_json(self) -> dict[str, object]:
        """Return the fields by name."""
        return {
            "base": self.base,
            "new": self.new,
            "regressions": len(self.regressions),
            "compared": self.compared,
            "changes": [change.to_json() for change in self.changes],
            "notes": list(self.notes),
        }


def compare(base: Sequence[Run], new: Run, rules: Rules, *, across_versions: bool = False) -> Verdict:
    """Hold ``new`` against at least one run of ``base``.

    Raises Conflict where they cannot be compared honestly: other versions (unless ``across_versions``), another way of
    counting, or no route in common.
    """
    latest = base[-1]
    new = aligned(new, latest)
    notes = list(_versions(latest, new, across_versions))
    if latest.engine != new.engine:
        ways = f"{latest.engine or 'not at all'}, then {new.engine or 'not at all'}"
        raise Conflict(
            f"the calls were counted in different ways ({ways}); "
            "profile both with the same PROFILING_CPU and PROFILING_SCOPE"
        )
    common = [route for route in latest.routes if route in new.routes]
    if not common:
        raise Conflict("the two have no route in common; put the same load on the app in both")
    notes += _coverage(latest, new)
    changes: list[Change] = []
    compared = 0
    if latest.exact and new.exact:
        for route in common:
            earlier = [run.routes[route] for run in base if route in run.routes and run.exact]
            compared += len(new.routes[route].calls)
            changes += _calls(route, earlier, new.routes[route], rules)
    else:
        notes.append("Calls were not counted exactly, so they are not compared; profile with cpu=cprofile or calltree.")
    changes += _allocations(latest, new, rules)
    for route in common:
        compared += 1
        changes += _time(route, [run.routes[route] for run in base if route in run.routes], new.routes[route], rules)
    return Verdict(latest.session_id, new.session_id, tuple(sorted(changes, key=_rank)), tuple(notes), compared)


def _rank(change: Change) -> tuple[bool, bool, int, float]:
    kinds = ("calls", "allocations", "time")
    growth = change.after - change.before
    return not change.regression, not change.begins_here, kinds.index(change.kind), -abs(growth)


def _versions(base: Run, new: Run, across: bool) -> Iterator[str]:
    names = sorted({*base.environment, *new.environment} - set(_NOT_COMPARED))
    differ = [
        f"{name} {base.environment.get(name, 'absent')} and {new.environment.get(name, 'absent')}"
        for name in names
        if base.environment.get(name) != new.environment.get(name)
    ]
    if not differ:
        return
    if not across:
        raise Conflict(
            f"the two were recorded with different versions ({', '.join(differ)}), so differences prove nothing about "
            "the app; save the baseline anew, or insist with --across-versions"
        )
    yield f"Compared across versions: {', '.join(differ)}."


def _coverage(base: Run, new: Run) -> Iterator[str]:
    gone = [route for route in base.routes if route not in new.routes]
    added = [route for route in new.routes if route not in base.routes]
    if gone:
        yield f"Not requested any more, so not compared: {', '.join(gone)}."
    if added:
        yield f"Not in the base, so not compared: {', '.join(added)}."


def _calls(route: str, base: Sequence[RouteRun], new: RouteRun, rules: Rules) -> Iterator[Change]:
    latest = base[-1]
    changed: dict[str, tuple[float, float, bool]] = {}
    for name in sorted({*latest.calls, *new.calls}):
        is_wanted, allowed = rules.allowed("calls", name)
        if not is_wanted:
            continue
        before = max(run.calls.get(name, 0) / run.requests for run in base)
        least = min(run.calls.get(name, 0) / run.requests for run in base)
        after = new.calls.get(name, 0) / new.requests
        if after > before + max(LEAST_CALLS, (allowed or 0.0) * before):
            # What is done once (compiled, imported) weighs more in a run with fewer requests: that proves nothing.
            proven = new.requests >= latest.requests or new.calls[name] > latest.calls.get(name, 0) * (
                1 + (allowed or 0)
            )
            changed[name] = (before, after, allowed is not None and proven)
        elif after < least - max(LEAST_CALLS, (allowed or 0.0) * least):
            changed[name] = (least, after, False)
    callers = {name: _callers(name, latest, new) for name in changed}
    by_chance = _by_chance(callers)
    for name, (before, after, regression) in changed.items():
        begins = any(_multiplies(*row, latest, new) for row in callers[name])
        fails = regression and name not in by_chance
        yield Change("calls", route, name, before, after, fails, tuple(callers[name][:MOST_CALLERS]), begins)


def _multiplies(caller: str, before: float, after: float, base: RouteRun, new: RouteRun) -> bool:
    """Tell whether one call of ``caller`` leads to other numbers of these calls than before: the change begins there.

    A caller that is new and calls once, in turn, is a link of the chain; one that calls many times is a cause.
    """
    calls_before = 1.0 if caller == ROOT else base.calls.get(caller, 0) / base.requests
    calls_after = 1.0 if caller == ROOT else new.calls.get(caller, 0) / new.requests
    each_before = before / calls_before if calls_before else 1.0
    each_after = after / calls_after if calls_after else 1.0
    return abs(each_after - each_before) > max(LEAST_EACH, SAME_EACH * each_before)


def _by_chance(callers: Mapping[str, Sequence[tuple[str, float, float]]]) -> set[str]:
    """Return what the interpreter calls by itself when hashes collide or garbage is collected, and what that calls."""
    found = {name for name in callers if name.rpartition(":")[2] in BY_CHANCE}
    while True:
        more = {name for name, rows in callers.items() if rows and all(row[0] in found for row in rows)} - found
        if not more:
            return found
        found |= more


def _callers(name: str, base: RouteRun, new: RouteRun) -> list[tuple[str, float, float]]:
    """Return the callers whose calls of ``name`` changed, those that changed most first."""
    rows = []
    for caller in {caller for caller, callee in (*base.edges, *new.edges) if callee == name}:
        before = base.edges.get((caller, name), 0) / base.requests
        after = new.edges.get((caller, name), 0) / new.requests
        if abs(after - before) >= LEAST_CALLS:
            rows.append((caller, before, after))
    return sorted(rows, key=lambda row: (-abs(row[2] - row[1]), row[0] == ROOT, row[0]))


def _allocations(base: Run, new: Run, rules: Rules) -> Iterator[Change]:
    """Compare bytes that stayed, per request of any route; only where both recorded allocations."""
    if not base.allocations or not new.allocations:
        return
    for name in sorted({*base.allocations, *new.allocations}):
        is_wanted, allowed = rules.allowed("allocations", name)
        before, after = base.allocations.get(name, 0) / base.requests, new.allocations.get(name, 0) / new.requests
        room = max(LEAST_BYTES, (allowed or 0.0) * max(before, 0.0))
        if is_wanted and abs(after - before) > room:
            yield Change("allocations", "", name, before, after, after > before and allowed is not None)


def _time(route: str, base: Sequence[RouteRun], new: RouteRun, rules: Rules) -> Iterator[Change]:
    """Compare mean times: what is within the spread of the base's own runs, or not much more, is no change."""
    is_wanted, allowed = rules.allowed("time", route)
    means = [run.mean for run in base]
    before = statistics.fmean(means)
    spread = statistics.stdev(means) if len(means) > 1 else 0.0
    room = max(SPREADS * spread, (LOOSE_TIME if allowed is None else allowed) * before)
    if is_wanted and abs(new.mean - before) > room:
        yield Change("time", route, route, before, new.mean, new.mean > before and allowed is not None)


def by_route(changes: Sequence[Change]) -> Mapping[str, list[Change]]:
    """Group changes by their route, in their order; allocations belong to all routes together."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.route or "all routes", []).append(change)
    return groups
