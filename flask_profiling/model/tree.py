"""Calling-context trees: every path that was taken, what it cost, and when; built by engines, read by formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, TypeVar

from ..errors import DamagedData
from . import _json
from .graph import NO_COST, CallGraph, CallGraphs, Cost, Function

_Key = TypeVar("_Key")

# what stands above the root of a route
ROOT = -1
# µs that a float holds exactly: no step of a timeline is longer
_LONGEST = 2**53


def inclusive(parents: Sequence[int], own: Iterable[float]) -> list[float]:
    """Return what each node and all below it have together; parents come before their children."""
    totals = list(own)
    for node in reversed(range(len(totals))):
        if parents[node] != ROOT:
            totals[parents[node]] += totals[node]
    return totals


@dataclass(frozen=True, slots=True)
class Track:
    """What one thread of one worker did, in true order.

    From ``times[i]`` on (µs after the tree's origin, ascending) the innermost running node was ``nodes[i]``, or nothing
    where that is -1. ``requests`` are ``(route, from, to)``: an index into the tree's routes, and times in µs.
    """

    worker: int
    thread: str
    times: Sequence[int]
    nodes: Sequence[int]
    requests: Sequence[tuple[int, int, int]]

    def to_json(self) -> dict[str, object]:
        """Return the fields by name, times as differences."""
        steps = [now - before for before, now in zip([0, *self.times], self.times, strict=False)]
        return {
            "worker": self.worker,
            "thread": self.thread,
            "steps": steps,
            "nodes": list(self.nodes),
            "requests": [list(request) for request in self.requests],
        }

    @classmethod
    def from_json(cls, value: object, *, nodes: int, routes: int) -> Track:
        """Read what :meth:`to_json` wrote, for a tree of so many nodes and routes; raises DamagedData."""
        document = _json.mapping(value)
        times = list(accumulate(_whole(document.get("steps"), lowest=0, highest=_LONGEST)))
        entered = _whole(document.get("nodes"), lowest=ROOT, highest=nodes - 1)
        requests = [_json.row(row, 3) for row in _json.sequence(document.get("requests"))]
        return cls(
            _json.count(document.get("worker")),
            _json.text(document.get("thread")),
            tuple(times[: len(entered)]),
            tuple(entered[: len(times)]),
            tuple((_json.index(route, routes), _json.count(begin), _json.count(end)) for route, begin, end in requests),
        )


@dataclass(frozen=True, slots=True)
class CallTree:
    """One tree per route, all in columns of equal length; parents come before their children.

    ``parents[i]`` is the index of node i's parent, or -1 for the root of a route; ``labels[i]`` is an index into
    ``functions``, for a root into ``routes``. ``calls`` are exact where the engine says so; ``self_times`` are seconds
    of wall time in the node itself. ``library`` are indexes of functions that are not the application's. ``tracks``
    tell the order of things, as long as their bound lasted: ``dropped`` transitions are missing. ``origin`` is in µs of
    the machine's monotonic clock. ``overheads`` are seconds that recording took in each node, and that were taken off
    its self time (empty: nothing was); they are in the tracks.
    """

    kind: ClassVar[str] = "calltree"

    scope: str
    routes: tuple[str, ...]
    functions: tuple[Function, ...]
    library: frozenset[int]
    parents: tuple[int, ...]
    labels: tuple[int, ...]
    calls: tuple[int, ...]
    self_times: tuple[float, ...]
    tracks: tuple[Track, ...] = ()
    dropped: int = 0
    origin: int = 0
    overheads: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.parents)

    def roots(self) -> Iterator[int]:
        """Yield the root node of each route."""
        return (node for node, parent in enumerate(self.parents) if parent == ROOT)

    def children(self) -> list[list[int]]:
        """Return each node's children, in the order in which they were first called."""
        children: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents):
            if parent != ROOT:
                children[parent].append(node)
        return children

    def own_shares(self) -> Sequence[float]:
        """Return for each node which part of its time in the tracks is its own, and not what recording took."""
        if not self.overheads:
            return [1.0] * len(self)
        pairs = zip(self.self_times, self.overheads, strict=True)
        return [max(time, 0.0) / (max(time, 0.0) + overhead) if overhead > 0.0 else 1.0 for time, overhead in pairs]

    def total_times(self) -> list[float]:
        """Return each node's wall time with all that it called, in seconds."""
        return inclusive(self.parents, self.self_times)

    def name(self, node: int) -> str:
        """Return the route's label or the function's name."""
        label = self.labels[node]
        return self.routes[label] if self.parents[node] == ROOT else self.functions[label].name

    def graphs(self) -> CallGraphs:
        """Return the call graph of each route: the same calls with their order and paths forgotten."""
        totals = self.total_times()
        routes: list[str] = []
        above: list[frozenset[object]] = []
        functions: dict[str, dict[Function, Cost]] = {route: {} for route in self.routes}
        edges: dict[str, dict[tuple[Function, Function], Cost]] = {route: {} for route in self.routes}
        for node, parent in enumerate(self.parents):
            if parent == ROOT:
                routes.append(self.routes[self.labels[node]])
                above.append(frozenset())
                continue
            route = routes[parent]
            routes.append(route)
            function = self.functions[self.labels[node]]
            passed: set[object] = {function}
            _add(functions[route], function, self._cost(node, totals, function not in above[parent]))
            if self.parents[parent] != ROOT:
                edge = (self.functions[self.labels[parent]], function)
                passed.add(edge)
                _add(edges[route], edge, self._cost(node, totals, edge not in above[parent]))
            above.append(above[parent] if passed <= above[parent] else above[parent] | passed)
        return CallGraphs({route: CallGraph(functions[route], edges[route]) for route in self.routes})

    def _cost(self, node: int, totals: Sequence[float], is_outermost: bool) -> Cost:
        calls = self.calls[node]
        return Cost(calls, calls * is_outermost, self.self_times[node], totals[node] if is_outermost else 0.0)

    def merged_with(self, other: CallTree) -> CallTree:
        """Add up the trees of two workers, path by path; tracks stand side by side."""
        builder = TreeBuilder(self.scope)
        origin = min(self.origin, other.origin)
        tracks: list[Track] = []
        for tree in (self, other):
            nodes = builder.add(tree)
            routes = [builder.route(route) for route in tree.routes]
            tracks += (_moved(track, nodes, routes, tree.origin - origin) for track in tree.tracks)
        return builder.tree(tracks=tracks, dropped=self.dropped + other.dropped, origin=origin)

    def to_json(self) -> dict[str, object]:
        """Return the columns by name."""
        return {
            "scope": self.scope,
            "routes": list(self.routes),
            "functions": [function.to_json() for function in self.functions],
            "library": sorted(self.library),
            "parents": list(self.parents),
            "labels": list(self.labels),
            "calls": list(self.calls),
            "selfSeconds": list(self.self_times),
            "tracks": [track.to_json() for track in self.tracks],
            "dropped": self.dropped,
            "origin": self.origin,
            **({"overheadSeconds": list(self.overheads)} if self.overheads else {}),
        }

    @classmethod
    def from_json(cls, value: object) -> CallTree:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        routes = _json.texts(document.get("routes"))
        functions = tuple(Function.from_json(item) for item in _json.sequence(document.get("functions")))
        parents: list[int] = []
        labels: list[int] = []
        rows = _columns(document, "parents", "labels", "calls", "selfSeconds")
        for node, (parent, label, _, _) in enumerate(rows):
            above = ROOT if parent == ROOT else _json.index(parent, node)
            parents.append(above)
            labels.append(_json.index(label, len(routes) if above == ROOT else len(functions)))
        tracks = _json.sequence(document.get("tracks"))
        overheads = tuple(map(_json.real, _json.sequence(document.get("overheadSeconds", []))))
        if len(overheads) not in (0, len(rows)):
            raise DamagedData("the columns of a tree differ in length; delete the damaged file")
        return cls(
            scope=_json.text(document.get("scope")),
            routes=routes,
            functions=functions,
            library=frozenset(_json.index(item, len(functions)) for item in _json.sequence(document.get("library"))),
            parents=tuple(parents),
            labels=tuple(labels),
            calls=tuple(_json.count(row[2]) for row in rows),
            self_times=tuple(_json.real(row[3]) for row in rows),
            tracks=tuple(Track.from_json(track, nodes=len(rows), routes=len(routes)) for track in tracks),
            dropped=_json.count(document.get("dropped")),
            origin=_json.count(document.get("origin")),
            overheads=overheads,
        )


@dataclass(frozen=True, slots=True)
class ApplicationTree:
    """The paths of application code alone, recorded beside the call graphs of all code.

    ``tree`` has no library functions and no tracks: the time that they took is self time of the application function
    (or route) from which they were reached. ``brief`` are functions that were not followed to the end, so that the tree
    has only some of their calls; they call no application code, and the time of the others is that of their callers.
    """

    kind: ClassVar[str] = "apptree"

    tree: CallTree
    brief: frozenset[Function] = frozenset()

    def merged_with(self, other: ApplicationTree) -> ApplicationTree:
        """Add up the trees of two workers, path by path."""
        return ApplicationTree(self.tree.merged_with(other.tree), self.brief | other.brief)

    def to_json(self) -> dict[str, object]:
        """Return the columns of the tree by name."""
        return self.tree.to_json() | {"brief": [function.to_json() for function in sorted(self.brief)]}

    @classmethod
    def from_json(cls, value: object) -> ApplicationTree:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        brief = _json.sequence(_json.mapping(value).get("brief", []))
        return cls(CallTree.from_json(value), frozenset(Function.from_json(function) for function in brief))


class TreeBuilder:
    """Adds up nodes by their path, and makes the tree; parents are added before their children."""

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._routes: dict[str, int] = {}
        self._functions: dict[Function, int] = {}
        self._library: set[int] = set()
        self._places: dict[tuple[int, int], int] = {}
        self._rows: list[tuple[int, int]] = []
        self._calls: list[int] = []
        self._self_times: list[float] = []
        self._overheads: list[float] = []

    def route(self, label: str) -> int:
        """Return the index of a route."""
        return self._routes.setdefault(label, len(self._routes))

    def root(self, label: str, *, calls: int, self_time: float, overhead: float = 0.0) -> int:
        """Add the root of a route; returns its node."""
        return self._node(ROOT, self.route(label), calls, self_time, overhead)

    def child(
        self,
        parent: int,
        function: Function,
        *,
        calls: int,
        self_time: float,
        is_library: bool,
        overhead: float = 0.0,
    ) -> int:
        """Add calls of a function on the path of ``parent``; returns its node."""
        label = self._functions.setdefault(function, len(self._functions))
        if is_library:
            self._library.add(label)
        return self._node(parent, label, calls, self_time, overhead)

    def add(self, tree: CallTree) -> list[int]:
        """Add a whole tree; returns where each of its nodes is now."""
        nodes: list[int] = []
        for node, parent in enumerate(tree.parents):
            label, calls, self_time = tree.labels[node], tree.calls[node], tree.self_times[node]
            if parent == ROOT:
                nodes.append(self.root(tree.routes[label], calls=calls, self_time=self_time))
                continue
            function, is_library = tree.functions[label], label in tree.library
            nodes.append(self.child(nodes[parent], function, calls=calls, self_time=self_time, is_library=is_library))
        for node, overhead in zip(nodes, tree.overheads, strict=False):
            self._overheads[node] += overhead
        return nodes

    def _node(self, parent: int, label: int, calls: int, self_time: float, overhead: float) -> int:
        place = self._places.setdefault((parent, label), len(self._rows))
        if place == len(self._rows):
            self._rows.append((parent, label))
            self._calls.append(0)
            self._self_times.append(0.0)
            self._overheads.append(0.0)
        self._calls[place] += calls
        self._self_times[place] += self_time
        self._overheads[place] += overhead
        return place

    def tree(self, *, tracks: Iterable[Track] = (), dropped: int = 0, origin: int = 0) -> CallTree:
        """Return the tree of all that was added."""
        return CallTree(
            scope=self._scope,
            routes=tuple(self._routes),
            functions=tuple(self._functions),
            library=frozenset(self._library),
            parents=tuple(parent for parent, _ in self._rows),
            labels=tuple(label for _, label in self._rows),
            calls=tuple(self._calls),
            self_times=tuple(self._self_times),
            tracks=tuple(tracks),
            dropped=dropped,
            origin=origin,
            overheads=tuple(self._overheads) if any(self._overheads) else (),
        )


def _moved(track: Track, nodes: Sequence[int], routes: Sequence[int], later: int) -> Track:
    return Track(
        track.worker,
        track.thread,
        tuple(time + later for time in track.times),
        tuple(node if node == ROOT else nodes[node] for node in track.nodes),
        tuple((routes[route], begin + later, end + later) for route, begin, end in track.requests),
    )


def _add(costs: dict[_Key, Cost], key: _Key, cost: Cost) -> None:
    costs[key] = costs.get(key, NO_COST) + cost


def _whole(value: object, *, lowest: int, highest: int) -> Sequence[int]:
    """Return a column of whole numbers within bounds; there are hundreds of thousands, so they are checked as one."""
    column = _json.sequence(value)
    if not column:
        return ()
    if set(map(type, column)) != {int}:
        raise DamagedData("expected a list of whole numbers; delete the damaged file")
    numbers: Sequence[int] = column  # type: ignore[assignment]  # all are, as was just seen
    if min(numbers) < lowest or max(numbers) > highest:
        raise DamagedData("a number in a timeline is out of its bounds; delete the damaged file")
    return numbers


def _columns(document: Mapping[str, object], *names: str) -> list[tuple[object, ...]]:
    columns = [_json.sequence(document.get(name)) for name in names]
    if len({len(column) for column in columns}) != 1:
        raise DamagedData("the columns of a tree differ in length; delete the damaged file")
    return list(zip(*columns, strict=True))
