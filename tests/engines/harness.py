"""What the tests of the cprofile engine share: its collectors on this Python, a request, and graphs as plain names."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask_profiling.engines import EngineOptions, RequestEngine
from flask_profiling.engines.cprofile import Collector
from flask_profiling.model import CallGraph, CallGraphs, Recording
from tests.components import missing

from . import workloads
from .workloads import Workload

OPTIONS = EngineOptions("prof-test")


def collectors() -> dict[str, Callable[[], Collector]]:
    """Return the ways to collect on this Python."""
    if sys.version_info >= (3, 12):
        from flask_profiling.engines._lsprof_dispatch import PYTHON_KIT, MonitoringCollector, native_kit

        kit = native_kit()
        assert kit is not None
        return {"native": lambda: MonitoringCollector(kit), "python": lambda: MonitoringCollector(PYTHON_KIT)}
    from flask_profiling.engines._lsprof_hooks import NativeCollector

    if missing("gevent"):
        return {"native": NativeCollector}
    import greenlet  # noqa: F401  # gevent imports it; the collector finds it among the modules

    from flask_profiling.engines._lsprof_greenlets import GreenletCollector

    return {"native": NativeCollector, "greenlets": GreenletCollector}


COLLECTORS = collectors()


def request(engine: RequestEngine, route: str, view: Callable[[], object]) -> None:
    """Serve a request as the extension does."""
    token = engine.enter(route)
    try:
        view()
    finally:
        engine.leave(token)


def graphs(recording: Recording) -> dict[str, CallGraph]:
    """Return the graphs by route."""
    assert isinstance(recording.data, CallGraphs)
    return dict(recording.data.routes)


def counts(graph: CallGraph) -> dict[str, tuple[int, int]]:
    """Return the calls and primitive calls by function name."""
    return {function.name: (cost.calls, cost.primitive_calls) for function, cost in graph.functions.items()}


def edges(graph: CallGraph) -> dict[tuple[str, str], int]:
    """Return the calls by names of caller and callee."""
    return {(caller.name, callee.name): cost.calls for (caller, callee), cost in graph.edges.items()}


def assert_true(graph: CallGraph, workload: Workload, runs: int) -> None:
    """Compare every function and every edge with the truth; anything more is false."""
    assert counts(graph) == {name: (calls * runs, first * runs) for name, (calls, first) in workload.functions.items()}
    assert edges(graph) == {edge: calls * runs for edge, calls in workload.edges.items()}


def known_part(graph: CallGraph) -> CallGraph:
    """Return the functions of the workloads and every edge that leads to one, from wherever."""
    file = workloads.__file__
    return CallGraph(
        {function: cost for function, cost in graph.functions.items() if function.file == file},
        {(caller, callee): cost for (caller, callee), cost in graph.edges.items() if callee.file == file},
    )


@contextmanager
def no_collections() -> Iterator[None]:
    """Keep the garbage collector out: what it finalizes (a generator of pytest) would run, truly, in our requests."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
