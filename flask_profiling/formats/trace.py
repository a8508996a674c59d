"""Chrome trace events: one process per worker, one row per lane of threads, one slice per request and per call.

Perfetto, chrome://tracing and the Performance panel open it. The shape is the Trace Event Format's JSON object, with
"complete" (``X``) events; times are microseconds of the machine's monotonic clock, so that workers stand side by side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

from ..errors import Unavailable
from ..model import ROOT, CallTree, SessionRecording
from ._collected import call_tree, notes, readable
from ._timeline import lanes, slices, untold

MOST_SLICES = 200_000
_EVENTS_PER_WRITE = 2000

# When it began, minus how long it took (both in µs, so that callers sort before callees), its depth, lane and node.
_Slice = tuple[int, int, int, int, int]


def write(recording: SessionRecording, out: BinaryIO, *, most: int = MOST_SLICES) -> None:
    """Write the timeline; raises Unavailable where the session recorded no order of calls.

    Of more than ``most`` calls the shortest are left out, and the file says so; requests never are.
    """
    tree = call_tree(recording)
    shown = () if tree is None else lanes(tree)
    if tree is None or not shown:
        raise Unavailable("this session recorded no timeline; start one with cpu=calltree")
    drawn = [
        (begin, begin - end, depth, number, node)
        for number, lane in enumerate(shown)
        for begin, end, depth, node in slices(tree, lane)
    ]
    drawn, shortest = _longest(drawn, most)
    remarks = [f"calls shorter than {shortest} µs are left out, because there were too many"] if shortest else []
    if any(untold(tree, shown)):
        remarks.append("the timeline ends early, because its log was full; the other formats have all times")
    head = {
        "displayTimeUnit": "ms",
        "otherData": {"session": recording.session.id, "notes": [*remarks, *map(readable, notes(recording))]},
    }
    out.write(json.dumps(head, separators=(",", ":")).encode("ascii")[:-1] + b',"traceEvents":[')
    workers = {lane.worker for lane in shown}
    out.write(b",".join(_named(worker, 0, "process_name", "worker") for worker in sorted(workers)))
    out.writelines(
        b"," + _named(lane.worker, number, "thread_name", lane.thread) for number, lane in enumerate(shown, 1)
    )
    events = _events(tree, drawn, [lane.worker for lane in shown])
    while batch := list(islice(events, _EVENTS_PER_WRITE)):
        out.write((",\n" + ",\n".join(batch)).encode("ascii"))
    out.write(b"]}\n")


def _longest(drawn: list[_Slice], most: int) -> tuple[list[_Slice], int]:
    """Return the requests and the longest calls in order, and the µs below which calls are left out (0: none)."""
    shortest = 0
    if len(drawn) > most:
        shortest = sorted(-slice[1] for slice in drawn)[-most] + 1
        drawn = [slice for slice in drawn if -slice[1] >= shortest or not slice[2]]
    return sorted(drawn), shortest


def _events(tree: CallTree, drawn: Sequence[_Slice], workers: Sequence[int]) -> Iterator[str]:
    routes = [json.dumps(route) for route in tree.routes]
    names = [json.dumps(function.name) for function in tree.functions]
    places = [json.dumps(f"{function.file}:{function.line}" if function.line else "") for function in tree.functions]
    # DevTools takes a moment 0 for none at all.
    origin = tree.origin + 1
    for begin, minus, _, number, node in drawn:
        label = tree.labels[node]
        if tree.parents[node] == ROOT:
            what = f'"name":{routes[label]},"cat":"request"'
        else:
            what = f'"name":{names[label]},"cat":"call","args":{{"where":{places[label]}}}'
        yield f'{{"ph":"X","pid":{workers[number]},"tid":{number + 1},"ts":{origin + begin},"dur":{-minus},{what}}}'


def _named(worker: int, lane: int, what: str, name: str) -> bytes:
    event = {"ph": "M", "pid": worker, "tid": lane, "name": what, "args": {"name": name}}
    return json.dumps(event, separators=(",", ":")).encode("ascii")
