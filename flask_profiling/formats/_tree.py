"""A call tree estimated from call graphs: who was on the stack, as far as edges tell; no bytes are written here.

A call graph knows each function and each edge exactly, not the chains they form. The tree is unrolled from the
functions that nothing recorded called. Where a function has one chain of callers the tree is exact. Where it has
several, what it called in turn is split between them in proportion to the time that its callees took under each
(``total - self`` of the edge, which the graph knows), and everything below is marked as estimated. A call that closes a
cycle becomes a leaf with its own time; what it called is counted under the outer call. So the self times of a
function's nodes always add up to the function's self time, and no path uses an edge that was not seen.

Where the paths of application code were recorded too, they are drawn as they were, and only what is below them in the
library is unrolled. A library function that calls application code stands above it where it is the only way there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from itertools import accumulate

from ..model import ROOT, ApplicationTree, CallGraph, Function, inclusive
from ._application import Path, application_paths
from ._flow import Flow

# A tree unrolled from a densely connected graph grows without end; this many nodes are drawn, the largest first. The
# demo's shop, cold and warm, leaves 0.3 % of its time in folded nodes; more nodes cost 10 µs each.
NODE_BUDGET = 30_000

# Of those, this part may go to paths of application code, which are exact: what is below them is estimated.
_OF_PATHS = 5 / 6

# Seconds: a profile counts in microseconds, so an estimated node below one cannot show anything.
SMALLEST_ESTIMATE = 1e-6

# An exact node whose total is off by more than this part of it says so.
_TOLERANCE = 1e-3


@dataclass(slots=True)
class Tree:
    """Nodes by number, parents before children; node 0 is the root.

    ``functions[n]`` is what node ``n`` runs, ``self_times[n]`` its own seconds, ``reasons[n]`` why its times are
    estimated (empty: they are exact). ``folded`` counts the nodes that stand for functions that were left out.
    """

    functions: list[Function] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    self_times: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    folded: int = 0

    def add(self, function: Function, parent: int, self_time: float = 0.0, reason: str = "") -> int:
        """Append a node and return its number."""
        self.functions.append(function)
        self.parents.append(parent)
        self.self_times.append(self_time)
        self.reasons.append(reason)
        return len(self.functions) - 1


@dataclass(slots=True)
class _Places:
    """Where each node of a tree stands in the flow of its route: columns, as thousands of small objects cost more.

    Node ``n`` runs function ``places[n]`` of the flow of route ``routes[n]``, which is a node too; ``fractions[n]`` of
    what is below that function is this node's, and ``drawn[n]`` of its callees have nodes. If the node is exact, it
    took ``totals[n]`` seconds in all (NaN: nobody knows; infinite: application code below is not in it).

    ``below[n]`` says for a node of application code why what is below it is estimated; ``waiting`` are library nodes
    above application code that were made before their turn, by caller and place.
    """

    flows: dict[int, Flow] = field(default_factory=dict)
    routes: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    below: dict[int, str] = field(default_factory=dict)
    waiting: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, route: int, place: int, fraction: float, total: float) -> None:
        """Append the place of the node that was added last."""
        self.routes.append(route)
        self.places.append(place)
        self.fractions.append(fraction)
        self.drawn.append(0)
        self.totals.append(total)


# Nodes with callees left to draw, by the seconds of the next (negative), the heaviest first.
_Queue = list[tuple[float, int]]


def grow(
    routes: Mapping[str, CallGraph],
    application: ApplicationTree | None = None,
    *,
    budget: int = NODE_BUDGET,
    smallest: float = SMALLEST_ESTIMATE,
) -> Tree:
    """Return the tree of all routes: ``(root)``, one node per route, below it the functions.

    At most ``budget`` nodes are drawn, those with the most time first (routes always), and no estimated node of less
    than ``smallest`` seconds. What is left out keeps its time in a node like ``(12 more functions)`` in its place.
    """
    tree, places, queue = Tree(), _Places(), _Queue()
    tree.add(Function("", 0, "(root)"), ROOT)
    places.add(0, 0, 0.0, 0.0)
    known: dict[int, list[Path]] = {}
    for label, graph in routes.items():
        paths = [] if application is None else application_paths(graph, application, label)
        flow = Flow.of(graph, apart={path.function for path in paths})
        entries = flow.steps[-1]
        route = tree.add(Function("", 0, label), 0)
        places.flows[route] = flow
        total = math.inf if paths else sum([step.weight for step in entries])
        places.add(route, len(flow.functions), 1.0, total)
        if entries:
            heappush(queue, (-entries[0].weight, route))
        known[route] = paths
    _draw_paths(tree, places, queue, known, int(budget * _OF_PATHS))
    too_small = _draw(tree, places, queue, budget, smallest)
    _fold(tree, places, [*too_small, *(node for _, node in queue)], smallest)
    _mark_totals(tree, places, smallest)
    return tree


def _draw_paths(tree: Tree, places: _Places, queue: _Queue, known: Mapping[int, Sequence[Path]], most: int) -> None:
    """Draw the paths of application code by route, those with the most time, and queue what is below them.

    They take ``most`` nodes at the most, with the library functions between them and what may be folded below.
    """
    times = {route: _path_times(paths, places.flows[route]) for route, paths in known.items()}
    ranked = sorted(
        (-total, route, number) for route, (_, totals) in times.items() for number, total in enumerate(totals)
    )
    nodes_of = {route: _nodes_of_paths(paths, places.flows[route]) for route, paths in known.items()}
    taken = accumulate(nodes_of[route][number] for _, route, number in ranked)
    chosen = {(route, number) for (_, route, number), nodes in zip(ranked, taken, strict=True) if nodes <= most}
    for route, paths in known.items():
        flow = places.flows[route]
        numbers = {function: place for place, function in enumerate(flow.functions)} if paths else {}
        nodes: list[int] = []
        left_out: dict[int, list[float]] = {}
        for number, path in enumerate(paths):
            above = route if path.parent == ROOT else nodes[path.parent]
            if (route, number) not in chosen:
                nodes.append(above)
                left_out.setdefault(above, []).append(times[route][0][number])
                continue
            for function in path.chain:
                above = _waiting(tree, places, route, above, numbers[function])
            node = tree.add(path.function, above, path.self_time, path.reason)
            place = numbers.get(path.function, len(flow.functions))
            fraction = path.fraction if path.function in numbers else 0.0
            places.add(route, place, fraction, math.inf)
            places.below[node] = path.below or flow.below[place]
            if fraction and flow.steps[place]:
                heappush(queue, (-fraction * flow.steps[place][0].weight, node))
            nodes.append(node)
        for node, several in left_out.items():
            _add_folded(tree, node, len(several), sum(several))
            places.add(route, len(flow.functions), 0.0, math.inf)


def _nodes_of_paths(paths: Sequence[Path], flow: Flow) -> list[int]:
    """Return how many nodes each path needs at the most, without those of the paths below it."""
    calling = {function for function, steps in zip(flow.functions, flow.steps, strict=False) if steps}
    above = {path.parent for path in paths}
    return [
        1 + len(path.chain) + (number in above) + (path.function in calling) for number, path in enumerate(paths)
    ]


def _path_times(paths: Sequence[Path], flow: Flow) -> tuple[list[float], list[float]]:
    """Return the seconds of each path without and with the paths below it."""
    below = {function: rest[0] for function, rest in zip(flow.functions, flow.rest, strict=False) if rest}
    times = [path.self_time + path.fraction * below.get(path.function, 0.0) for path in paths]
    return times, inclusive([path.parent for path in paths], times)


def _waiting(tree: Tree, places: _Places, route: int, parent: int, place: int) -> int:
    """Return the node of a library function below ``parent``; its time is filled in when its turn comes."""
    node = places.waiting.get((parent, place))
    if node is None:
        node = tree.add(places.flows[route].functions[place], parent)
        places.add(route, place, 0.0, math.inf)
        places.waiting[parent, place] = node
    return node


def _draw(tree: Tree, places: _Places, queue: _Queue, budget: int, smallest: float) -> list[int]:
    """Draw callees of the nodes in ``queue`` and below until the budget is used up.

    Returns the nodes of which the callees left are too small; others with callees left stay in ``queue``.
    """
    too_small: list[int] = []
    reasons = tree.reasons
    # Each node with callees left, also the one that is drawn next, may need one more for those that are folded.
    while queue and len(reasons) + len(queue) + len(too_small) + 2 <= budget:
        weight, parent = queue[0]
        route, place = places.routes[parent], places.places[parent]
        flow = places.flows[route]
        estimated = places.below.get(parent, flow.below[place] or reasons[parent])
        if estimated and -weight < smallest:
            heappop(queue)
            too_small.append(parent)
            continue
        fraction, drawn, steps = places.fractions[parent], places.drawn[parent], flow.steps[place]
        callee, self_time, share, _, total, reason = steps[drawn]
        drawn += 1
        places.drawn[parent] = drawn
        if drawn == len(steps):
            heappop(queue)
        else:
            heapreplace(queue, (-fraction * steps[drawn].weight, parent))
        node = places.waiting.get((parent, callee), 0)
        if node:
            tree.self_times[node], reasons[node] = fraction * self_time, reason or estimated
            fraction *= share
            places.fractions[node] = fraction
        else:
            node = tree.add(flow.functions[callee], parent, fraction * self_time, reason or estimated)
            fraction *= share
            places.add(route, callee, fraction, total)
        below = flow.steps[callee]
        if fraction and below:
            heappush(queue, (-fraction * below[0].weight, node))
    return too_small


def _fold(tree: Tree, places: _Places, nodes: Iterable[int], smallest: float) -> None:
    """Give the time of what was not drawn to one node per caller, or one per route where it is too small to see."""
    crumbs: dict[int, float] = {}
    for node in nodes:
        route, place, drawn = places.routes[node], places.places[node], places.drawn[node]
        flow = places.flows[route]
        time = places.fractions[node] * flow.rest[place][drawn]
        if time < smallest:
            crumbs[route] = crumbs.get(route, 0.0) + time
            continue
        _add_folded(tree, node, len(flow.steps[place]) - drawn, time)
    for route, time in crumbs.items():
        reason = "folded: calls of less than a microsecond each, below many functions"
        tree.add(Function("", 0, "(calls too short to place)"), route, time, reason)


def _add_folded(tree: Tree, parent: int, functions: int, time: float) -> None:
    name = f"({functions} more functions)" if functions > 1 else "(1 more function)"
    reason = "folded: on too many paths to draw; includes all that these functions call"
    tree.add(Function("", 0, name), parent, time, reason)
    tree.folded += 1


def _mark_totals(tree: Tree, places: _Places, smallest: float) -> None:
    """Say so at nodes whose own time is exact and whose total is not what was measured.

    That happens above cycles that are entered in several places, because cutting them moves time between the entries.
    """
    sums = inclusive(tree.parents, tree.self_times)
    for node in range(1, len(places.totals)):
        measured = places.totals[node]
        if tree.reasons[node] or abs(sums[node] - measured) <= smallest + _TOLERANCE * measured:
            continue
        took = "may have taken more or less" if math.isnan(measured) else f"took {measured * 1000:.3f} ms"
        tree.reasons[node] = f"estimated below: it {took} in all, but functions below it call each other in circles"
