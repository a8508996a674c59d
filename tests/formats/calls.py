"""True call trees, the call graphs that cProfile would make of them, and recordings of those. No tests."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hypothesis import strategies as st

from flask_profiling.formats import FORMATS
from flask_profiling.model import (
    CallGraph,
    CallGraphs,
    Cost,
    Function,
    Recording,
    Session,
    SessionOptions,
    SessionRecording,
    WorkerId,
)

WORKER = WorkerId("host", 812, 4711)
Path = tuple[Function, ...]


def function(name: str) -> Function:
    """Return a function of the shop, told apart by its name."""
    return Function("/srv/shop/pages.py", 10 + sum(map(ord, name)), name)


def recording(routes: Mapping[str, CallGraph], *, notes: tuple[str, ...] = ()) -> SessionRecording:
    """Return what a session of one worker with these call graphs recorded."""
    options = SessionOptions("cprofile", False, 0, 60.0)
    session = Session("prof-20231114-1", WORKER, 1_700_000_000.0, options, 1_700_000_010.0, 10.0, "stop")
    calls = Recording("cprofile", CallGraphs(routes), notes)
    return SessionRecording(session, (WORKER,), (), {}, (calls,), {"python": "3.11.7"})


def written(name: str, subject: SessionRecording) -> bytes:
    """Return what the format called ``name`` makes of a recording."""
    out = io.BytesIO()
    FORMATS[name].writer()(subject, out)
    return out.getvalue()


@dataclass(frozen=True)
class Call:
    """One call as it really happened: ``self_time`` seconds of its own, and the calls it made."""

    function: Function
    self_time: float
    calls: tuple[Call, ...] = ()

    @property
    def total(self) -> float:
        """The seconds from its beginning to its end."""
        return self.self_time + sum(call.total for call in self.calls)


def call(name: str, self_time: float, *calls: Call) -> Call:
    """Return a call of a function of the shop."""
    return Call(function(name), self_time, calls)


def true_self_times(calls: Iterable[Call], above: Path = ()) -> Counter[Path]:
    """Return the seconds that were spent with exactly these functions on the stack."""
    times: Counter[Path] = Counter()
    for item in calls:
        path = (*above, item.function)
        times[path] += item.self_time
        times.update(true_self_times(item.calls, path))
    return times


@dataclass
class _Entry:
    calls: int = 0
    primitive: int = 0
    self_time: float = 0.0
    total: float = 0.0
    level: int = 0

    def enter(self) -> None:
        self.calls += 1
        self.primitive += not self.level
        self.level += 1

    def leave(self, self_time: float, total: float) -> None:
        self.level -= 1
        self.self_time += self_time
        self.total += 0.0 if self.level else total

    def cost(self) -> Cost:
        return Cost(self.calls, self.primitive, self.self_time, self.total)


@dataclass
class _Profiler:
    """Counts as Modules/_lsprof.c does: recursion by function, and by pair of caller and callee."""

    functions: dict[Function, _Entry] = field(default_factory=dict)
    edges: dict[tuple[Function, Function], _Entry] = field(default_factory=dict)

    def run(self, item: Call, caller: Function | None) -> None:
        entries = [self.functions.setdefault(item.function, _Entry())]
        if caller is not None:
            entries.append(self.edges.setdefault((caller, item.function), _Entry()))
        for entry in entries:
            entry.enter()
        for callee in item.calls:
            self.run(callee, item.function)
        for entry in entries:
            entry.leave(item.self_time, item.total)


def profiled(calls: Iterable[Call]) -> CallGraph:
    """Return what cProfile would record of these calls."""
    profiler = _Profiler()
    for item in calls:
        profiler.run(item, None)
    return CallGraph(
        {key: entry.cost() for key, entry in profiler.functions.items()},
        {key: entry.cost() for key, entry in profiler.edges.items()},
    )


def call_trees(*, names: str = "abcdefg") -> st.SearchStrategy[tuple[Call, ...]]:
    """Draw what happened under one route: calls of a few functions, with recursion of every kind."""
    functions = st.sampled_from([function(name) for name in names])
    self_times = st.integers(min_value=0, max_value=5000).map(lambda number: number / 1000)
    leaves = st.builds(Call, functions, self_times)
    trees = st.recursive(
        leaves,
        lambda below: st.builds(Call, functions, self_times, st.lists(below, max_size=4).map(tuple)),
        max_leaves=25,
    )
    return st.lists(trees, min_size=1, max_size=3).map(tuple)


def walk(calls: Iterable[Call]) -> Iterator[Call]:
    """Yield every call."""
    for item in calls:
        yield item
        yield from walk(item.calls)
