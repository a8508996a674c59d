"""What of a recording is compared: numbers by names that stay the same when lines move and checkouts lie elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..model import Allocations, Amount, CallGraph, CallGraphs, CallTree, Frame, Function, SessionRecording

ROOT = "(the route)"
_INSTALLED = re.compile(r".*[\\/](?:site-packages|dist-packages|python\d+\.\d+t?|Lib)[\\/]")
_STEPS = re.compile(r"[\\/]+")


@dataclass(frozen=True, slots=True)
class RouteRun:
    """One route: its requests, their mean wall seconds, calls by function, and calls by (caller, function)."""

    requests: int
    mean: float
    calls: Mapping[str, int]
    edges: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Run:
    """One recording as it is compared; functions are ``module:name``.

    ``engine`` collected the calls and ``exact`` says whether they were counted (a sampler estimates);
    ``allocations`` are bytes that grew, by function.
    """

    session_id: str
    engine: str
    exact: bool
    environment: Mapping[str, str]
    routes: Mapping[str, RouteRun]
    allocations: Mapping[str, int]

    @property
    def requests(self) -> int:
        """All requests of all routes."""
        return sum(route.requests for route in self.routes.values())


def summarise(recording: SessionRecording) -> Run:
    """Return what of a recording is compared."""
    engine, graphs = _calls(recording)
    files = {function.file for graph in graphs.values() for function in graph.functions}
    lines = _lines(recording)
    module = _modules(files | {frame.file for frame in lines})
    grown: Counter[str] = Counter()
    for frame, amount in lines.items():
        grown[f"{module[frame.file]}:{frame.name or '<module>'}"] += amount.size_growth
    routes = {}
    for route, times in recording.requests.items():
        if not times.requests:
            continue
        calls, edges = _counts(graphs[route], module) if route in graphs else (Counter(), Counter())
        routes[route] = RouteRun(times.requests, times.wall_time / times.requests, calls, edges)
    return Run(
        session_id=recording.session.id,
        engine=engine,
        exact=bool(graphs) and engine != "sampling",
        environment=dict(recording.environment),
        routes=routes,
        allocations=grown,
    )


def aligned(run: Run, base: Run) -> Run:
    """Call the application's modules in ``run`` as ``base`` does, where they differ by leading folders alone.

    How many of them show depends on which files took part.
    """
    modules = renamed_modules(_names(run), _names(base))
    if not modules:
        return run

    def name(old: str) -> str:
        return renamed(old, modules)

    routes = {
        label: replace(
            route,
            calls={name(old): count for old, count in route.calls.items()},
            edges={(name(caller), name(callee)): count for (caller, callee), count in route.edges.items()},
        )
        for label, route in run.routes.items()
    }
    return replace(run, routes=routes, allocations={name(old): size for old, size in run.allocations.items()})


def renamed_modules(names: Iterable[str], base: Iterable[str]) -> dict[str, str]:
    """Return what modules in ``names`` (``module:name``) are called in ``base``, where leading folders alone differ.

    A module that both have is itself alone: ``app`` is not ``flask.app``.
    """
    here = {name.partition(":")[0] for name in names}
    there = {name.partition(":")[0] for name in base}
    found: dict[str, str] = {}
    for module in here - there:
        same = [other for other in there - here if other.endswith(f".{module}") or module.endswith(f".{other}")]
        if len(same) == 1:
            found[module] = same[0]
    return {module: other for module, other in found.items() if list(found.values()).count(other) == 1}


def renamed(name: str, modules: Mapping[str, str]) -> str:
    """Return ``module:name`` with its module called as ``modules`` say."""
    module, colon, function = name.partition(":")
    return f"{modules.get(module, module)}{colon}{function}"


def functions(recording: SessionRecording) -> dict[Function, str]:
    """Return every function of a recording with the name, ``module:name``, by which it is compared."""
    _, graphs = _calls(recording)
    found = {function for graph in graphs.values() for function in graph.functions}
    module = _modules({function.file for function in found} | {frame.file for frame in _lines(recording)})
    return {function: _name(function, module) for function in found}


def called_names(recording: SessionRecording) -> dict[Function, frozenset[str]]:
    """Return the plain names of the functions that each function calls."""
    _, graphs = _calls(recording)
    found: dict[Function, set[str]] = {}
    for graph in graphs.values():
        for caller, callee in graph.edges:
            found.setdefault(caller, set()).add(callee.name)
    return {function: frozenset(names) for function, names in found.items()}


def _lines(recording: SessionRecording) -> Mapping[Frame, Amount]:
    allocations = recording.data(Allocations)
    return {} if allocations is None else allocations.by_line()


def _names(run: Run) -> set[str]:
    return {name for route in run.routes.values() for name in route.calls} | set(run.allocations)


def _calls(recording: SessionRecording) -> tuple[str, Mapping[str, CallGraph]]:
    """Return the engine that recorded calls and its graphs by route; the call graphs know more than the call tree."""
    found = [item for kind in (CallGraphs, CallTree) for item in recording.recordings if isinstance(item.data, kind)]
    if not found:
        return "", {}
    data = found[0].data
    assert isinstance(data, (CallGraphs, CallTree))
    graphs = data if isinstance(data, CallGraphs) else data.graphs()
    scope = f" ({data.scope})" if isinstance(data, CallTree) else ""
    return f"{found[0].engine}{scope}" if found[0].engine != "sampling" else "sampling", graphs.routes


def _counts(graph: CallGraph, module: Mapping[str, str]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Add up calls by name, and edges too: what no edge leads to was called by the route itself."""
    names = {function: _name(function, module) for function in graph.functions}
    calls: Counter[str] = Counter()
    edges: Counter[tuple[str, str]] = Counter()
    for function, cost in graph.functions.items():
        calls[names[function]] += cost.calls
    for (caller, callee), cost in graph.edges.items():
        edges[names[caller], names[callee]] += cost.calls
    for function, count in graph.unexplained().items():
        edges[ROOT, names[function]] += count
    return calls, edges


def _name(function: Function, module: Mapping[str, str]) -> str:
    return f"{module[function.file]}:{function.name}"


def _modules(files: Iterable[str]) -> dict[str, str]:
    """Name each file as it is imported, as far as that shows: the application's from the folder that all share."""
    installed = {file: match[0] for file in files if (match := _INSTALLED.match(file))}
    own = {file: _parts(file) for file in files if file not in installed and not file.startswith(("<", "~"))}
    shared = _shared(list(own.values()))
    names = {file: ".".join(parts[shared:]) for file, parts in own.items()}
    names |= {file: ".".join(_parts(file[len(head) :])) for file, head in installed.items()}
    return {file: names.get(file, "C" if file == "~" else file) for file in files}


def _parts(file: str) -> list[str]:
    *folders, last = [part for part in _STEPS.split(file) if part]
    return [*folders, last.removesuffix(".py")]


def _shared(paths: list[list[str]]) -> int:
    if not paths:
        return 0
    first, last = min(paths), max(paths)
    most = min(len(path) for path in paths) - 1
    shared = 0
    while shared < min(most, len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return shared
