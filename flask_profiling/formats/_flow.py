"""How the time below each function of one call graph splits between its callers: arithmetic, no tree is drawn here."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from ..model import CallGraph, Cost, Function
from ._collected import plausible

# A share of the time below a function that is smaller than this is what subtracting floats leaves, not calls.
_NOISE = 1e-9

# More than can have happened; what a damaged recording says is cut to it.
_MOST_CALLS = 10**15


class Step(NamedTuple):
    """One edge as seen from a node that has all calls of the caller.

    ``self_time`` seconds are the callee's own under this caller, ``share`` is the fraction of everything below the
    callee that falls to this caller (0 for a call back into a cycle), ``weight`` the seconds of both together, which is
    to be ``total``, the seconds that were measured (NaN: nobody knows them; infinite: what stands apart is in them);
    ``reason`` says why even the callee's own time is a guess (empty: it is not).
    """

    callee: int
    self_time: float
    share: float
    weight: float
    total: float
    reason: str


_WEIGHT = itemgetter(Step._fields.index("weight"))


@dataclass(frozen=True, slots=True)
class Flow:
    """A call graph with its cycles cut.

    ``steps[f]`` are the callees of ``functions[f]``, the heaviest first, and ``rest[f][i]`` the weight of
    ``steps[f][i:]``; ``below[f]`` says why the callees of ``f`` must be estimated (empty: they need not). One more row,
    ``steps[-1]``, holds the functions that nothing recorded called.
    """

    functions: tuple[Function, ...]
    steps: tuple[tuple[Step, ...], ...]
    rest: tuple[tuple[float, ...], ...]
    below: tuple[str, ...]

    @classmethod
    def of(cls, graph: CallGraph, *, apart: Collection[Function] = ()) -> Flow:
        """Split ``graph``; times below zero, which no clock can have measured, count as zero.

        Functions that stand ``apart`` are known from elsewhere: they are nobody's callees, though they have their own.
        """
        functions = tuple(graph.functions)
        costs = tuple(graph.functions.values())
        edges = _Edges.of(graph, apart)
        _balance(costs, edges)
        finished, backward = _cut_cycles(edges)
        for callee, numbers in enumerate(edges.incoming):
            if backward.issuperset(numbers):  # a cycle that nothing enters
                edges.add(edges.outside, callee, 0, 0.0, 0.0)
        shares = _shares(costs, edges, backward)
        _settle_entries(costs, edges, backward)
        names = (function.name for function in functions)
        below = [_why_below(name, numbers, backward) for name, numbers in zip(names, edges.incoming, strict=True)]
        if apart:
            entries = edges.outgoing[edges.outside]
            entries[:] = [number for number in entries if functions[edges.callees[number]] not in apart]
            edges.totals[:] = [math.inf] * len(edges.totals)
        steps = _steps(functions, edges, shares, backward, [*finished, edges.outside])
        rest = tuple(tuple(accumulate([step.weight for step in reversed(row)]))[::-1] for row in steps)
        return cls(functions, steps, rest, (*below, ""))


@dataclass(slots=True)
class _Edges:
    """Columns with one item per edge; functions are numbers, and ``outside``, one past the last, enters the graph.

    ``incoming`` and ``outgoing`` hold the numbers of the edges of each function.
    """

    outside: int
    callers: list[int]
    callees: list[int]
    calls: list[int]
    self_times: list[float]
    totals: list[float]
    incoming: list[list[int]]
    outgoing: list[list[int]]

    @classmethod
    def of(cls, graph: CallGraph, apart: Collection[Function]) -> _Edges:
        """Return the edges of ``graph`` but those to ``apart``, with times and calls that can have been measured."""
        places = {function: place for place, function in enumerate(graph.functions)}
        edges = {edge: cost for edge, cost in graph.edges.items() if edge[1] not in apart} if apart else graph.edges
        callers = [places[caller] for caller, _ in edges]
        callees = [places[callee] for _, callee in edges]
        costs = edges.values()
        calls = [min(cost.calls, _MOST_CALLS) for cost in costs]
        self_times = [plausible(cost.self_time) for cost in costs]
        totals = [plausible(cost.total_time) for cost in costs]
        incoming: list[list[int]] = [[] for _ in places]
        outgoing: list[list[int]] = [[] for _ in range(len(places) + 1)]
        for number, callee in enumerate(callees):
            incoming[callee].append(number)
            outgoing[callers[number]].append(number)
        return cls(len(places), callers, callees, calls, self_times, totals, incoming, outgoing)

    def add(self, caller: int, callee: int, calls: int, self_time: float, total: float) -> None:
        """Append an edge."""
        self.incoming[callee].append(len(self.callers))
        self.outgoing[caller].append(len(self.callers))
        self.callers.append(caller)
        self.callees.append(callee)
        self.calls.append(calls)
        self.self_times.append(self_time)
        self.totals.append(total)


def _balance(costs: Sequence[Cost], edges: _Edges) -> None:
    """Add an edge from outside to each function with calls that no edge explains.

    The self times of the edges are made to add up to the functions' own, so that nothing is lost or invented where they
    do not.
    """
    all_calls, self_times = edges.calls, edges.self_times
    for place, numbers in enumerate(edges.incoming):
        cost = costs[place]
        own = plausible(cost.self_time)
        calls = min(cost.calls, _MOST_CALLS) - sum([all_calls[number] for number in numbers])
        explained = sum([self_times[number] for number in numbers])
        enters = calls > 0 or not numbers or (own > 0 and explained == 0)
        if explained > own or not enters:
            scale = own / explained if explained else 0.0
            for number in numbers:
                self_times[number] *= scale
        if enters:
            total = plausible(cost.total_time) - sum([edges.totals[number] for number in numbers])
            edges.add(edges.outside, place, max(calls, 0), max(own - explained, 0.0), max(total, 0.0))


def _cut_cycles(edges: _Edges) -> tuple[list[int], set[int]]:
    """Return the functions so that callees come before callers, and the numbers of the edges that close a cycle.

    Walks depth first from outside along the longest calls, so that a cycle is cut where the least time closes it.
    """
    outside, callees, outgoing = edges.outside, edges.callees, edges.outgoing
    for numbers in outgoing:
        numbers.sort(key=edges.totals.__getitem__, reverse=True)
    finished: list[int] = []
    backward: set[int] = set()
    state = bytearray(outside + 1)  # 0 new, 1 on the path, 2 finished
    for start in [outside, *range(outside)]:
        if state[start]:
            continue
        state[start] = 1
        path = [(start, iter(outgoing[start]))]
        while path:
            place, waiting = path[-1]
            for number in waiting:
                callee = callees[number]
                if not state[callee]:
                    state[callee] = 1
                    path.append((callee, iter(outgoing[callee])))
                    break
                if state[callee] == 1:
                    backward.add(number)
            else:
                path.pop()
                state[place] = 2
                if place != outside:
                    finished.append(place)
    return finished, backward


def _shares(costs: Sequence[Cost], edges: _Edges, backward: set[int]) -> list[float]:
    """Return for each edge the fraction of everything below its callee that falls to it.

    They make 1 per callee; where nothing is below, they do not matter and are 0.
    """
    shares = [0.0] * len(edges.callers)
    for callee, numbers in enumerate(edges.incoming):
        if not edges.outgoing[callee]:
            continue
        forward = [number for number in numbers if number not in backward]
        if len(forward) == 1:
            shares[forward[0]] = 1.0
            continue
        amounts = _amounts(plausible(costs[callee].total_time), edges, forward)
        whole = sum(amounts)
        for number, amount in zip(forward, amounts, strict=True):
            shares[number] = amount / whole
    return shares


def _amounts(total_time: float, edges: _Edges, numbers: Sequence[int]) -> list[float]:
    """Return how much of what is below one function the edges of these numbers account for, in any unit.

    That is the time its callees took under each caller; where nothing was measured, the calls; where there are none,
    one for each.
    """
    times = [edges.totals[number] for number in numbers]
    for position, number in enumerate(numbers):
        if edges.callers[number] == edges.outside:  # of calls from outside only the rest is known
            times[position] = total_time - (sum(times) - times[position])
    amounts = [max(0.0, time - edges.self_times[number]) for time, number in zip(times, numbers, strict=True)]
    noise = _NOISE * sum(amounts)
    amounts = [amount if amount > noise else 0.0 for amount in amounts]
    if any(amounts):
        return amounts
    calls = [float(edges.calls[number]) for number in numbers]
    return calls if any(calls) else [1.0] * len(numbers)


def _settle_entries(costs: Sequence[Cost], edges: _Edges, backward: set[int]) -> None:
    """Set what the calls from outside took in all, now that it is known which calls are recursive.

    That is the rest of the callee's time, unless calls in circles count in it that also began elsewhere.
    """
    entries = edges.outgoing[edges.outside]
    for number in entries:
        callee = edges.callees[number]
        others = [other for other in edges.incoming[callee] if other != number and edges.callers[other] != callee]
        forward = [other for other in others if other not in backward]
        if (forward and backward) or (others != forward and len(entries) > 1):
            edges.totals[number] = math.nan
        else:
            edges.totals[number] = plausible(costs[callee].total_time) - sum([edges.totals[other] for other in forward])


def _why_below(name: str, incoming: Sequence[int], backward: set[int]) -> str:
    if len(incoming) == 1:
        return ""
    if backward.isdisjoint(incoming):
        return f"estimated: split between {len(incoming)} callers of {name}"
    return f"estimated: {name} calls itself, directly or through others"


def _steps(
    functions: Sequence[Function], edges: _Edges, shares: Sequence[float], backward: set[int], order: Sequence[int]
) -> tuple[tuple[Step, ...], ...]:
    """Return the rows of :attr:`Flow.steps`; ``order`` has callees before callers."""
    callees, self_times = edges.callees, edges.self_times
    times_below = [0.0] * len(order)
    rows: list[tuple[Step, ...]] = [()] * len(order)
    for place in order:
        row = []
        for number in edges.outgoing[place]:
            callee, self_time, share = callees[number], self_times[number], shares[number]
            reason = ""
            if number in backward:
                reason = f"estimated: calls from within {functions[callee].name}, which counts what they call"
            weight = self_time + share * times_below[callee]
            row.append(Step(callee, self_time, share, weight, edges.totals[number], reason))
        row.sort(key=_WEIGHT, reverse=True)
        times_below[place] = sum([step.weight for step in row])
        rows[place] = tuple(row)
    return tuple(rows)
