"""The ``.prof`` file that :mod:`pstats`, snakeviz and gprof2dot read: we marshal such files and never load one."""

from __future__ import annotations

import marshal
from typing import BinaryIO

from ..model import NO_COST, CallGraph, Cost, Function, SessionRecording
from ._collected import all_calls, readable

# The newest version that every supported Python reads.
_MARSHAL_VERSION = 4

_Key = tuple[str, int, str]
_Callers = dict[_Key, tuple[int, int, float, float]]
Statistics = dict[_Key, tuple[int, int, float, float, _Callers]]

# pstats refuses to open a file without any row.
_NO_CALLS: Statistics = {("~", 0, "<no calls were recorded>"): (0, 0, 0.0, 0.0, {})}


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the calls of all routes together; raises Unavailable where none were recorded.

    Where the recording was sampled nobody counted calls, so all their numbers are 0, and the times are shares.
    """
    out.write(marshal.dumps(statistics(all_calls(recording)) or _NO_CALLS, _MARSHAL_VERSION))


def statistics(graph: CallGraph) -> Statistics:
    """Return ``{(file, line, name): (primitive calls, calls, self, total, callers)}``, times in seconds.

    ``callers`` maps a caller to ``(calls, primitive calls, self, total)``: the order of the counts differs, as it does
    in what :meth:`cProfile.Profile.create_stats` makes (Lib/cProfile.py, ``snapshot_stats``).
    """
    keys: dict[Function, _Key] = {
        function: (readable(function.file), function.line, readable(function.name)) for function in graph.functions
    }
    costs: dict[_Key, Cost] = {}
    for function, cost in graph.functions.items():
        key = keys[function]
        costs[key] = costs.get(key, NO_COST) + cost
    callers: dict[_Key, _Callers] = {key: {} for key in costs}
    for (caller, callee), cost in graph.edges.items():
        known = callers[keys[callee]]
        calls, primitive, self_time, total_time = known.get(keys[caller], (0, 0, 0.0, 0.0))
        known[keys[caller]] = (
            calls + cost.calls,
            primitive + cost.primitive_calls,
            self_time + cost.self_time,
            total_time + cost.total_time,
        )
    return {
        key: (cost.primitive_calls, cost.calls, cost.self_time, cost.total_time, callers[key])
        for key, cost in costs.items()
    }
