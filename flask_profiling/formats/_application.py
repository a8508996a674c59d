"""Exact paths of application code joined with the call graph of all code: arithmetic, no tree is drawn here.

The paths and their calls are those of the application tree; all times are the call graph's, so nothing counts twice.
Own time of a function under one caller is known from the edge between them; where several paths share an edge, it is
split by the wall time of each. What is left of a path's wall time was spent in library functions, and says which part
of the library below the function belongs to it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..model import ROOT, ApplicationTree, CallGraph, Cost, Function
from ._collected import plausible


@dataclass(slots=True)
class Path:
    """One path of application code.

    ``parent`` is the number of the path above (parents come first), or ROOT below the route; ``chain`` are the library
    functions between the two, where there is one way only. ``wall`` is the seconds in it without other application
    code. ``fraction`` is the part that belongs here of what is below the function in the library; ``reason`` and
    ``below`` say why own time and what is below are estimated (empty: they are not).
    """

    function: Function
    parent: int
    calls: int
    wall: float
    chain: tuple[Function, ...] = ()
    self_time: float = 0.0
    reason: str = ""
    fraction: float = 0.0
    below: str = ""


def application_paths(graph: CallGraph, application: ApplicationTree, route: str) -> list[Path]:
    """Return the application's paths of a route with the times of its graph; empty where the tree has none."""
    paths = _paths_of(application, route)
    by_function: dict[Function, list[Path]] = {}
    for path in paths:
        by_function.setdefault(path.function, []).append(path)
    ways = _Ways(graph, by_function)
    callers = {caller for caller, callee in graph.edges if callee not in by_function}
    for function, several in by_function.items():
        cost = graph.functions.get(function)
        if cost is not None:
            _measure(function, several, cost, paths, ways, function in callers)
    return paths


def _paths_of(application: ApplicationTree, route: str) -> list[Path]:
    tree = application.tree
    places: dict[int, int] = {}
    paths: list[Path] = []
    for node, parent in enumerate(tree.parents):
        if parent < 0:
            if tree.routes[tree.labels[node]] == route:
                places[node] = ROOT
            continue
        if parent not in places:
            continue
        function = tree.functions[tree.labels[node]]
        if function in application.brief:
            places[node] = above = places[parent]
            if above != ROOT:
                paths[above].wall += plausible(tree.self_times[node])
        else:
            places[node] = len(paths)
            paths.append(Path(function, places[parent], tree.calls[node], plausible(tree.self_times[node])))
    return paths


class _Ways:
    """Who called each function, and how often nobody is known to have."""

    def __init__(self, graph: CallGraph, application: Collection[Function]) -> None:
        self.edges = graph.edges
        self._application = application
        self._callers: dict[Function, list[Function]] = {function: [] for function in graph.functions}
        self._unexplained = graph.unexplained()
        for caller, callee in graph.edges:
            self._callers[callee].append(caller)

    def chain(self, above: Function | None, function: Function) -> tuple[Function, ...]:
        """Return the library functions on the only way from ``above`` (None: the route) to ``function``, if it is."""
        found: list[Function] = []
        while True:
            callers = self._callers[function]
            if not callers and above is None:
                return tuple(reversed(found))
            if len(callers) != 1 or function in self._unexplained:
                return ()
            function = callers[0]
            if function == above:
                return tuple(reversed(found))
            if function in self._application or function in found:
                return ()
            found.append(function)


def _measure(
    function: Function, several: Sequence[Path], cost: Cost, paths: Sequence[Path], ways: _Ways, calls_library: bool
) -> None:
    """Give the time of one function to the paths that lead to it."""
    left = plausible(cost.self_time)
    rest: list[Path] = []
    for above, group in _by_caller(several, paths).items():
        edge = None if above is None else ways.edges.get((above, function))
        if edge is not None and edge.calls == sum(path.calls for path in group):
            own = min(plausible(edge.self_time), left)
            left -= own
            _split(own, group, function, calls_library)
            continue
        rest += group
        chain = ways.chain(above, function)
        for path in group:
            path.chain = chain
    if rest:
        _split(left, rest, function, calls_library)
    else:
        several[0].self_time += left  # what rounding leaves
    in_library = _parts([max(0.0, path.wall - path.self_time) for path in several], several)
    counted = sum(path.calls for path in several)
    for path, part in zip(several, in_library, strict=True):
        path.fraction = part
        if len(several) > 1:
            path.below = f"estimated: split between {len(several)} paths to {function.name}"
        if counted != cost.calls:
            path.reason = path.below = f"estimated: the paths of {counted} of {cost.calls} calls are known"


def _by_caller(several: Sequence[Path], paths: Sequence[Path]) -> dict[Function | None, list[Path]]:
    found: dict[Function | None, list[Path]] = {}
    for path in several:
        found.setdefault(None if path.parent == ROOT else paths[path.parent].function, []).append(path)
    return found


def _split(seconds: float, group: Sequence[Path], function: Function, calls_library: bool) -> None:
    """Split own time between paths by their wall time, which is a guess where it holds time in the library too."""
    for path, part in zip(group, _parts([path.wall for path in group], group), strict=True):
        path.self_time = seconds * part
        if calls_library and len(group) > 1:
            path.reason = f"estimated: split between {len(group)} paths to {function.name}"


def _parts(amounts: Sequence[float], group: Sequence[Path]) -> list[float]:
    """Return amounts as parts of their sum, else calls; they make 1."""
    if sum(amounts) <= 0:
        amounts = [float(max(path.calls, 1)) for path in group]
    whole = sum(amounts)
    return [amount / whole for amount in amounts]
