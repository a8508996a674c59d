"""Two recordings in, a verdict out: exact call counts per route and function first, allocations second, time loosely;
no file is read or written and no clock asked."""

from __future__ import annotations

from .baseline import baseline_from_json, baseline_to_json
from .pairing import Pairing, paired
from .rendering import RENDERERS, Renderer
from .runs import Run, summarise
from .thresholds import DEFAULTS, Rules, matches
from .verdict import Change, Verdict, compare

__all__ = [
    "DEFAULTS",
    "RENDERERS",
    "Change",
    "Pairing",
    "Renderer",
    "Rules",
    "Run",
    "Verdict",
    "baseline_from_json",
    "baseline_to_json",
    "compare",
    "matches",
    "paired",
    "summarise",
]
