"""Which functions a route spends its time in, out of a recording; the load itself is not known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model import CallGraphs, Cost, Function, RouteTimes


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A route, its requests, and the functions with the most self time; ``total`` is all self time in seconds."""

    route: str
    times: RouteTimes
    total: float
    functions: Sequence[tuple[Function, Cost]]

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
    graphs: CallGraphs, requests: Mapping[str, RouteTimes], *, routes: int = 8, functions: int = 3
) -> list[HotRoute]:
    """Return the routes with the most recorded time, each with its hottest functions by self time."""
    found = []
    for route, graph in graphs.routes.items():
        by_self_time = sorted(graph.functions.items(), key=lambda item: item[1].self_time, reverse=True)
        total = sum(cost.self_time for _, cost in by_self_time)
        found.append(HotRoute(route, requests.get(route, RouteTimes()), total, by_self_time[:functions]))
    return sorted(found, key=lambda item: item.total, reverse=True)[:routes]


def place(function: Function) -> str:
    """Return where a function is, short: the last two steps of its file, and the line."""
    if function.line == 0:
        return "C"
    return f"{'/'.join(function.file.replace(chr(92), '/').split('/')[-2:])}:{function.line}"
