"""A baseline as JSON: the runs that later ones are held against; small enough to be kept beside the code."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..errors import DamagedData
from .runs import RouteRun, Run

VERSION = 1


def baseline_to_json(runs: Sequence[Run]) -> bytes:
    """Return the file of a baseline: sorted, one function a line, so that a change of it can be read."""
    document = {"flaskProfilingBaseline": VERSION, "runs": [_run_to_json(run) for run in runs]}
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def baseline_from_json(data: bytes, name: str) -> list[Run]:
    """Read what :func:`baseline_to_json` wrote; ``name`` is for people. Raises DamagedData for anything else."""
    try:
        document = json.loads(data)
        version = document["flaskProfilingBaseline"]
    except (ValueError, RecursionError, LookupError, TypeError):
        raise DamagedData(f"{name} is no baseline, or it was damaged; save it again") from None
    if version != VERSION:
        raise DamagedData(f"{name} is a baseline of version {version!r}, this is {VERSION}; save it again")
    try:
        runs = [_run_from_json(item) for item in document["runs"]]
    except (LookupError, TypeError, ValueError, AttributeError):
        raise DamagedData(f"{name} was damaged; save it again") from None
    if not runs:
        raise DamagedData(f"{name} holds no run; save it again")
    return runs


def _run_to_json(run: Run) -> dict[str, object]:
    return {
        "session": run.session_id,
        "engine": run.engine,
        "exact": run.exact,
        "environment": dict(run.environment),
        "allocations": dict(run.allocations),
        "routes": {
            name: {
                "requests": route.requests,
                "meanSeconds": route.mean,
                "calls": dict(route.calls),
                "edges": _nested(route),
            }
            for name, route in run.routes.items()
        },
    }


def _nested(route: RouteRun) -> dict[str, dict[str, int]]:
    edges: dict[str, dict[str, int]] = {}
    for (caller, callee), count in route.edges.items():
        edges.setdefault(caller, {})[callee] = count
    return edges


def _run_from_json(document: dict[str, object]) -> Run:
    routes = document["routes"]
    if not isinstance(routes, dict):
        raise TypeError("routes")
    return Run(
        session_id=_text(document["session"]),
        engine=_text(document["engine"]),
        exact=document["exact"] is True,
        environment={key: _text(value) for key, value in _object(document["environment"]).items()},
        routes={name: _route_from_json(_object(route)) for name, route in routes.items()},
        allocations={key: _count(value, negative=True) for key, value in _object(document["allocations"]).items()},
    )


def _route_from_json(document: dict[str, object]) -> RouteRun:
    requests, mean = _count(document["requests"]), document["meanSeconds"]
    if not requests or not isinstance(mean, (int, float)) or not 0 <= mean < 1e9:
        raise ValueError("requests")
    edges = {
        (caller, callee): _count(count)
        for caller, callees in _object(document["edges"]).items()
        for callee, count in _object(callees).items()
    }
    calls = {name: _count(count) for name, count in _object(document["calls"]).items()}
    return RouteRun(requests, float(mean), calls, edges)


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("an object belongs here")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text belongs here")
    return value


def _count(value: object, *, negative: bool = False) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or (value < 0 and not negative):
        raise TypeError("a count belongs here")
    return value
