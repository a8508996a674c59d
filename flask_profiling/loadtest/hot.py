"""Which functions a route spends its time in, out of a recording; the load itself is not known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model import CallGraphs, Cost, Function, RouteTimes

# Recording a call takes about a microsecond: what is called often and takes little more may be little else.
_OFTEN = 1000
_SHORT = 3e-6
_LEAST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A route, its requests, and the functions with the most self time; ``total`` is all self time in seconds.

    ``has_overhead`` says that what recording took is in the times.
    """

    route: str
    times: RouteTimes
    total: float
    functions: Sequence[tuple[Function, Cost]]
    has_overhead: bool = False

    def mostly_recorded(self) -> list[tuple[Function, Cost]]:
        """Return those functions that are called so often, and take so little, that much of it may be recording."""
        if not self.has_overhead:
            return []
        return [
            (function, cost)
            for function, cost in self.functions
            if cost.calls >= _OFTEN and _LEAST_SHARE * self.total <= cost.self_time <= _SHORT * cost.calls
        ]

    def to_json(self) -> dict[str, object]:
        """Return counts, and times in milliseconds."""
        return {
            "route": self.route,
            "requests": self.times.requests,
            "meanMs": round(self.times.wall_time / self.times.requests * 1e3, 3) if self.times.requests else None,
            "functions": [
                {
                    "name": function.name,
                    "file": function.file,
                    "line": function.line,
                    "calls": cost.calls,
                    "selfMs": round(cost.self_time * 1e3, 3),
                    "share": round(cost.self_time / self.total, 4) if self.total else 0.0,
                }
                for function, cost in self.functions
            ],
        }


def hottest(
    graphs: CallGraphs,
    requests: Mapping[str, RouteTimes],
    *,
    routes: int = 8,
    functions: int = 3,
    has_overhead: bool = False,
) -> list[HotRoute]:
    """Return the routes with the most recorded time, each with its hottest functions by self time."""
    found = []
    for route, graph in graphs.routes.items():
        by_self_time = sorted(graph.functions.items(), key=lambda item: item[1].self_time, reverse=True)
        total = sum(cost.self_time for _, cost in by_self_time)
        times = requests.get(route, RouteTimes())
        found.append(HotRoute(route, times, total, by_self_time[:functions], has_overhead))
    return sorted(found, key=lambda item: item.total, reverse=True)[:routes]


def place(function: Function) -> str:
    """Return where a function is, short: the last two steps of its file, and the line."""
    if function.line == 0:
        return "C"
    return f"{'/'.join(function.file.replace(chr(92), '/').split('/')[-2:])}:{function.line}"
