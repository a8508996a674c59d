"""Call graphs: functions, what they cost, and who called whom; built by engines, read by formats, no clock and no
file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

from . import _json

_Key = TypeVar("_Key")


class Function(NamedTuple):
    """One function of the profiled program.

    ``file`` is the code object's file name (``"~"`` for C functions, as in :mod:`pstats`), ``line`` the 1-based line
    of its definition (0 for C functions), ``name`` the plain name (``co_name``). A tuple, because graphs look functions
    up by the million, and C hashes and compares those.
    """

    file: str
    line: int
    name: str

    def to_json(self) -> list[object]:
        """Return ``[file, line, name]``."""
        return list(self)

    @classmethod
    def from_json(cls, value: object) -> Function:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        file, line, name = _json.row(value, 3)
        return cls(_json.text(file), _json.integer(line), _json.text(name))


class Cost(NamedTuple):
    """What calls cost: ``calls`` in all, ``primitive_calls`` without recursion, ``self_time`` and ``total_time`` in
    seconds.

    ``total_time`` contains the functions called, and counts a recursive function once, as :mod:`cProfile` does.
    """

    calls: int
    primitive_calls: int
    self_time: float
    total_time: float

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override]  # costs add up, they are not strung together
        calls, primitive, self_time, total_time = other
        return Cost(self[0] + calls, self[1] + primitive, self[2] + self_time, self[3] + total_time)


def _cost(calls: object, primitive: object, self_time: object, total_time: object) -> Cost:
    return Cost(_json.count(calls), _json.count(primitive), _json.real(self_time), _json.real(total_time))


NO_COST = Cost(0, 0, 0.0, 0.0)
# what stands for several functions that are not told apart
MORE = Function("", 0, "(more functions)")


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
        several = list(graphs)
        return cls(_added([graph.functions for graph in several]), _added([graph.edges for graph in several]))

    def unexplained(self) -> dict[Function, int]:
        """Return how many calls of each function no edge leads to, which are those of the route itself; functions
        without such calls are left out."""
        calls = {function: cost.calls for function, cost in self.functions.items()}
        for (_, callee), cost in self.edges.items():
            calls[callee] -= cost.calls
        return {function: number for function, number in calls.items() if number > 0}

    def to_json(self) -> dict[str, object]:
        """Return ``{"functions": [[file, line, name, *cost]], "edges": [[caller, callee, *cost]]}``, edges by index."""
        places = {function: place for place, function in enumerate(self.functions)}
        return {
            "functions": [[*function, *cost] for function, cost in self.functions.items()],
            "edges": [[places[a], places[b], *cost] for (a, b), cost in self.edges.items()],
        }

    @classmethod
    def from_json(cls, value: object) -> CallGraph:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        known: list[Function] = []
        functions: dict[Function, Cost] = {}
        for item in _json.sequence(document.get("functions")):
            file, line, name, *cost = _json.row(item, 7)
            function = Function(_json.text(file), _json.integer(line), _json.text(name))
            known.append(function)
            functions[function] = _cost(*cost)
        edges: dict[tuple[Function, Function], Cost] = {}
        for item in _json.sequence(document.get("edges")):
            caller, callee, *cost = _json.row(item, 6)
            edge = known[_json.index(caller, len(known))], known[_json.index(callee, len(known))]
            edges[edge] = _cost(*cost)
        return cls(functions, edges)


def _added(several: Sequence[Mapping[_Key, Cost]]) -> dict[_Key, Cost]:
    """Add up costs by key. Written out, for this runs once for each edge of each worker."""
    if not several:
        return {}
    sums = dict(several[0])
    for costs in several[1:]:
        for key, cost in costs.items():
            known = sums.get(key)
            if known is None:
                sums[key] = cost
            else:
                calls, primitive, self_time, total_time = cost
                sums[key] = Cost(known[0] + calls, known[1] + primitive, known[2] + self_time, known[3] + total_time)
    return sums


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
