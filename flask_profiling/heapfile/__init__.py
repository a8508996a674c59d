"""Heap snapshots read back from their files: what grew between two, and what holds it; nothing is written here.

Any ``.heapsnapshot`` will do, but only snapshots of one process can be compared: in them an object keeps its id. A
file is read as a stream into flat arrays: 20 bytes a node and 9 an edge, never the whole JSON.
"""

from __future__ import annotations

from .compare import ClassGrowth, Difference, Holder, difference
from .dot import write_dot
from .graph import Heap, load
from .retainers import Retained, Retainers, Step, Way, retained

__all__ = [
    "ClassGrowth",
    "Difference",
    "Heap",
    "Holder",
    "Retained",
    "Retainers",
    "Step",
    "Way",
    "difference",
    "load",
    "retained",
    "write_dot",
]
