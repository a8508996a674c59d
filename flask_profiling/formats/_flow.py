"""How the time below each function of one call graph splits between its callers: arithmetic, no tree is drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from ..model import CallGraph, Cost, Function

# A share of the time below a function that is smaller than this is what subtracting floats leaves, not calls.
_NOISE = 1e-9


class Step(NamedTuple):
    """One edge as seen from a node that has all calls of the caller.

    ``self_time`` seconds are the callee's own under this caller, ``share`` is the fraction of everything below the
    callee that falls to this caller (0 for a call back into a cycle), ``weight`` the seconds of both together;
    ``reason`` says why even the callee's own time is a guess (empty: it is not).
    """

    callee: int
    self_time: float
    share: float
    weight: float
    reason: str


class _Edge(NamedTuple):
    caller: int
    callee: int
    calls: int
    self_time: float
    total: float


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
    def of(cls, graph: CallGraph) -> Flow:
        """Split ``graph``; times below zero, which no clock can have measured, count as zero."""
        functions = tuple(graph.functions)
        costs = tuple(graph.functions.values())
        outside = len(functions)
        edges = _balanced(costs, _edges(graph))
        finished, backward = _cycles_cut(edges, outside)
        incoming: list[list[int]] = [[] for _ in costs]
        for number, edge in enumerate(edges):
            incoming[edge.callee].append(number)
        for callee, numbers in enumerate(incoming):
            if backward.issuperset(numbers):
                numbers.append(len(edges))
                edges.append(_Edge(outside, callee, 0, 0.0, 0.0))
        shares = _shares(costs, edges, incoming, backward)
        below = [
            _why_below(functions[callee].name, numbers, backward) for callee, numbers in enumerate(incoming)
        ]
        steps = _steps(functions, edges, shares, backward, [*finished, outside])
        rest = tuple(tuple(accumulate(step.weight for step in reversed(row)))[::-1] for row in steps)
        return cls(functions, steps, rest, (*below, ""))


def _edges(graph: CallGraph) -> list[_Edge]:
    places = {function: place for place, function in enumerate(graph.functions)}
    return [
        _Edge(places[caller], places[callee], cost.calls, max(cost.self_time, 0.0), max(cost.total_time, 0.0))
        for (caller, callee), cost in graph.edges.items()
    ]


def _balanced(costs: Sequence[Cost], edges: list[_Edge]) -> list[_Edge]:
    """Return ``edges`` and one edge from outside to each function with calls that no edge explains.

    Self times are made to add up to the functions' own, so that nothing is lost or invented where they do not.
    """
    outside = len(costs)
    calls = [0] * outside
    times = [0.0] * outside
    known = [False] * outside
    for edge in edges:
        calls[edge.callee] += edge.calls
        times[edge.callee] += edge.self_time
        known[edge.callee] = True
    scales = [1.0] * outside
    entries = []
    for place, cost in enumerate(costs):
        own = max(cost.self_time, 0.0)
        enters = cost.calls > calls[place] or not known[place] or (own > 0 and times[place] == 0)
        if enters:
            left = max(own - times[place], 0.0)
            entries.append(_Edge(outside, place, max(cost.calls - calls[place], 0), left, cost.total_time))
        if times[place] > 0 and (not enters or times[place] > own):
            scales[place] = own / times[place]
    scaled = [edge._replace(self_time=edge.self_time * scales[edge.callee]) for edge in edges]
    return scaled + entries


def _cycles_cut(edges: Sequence[_Edge], outside: int) -> tuple[list[int], set[int]]:
    """Return the functions so that callees come before callers, and the numbers of the edges that close a cycle.

    Walks depth first from outside along the longest calls, so that a cycle is cut where the least time closes it.
    """
    outgoing: list[list[int]] = [[] for _ in range(outside + 1)]
    for number, edge in enumerate(edges):
        outgoing[edge.caller].append(number)
    for numbers in outgoing:
        numbers.sort(key=lambda number: -edges[number].total)
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
                callee = edges[number].callee
                if state[callee] == 1:
                    backward.add(number)
                if not state[callee]:
                    state[callee] = 1
                    path.append((callee, iter(outgoing[callee])))
                    break
            else:
                path.pop()
                state[place] = 2
                if place != outside:
                    finished.append(place)
    return finished, backward


def _shares(
    costs: Sequence[Cost], edges: Sequence[_Edge], incoming: Sequence[Sequence[int]], backward: set[int]
) -> list[float]:
    """Return for each edge the fraction of everything below its callee that falls to it; per callee they make 1."""
    outside = len(costs)
    shares = [0.0] * len(edges)
    for callee, numbers in enumerate(incoming):
        forward = [number for number in numbers if number not in backward]
        if len(forward) == 1:
            shares[forward[0]] = 1.0
            continue
        times = {number: edges[number].total for number in forward}
        for number in forward:
            if edges[number].caller == outside:
                others = sum(time for other, time in times.items() if other != number)
                times[number] = costs[callee].total_time - others
        amounts = [max(times[number] - edges[number].self_time, 0.0) for number in forward]
        noise = _NOISE * sum(amounts)
        amounts = [amount if amount > noise else 0.0 for amount in amounts]
        if not any(amounts):
            amounts = [float(edges[number].calls) for number in forward]
        if not any(amounts):
            amounts = [1.0] * len(forward)
        whole = sum(amounts)
        for number, amount in zip(forward, amounts, strict=True):
            shares[number] = amount / whole
    return shares


def _why_below(name: str, incoming: Sequence[int], backward: set[int]) -> str:
    if not backward.isdisjoint(incoming):
        return f"estimated: {name} calls itself, directly or through others"
    if len(incoming) > 1:
        return f"estimated: split between {len(incoming)} callers of {name}"
    return ""


def _steps(
    functions: Sequence[Function],
    edges: Sequence[_Edge],
    shares: Sequence[float],
    backward: set[int],
    order: Sequence[int],
) -> tuple[tuple[Step, ...], ...]:
    """Return the rows of :attr:`Flow.steps`; ``order`` has callees before callers."""
    outgoing: list[list[int]] = [[] for _ in order]
    for number, edge in enumerate(edges):
        outgoing[edge.caller].append(number)
    times_below = [0.0] * len(order)
    rows: list[tuple[Step, ...]] = [()] * len(order)
    for place in order:
        row = []
        for number in outgoing[place]:
            callee, self_time = edges[number].callee, edges[number].self_time
            reason = ""
            if number in backward:
                reason = f"estimated: calls from within {functions[callee].name}, which counts what they call"
            weight = self_time + shares[number] * times_below[callee]
            row.append(Step(callee, self_time, shares[number], weight, reason))
        row.sort(key=lambda step: -step.weight)
        times_below[place] = sum(step.weight for step in row)
        rows[place] = tuple(row)
    return tuple(rows)
