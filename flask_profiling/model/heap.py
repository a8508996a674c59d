"""A walked heap on its way from an engine to a format: rows of nodes and edges in the order they are found, never the
whole graph.

Nodes are numbered in the order of their rows, in steps of :data:`STRIDE`: a number is where a node's row begins in a
flat table of rows with five columns. No object of the host, no file name and no clock lives here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, ClassVar, NamedTuple, Protocol

from . import _json

# Columns of a node row: kind, name, id, self size, number of edges.
STRIDE = 5

# A target that is not known yet; the root is number 0 and nothing ever points to it.
LATE = 0

# what stands for the classes that a summary does not tell by name
_OTHERS = "(other classes)"


class Label(NamedTuple):
    """What an edge is called: ``kind`` is ``"property"``, ``"element"``, ``"internal"``, ``"context"`` or ``"weak"``;
    ``name`` is an index for elements and text for the others."""

    kind: str
    name: str | int


class NodeRows(NamedTuple):
    """The next nodes: all of one ``kind`` (``"object"``, ``"string"``, ``"number"``).

    ``names`` is what they are shown as, one for all or one each; ``places`` are numbers from 1 to below 2**31, one
    per object and the same in every walk of one process; ``sizes`` are bytes and ``edges`` counts of edges, one for
    all or one each; ``extra`` is added to every size.
    """

    kind: str
    names: str | Sequence[str]
    places: Sequence[int]
    sizes: int | Sequence[int]
    edges: int | Sequence[int]
    extra: int = 0


class EdgeRows(NamedTuple):
    """The next edges: ``labels`` are indexes into the graph's labels and repeat until the ``targets`` (node numbers)
    are used up.

    Where ``late`` is true, a target may be :data:`LATE`: it is told at the end of the walk.
    """

    labels: Sequence[int]
    targets: Sequence[int]
    late: bool = False


class ElementRows(NamedTuple):
    """The next edges, of sequences: ``lengths`` edges each, numbered from ``first`` in the first of them and from 0
    in the others."""

    first: int
    lengths: Sequence[int]
    targets: Sequence[int]


Rows = NodeRows | EdgeRows | ElementRows


class Root(NamedTuple):
    """A node that stands for a place where references begin; its edges are known when the walk has ended."""

    name: str
    edges: Sequence[tuple[Label, int]]


class HeapWalk(Protocol):
    """A heap being walked; iterate once, then ask for the roots and the late targets.

    The roots have the first numbers, in the order of :attr:`root_names`; the first is the root of all. ``scratch`` is
    an empty private file for what must be written later than it is found.
    """

    root_names: Sequence[str]
    labels: Sequence[Label]
    scratch: BinaryIO

    @property
    def places(self) -> int:
        """Return a number above all places in the rows so far."""

    def __iter__(self) -> Iterator[Rows]:
        """Walk."""

    def roots(self) -> Sequence[Root]:
        """Return the roots with their edges, after the walk."""

    def late_targets(self) -> Sequence[int]:
        """Return the targets of the late edges in the order they came, after the walk."""


@dataclass(frozen=True, slots=True)
class HeapSummary:
    """What a heap holds, by class: ``classes`` maps a qualified name to (objects, bytes); nodes and edges count the
    whole graph.

    ``exact`` is false when the objects were counted while the program ran on, without a walk (then ``edges`` is 0 and
    only objects that the garbage collector knows are counted).
    """

    kind: ClassVar[str] = "heapsummary"

    nodes: int
    edges: int
    exact: bool
    classes: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return the bytes of all objects."""
        return sum(size for _, size in self.classes.values())

    def largest(self, count: int) -> Iterable[tuple[str, int, int]]:
        """Return (class, objects, bytes) of the ``count`` classes that hold the most bytes, or the most objects where
        no bytes were counted."""
        rows = sorted(self.classes.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))
        return [(name, *numbers) for name, numbers in rows[:count]]

    def of_largest(self, count: int) -> HeapSummary:
        """Return the same with only the ``count`` largest classes by name; what the others hold is added up in one row,
        so that the sums stay those of all objects."""
        rows = list(self.largest(len(self.classes)))
        kept = {name: (objects, size) for name, objects, size in rows[:count]}
        if rest := rows[count:]:
            kept[_OTHERS] = (sum(objects for _, objects, _ in rest), sum(size for _, _, size in rest))
        return replace(self, classes=kept)

    def merged_with(self, other: HeapSummary) -> HeapSummary:
        """Add up the heaps of two workers."""
        classes = dict(self.classes)
        for name, (count, size) in other.classes.items():
            known = classes.get(name, (0, 0))
            classes[name] = (known[0] + count, known[1] + size)
        return HeapSummary(self.nodes + other.nodes, self.edges + other.edges, self.exact and other.exact, classes)

    def to_json(self) -> dict[str, object]:
        """Return the fields by name, the classes as ``[[name, objects, bytes]]``."""
        classes = [[name, count, size] for name, (count, size) in self.classes.items()]
        return {"nodes": self.nodes, "edges": self.edges, "exact": self.exact, "classes": classes}

    @classmethod
    def from_json(cls, value: object) -> HeapSummary:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        rows = [_json.row(item, 3) for item in _json.sequence(document.get("classes"))]
        return cls(
            _json.count(document.get("nodes")),
            _json.count(document.get("edges")),
            _json.flag(document.get("exact")),
            {_json.text(name): (_json.count(count), _json.count(size)) for name, count, size in rows},
        )
