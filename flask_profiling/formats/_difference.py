"""What the report of two recordings shows, as plain JSON values: one tree with the costs of both; no HTML is written
here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import Unavailable
from ..model import MORE, ROOT, CallGraph, Function, RouteTimes, SessionRecording, inclusive
from ._collected import call_graphs, call_tree, counts_calls, notes, plausible
from ._fold import largest
from ._labels import is_library_file
from ._paths import Paths, paths
from ._report import FunctionTable, reasons_column, session_facts

# More than a screen can show; the largest of either recording are kept.
MOST_NODES = 6_000
_MOST_ESTIMATED = 4_000
_MOST_CHANGES = 120
_OF_A_CHANGE = ("kind", "route", "name", "before", "after", "regression", "beginsHere")

# How the base's function is called in the new recording.
Rename = Callable[[Function], Function]


@dataclass(slots=True)
class _Node:
    """One path in either recording: calls and own µs, of the base and of the new one."""

    function: Function
    parent: int
    library: bool = False
    reason: str = ""
    calls: list[int] = field(default_factory=lambda: [0, 0])
    times: list[int] = field(default_factory=lambda: [0, 0])


def difference(
    base: SessionRecording,
    new: SessionRecording,
    verdict: Mapping[str, object],
    *,
    same: Mapping[Function, Function],
    names: Mapping[Function, str],
) -> dict[str, object]:
    """Return everything that the page's script draws.

    ``verdict`` has ``changes`` (as JSON), ``compared`` and ``notes``; ``same`` maps functions of the base to those of
    the new recording, and ``names`` functions to what the verdict calls them.
    """

    def rename(function: Function) -> Function:
        return same.get(function, function)

    sides = ((base, rename), (new, _as_it_is))
    counted = all(_is_counted(recording) for recording, _ in sides)
    nodes, folded = _largest(_merged(sides, counted=counted))
    is_tree = all(call_tree(recording) is not None for recording, _ in sides)
    known = FunctionTable()
    columns = _columns(nodes, known)
    changes = [_change(item) for item in _of_verdict(verdict, "changes")[:_MOST_CHANGES] if isinstance(item, dict)]
    told = {name for row in changes for name in (row[2], *(caller[0] for caller in row[-1]))}
    said = [*_of_verdict(verdict, "notes"), *_notes(base, new)]
    if folded:
        said.append(f"{folded:,} small paths are drawn together as {MORE.name}.")
    costs = None if is_tree else _costs(sides, known)
    return {
        "base": session_facts(base),
        "new": session_facts(new),
        "routes": _routes(base.requests, new.requests),
        "notes": said,
        "counted": counted,
        "isTree": is_tree,
        "nodes": columns,
        "costs": costs,
        "compared": verdict["compared"],
        "regressions": verdict["regressions"],
        "changed": len(_of_verdict(verdict, "changes")),
        "changes": changes,
        "files": list(known.files),
        "functions": known.rows,
        "names": [[name, number] for number, one in enumerate(known.functions) if (name := names.get(one)) in told],
        "reasons": list(known.reasons),
    }


def _as_it_is(function: Function) -> Function:
    return function


def _of_verdict(verdict: Mapping[str, object], key: str) -> list[object]:
    found = verdict[key]
    return list(found) if isinstance(found, (list, tuple)) else []


def _change(item: Mapping[str, Any]) -> list[Any]:
    """Return ``[kind, route, name, before, after, is a regression, begins here, callers]``."""
    callers = [[row["caller"], row["before"], row["after"]] for row in item["callers"]]
    return [*(item[key] for key in _OF_A_CHANGE), callers]


def _is_counted(recording: SessionRecording) -> bool:
    tree = call_tree(recording)
    return tree is None or counts_calls(tree)


def _notes(base: SessionRecording, new: SessionRecording) -> Iterator[str]:
    both = [notes(base), notes(new)]
    for title, mine, other in (("Base: ", both[0], both[1]), ("New: ", both[1], both[0])):
        yield from (title + note for note in mine if note not in other)
    yield from (note for note in both[0] if note in both[1])


def _routes(base: Mapping[str, RouteTimes], new: Mapping[str, RouteTimes]) -> list[list[object]]:
    """Return ``[route, requests, errors, mean seconds]``, the last three of the base, then of the new recording."""

    def facts(times: RouteTimes | None) -> list[object]:
        if times is None or not times.requests:
            return [0, 0, 0.0]
        return [times.requests, times.errors, round(plausible(times.wall_time / times.requests), 6)]

    return [[route, *facts(base.get(route)), *facts(new.get(route))] for route in dict.fromkeys([*base, *new])]


def _merged(sides: Sequence[tuple[SessionRecording, Rename]], *, counted: bool) -> list[_Node]:
    """Return the paths of both recordings as one tree, parents before their children."""
    nodes: list[_Node] = []
    places: dict[tuple[int, Function], int] = {}
    for side, (recording, rename) in enumerate(sides):
        try:
            found = paths(recording, budget=_MOST_ESTIMATED)
        except Unavailable:
            continue
        calls = _calls(recording, found) if counted else [0] * len(found.parents)
        where: list[int] = []
        for node, function in enumerate(found.functions):
            above = found.parents[node]
            parent = ROOT if above == ROOT else where[above]
            mine = rename(function) if function.file else function if above == ROOT else MORE
            place = places.setdefault((parent, mine), len(nodes))
            if place == len(nodes):
                nodes.append(_Node(mine, parent, found.library[node], found.reasons[node]))
            where.append(place)
            nodes[place].times[side] += round(found.self_times[node] * 1e6)
            nodes[place].calls[side] += calls[node]
    return nodes


def _calls(recording: SessionRecording, found: Paths) -> Sequence[int]:
    """Return the calls of each node: of its path where a tree knows them, else of its caller in its route."""
    if call_tree(recording) is not None:
        return found.calls
    edges = {route: _edges(graph) for route, graph in call_graphs(recording).routes.items()}
    routes: list[str] = []
    calls: list[int] = []
    for node, parent in enumerate(found.parents):
        if parent == ROOT:
            routes.append(found.functions[node].name)
            calls.append(0)
            continue
        routes.append(routes[parent])
        caller = None if found.parents[parent] == ROOT else found.functions[parent]
        calls.append(edges.get(routes[node], {}).get((caller, found.functions[node]), 0))
    return calls


def _edges(graph: CallGraph) -> dict[tuple[Function | None, Function], int]:
    """Return calls by ``(caller, callee)``; what no edge leads to was called by the route itself (None)."""
    by_edge: dict[tuple[Function | None, Function], int] = {edge: cost.calls for edge, cost in graph.edges.items()}
    return by_edge | {(None, function): calls for function, calls in graph.unexplained().items()}


def _largest(nodes: Sequence[_Node]) -> tuple[Sequence[_Node], int]:
    """Return the nodes with the most time in either recording, and how many were folded into others."""
    parents = [node.parent for node in nodes]
    sides = [inclusive(parents, [node.times[side] for node in nodes]) for side in (0, 1)]
    kept = largest(parents, [max(both) for both in zip(*sides, strict=True)], MOST_NODES)
    if not kept.folded:
        return nodes, 0
    rows = [
        _Node(MORE, parent) if node is None else replace(nodes[node], parent=parent, times=[0, 0])
        for node, parent in zip(kept.rows, kept.parents, strict=True)
    ]
    for place, node in zip(kept.places, nodes, strict=True):
        rows[place].times = [a + b for a, b in zip(rows[place].times, node.times, strict=True)]
    return rows, kept.folded


def _columns(nodes: Sequence[_Node], known: FunctionTable) -> dict[str, object]:
    """Return columns; a parent is given by its distance, which is short, and 0 where there is none."""
    return {
        "up": [0 if node.parent == ROOT else place - node.parent for place, node in enumerate(nodes)],
        "fn": [known.of(node.function, is_route=node.parent == ROOT, is_library=node.library) for node in nodes],
        "calls": [node.calls[1] for node in nodes],
        "calls0": [node.calls[0] for node in nodes],
        "us": [node.times[1] for node in nodes],
        "us0": [node.times[0] for node in nodes],
        "why": reasons_column([node.reason for node in nodes], known),
    }


def _costs(sides: Sequence[tuple[SessionRecording, Rename]], known: FunctionTable) -> list[list[object]]:
    """Return ``[route, function, calls, own µs, total µs]`` of call graphs, the last three of the base, then the new:
    an estimated tree cannot be added up again."""
    rows: dict[tuple[str, Function], list[list[int]]] = {}
    for side, (recording, rename) in enumerate(sides):
        try:
            graphs = call_graphs(recording)
        except Unavailable:
            continue
        for route, graph in graphs.routes.items():
            for function, cost in graph.functions.items():
                row = rows.setdefault((route, rename(function)), [[0, 0, 0], [0, 0, 0]])
                mine = (cost.calls, round(plausible(cost.self_time) * 1e6), round(plausible(cost.total_time) * 1e6))
                row[side] = [a + b for a, b in zip(row[side], mine, strict=True)]
    return [
        [
            known.of(Function("", 0, route), is_route=True, is_library=False),
            known.of(function, is_route=False, is_library=is_library_file(function.file)),
            *before,
            *after,
        ]
        for (route, function), (before, after) in rows.items()
    ]
