"""Every path of a recording with its cost, exact or estimated, in one shape for the formats; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..model import ROOT, ApplicationTree, CallGraphs, CallTree, Function, SessionRecording
from ._collected import application_tree, call_graphs, call_tree, counts_calls, plausible
from ._labels import is_library_file
from ._tree import NODE_BUDGET, grow

# A format that writes the whole stack of each path grows by the square of the depth (5,000 calls of a function by
# itself were 340 MB of text). Python's own limit of recursion is seldom raised, and below it nothing is cut.
MOST_FRAMES = 1000
_TOO_DEEP = Function("", 0, f"(frames deeper than {MOST_FRAMES})")


@dataclass(frozen=True, slots=True)
class Paths:
    """One node per path, in columns; parents come before their children, and that of a route is -1.

    ``functions[n]`` is what node ``n`` runs (a route has no file); ``calls[n]`` are 0 where they are not known for
    that path; ``self_times[n]`` are seconds; ``reasons[n]`` says why they are estimated (empty: they are exact);
    ``library[n]`` tells code that is not the application's. ``folded`` nodes stand for several.
    """

    functions: Sequence[Function]
    parents: Sequence[int]
    calls: Sequence[int]
    self_times: Sequence[float]
    reasons: Sequence[str]
    library: Sequence[bool]
    folded: int = 0

    def in_order(self) -> Iterator[int]:
        """Yield the nodes depth first, so that what belongs together stands together."""
        below: list[list[int]] = [[] for _ in self.parents]
        waiting: list[int] = []
        for node in range(len(self.parents) - 1, -1, -1):
            (waiting if self.parents[node] == ROOT else below[self.parents[node]]).append(node)
        while waiting:
            node = waiting.pop()
            yield node
            waiting += below[node]

    def stack(self, node: int) -> list[int]:
        """Return the nodes from ``node`` up to its route."""
        nodes = [node]
        while self.parents[nodes[-1]] != ROOT:
            nodes.append(self.parents[nodes[-1]])
        return nodes

    def shallow(self, most: int = MOST_FRAMES) -> Paths:
        """Return the paths with none longer than ``most`` frames and two, for formats that write every stack out.

        What is deeper stands below one node that says so, by function: each keeps its calls and its time, and those of
        its route and of the first ``most`` frames are as before. Who called whom down there is left out.
        """
        depths: list[int] = []
        for parent in self.parents:
            depths.append(1 if parent == ROOT else depths[parent] + 1)
        if max(depths, default=0) <= most:
            return self
        cut = _Columns()
        above: list[int] = []  # what stands above the callees of each node
        for node, (function, parent) in enumerate(zip(self.functions, self.parents, strict=True)):
            caller = ROOT if parent == ROOT else above[parent]
            if depths[node] == most + 1:
                caller = cut.place(_TOO_DEEP, caller)
            place = cut.place(function, caller, self.reasons[node], is_library=self.library[node])
            cut.calls[place] += self.calls[node]
            cut.self_times[place] += self.self_times[node]
            above.append(place if depths[node] <= most else caller)
        return Paths(cut.functions, cut.parents, cut.calls, cut.self_times, cut.reasons, cut.library, self.folded)


class _Columns:
    """Paths as they grow, one node per caller and function."""

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.parents: list[int] = []
        self.calls: list[int] = []
        self.self_times: list[float] = []
        self.reasons: list[str] = []
        self.library: list[bool] = []
        self._known: dict[tuple[int, Function], int] = {}

    def place(self, function: Function, caller: int, reason: str = "", *, is_library: bool = False) -> int:
        """Return the node of a function below a caller."""
        place = self._known.setdefault((caller, function), len(self.functions))
        if place == len(self.functions):
            self.functions.append(function)
            self.parents.append(caller)
            self.calls.append(0)
            self.self_times.append(0.0)
            self.reasons.append(reason)
            self.library.append(is_library)
        return place


def paths(recording: SessionRecording, *, budget: int = NODE_BUDGET) -> Paths:
    """Return the paths of the call tree, else those estimated from the call graphs; raises Unavailable without both."""
    tree = call_tree(recording)
    if tree is not None:
        return of_tree(tree)
    return of_graphs(call_graphs(recording), application_tree(recording), budget=budget)


def of_tree(tree: CallTree) -> Paths:
    """Return the paths of a call tree, as they were seen; where it was sampled, without calls."""
    routes = [Function("", 0, route) for route in tree.routes]
    rows = list(zip(tree.labels, tree.parents, strict=True))
    return Paths(
        functions=[routes[label] if parent == ROOT else tree.functions[label] for label, parent in rows],
        parents=tree.parents,
        calls=tree.calls if counts_calls(tree) else [0] * len(tree),
        self_times=[plausible(seconds) for seconds in tree.self_times],
        reasons=[""] * len(tree),
        library=[parent != ROOT and label in tree.library for label, parent in rows],
    )


def of_graphs(graphs: CallGraphs, application: ApplicationTree | None = None, *, budget: int = NODE_BUDGET) -> Paths:
    """Return the paths that call graphs and the paths of application code allow, marked where they are estimated.

    Their calls are not known, but for those of application code, and so are not told.
    """
    grown = grow(graphs.routes, application, budget=budget)
    own = set() if application is None else set(application.tree.functions)
    known: dict[str, bool] = {"": False}
    for function in grown.functions:
        if function.file not in known:
            known[function.file] = is_library_file(function.file)
    return Paths(
        functions=grown.functions[1:],
        parents=[parent - 1 for parent in grown.parents[1:]],
        calls=[0] * (len(grown.functions) - 1),
        self_times=grown.self_times[1:],
        reasons=grown.reasons[1:],
        library=[known[function.file] and function not in own for function in grown.functions[1:]],
        folded=grown.folded,
    )
