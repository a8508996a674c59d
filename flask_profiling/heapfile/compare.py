"""Two heaps of one process: which classes grew, and which older objects hold what is new."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_

from .graph import Heap
from .retainers import Retained, Retainers, Way

_MOST_HOLDERS = 20


@dataclass(frozen=True, slots=True)
class ClassGrowth:
    """The objects of one class before and after; ``added`` and ``removed`` tell them apart by id, sizes are in
    bytes."""

    class_name: str
    count_before: int
    count_after: int
    size_before: int
    size_after: int
    added: int
    removed: int

    @property
    def growth(self) -> int:
        """Return how many more objects there are."""
        return self.count_after - self.count_before

    @property
    def size_growth(self) -> int:
        """Return how many more bytes they take."""
        return self.size_after - self.size_before


@dataclass(frozen=True, slots=True)
class Holder:
    """An object that was there before and is the last such on the way to ``count`` new ones of ``size`` bytes in
    all."""

    way: Way
    class_name: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What two heaps of one process differ by: every class whose objects or bytes changed, those that grew most (in
    bytes) first; for the classes asked for what holds their new objects; and the older objects that hold the most
    that is new."""

    classes: tuple[ClassGrowth, ...]
    retained: Mapping[str, Retained]
    holders: tuple[Holder, ...]
    shared: float

    def grown(self) -> list[ClassGrowth]:
        """Return the classes of which there are more objects."""
        return [item for item in self.classes if item.growth > 0]


def difference(before: Heap, after: Heap, *, classes: Sequence[str] = (), most: int = 10) -> Difference:
    """Compare two heaps; ``after`` must have its edges.

    The retainers are told for ``classes``, or for the ``most`` that grew most. ``shared`` of the result is the share
    of the earlier ids that are in the later heap too: near 0 for snapshots of two processes.
    """
    old, new = before.nodes_by_class(), after.nodes_by_class()
    changes: list[ClassGrowth] = []
    added: dict[str, array[int]] = {}
    kept = 0
    for name in {**old, **new}:
        nothing = array("I")
        change, fresh = _change(name, before, old.get(name, nothing), after, new.get(name, nothing))
        kept += change.count_after - len(fresh)
        if fresh:
            added[name] = fresh
        if change.growth or change.size_growth or change.added:
            changes.append(change)
    changes.sort(key=lambda change: (-change.size_growth, -change.growth, change.class_name))
    retainers = Retainers(after)
    wanted = classes or [change.class_name for change in changes if change.growth > 0][:most]
    return Difference(
        tuple(changes),
        {name: retainers.retained(name, added[name]) for name in wanted if name in added},
        _holders(after, added, retainers),
        kept / len(before) if len(before) else 0.0,
    )


def _change(name: str, before: Heap, old: array[int], after: Heap, new: array[int]) -> tuple[ClassGrowth, array[int]]:
    known = set(map(before.ids.__getitem__, old))
    fresh = array("I", compress(new, map(not_, map(known.__contains__, map(after.ids.__getitem__, new)))))
    sizes = sum(map(before.sizes.__getitem__, old)), sum(map(after.sizes.__getitem__, new))
    removed = len(old) - (len(new) - len(fresh))
    return ClassGrowth(name, len(old), len(new), *sizes, len(fresh), removed), fresh


def _holders(heap: Heap, added: Mapping[str, array[int]], retainers: Retainers) -> tuple[Holder, ...]:
    """Return the objects that hold the most new bytes, by the shortest ways."""
    is_new = bytearray(len(heap))
    for nodes in added.values():
        for node in nodes:
            is_new[node] = 1
    holder_of: dict[int, int] = {}
    sums: dict[int, tuple[int, int]] = {}
    for nodes in added.values():
        for node in nodes:
            holder = _holder(node, is_new, holder_of, retainers)
            count, size = sums.get(holder, (0, 0))
            sums[holder] = (count + 1, size + heap.sizes[node])
    largest = sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))[:_MOST_HOLDERS]
    holders = [Holder(retainers.way(node), heap.class_of(node), *amount) for node, amount in largest]
    # A root such as (threads) or (held elsewhere) is no object with a name: the last place to look for a leak.
    return tuple(sorted(holders, key=lambda holder: holder.way.text.startswith("(")))


def _holder(node: int, is_new: bytearray, holder_of: dict[int, int], retainers: Retainers) -> int:
    trail = []
    while is_new[node] and node not in holder_of and retainers.reached_by[node]:
        trail.append(node)
        node = retainers.parent(node)
    holder = holder_of.get(node, node)
    for step in trail:
        holder_of[step] = holder
    return holder
