"""A call tree estimated from call graphs: who was on the stack, as far as edges tell; no bytes are written here.

A call graph knows each function and each edge exactly, not the chains they form. The tree is unrolled from the
functions that nothing recorded called. Where a function has one chain of callers the tree is exact. Where it has
several, what it called in turn is split between them in proportion to the time that its callees took under each
(``total - self`` of the edge, which the graph knows), and everything below is marked as estimated. A call that closes a
cycle becomes a leaf with its own time; what it called is counted under the outer call. So the self times of a
function's nodes always add up to the function's self time, and no path uses an edge that was not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from ..model import CallGraph, Function
from ._flow import Flow

# A tree unrolled from a densely connected graph grows without end; this many nodes are drawn, the largest first.
NODE_BUDGET = 50_000

# Seconds: a profile counts in microseconds, so an estimated node below one cannot show anything.
SMALLEST_ESTIMATE = 1e-6


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

    def preorder(self) -> Iterable[int]:
        """Yield every node's number, parents before children and siblings together."""
        children = self.children()
        waiting = [0]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(children[node]))

    def children(self) -> list[list[int]]:
        """Return the numbers of each node's children."""
        children: list[list[int]] = [[] for _ in self.functions]
        for node in range(1, len(self.parents)):
            children[self.parents[node]].append(node)
        return children


@dataclass(slots=True)
class _Branch:
    """A node whose callees are being drawn, the heaviest first; ``fraction`` of what they cost is this node's."""

    flow: Flow
    place: int
    fraction: float
    reason: str
    route: int
    drawn: int = 0

    def weight(self) -> float:
        """Return the seconds of the next callee with everything below it."""
        return self.fraction * self.flow.steps[self.place][self.drawn].weight

    def rest(self) -> float:
        """Return the seconds of all callees that are not drawn, with everything below them."""
        return self.fraction * self.flow.rest[self.place][self.drawn]


def grow(routes: Mapping[str, CallGraph], *, budget: int = NODE_BUDGET, smallest: float = SMALLEST_ESTIMATE) -> Tree:
    """Return the tree of all routes: ``(root)``, one node per route, below it the functions.

    At most ``budget`` nodes are drawn, those with the most time first (routes always), and no estimated node of less
    than ``smallest`` seconds. What is left out keeps its time in a node like ``(12 more functions)`` in its place.
    """
    tree = Tree()
    tree.add(Function("", 0, "(root)"), -1)
    branches: dict[int, _Branch] = {}
    queue: list[tuple[float, int]] = []
    for label, graph in routes.items():
        flow = Flow.of(graph)
        node = tree.add(Function("", 0, label), 0)
        branch = _Branch(flow, len(flow.functions), 1.0, "", node)
        if flow.steps[branch.place]:
            branches[node] = branch
            heappush(queue, (-branch.weight(), node))
    small = 0
    # A branch with callees left may need one more node, for what is folded.
    while queue and len(tree.functions) + len(queue) + small < budget:
        _, parent = heappop(queue)
        branch = branches[parent]
        if branch.reason and branch.weight() < smallest:
            small += 1
            continue
        _draw_next(tree, branches, queue, parent)
    _fold(tree, branches, smallest)
    return tree


def _draw_next(tree: Tree, branches: dict[int, _Branch], queue: list[tuple[float, int]], parent: int) -> None:
    branch = branches[parent]
    flow = branch.flow
    row = flow.steps[branch.place]
    step = row[branch.drawn]
    reason = step.reason or branch.reason
    node = tree.add(flow.functions[step.callee], parent, branch.fraction * step.self_time, reason)
    branch.drawn += 1
    if branch.drawn == len(row):
        del branches[parent]
    else:
        heappush(queue, (-branch.weight(), parent))
    fraction = branch.fraction * step.share
    if fraction and flow.steps[step.callee]:
        child = _Branch(flow, step.callee, fraction, flow.below[step.callee] or reason, branch.route)
        branches[node] = child
        heappush(queue, (-child.weight(), node))


def _fold(tree: Tree, branches: Mapping[int, _Branch], smallest: float) -> None:
    """Give the time of what was not drawn to one node per caller, or one per route where it is too small to see."""
    crumbs: dict[int, float] = {}
    for parent, branch in branches.items():
        time = branch.rest()
        if time < smallest:
            crumbs[branch.route] = crumbs.get(branch.route, 0.0) + time
            continue
        left = len(branch.flow.steps[branch.place]) - branch.drawn
        name = f"({left} more functions)" if left > 1 else "(1 more function)"
        tree.add(Function("", 0, name), parent, time, "folded: too many paths to draw; includes all that these call")
        tree.folded += 1
    for route, time in crumbs.items():
        crumb = Function("", 0, "(calls too short to place)")
        tree.add(crumb, route, time, "folded: calls of less than a microsecond each, below many functions")
