"""Collapsed stacks, one path and its own microseconds per line, as flamegraph.pl, inferno and speedscope read them."""

from __future__ import annotations

from typing import BinaryIO

from ..model import ROOT, Function, SessionRecording
from ._collected import readable
from ._labels import ModuleNames
from ._paths import paths


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write ``route;function (module:line);… µs`` lines as UTF-8; raises Unavailable where no calls were recorded.

    Paths without a microsecond of their own have no line. The format has no room for call counts.
    What is deeper than 1,000 frames stands below one frame that says so, by function.
    """
    found = paths(recording).shallow()
    modules = ModuleNames({function.file for function in found.functions if function.file})
    names: dict[Function, str] = {}
    stacks: dict[int, str] = {}
    for node in found.in_order():
        function, parent = found.functions[node], found.parents[node]
        name = names.get(function)
        if name is None:
            name = names[function] = _frame(function, modules)
        stacks[node] = name if parent == ROOT else f"{stacks[parent]};{name}"
        time = round(found.self_times[node] * 1e6)
        if time:
            out.write(f"{stacks[node]} {time}\n".encode())


def _frame(function: Function, modules: ModuleNames) -> str:
    """Return a frame's text: no semicolon, which separates frames, and no line break, which ends a stack."""
    module = modules.of(function.file) if function.file else ""
    text = f"{function.name} ({module}:{function.line})" if module else function.name
    harmless = "".join(letter if letter.isprintable() else " " for letter in readable(text))
    return harmless.replace(";", ",").strip() or "(nameless)"
