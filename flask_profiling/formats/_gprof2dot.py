"""gprof2dot fed with our statistics: the one room that imports it; no file is read and nothing global is touched."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace

import gprof2dot

from .pstats import Statistics

# Fractions of the whole time below which functions and calls are left out.
_SMALLEST_NODE = 0.005
_SMALLEST_EDGE = 0.001


class _Parser(gprof2dot.PstatsParser):  # type: ignore[misc]
    """Reads statistics from memory; the constructor of its base reads files and ends the process on a damaged one."""

    def __init__(self, statistics: Statistics, label: Callable[[str, int, str], str]) -> None:
        self.stats = SimpleNamespace(stats=statistics, total_tt=sum(row[2] for row in statistics.values()))
        self.profile = gprof2dot.Profile()
        self.function_ids: dict[tuple[str, int, str], int] = {}
        self._label = label

    def get_function_name(self, key: tuple[str, int, str]) -> str:
        return self._label(*key)


def digraph(
    statistics: Statistics, label: Callable[[str, int, str], str], *, tooltip: Callable[[str], str]
) -> str:
    """Return the call graph in the DOT language, coloured by time.

    ``label`` names a function by file, line and name, ``tooltip`` says where it is by its file; it must not be one word,
    which gprof2dot leaves unquoted and Graphviz may take for a keyword.
    """
    profile = _Parser(statistics, label).parse()
    profile.prune(_SMALLEST_NODE, _SMALLEST_EDGE, None, False)
    for function in profile.functions.values():
        function.filename = tooltip(function.filename)
    out = io.StringIO()
    gprof2dot.DotWriter(out).graph(profile, gprof2dot.TEMPERATURE_COLORMAP)
    return out.getvalue()
