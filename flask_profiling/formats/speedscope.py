"""speedscope's own JSON: all paths with their time, and each lane of threads in true order; opened by speedscope.app.

The shape is https://www.speedscope.app/file-format-schema.json; times are in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import BinaryIO

from ..model import CallTree, Function, SessionRecording
from ._collected import call_tree, readable
from ._paths import Paths, paths
from ._timeline import Lane, lanes, steps

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write a profile of all paths, and one per lane where their order is known; raises Unavailable without calls."""
    found = paths(recording)
    shallow = found.shallow()
    tree = call_tree(recording)
    numbers = {
        function: number for number, function in enumerate(dict.fromkeys([*found.functions, *shallow.functions]))
    }
    profiles = [_all(shallow, [numbers[function] for function in shallow.functions])]
    if tree is not None:
        places = [numbers[function] for function in found.functions]
        profiles += (_in_order(tree, lane, places) for lane in lanes(tree))
    document = {
        "$schema": _SCHEMA,
        "exporter": "flask-profiling",
        "name": recording.session.id,
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(function) for function in numbers]},
        "profiles": profiles,
    }
    out.write(json.dumps(document, separators=(",", ":")).encode("ascii"))


def _frame(function: Function) -> dict[str, object]:
    frame: dict[str, object] = {"name": readable(function.name)}
    if function.line:
        frame |= {"file": readable(function.file), "line": function.line}
    return frame


def _all(found: Paths, places: Sequence[int]) -> dict[str, object]:
    samples: list[list[int]] = []
    weights: list[int] = []
    for node in found.in_order():
        time = round(found.self_times[node] * 1e6)
        if time:
            samples.append([places[item] for item in reversed(found.stack(node))])
            weights.append(time)
    return {
        "type": "sampled",
        "name": "all threads (not in order of time)",
        "unit": "microseconds",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }


def _in_order(tree: CallTree, lane: Lane, places: Sequence[int]) -> dict[str, object]:
    """Return what happened in a lane as openings and closings of frames."""
    return {
        "type": "evented",
        "name": lane.title,
        "unit": "microseconds",
        "startValue": lane.times[0],
        "endValue": lane.times[-1],
        "events": [
            {"type": "O" if begins else "C", "frame": places[node], "at": time}
            for time, node, begins in steps(tree, lane)
        ],
    }
