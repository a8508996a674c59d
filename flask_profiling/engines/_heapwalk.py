"""The walk over a frozen heap: breadth first from the roots, numbering objects as they are found and handing out
rows; opens no file.

Objects found together are numbered in groups of one class, and a group is read in bulk when its turn comes: rows and
numbers are in the same order, every target has a number before the edge is written, and only the groups that wait are
kept.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from gc import get_referents
from itertools import chain, compress, count, pairwise
from operator import is_not, not_
from typing import BinaryIO, NamedTuple

from ..model.heap import LATE, STRIDE, EdgeRows, ElementRows, HeapSummary, Label, NodeRows, Root, Rows
from ._heapnames import Labels, Names
from ._heapplaces import Places
from ._heapreaders import Reader, Reading

# Edges worked on in one go: large enough that the new objects among them form groups, small enough for the
# processor's cache.
_BATCH = 16384
# New objects come in stretches of one class; where those are shorter than this, they are sorted by class.
_SHORT_STRETCH = 8
# Fewer new objects than this are too few for a batch; then so many are looked for ahead, not in objects with very many
# references.
_FEW = 64
_AHEAD = 4096
_WIDE = 1024
# Stands for the number of an object that is about to get one.
_NOTED = 1

ReaderOf = Callable[[type], Reader]


class Start(NamedTuple):
    """Where references begin: the name of a root and the objects it holds under labels."""

    name: str
    held: Sequence[tuple[Label, object]]


class _Run(NamedTuple):
    reader: Reader
    objects: Sequence[object]
    places: array[int]


class _Piece(NamedTuple):
    """Objects that were read: their rows, and those of their children that need a number now."""

    rows: NodeRows
    reading: Reading | None
    children: tuple[object, ...]
    strong: Sequence[bool]


class Walk:
    """One walk; see :class:`flask_profiling.model.heap.HeapWalk`.

    ``starts`` are the roots in the order in which they claim what they reach; ``others`` gives objects that may have
    been missed, asked when everything else has been read; ``own`` are objects made for the walk, which are left out;
    ``reader_of`` makes the reader of a class; ``tick`` is called again and again, and may raise to end the walk.
    """

    def __init__(
        self,
        starts: Sequence[Start],
        others: Callable[[], Sequence[object]],
        *,
        own: Sequence[object],
        places: Places,
        names: Names,
        reader_of: ReaderOf,
        scratch: BinaryIO,
        tick: Callable[[], None],
    ) -> None:
        self._starts = starts
        self._others = others
        self._places = places
        self._reader_of = reader_of
        self._tick = tick
        self._readers: dict[int, Reader] = {}
        self._weak = names.labels.number("weak", "referent")
        self._queue: deque[_Run] = deque()
        self._roots: list[Root] = []
        self._late: array[int] = array("I")
        self._totals: dict[str, list[int]] = {}
        self._edges = 0
        self.labels: Labels = names.labels
        self.scratch = scratch
        self.root_names = ("", *(start.name for start in starts), "(classes)", "(held elsewhere)")
        self._next = len(self.root_names) * STRIDE
        self._elsewhere = self._next - STRIDE
        places.assign(places.of(tuple(own)), self._elsewhere, 0)

    def __iter__(self) -> Iterator[Rows]:
        """Walk."""
        for start in self._starts:
            self._hold(start.name, start.held)
            yield from self._drain()
        yield from self._walk_classes()
        others = self._others()
        held: list[tuple[Label, object]] = []
        for first in range(0, len(others), _BATCH):
            part = tuple(others[first : first + _BATCH])
            missing = compress(part, map(not_, self._places.numbers(self._places.of(part))))
            for value in missing:
                if not self._number(value):
                    held.append((Label("element", len(held)), value))
                    self._resolve((value,))
                    yield from self._drain()
        self._hold("(held elsewhere)", held)

    def _walk_classes(self) -> Iterator[Rows]:
        held: list[tuple[Label, object]] = []
        while True:
            new = [reader.cls for reader in self._readers.values() if not self._number(reader.cls)]
            if not new:
                self._hold("(classes)", held)
                return
            held += [(Label("property", self._readers[id(cls)].name), cls) for cls in new]
            self._resolve(tuple(new))
            yield from self._drain()

    def _number(self, value: object) -> int:
        place = self._places.of((value,))[0]
        return self._places.numbers([place])[0]

    def _hold(self, name: str, held: Sequence[tuple[Label, object]]) -> None:
        numbers: Sequence[int] = ()
        for first in range(0, len(held), _BATCH):
            numbers = [*numbers, *self._resolve(tuple(value for _, value in held[first : first + _BATCH]))]
        self._roots.append(Root(name, [(label, number) for (label, _), number in zip(held, numbers, strict=True)]))
        self._edges += len(held)

    @property
    def places(self) -> int:
        """The places so far: all are below this number."""
        return len(self._places.table)

    def roots(self) -> Sequence[Root]:
        """Return the roots with their edges, the root of all first."""
        top = [(Label("property", name), number * STRIDE) for number, name in enumerate(self.root_names) if number]
        return [Root(self.root_names[0], top), *self._roots]

    def late_targets(self) -> Sequence[int]:
        """Return the targets of the weak references; what nothing else holds is shown as held by the last root."""
        targets: list[int] = []
        for first in range(0, len(self._late), _BATCH):
            targets += [
                number or self._elsewhere for number in self._places.numbers(self._late[first : first + _BATCH])
            ]
        return targets

    def summary(self) -> HeapSummary:
        """Return the totals of the walk."""
        classes = {name: (count, size) for name, (count, size) in self._totals.items()}
        nodes = self._next // STRIDE
        return HeapSummary(nodes, self._edges + len(self._roots), True, classes)

    def _drain(self) -> Iterator[Rows]:
        """Read what waits, in batches of runs: the new objects of a batch are numbered together, so that groups grow
        large."""
        while self._queue:
            batch: list[_Piece] = []
            edges = 0
            for piece in self._pieces():
                if len(piece.children) > _BATCH:
                    yield from self._write(batch)
                    yield from self._write_slices(piece)
                    batch, edges = [], 0
                    continue
                batch.append(piece)
                edges += len(piece.children)
                if edges > _BATCH:
                    yield from self._write(batch)
                    batch, edges = [], 0
            yield from self._write(batch)

    def _pieces(self) -> Iterator[_Piece]:
        while self._queue:
            reader, objects, places = self._queue.popleft()
            if len(objects) <= reader.step:
                yield self._read(reader, objects, places)
                continue
            for first in range(0, len(objects), reader.step):
                last = first + reader.step
                yield self._read(reader, objects[first:last], places[first:last])

    def _read(self, reader: Reader, objects: Sequence[object], places: Sequence[int]) -> _Piece:
        sizes = reader.sizes(objects)
        reading = reader.read(objects)
        total = self._totals.setdefault(reader.name, [0, 0])
        total[0] += len(objects)
        total[1] += reader.extra * len(objects) + (sizes * len(objects) if isinstance(sizes, int) else sum(sizes))
        counts = 0 if reading is None else reading.counts
        rows = NodeRows(reader.kind, reader.names(objects), places, sizes, counts, reader.extra)
        if reading is None:
            return _Piece(rows, None, (), ())
        self._edges += len(reading.children)
        if not reading.late:
            return _Piece(rows, reading, reading.children, ())
        assert reading.labels is not None
        strong = [label != self._weak for label in reading.labels]
        self._late.extend(list(self._places.of(tuple(compress(reading.children, map(not_, strong))))))
        return _Piece(rows, reading, tuple(compress(reading.children, strong)), strong)

    def _write(self, batch: Sequence[_Piece]) -> Iterator[Rows]:
        self._tick()
        numbers = self._resolve(tuple(chain.from_iterable([piece.children for piece in batch])), _columns(batch))
        position = 0
        for rows, reading, children, strong in batch:
            yield rows
            if reading is None or not reading.children:
                continue
            targets = numbers[position : position + len(children)]
            position += len(children)
            if reading.late:
                known = iter(targets)
                assert reading.labels is not None
                yield EdgeRows(reading.labels, [next(known) if is_strong else LATE for is_strong in strong], late=True)
            elif reading.labels is None:
                yield ElementRows(0, _lengths(rows, reading), targets)
            else:
                yield EdgeRows(reading.labels, targets)

    def _write_slices(self, piece: _Piece) -> Iterator[Rows]:
        """Write objects with very many references, a slice at a time."""
        yield piece.rows
        reading = piece.reading
        assert reading is not None
        labels, children = reading.labels, piece.children
        if labels is not None:
            width = len(labels)
            step = _BATCH if width > _BATCH else _BATCH // width * width
            for first in range(0, len(children), step):
                part = labels if width <= _BATCH else labels[first : first + step]
                yield EdgeRows(part, self._resolve(children[first : first + step]))
            return
        position = 0
        for length in _lengths(piece.rows, reading):
            for first in range(0, length, _BATCH):
                elements = children[position + first : position + min(first + _BATCH, length)]
                yield ElementRows(first, [len(elements)], self._resolve(elements))
            position += length

    def _resolve(self, children: tuple[object, ...], columns: Sequence[slice] = (slice(None),)) -> Sequence[int]:
        """Return the node numbers of ``children``; those met for the first time are numbered and queued."""
        if not children:
            return ()
        places = self._places.of(children)
        numbers = self._places.numbers(places)
        if all(numbers):
            return numbers
        fresh: list[int] = []
        objects: list[object] = []
        for column in columns:
            known = numbers[column]
            if not all(known):
                new = list(map(not_, known))
                fresh += compress(places[column], new)
                objects += compress(children[column], new)
        if len(set(fresh)) < len(fresh):
            unique = dict(zip(fresh, objects, strict=True))
            fresh, objects = list(unique), list(unique.values())
        if not self._queue and len(fresh) < _FEW:
            self._look_ahead(fresh, objects)
        self._adopt(fresh, objects)
        return self._places.numbers(places)

    def _look_ahead(self, places: list[int], objects: list[object]) -> None:
        """Where nothing waits and few objects are new, add those that they lead to: a long chain would otherwise be
        read link by link, each at the cost of a batch.

        Readers name all that the collector finds in an object, so each of these gets an edge.
        """
        self._places.assign(places, _NOTED, 0)
        for value in objects:  # grows meanwhile
            if len(objects) > _AHEAD:
                return
            children = get_referents(value)
            if len(children) < _WIDE:
                self._places.note_new(children, _NOTED, places, objects)

    def _adopt(self, places: list[int], objects: list[object]) -> None:
        """Number and queue new objects, those of one class together."""
        kinds = list(map(type, objects))
        starts = [0, *compress(count(1), map(is_not, kinds[1:], kinds)), len(kinds)]
        if len(starts) > len(kinds) // _SHORT_STRETCH + 3:
            order = sorted(range(len(kinds)), key=list(map(id, kinds)).__getitem__)
            places, objects, kinds = ([column[index] for index in order] for column in (places, objects, kinds))  # type: ignore[assignment]
            starts = [0, *compress(count(1), map(is_not, kinds[1:], kinds)), len(kinds)]
        groups: dict[int, tuple[type, list[int], list[object]]] = {}
        for first, last in pairwise(starts):
            kind = kinds[first]
            _, group_places, group_objects = groups.setdefault(id(kind), (kind, [], []))
            group_places += places[first:last]
            group_objects += objects[first:last]
        for kind, group_places, group_objects in groups.values():
            self._enqueue(kind, group_places, group_objects)

    def _enqueue(self, kind: type, places: Sequence[int], objects: Sequence[object]) -> None:
        self._places.assign(places, self._next, STRIDE)
        self._next += STRIDE * len(places)
        self._queue.append(_Run(self._reader(kind), objects, array("I", places)))

    def _reader(self, kind: type) -> Reader:
        reader = self._readers.get(id(kind))
        if reader is None:
            reader = self._readers[id(kind)] = self._reader_of(kind)
        return reader


def _lengths(rows: NodeRows, reading: Reading) -> Sequence[int]:
    return [reading.counts] * len(rows.places) if isinstance(reading.counts, int) else reading.counts


def _columns(batch: Sequence[_Piece]) -> list[slice]:
    """Return slices that cover the children of a batch; what many objects hold under one name is mostly of one
    class."""
    columns: list[slice] = []
    position = 0
    for piece in batch:
        after = position + len(piece.children)
        reading = piece.reading
        width = 1
        if reading is not None and isinstance(reading.counts, int) and not reading.late:
            width = reading.counts
        columns += [slice(position + offset, after, width) for offset in range(width) if position + offset < after]
        position = after
    return columns
