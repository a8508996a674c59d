"""The call graph in Graphviz's DOT language, drawn by gprof2dot in this process; rendering it is another format."""

from __future__ import annotations

from typing import BinaryIO

from ..errors import Unavailable
from ..model import SessionRecording
from ._collected import call_graphs
from ._labels import ModuleNames
from .pstats import Statistics, statistics

_LONGEST_NAME = 200


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the graph of all routes together as UTF-8; raises Unavailable where no calls were recorded.

    Functions below 0.5 % and calls below 0.1 % of the time are left out.
    """
    out.write(_source(statistics(call_graphs(recording).total())).encode("utf-8"))


def _source(rows: Statistics) -> str:
    try:
        from . import _gprof2dot
    except ImportError as error:
        raise Unavailable(
            "the call graph needs the package 'gprof2dot', which is not installed; run: pip install gprof2dot"
        ) from error
    modules = ModuleNames({file for file, _, _ in rows})

    def label(file: str, line: int, name: str) -> str:
        module = modules.of(file)
        return _harmless(f"{module}:{line}:{name}" if module else name)

    return _gprof2dot.digraph(rows, label, tooltip=lambda file: f"in {_harmless(file)}")


def _harmless(name: str) -> str:
    """Return ``name`` without what Graphviz would interpret: controls, entities; quotes are gprof2dot's job."""
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    short = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return short.replace("&", "&amp;")
