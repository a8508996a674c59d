"""The profiler in Python gives what the profiler in C gives, for any order of events, to the last tick of a clock."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.engines._lsprof_pool import graph_of
from flask_profiling.engines._lsprof_python import PythonProfiler
from flask_profiling.model import CallGraph

CODES = [compile("", "<test>", "exec").replace(co_name=name) for name in "abcd"]


class Ticks:
    """A clock that is one second later each time it is read."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1
        return self.now


def replay(events: list[CodeType | None], start: Callable[..., object], end: Callable[..., object]) -> list[CodeType]:
    """Begin a call per code object, end one per None; return the calls that stay open."""
    calls: list[CodeType] = []
    for code in events:
        if code is not None:
            calls.append(code)
            start(code, 0)
        elif calls:
            end(calls.pop(), 0, None)
    return calls


def in_python(events: list[CodeType | None], *, flush: bool) -> CallGraph:
    profiler = PythonProfiler(timer=Ticks())
    replay(events, profiler._pystart_callback, profiler._pyreturn_callback)
    if flush:
        profiler.flush()
    return graph_of(profiler.getstats())


def in_c(events: list[CodeType | None], *, flush: bool) -> CallGraph:
    import _lsprof

    profiler: Any = _lsprof.Profiler(Ticks(), 1.0, builtins=False)
    still_open = replay(events, profiler._pystart_callback, profiler._pyreturn_callback)
    while flush and still_open:
        profiler._pyreturn_callback(still_open.pop(), 0, None)
    return graph_of(profiler.getstats())


EVENTS = st.lists(st.one_of(st.sampled_from(CODES), st.none()), max_size=60)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the profiler in C has no callbacks before 3.12")
@given(EVENTS, st.booleans())
def test_it_counts_and_times_as_the_one_in_c_does(events: list[CodeType | None], flush: bool) -> None:
    python, c = in_python(events, flush=flush), in_c(events, flush=flush)
    assert python.functions == c.functions
    assert python.edges == c.edges


def test_times_are_those_of_the_clock() -> None:
    a, b, *_ = CODES
    # a [1 .. b [2 .. 3] .. a [4 .. 5] .. 6]
    graph = in_python([a, b, None, a, None, None], flush=False)
    costs = {
        function.name: (cost.calls, cost.primitive_calls, cost.self_time, cost.total_time)
        for function, cost in graph.functions.items()
    }
    assert costs == {"a": (2, 1, 4.0, 5.0), "b": (1, 1, 1.0, 1.0)}
    assert {(one.name, other.name): cost.total_time for (one, other), cost in graph.edges.items()} == {
        ("a", "b"): 1.0,
        ("a", "a"): 1.0,
    }


def test_what_is_open_is_left_out_until_it_is_flushed() -> None:
    a, b, *_ = CODES
    assert in_python([a, b], flush=False) == CallGraph({}, {})
    assert sorted(function.name for function in in_python([a, b], flush=True).functions) == ["a", "b"]


def test_a_closed_profiler_takes_no_more() -> None:
    profiler = PythonProfiler()
    profiler._pystart_callback(CODES[0], 0)
    profiler.close()
    profiler._pystart_callback(CODES[1], 0)
    profiler._pyreturn_callback(CODES[1], 0, None)
    profiler.flush()
    assert [(entry.code, entry.callcount) for entry in profiler.getstats()] == [(CODES[0], 1)]


def test_closing_waits_for_the_callback_that_is_at_work() -> None:
    at_work, go_on = threading.Event(), threading.Event()

    def timer() -> float:
        at_work.set()
        assert go_on.wait(20)
        return time.perf_counter()

    profiler = PythonProfiler(timer=timer)
    owner = threading.Thread(target=profiler._pystart_callback, args=(CODES[0], 0))
    owner.start()
    assert at_work.wait(20)
    closer = threading.Thread(target=profiler.close)
    closer.start()
    while not profiler._closed:
        time.sleep(0)
    go_on.set()
    owner.join(20)
    closer.join(20)
    assert [entry.callcount for entry in profiler.getstats()] == [1]
