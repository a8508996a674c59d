"""Call graphs: functions, what they cost, and who called whom; built by engines, read by formats, no clock and no
file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from . import _json


@dataclass(frozen=True, slots=True, order=True)
class Function:
    """One function of the profiled program.

    ``file`` is the code object's file name (``"~"`` for C functions, as in :mod:`pstats`), ``line`` the 1-based line
    of its definition (0 for C functions), ``name`` the plain name (``co_name``).
    """

    file: str
    line: int
    name: str

    def to_json(self) -> list[object]:
        """Return ``[file, line, name]``."""
        return [self.file, self.line, self.name]

    @classmethod
    def from_json(cls, value: object) -> Function:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        file, line, name = _json.row(value, 3)
        return cls(_json.text(file), _json.integer(line), _json.text(name))


@dataclass(frozen=True, slots=True)
class Cost:
    """What calls cost: ``calls`` in all, ``primitive_calls`` without recursion, ``self_time`` and ``total_time`` in
    seconds.

    ``total_time`` contains the functions called, and counts a recursive function once, as :mod:`cProfile` does.
    """

    calls: int
    primitive_calls: int
    self_time: float
    total_time: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.calls + other.calls,
            self.primitive_calls + other.primitive_calls,
            self.self_time + other.self_time,
            self.total_time + other.total_time,
        )

    def to_json(self) -> list[object]:
        """Return ``[calls, primitive_calls, self_time, total_time]``."""
        return [self.calls, self.primitive_calls, self.self_time, self.total_time]

    @classmethod
    def from_json(cls, value: object) -> Cost:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        calls, primitive, self_time, total_time = _json.row(value, 4)
        return cls(_json.count(calls), _json.count(primitive), _json.real(self_time), _json.real(total_time))


NO_COST = Cost(0, 0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CallGraph:
    """Exact counts and exact edges: ``functions`` maps each function to its cost, ``edges`` maps ``(caller, callee)``
    to the cost of the callee when called from that caller.

    Both functions of every edge are in ``functions``.
    """

    functions: Mapping[Function, Cost]
    edges: Mapping[tuple[Function, Function], Cost]

    @classmethod
    def merge(cls, graphs: Iterable[CallGraph]) -> CallGraph:
        """Add up any number of graphs."""
        functions: dict[Function, Cost] = {}
        edges: dict[tuple[Function, Function], Cost] = {}
        for graph in graphs:
            for function, cost in graph.functions.items():
                known = functions.get(function)
                functions[function] = cost if known is None else known + cost
            for edge, cost in graph.edges.items():
                known = edges.get(edge)
                edges[edge] = cost if known is None else known + cost
        return cls(functions, edges)

    def to_json(self) -> dict[str, object]:
        """Return ``{"functions": [[file, line, name, *cost]], "edges": [[caller, callee, *cost]]}``, edges by index."""
        places = {function: place for place, function in enumerate(self.functions)}
        return {
            "functions": [function.to_json() + cost.to_json() for function, cost in self.functions.items()],
            "edges": [[places[a], places[b], *cost.to_json()] for (a, b), cost in self.edges.items()],
        }

    @classmethod
    def from_json(cls, value: object) -> CallGraph:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        known: list[Function] = []
        functions: dict[Function, Cost] = {}
        for item in _json.sequence(document.get("functions")):
            cells = list(_json.row(item, 7))
            function = Function.from_json(cells[:3])
            known.append(function)
            functions[function] = Cost.from_json(cells[3:])
        edges: dict[tuple[Function, Function], Cost] = {}
        for item in _json.sequence(document.get("edges")):
            cells = list(_json.row(item, 6))
            caller, callee = (known[_json.index(cell, len(known))] for cell in cells[:2])
            edges[caller, callee] = Cost.from_json(cells[2:])
        return cls(functions, edges)


@dataclass(frozen=True, slots=True)
class CallGraphs:
    """One call graph per route, as the ``cprofile`` engine records them; the keys are route labels."""

    kind: ClassVar[str] = "callgraphs"

    routes: Mapping[str, CallGraph]

    def total(self) -> CallGraph:
        """Return the graph of all routes together."""
        return CallGraph.merge(self.routes.values())

    def merged_with(self, other: CallGraphs) -> CallGraphs:
        """Add up the recordings of two workers, route by route."""
        routes = dict(self.routes)
        for route, graph in other.routes.items():
            routes[route] = CallGraph.merge([routes[route], graph]) if route in routes else graph
        return CallGraphs(routes)

    def to_json(self) -> dict[str, object]:
        """Return ``{"routes": {label: graph}}``."""
        return {"routes": {route: graph.to_json() for route, graph in self.routes.items()}}

    @classmethod
    def from_json(cls, value: object) -> CallGraphs:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        routes = _json.mapping(_json.mapping(value).get("routes"))
        return cls({route: CallGraph.from_json(graph) for route, graph in routes.items()})
