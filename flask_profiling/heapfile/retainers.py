"""What holds an object: the shortest way to it from a root, in the words of the program (``shop.visits.VISITS[*]``)."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .graph import Heap

# Of a class with more objects, so many are looked at, evenly spread.
MOST_LOOKED_AT = 1000
# A longer way (a linked list) is shown without its middle.
LONGEST_WAY = 40
_ELEMENTS = ("element", "hidden")
_SELF_EVIDENT = "__dict__"


class Step(NamedTuple):
    """One reference on a way: what it is called (``.name``, ``[*]``, ``(key)``) and the class of what it leads to."""

    label: str
    class_name: str


@dataclass(frozen=True, slots=True)
class Way:
    """A way from a root to ``count`` objects; the places in lists and tuples stand as ``[*]``."""

    steps: tuple[Step, ...]
    count: int

    @property
    def text(self) -> str:
        """Return the way as one would write it in Python, as far as it goes: ``shop.visits.VISITS[*].request``."""
        return "".join(step.label for step in self.steps)


@dataclass(frozen=True, slots=True)
class Retained:
    """What holds the objects of one class: ``looked_at`` of ``count`` objects, the ways to them, the commonest
    first."""

    class_name: str
    count: int
    looked_at: int
    ways: tuple[Way, ...]


class Retainers:
    """The shortest ways through one heap, found once; weak references hold nothing."""

    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self.reached_by = _breadth_first(heap)

    def parent(self, node: int) -> int:
        """Return the node before ``node`` on the way to it (the root's is the root)."""
        edge = self.reached_by[node]
        return bisect_right(self._heap.first_edge, edge - 1) - 1 if edge else 0

    def trail(self, node: int) -> list[int]:
        """Return the numbers of the edges from the root to ``node``."""
        edges = []
        while edge := self.reached_by[node]:
            edges.append(edge - 1)
            node = self.parent(node)
        return edges[::-1]

    def retained(self, class_name: str, nodes: Sequence[int]) -> Retained:
        """Return what holds these objects, all of one class."""
        spread = max(1, -(-len(nodes) // MOST_LOOKED_AT))
        looked_at = nodes[::spread]
        heap = self._heap
        trails = [self.trail(node) for node in looked_at]
        heap.learn_texts(
            heap.labels[edge]
            for trail in trails
            for edge in trail
            if heap.edge_kinds[heap.kinds[edge]] not in _ELEMENTS
        )
        shapes = Counter(self._shape(trail) for trail in trails)
        ways = tuple(Way(steps, count) for steps, count in shapes.most_common())
        return Retained(class_name, len(nodes), len(looked_at), ways)

    def way(self, node: int) -> Way:
        """Return the way to one object, its places in lists spelled out."""
        trail = self.trail(node)
        heap = self._heap
        heap.learn_texts(heap.labels[edge] for edge in trail if heap.edge_kinds[heap.kinds[edge]] not in _ELEMENTS)
        return Way(self._shape(trail, exact=True), 1)

    def _shape(self, trail: Sequence[int], *, exact: bool = False) -> tuple[Step, ...]:
        heap = self._heap
        steps: list[Step] = []
        for number, edge in enumerate(trail):
            class_name = heap.class_of(heap.targets[edge] // heap.stride)
            if number == 0 and len(trail) > 1:  # (modules) goes without saying, the other roots do not
                steps.append(Step("" if class_name == "(modules)" else f"{class_name} ", class_name))
                continue
            label = self._label(edge, exact, first=number <= 1)
            if label == f".{_SELF_EVIDENT}":
                continue
            steps.append(Step(label, class_name))
        if len(steps) > LONGEST_WAY:
            half = LONGEST_WAY // 2
            steps[half:-half] = [Step(" … ", f"({len(steps) - LONGEST_WAY} more)")]
        return tuple(steps)

    def _label(self, edge: int, exact: bool, *, first: bool) -> str:
        heap = self._heap
        name = heap.labels[edge]
        if heap.edge_kinds[heap.kinds[edge]] in _ELEMENTS:
            return f"[{name if exact else '*'}]"
        text = heap.texts[name]
        if first:
            return text
        return f".{text}" if text.isidentifier() else f"[{text}]"


def retained(heap: Heap, class_name: str) -> Retained | None:
    """Return what holds the objects of a class, or None where there is no such class; the heap must have its edges."""
    if class_name not in heap.by_name:
        return None
    return Retainers(heap).retained(class_name, heap.nodes_by_class()[class_name])


def _breadth_first(heap: Heap) -> array[int]:
    """Return for each node the number of the edge by which it is reached first, plus one; 0 for the root and what
    is out of reach."""
    reached_by = array("I", bytes(4 * len(heap)))
    first_edge, targets, kinds, stride = heap.first_edge, heap.targets, heap.kinds, heap.stride
    weak = heap.edge_kinds.index("weak") if "weak" in heap.edge_kinds else -1
    if not len(heap):
        return reached_by
    reached_by[0] = 1  # for the time of the search, so that nothing reaches the root
    level = [0]
    while level:
        following = []
        for node in level:
            first, last = first_edge[node], first_edge[node + 1]
            if first == last:
                continue
            for edge in range(first, last):
                target = targets[edge] // stride
                if not reached_by[target] and kinds[edge] != weak:
                    reached_by[target] = edge + 1
                    following.append(target)
        level = following
    reached_by[0] = 0
    return reached_by
