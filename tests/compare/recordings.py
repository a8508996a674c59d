"""Recordings made by hand, for tests of comparisons. No tests."""

from __future__ import annotations

from collections.abc import Mapping

from flask_profiling.model import (
    Allocations,
    Amount,
    CallGraph,
    CallGraphs,
    Cost,
    Frame,
    Function,
    Recording,
    RouteTimes,
    Session,
    SessionOptions,
    SessionRecording,
    WorkerId,
)

ENVIRONMENT = {"python": "3.11.7", "implementation": "CPython", "flask": "3.1.0", "flask-profiling-devtools": "1.0"}
WORKER = WorkerId("host", 1, 0)
VIEW = Function("/srv/app/shop/pages.py", 10, "products")
MODEL = Function("/srv/app/shop/models.py", 20, "price")
QUERY = Function("/usr/lib/python3.11/site-packages/sqlalchemy/engine.py", 30, "execute")

Edges = Mapping[tuple[Function | None, Function], int]


def graph(edges: Edges) -> CallGraph:
    """A graph of calls: ``(caller, callee): number``, the caller None where the framework calls."""
    calls: dict[Function, int] = {}
    for (_, callee), number in edges.items():
        calls[callee] = calls.get(callee, 0) + number
    functions = {function: Cost(number, number, 0.0, 0.0) for function, number in calls.items()}
    inner = {(a, b): Cost(number, number, 0.0, 0.0) for (a, b), number in edges.items() if a is not None}
    return CallGraph(functions, inner)


def recording(
    routes: Mapping[str, Edges],
    *,
    requests: int = 10,
    seconds: float = 0.01,
    environment: Mapping[str, str] = ENVIRONMENT,
    engine: str = "cprofile",
    grown: Mapping[Frame, int] | None = None,
    session_id: str = "prof-20260101-000000-aaaa1111",
) -> SessionRecording:
    """A recording of routes, each with ``requests`` requests of ``seconds`` each."""
    session = Session(session_id, WORKER, 0.0, SessionOptions("cprofile", False, 0, 1.0), 1.0, 1.0, "stop")
    times = {label: RouteTimes(requests, 0, requests * seconds, 0.0, {}) for label in routes}
    collected = [Recording(engine, CallGraphs({label: graph(edges) for label, edges in routes.items()}))]
    if grown is not None:
        sites = {(frame,): Amount(size, 1, size, 1) for frame, size in grown.items()}
        collected.append(Recording("allocations", Allocations(1, True, sites)))
    return SessionRecording(session, (WORKER,), (), times, tuple(collected), environment)


def page(items: int, *, requests: int = 10, queries: int = 1) -> dict[str, Edges]:
    """A page that prices ``items`` items with ``queries`` queries, ``requests`` times."""
    return {
        "GET / [pages.products]": {
            (None, VIEW): requests,
            (VIEW, MODEL): items * requests,
            (VIEW, QUERY): queries * requests,
        }
    }
