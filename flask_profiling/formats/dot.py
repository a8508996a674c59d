"""The call graph in Graphviz's DOT language, drawn by gprof2dot in this process; rendering it is another format."""

from __future__ import annotations

from typing import BinaryIO

from ..errors import Unavailable
from ..model import Function, SessionRecording
from ._collected import all_calls
from ._labels import ModuleNames

_LONGEST_NAME = 200


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the graph of all routes together as UTF-8; raises Unavailable where no calls were recorded.

    Functions below 0.5 % and calls below 0.1 % of the time are left out; numbers of calls too where it was sampled.
    """
    try:
        from . import _gprof2dot
    except ImportError as error:
        raise Unavailable(
            "the call graph needs the package 'gprof2dot', which is not installed; run: pip install gprof2dot"
        ) from error
    graph = all_calls(recording)
    modules = ModuleNames({function.file for function in graph.functions})

    def label(function: Function) -> str:
        module = modules.of(function.file)
        return _harmless(f"{module}:{function.line}:{function.name}" if module else function.name)

    source = _gprof2dot.digraph(graph, label, tooltip=lambda function: f"in {_harmless(function.file)}")
    out.write(source.encode("utf-8"))


def _harmless(name: str) -> str:
    """Return ``name`` without what Graphviz would interpret: controls, entities; quotes are gprof2dot's job."""
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    short = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return short.replace("&", "&amp;")
