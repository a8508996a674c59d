"""A heap snapshot in memory, as flat arrays; who holds whom is asked in :mod:`.retainers`."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress
from pathlib import Path
from typing import Any

from .scanner import Scanner, damaged

_NAMED_BY_TEXT = frozenset({"object", "native"})


@dataclass(slots=True)
class Heap:
    """The nodes of a snapshot by their number, and, where they were read, the edges by theirs.

    ``classes[n]`` is an index into ``class_names``; the edges of node ``n`` are ``first_edge[n]`` to ``first_edge[n +
    1]``, and ``targets`` are numbers of nodes times ``stride``. ``labels`` are what the edges are called: an index for
    elements, a string's number for others (:attr:`texts`, as far as asked for).
    """

    ids: array[int]
    sizes: array[int]
    names: array[int]
    classes: array[int]
    class_names: list[str]
    stride: int
    first_edge: array[int]
    kinds: bytearray
    labels: array[int]
    targets: array[int]
    edge_kinds: list[str]
    texts: dict[int, str]
    path: Path
    by_name: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def nodes_by_class(self) -> dict[str, array[int]]:
        """Return the numbers of the nodes of each class."""
        groups = [array("I") for _ in self.class_names]
        for node, number in enumerate(self.classes):
            groups[number].append(node)
        return dict(zip(self.class_names, groups, strict=True))

    def class_of(self, node: int) -> str:
        """Return the class that DevTools shows for a node."""
        return self.class_names[self.classes[node]]

    def learn_texts(self, numbers: Iterable[int]) -> None:
        """Read these strings from the file again, as far as they are not known."""
        missing = {number for number in numbers if number not in self.texts}
        if missing:
            with self.path.open("rb") as file:
                scanner = Scanner(file)
                scanner.skip_to(b"strings")
                self.texts.update(_strings(scanner, missing))


@dataclass(slots=True)
class _Shape:
    """Which column holds what, as the head of the file says."""

    node_fields: Sequence[str]
    edge_fields: Sequence[str]
    node_kinds: Sequence[str]
    edge_kinds: Sequence[str]


def load(path: Path, *, edges: bool) -> Heap:
    """Read a ``.heapsnapshot``; its edges take two thirds of the time and the memory. Raises DamagedData and
    OSError."""
    with path.open("rb") as file:
        scanner = Scanner(file)
        shape = _shape(scanner.head())
        columns = [array("I") for _ in shape.node_fields]
        for rows in scanner.rows(len(columns)):
            for index, column in enumerate(columns):
                column.extend(rows[index :: len(columns)])
        nodes = dict(zip(shape.node_fields, columns, strict=True))
        heap = Heap(
            ids=nodes["id"],
            sizes=nodes["self_size"],
            names=nodes["name"],
            classes=array("I"),
            class_names=[],
            stride=len(columns),
            first_edge=_running_total(nodes["edge_count"]) if edges else array("I"),
            kinds=bytearray(),
            labels=array("I"),
            targets=array("I"),
            edge_kinds=list(shape.edge_kinds),
            texts={},
            path=path,
        )
        if edges:
            scanner.skip_to(b"edges")
            _read_edges(heap, scanner, shape)
        scanner.skip_to(b"strings")
        _name_classes(heap, nodes["type"], shape.node_kinds, scanner)
    return heap


def _shape(head: dict[str, object]) -> _Shape:
    try:
        meta: Any = head["meta"]
        shape = _Shape(meta["node_fields"], meta["edge_fields"], meta["node_types"][0], meta["edge_types"][0])
    except (KeyError, IndexError, TypeError):
        raise damaged("its head does not say what the columns mean") from None
    if {"type", "name", "id", "self_size", "edge_count"} <= set(shape.node_fields) and (
        {"type", "name_or_index", "to_node"} <= set(shape.edge_fields)
    ):
        return shape
    raise damaged("a column is missing")


def _read_edges(heap: Heap, scanner: Scanner, shape: _Shape) -> None:
    width = len(shape.edge_fields)
    kind, label, target = (shape.edge_fields.index(name) for name in ("type", "name_or_index", "to_node"))
    for rows in scanner.rows(width):
        try:
            heap.kinds.extend(rows[kind::width].tolist())  # an array would be copied as bytes
        except ValueError:
            raise damaged("it holds a kind of edge that has no name") from None
        heap.labels.extend(rows[label::width])
        heap.targets.extend(rows[target::width])
    most = max(heap.targets, default=0)
    if (
        len(heap.targets) != heap.first_edge[-1]
        or most >= len(heap) * heap.stride
        or (max(heap.kinds, default=0) >= len(heap.edge_kinds))
    ):
        raise damaged("its edges do not fit its nodes")


def _running_total(counts: array[int]) -> array[int]:
    try:
        return array("I", accumulate(counts, initial=0))
    except OverflowError:
        raise damaged("it claims more edges than there can be") from None


def _name_classes(heap: Heap, kinds: array[int], kind_names: Sequence[str], scanner: Scanner) -> None:
    """Give each node the class that DevTools shows: of objects the name, ``<module x>`` counted under ``<module>``."""
    by_text = {number for number, name in enumerate(kind_names) if name in _NAMED_BY_TEXT}
    heap.texts.update(_strings(scanner, set(compress(heap.names, map(by_text.__contains__, kinds)))))
    numbers = _ClassNumbers(heap, by_text, kind_names)
    heap.classes.extend(map(numbers.__getitem__, zip(kinds, heap.names, strict=True)))
    heap.class_names.extend(heap.by_name)


class _ClassNumbers(dict[tuple[int, int], int]):
    """(kind, name) of a node -> the number of its class; names that do not tell the class, such as texts, are not
    kept."""

    def __init__(self, heap: Heap, by_text: set[int], kind_names: Sequence[str]) -> None:
        self._heap = heap
        self._by_text = by_text
        self._kind_names = kind_names

    def __missing__(self, key: tuple[int, int]) -> int:
        kind, name = key
        by_name = self._heap.by_name
        if kind not in self._by_text:
            return by_name.setdefault(_kind_title(kind, self._kind_names), len(by_name))
        self[key] = number = by_name.setdefault(_class_title(self._heap.texts[name]), len(by_name))
        return number


def _class_title(name: str) -> str:
    return f"{name.partition(' ')[0]}>" if name.startswith("<") and " " in name else name


def _kind_title(kind: int, kind_names: Sequence[str]) -> str:
    return f"({kind_names[kind]})" if kind < len(kind_names) else "(unknown)"


def _strings(scanner: Scanner, wanted: set[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, text in enumerate(scanner.strings()):
        if number in wanted:
            try:
                found[number] = json.loads(text)
            except ValueError:
                raise damaged("a string in it cannot be read") from None
    if len(found) < len(wanted):
        raise damaged("it names strings that are not in it")
    return found
