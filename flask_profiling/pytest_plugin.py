"""The pytest plugin: how many calls a test may cost, as a marker and a fixture; nothing is imported until a test asks.

``@pytest.mark.profiling(max_calls={"shop.models:*": 2000})`` counts the calls that a test makes in its own thread (as
Flask's test client does) and fails it beyond the bound. The fixture ``profiling`` counts a block of a test. Counts are
exact, so they are the same on a slow machine; each process of pytest-xdist counts its own tests.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .model import CallGraph, Function

MARKER = "profiling"
_ROUTE = "(test)"
_MOST_NAMED = 5


class Calls:
    """The calls of a test or a block, as far as they were made in its own thread."""

    def __init__(self) -> None:
        self._graph: CallGraph | None = None

    def count(self, pattern: str) -> int:
        """Return how often functions were called whose ``module:name`` matches, as in ``shop.models:*``.

        A pattern may leave out leading packages and folders; ``*`` and ``?`` are as in a shell.
        """
        return sum(self.functions(pattern).values())

    def functions(self, pattern: str = "*") -> dict[str, int]:
        """Return the calls of each function that matches, by ``module:name``, the most called first."""
        from .compare import matches

        counted: dict[str, int] = {}
        for function, cost in self._counted().functions.items():
            name = _name(function)
            if matches(pattern, name):
                counted[name] = counted.get(name, 0) + cost.calls
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def check(self, max_calls: Mapping[str, int]) -> None:
        """Fail the test where a pattern has more calls than its bound.

        A pattern that matches nothing fails too, unless its bound is 0: it would never find anything.
        """
        __tracebackhide__ = True
        complaints = []
        for pattern, bound in max_calls.items():
            found = self.functions(pattern)
            if sum(found.values()) > bound:
                most = ", ".join(f"{_short(name)} {calls}" for name, calls in list(found.items())[:_MOST_NAMED])
                complaints.append(f"{pattern}: {sum(found.values())} calls, at most {bound} are allowed ({most})")
            elif not found and bound:
                complaints.append(f"{pattern}: no function that was called matches; correct it, or allow 0")
        if complaints:
            pytest.fail("\n".join(["the test costs other calls than it may:", *complaints]), pytrace=False)

    def _counted(self) -> CallGraph:
        if self._graph is None:
            raise RuntimeError("the calls are known when the block is over; look at them behind it")
        return self._graph


class Profiler:
    """What the fixture gives: :meth:`measure` a block."""

    @contextmanager
    def measure(self, max_calls: Mapping[str, int] | None = None) -> Iterator[Calls]:
        """Count the calls of the block, and fail the test where there are more than ``max_calls`` allow.

        Raises what the engine raises at its start: EngineBusy where another profiler is at work, such as the marker.
        """
        __tracebackhide__ = True
        from .engines import EngineOptions
        from .engines.cprofile import CProfileEngine
        from .model import CallGraph, CallGraphs

        calls = Calls()
        engine = CProfileEngine(EngineOptions("prof-pytest"))
        engine.start()
        token = engine.enter(_ROUTE)
        try:
            yield calls
        finally:
            engine.leave(token)
            data = engine.stop().data
            graphs = data.routes if isinstance(data, CallGraphs) else {}
            calls._graph = graphs.get(_ROUTE, CallGraph({}, {}))
        if max_calls is not None:
            calls.check(max_calls)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(max_calls): fail where functions, by module:name patterns, are called more often than that",
    )


@pytest.fixture
def profiling() -> Profiler:
    """Count the calls of a block: ``with profiling.measure() as calls: client.get("/")``; ``calls.count("shop:*")``."""
    return Profiler()


@pytest.hookimpl(hookwrapper=True)  # the newer kind of wrapper would end every run of pytest 7
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Count the calls of a marked test; a test that fails by itself keeps its own failure."""
    mark = item.get_closest_marker(MARKER)
    if mark is None:
        yield
        return
    bounds = _bounds(mark)
    with Profiler().measure() as calls:
        outcome = yield
    if outcome.excinfo is not None:
        return
    try:
        calls.check(bounds)
    except pytest.fail.Exception as failure:
        outcome.force_exception(failure)


def _bounds(mark: pytest.Mark) -> Mapping[str, int]:
    bounds = mark.kwargs.get("max_calls")
    if (
        not mark.args
        and len(mark.kwargs) == 1
        and isinstance(bounds, Mapping)
        and bounds
        and all(isinstance(name, str) and isinstance(most, int) for name, most in bounds.items())
    ):
        return bounds
    raise pytest.UsageError(f'@pytest.mark.{MARKER} needs max_calls={{"module:name": number}} and nothing else')


def _name(function: Function) -> str:
    """Name a function by its whole path: which leading folders a pattern leaves out is not for us to guess."""
    steps = [step for step in function.file.replace("\\", "/").split("/") if step]
    return f"{'.'.join(steps).removesuffix('.py').removesuffix('.__init__')}:{function.name}"


def _short(name: str) -> str:
    module, _, function = name.rpartition(":")
    return f"{'.'.join(module.split('.')[-2:])}:{function}"
