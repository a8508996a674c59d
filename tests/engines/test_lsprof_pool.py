"""Profilers in their pool: one user each, nothing lost, and rows turned into a graph."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from types import CodeType, FrameType

import pytest

from flask_profiling.engines._lsprof_pool import Pool, Slot, graph_of, read_stats, was_forgotten
from flask_profiling.engines._lsprof_python import Entry, PythonProfiler, SubEntry
from flask_profiling.model import MORE, Cost, Function

HERE = __file__


def code(name: str, file: str = HERE) -> CodeType:
    return compile("", file, "exec").replace(co_name=name)


def call(profiler: PythonProfiler, *codes: CodeType) -> None:
    for item in codes:
        profiler._pystart_callback(item, 0)
        profiler._pyreturn_callback(item, 0, None)


def test_a_profiler_has_one_user_and_is_used_again() -> None:
    pool = Pool(PythonProfiler)
    first, second = pool.take("GET /a"), pool.take("GET /a")
    assert first.profiler is not second.profiler
    pool.give_back(first)
    assert pool.take("GET /a") is first
    assert pool.take("GET /b") not in (first, second)
    assert pool.running() == pool.slots


def test_what_was_given_up_is_counted_and_forgotten() -> None:
    pool = Pool(PythonProfiler)
    slot = pool.take("GET /a")
    call(slot.profiler, code("a"))
    profiler = weakref.ref(slot) if hasattr(slot, "__weakref__") else None
    assert profiler is None  # slots are small
    pool.give_up(slot)
    other = pool.take("GET /a")
    call(other.profiler, code("a"))
    assert pool.slots == [other]
    graph = pool.harvest(()).routes["GET /a"]
    assert [cost.calls for cost in graph.functions.values()] == [2]


def test_a_route_without_calls_has_an_empty_graph() -> None:
    pool = Pool(PythonProfiler)
    pool.give_back(pool.take("GET /a"))
    harvest = pool.harvest(("a note",))
    assert harvest.routes["GET /a"].functions == {}
    assert harvest.notes == ("a note",)


def test_code_objects_of_one_function_are_one_function() -> None:
    a, again, b = code("a"), code("a"), code("b")
    rows = [
        Entry(a, 2, 0, 3.0, 1.0, [SubEntry(b, 2, 0, 2.0, 2.0)]),
        Entry(again, 1, 0, 1.0, 0.5, [SubEntry(b, 1, 0, 0.5, 0.5)]),
        Entry(b, 3, 1, 2.5, 2.5, None),
    ]
    graph = graph_of(rows)
    one, other = Function(HERE, 1, "a"), Function(HERE, 1, "b")
    assert graph.functions == {one: Cost(3, 3, 1.5, 4.0), other: Cost(3, 2, 2.5, 2.5)}
    assert graph.edges == {(one, other): Cost(3, 3, 2.5, 2.5)}


def test_edges_lead_to_functions_that_are_there() -> None:
    own = code("leave", graph_of.__code__.co_filename)
    a, never_returned = code("a"), code("b")
    rows = [
        Entry(a, 1, 0, 1.0, 1.0, [SubEntry(never_returned, 0, 0, 0.0, 0.0), SubEntry(own, 1, 0, 0.1, 0.1)]),
        Entry(own, 1, 0, 0.1, 0.1, [SubEntry(a, 1, 0, 0.1, 0.1)]),
        Entry("<built-in method builtins.len>", 1, 0, 0.1, 0.1, None),
    ]
    graph = graph_of(rows)
    assert set(graph.functions) == {Function(HERE, 1, "a"), Function("~", 0, "<built-in method builtins.len>")}
    assert graph.edges == {}


class Filled:
    """A profiler that returns given rows."""

    def __init__(self, *rows: Entry) -> None:
        self._rows = rows

    def getstats(self) -> list[Entry]:
        return list(self._rows)


def test_functions_beyond_the_most_are_counted_as_one_and_said() -> None:
    a, b, c, d, e = (code(name) for name in "abcde")
    filled = iter(
        [
            Filled(
                Entry(a, 1, 0, 9.0, 1.0, [SubEntry(b, 1, 0, 8.0, 2.0)]),
                Entry(b, 1, 0, 8.0, 2.0, [SubEntry(c, 2, 0, 6.0, 3.0)]),
                Entry(c, 2, 0, 6.0, 3.0, [SubEntry(d, 4, 0, 3.0, 3.0)]),
                Entry(d, 4, 0, 3.0, 3.0, None),
            ),
            Filled(Entry(a, 1, 0, 3.0, 1.0, [SubEntry(e, 1, 0, 2.0, 2.0)]), Entry(e, 1, 0, 2.0, 2.0, None)),
            Filled(Entry(e, 1, 0, 5.0, 5.0, None)),
        ]
    )
    pool = Pool(lambda: next(filled), most_functions=2)
    pool.give_up(pool.take("GET /a"))
    pool.give_up(pool.take("GET /a"))
    pool.give_back(pool.take("GET /a"))
    harvest = pool.harvest(("a note",))
    graph = harvest.routes["GET /a"]
    first, second, last = Function(HERE, 1, "a"), Function(HERE, 1, "b"), Function(HERE, 1, "e")
    assert graph.functions == {
        first: Cost(2, 2, 2.0, 12.0),
        second: Cost(1, 1, 2.0, 8.0),
        MORE: Cost(7, 3, 8.0, 8.0),
        last: Cost(1, 1, 5.0, 5.0),
    }, "at the end all that there is is told apart"
    assert {edge: cost.calls for edge, cost in graph.edges.items()} == {
        (first, second): 1,
        (second, MORE): 2,
        (MORE, MORE): 4,
        (first, MORE): 1,
    }
    assert harvest.notes[0] == "a note"
    assert harvest.notes[1].startswith("Functions beyond the first 2, ")
    assert harvest.notes[1].endswith("were counted together as (more functions).")


@pytest.mark.parametrize("enabled", [True, False])
def test_reading_leaves_the_garbage_collector_as_it_was(enabled: bool) -> None:
    profiler = PythonProfiler()
    call(profiler, code("a"))
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        assert len(read_stats(profiler)) == 1
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


class Failing:
    def getstats(self) -> list[Entry]:
        raise MemoryError


def test_a_failure_to_read_leaves_the_garbage_collector_on() -> None:
    before = gc.isenabled()
    gc.enable()
    try:
        with pytest.raises(MemoryError):
            read_stats(Failing())
        assert gc.isenabled()
    finally:
        (gc.enable if before else gc.disable)()


def here() -> FrameType:
    import sys

    return sys._getframe(1)


def test_a_request_is_forgotten_when_its_frame_is_gone() -> None:
    slot = Slot("GET /a", PythonProfiler())

    def handle() -> None:
        slot.frame = enter()
        assert not was_forgotten(slot)

    def enter() -> FrameType | None:
        return here().f_back

    handle()
    assert was_forgotten(slot)


def test_a_frame_that_can_be_suspended_says_nothing() -> None:
    def enter() -> FrameType | None:
        return here().f_back

    def stream() -> Iterator[FrameType | None]:
        yield enter()

    slot = Slot("GET /a", PythonProfiler())
    slot.frame = next(stream())
    assert not was_forgotten(slot)
