"""A call graph drawn by gprof2dot: the one room that imports it; no file is read and nothing global is touched."""

from __future__ import annotations

import io
from collections.abc import Callable

import gprof2dot

from ..model import CallGraph, Function
from ._collected import plausible

# Fractions of the whole time below which functions and calls are left out.
_SMALLEST_NODE = 0.005
_SMALLEST_EDGE = 0.001


def digraph(graph: CallGraph, label: Callable[[Function], str], *, tooltip: Callable[[Function], str]) -> str:
    """Return the call graph in the DOT language, coloured by time.

    ``label`` names a function; ``tooltip`` says more and must not be one word, which gprof2dot leaves unquoted and
    Graphviz may take for a keyword.
    """
    profile = _profile(graph, label, tooltip)
    profile.prune(_SMALLEST_NODE, _SMALLEST_EDGE, None, False)
    out = io.StringIO()
    gprof2dot.DotWriter(out).graph(profile, gprof2dot.TEMPERATURE_COLORMAP)
    return out.getvalue()


def _profile(
    graph: CallGraph, label: Callable[[Function], str], tooltip: Callable[[Function], str]
) -> gprof2dot.Profile:
    """Return gprof2dot's form of the graph, without what pruning drops: making objects of it takes most of the time.

    Sums and fractions are still those of the whole graph.
    """
    self_time = sum([plausible(cost.self_time) for cost in graph.functions.values()])
    whole = max([self_time, *[plausible(cost.total_time) for cost in graph.functions.values()]]) or 1.0
    profile = gprof2dot.Profile()
    profile[gprof2dot.TIME] = self_time
    profile[gprof2dot.TOTAL_TIME] = whole
    numbers: dict[Function, int] = {}
    for function, cost in graph.functions.items():
        if cost.total_time < _SMALLEST_NODE * whole:
            continue
        number = numbers[function] = len(numbers)
        node = profile.functions[number] = gprof2dot.Function(number, label(function))
        node.filename = tooltip(function)
        node.called = cost.calls or None
        node[gprof2dot.TIME] = plausible(cost.self_time)
        node[gprof2dot.TOTAL_TIME] = plausible(cost.total_time)
    for (caller, callee), cost in graph.edges.items():
        if cost.total_time < _SMALLEST_EDGE * whole or caller not in numbers or callee not in numbers:
            continue
        call = gprof2dot.Call(numbers[callee])
        if cost.calls:
            call[gprof2dot.CALLS] = cost.calls
        call[gprof2dot.TOTAL_TIME] = min(plausible(cost.total_time), whole)
        profile.functions[numbers[caller]].add_call(call)
    profile.ratio(gprof2dot.TIME_RATIO, gprof2dot.TIME)
    profile.ratio(gprof2dot.TOTAL_TIME_RATIO, gprof2dot.TOTAL_TIME)
    return profile
