"""The V8 heap snapshot that Chrome DevTools' Memory panel and memlab read, written as a stream; knows nothing of
Python objects.

The reader in DevTools is an order-dependent scanner: ``snapshot``, ``nodes``, ``edges``, and ``strings`` last; only
unsigned 32-bit integers. Source: ``HeapSnapshotLoader.ts`` and ``HeapSnapshot.ts`` of the DevTools front end,
``heap-snapshot-generator.cc`` of V8.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Sequence
from itertools import chain, islice, repeat
from typing import BinaryIO

from ..model.heap import LATE, EdgeRows, ElementRows, HeapWalk, Label, NodeRows, Root

_NODE_KINDS = ["hidden", "array", "string", "object", "code", "closure", "regexp", "number", "native", "synthetic"]
_EDGE_KINDS = ["context", "element", "property", "internal", "hidden", "shortcut", "weak"]
_META = {
    "node_fields": ["type", "name", "id", "self_size", "edge_count"],
    "node_types": [_NODE_KINDS, "string", "number", "number", "number"],
    "edge_fields": ["type", "name_or_index", "to_node"],
    "edge_types": [_EDGE_KINDS, "string_or_number", "node"],
}
_LIMIT = 2**32 - 1
# An id is ten times the place plus one, so that it is odd and "%d1" writes it; places from here on end in 3, 5, 7, 9.
_PLACES_PER_DIGIT = _LIMIT // 10
# So many places have an id; the roots take the last.
_PLACES = 5 * _PLACES_PER_DIGIT
# Root rows and counts are patched at the end: they get this room. JSON allows the spaces.
_ROOT_ROOM = 48
_COUNT_ROOM = 10
_COPY = 1 << 20
_BATCH = 1024
_ELEMENTS = 4096


def node_id(place: int) -> int:
    """Return the id of the object at ``place``: odd, unique for places from 1 to below 2**31, the same in every
    snapshot of one process."""
    turn, rest = divmod(place, _PLACES_PER_DIGIT)
    return 10 * rest + 1 + 2 * turn


def write_heap(walk: Iterable[object], out: BinaryIO) -> None:
    """Write a :class:`~flask_profiling.model.heap.HeapWalk` as a ``.heapsnapshot`` to a binary file that can seek."""
    writer = _Writer(walk, out)  # type: ignore[arg-type]
    writer.begin()
    handlers = {NodeRows: writer.nodes, EdgeRows: writer.edges, ElementRows: writer.elements}
    for rows in walk:
        handlers[type(rows)](rows)  # type: ignore[operator]
    writer.finish()


class _Strings(dict[str, int]):
    """The table of strings: text -> index, in the order of first use."""

    def __missing__(self, text: str) -> int:
        self[text] = index = len(self)
        return index


class _Templates(dict[int, str]):
    """Edge label number -> the text of such an edge with room for its target."""

    def __init__(self, labels: Sequence[Label], strings: _Strings) -> None:
        self._labels = labels
        self._strings = strings

    def __missing__(self, number: int) -> str:
        self[number] = template = self.of(self._labels[number])
        return template

    def of(self, label: Label) -> str:
        """Return the template of one label; a weak edge has a fixed width, because its target may be told later."""
        name = label.name if isinstance(label.name, int) else self._strings[label.name]
        width = _COUNT_ROOM if label.kind == "weak" else ""
        return f",{_EDGE_KINDS.index(label.kind)},{name},%{width}d"


class _RowTemplates(dict[tuple[int, int], str]):
    """(size, edges) -> the text of a node row of one kind and name with room for its id."""

    def __init__(self, prefix: str, extra: int) -> None:
        self._prefix = prefix
        self._extra = extra

    def __missing__(self, key: tuple[int, int]) -> str:
        size, edges = key
        self[key] = template = f"{self._prefix}%d1,{min(size + self._extra, _LIMIT)},{edges}"
        return template


class _Writer:
    def __init__(self, walk: HeapWalk, out: BinaryIO) -> None:
        self._walk = walk
        self._out = out
        self._edges = walk.scratch
        self._strings = _Strings({"": 0})
        self._templates = _Templates(walk.labels, self._strings)
        self._node_templates: dict[tuple[str, str, int], _RowTemplates] = {}
        self._node_count = 0
        self._edge_count = 0
        self._late: list[int] = []
        self._element_text = "".join(f",1,{index},%d" for index in range(_ELEMENTS))
        self._element_ends = [0]
        for index in range(_ELEMENTS):
            self._element_ends.append(self._element_ends[-1] + len(f",1,{index},%d"))

    def begin(self) -> None:
        """Write the head and leave room for what is known at the end."""
        self._out.write(self._head(0, 0))
        self._out.write(b" " * (_ROOT_ROOM * len(self._walk.root_names)))

    def _head(self, nodes: int, edges: int) -> bytes:
        meta = json.dumps(_META, separators=(",", ":"))
        counts = f'"node_count":{nodes:{_COUNT_ROOM}d},"edge_count":{edges:{_COUNT_ROOM}d},"trace_function_count":0'
        return f'{{"snapshot":{{"meta":{meta},{counts}}},\n"nodes":['.encode()

    def nodes(self, rows: NodeRows) -> None:
        """Write node rows."""
        count = len(rows.places)
        self._node_count += count
        if not isinstance(rows.names, str):
            self._named_nodes(rows)
            return
        templates = self._rows_of(rows.kind, rows.names, rows.extra)
        if isinstance(rows.sizes, int) and isinstance(rows.edges, int):
            text = templates[rows.sizes, rows.edges] * count
        else:
            text = "".join(map(templates.__getitem__, _pairs(rows)))
        if self._walk.places <= _PLACES_PER_DIGIT:
            self._out.write((text % tuple(rows.places)).encode())
            return
        self._out.write((text.replace("%d1,", "%d,") % tuple(map(node_id, rows.places))).encode())

    def _rows_of(self, kind: str, name: str, extra: int) -> _RowTemplates:
        templates = self._node_templates.get((kind, name, extra))
        if templates is None:
            prefix = f"\n,{_NODE_KINDS.index(kind)},{self._strings[name]},"
            self._node_templates[kind, name, extra] = templates = _RowTemplates(prefix, extra)
        return templates

    def _named_nodes(self, rows: NodeRows) -> None:
        kind = _NODE_KINDS.index(rows.kind)
        self._out.write(
            "".join(
                f"\n,{kind},{self._strings[name]},{node_id(place)},{min(size + rows.extra, _LIMIT)},{edges}"
                for name, place, (size, edges) in zip(rows.names, rows.places, _pairs(rows), strict=True)
            ).encode()
        )

    def edges(self, rows: EdgeRows) -> None:
        """Write labelled edges."""
        if rows.late:
            self._late_edges(rows)
            return
        text = "".join(map(self._templates.__getitem__, rows.labels))
        text *= len(rows.targets) // max(1, len(rows.labels))
        self._put(text, rows.targets)

    def elements(self, rows: ElementRows) -> None:
        """Write the edges of sequences."""
        text, ends = self._element_text, self._element_ends
        if not rows.first and max(rows.lengths) <= _ELEMENTS:
            self._put("".join([text[: ends[length]] for length in rows.lengths]), rows.targets)
            return
        parts = []
        for first, length in zip(chain((rows.first,), repeat(0)), rows.lengths, strict=False):
            parts.extend([f",1,{index},%d" for index in range(first, first + length)])
        self._put("".join(parts), rows.targets)

    def _put(self, text: str, targets: Sequence[int]) -> None:
        self._edge_count += len(targets)
        self._edges.write((text % tuple(targets)).encode())

    def _late_edges(self, rows: EdgeRows) -> None:
        position = self._edges.tell()
        parts = []
        for label, target in zip(rows.labels, rows.targets, strict=True):
            part = self._templates[label] % target
            position += len(part)
            if target == LATE:
                self._late.append(position - _COUNT_ROOM)
            parts.append(part)
        self._edge_count += len(parts)
        self._edges.write("".join(parts).encode())

    def finish(self) -> None:
        """Write what was not known before: the late targets, the roots, the counts, the strings."""
        for position, target in zip(self._late, self._walk.late_targets(), strict=True):
            self._edges.seek(position)
            self._edges.write(b"%*d" % (_COUNT_ROOM, target))
        roots = self._walk.roots()
        self._node_count += len(roots)
        out = self._out
        out.write(b'],\n"edges":[')
        out.write(self._root_edges(roots))
        self._edges.seek(0)
        shutil.copyfileobj(self._edges, out, _COPY)
        out.write(b'],\n"strings":[')
        self._write_strings()
        out.write(b"]}\n")
        out.seek(0)
        out.write(self._head(self._node_count, self._edge_count))
        for index, root in enumerate(roots):
            out.write(self._root_row(index, root))
        out.seek(0, io.SEEK_END)

    def _root_row(self, index: int, root: Root) -> bytes:
        kind = _NODE_KINDS.index("object" if index else "synthetic")
        comma = "," if index else ""
        identity = node_id(_PLACES - 1 - index)
        row = f"{comma}{kind},{self._strings[root.name]},{identity},0,{len(root.edges)}"
        return row.ljust(_ROOT_ROOM).encode()

    def _root_edges(self, roots: Sequence[Root]) -> bytes:
        texts = [self._templates.of(label) % target for root in roots for label, target in root.edges]
        self._edge_count += len(texts)
        for root in roots:
            self._strings[root.name]  # enters the table before it is written
        return "".join(texts)[1:].encode()

    def _write_strings(self) -> None:
        encode = json.JSONEncoder(ensure_ascii=True).encode
        texts = iter(self._strings)
        self._out.write(encode(next(texts)).encode())
        while batch := list(islice(texts, _BATCH)):
            self._out.write((",\n" + ",\n".join(map(encode, batch))).encode())


def _pairs(rows: NodeRows) -> Iterable[tuple[int, int]]:
    sizes = repeat(rows.sizes) if isinstance(rows.sizes, int) else rows.sizes
    edges = repeat(rows.edges) if isinstance(rows.edges, int) else rows.edges
    return islice(zip(sizes, edges, strict=False), len(rows.places))
