"""The heap snapshot as bytes: small walks with golden output, and the corners of the format."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.formats import FORMATS
from flask_profiling.formats.heapsnapshot import node_id, write_heap
from flask_profiling.model.heap import LATE, STRIDE, EdgeRows, ElementRows, Label, NodeRows, Root, Rows
from tests.engines.heaps import Snapshot

PLACES = 5 * ((2**32 - 1) // 10)


class Walk:
    """A walk that was prepared: the rows in order, and what is known at the end."""

    def __init__(
        self, rows: Sequence[Rows], roots: Sequence[Root], labels: Sequence[Label], late: Sequence[int] = ()
    ) -> None:
        self._rows = rows
        self._roots = roots
        self._late = late
        self.labels = labels
        self.root_names = [root.name for root in roots]
        self.scratch = io.BytesIO()
        self.places = 1 + max(
            [place for item in rows if isinstance(item, NodeRows) for place in item.places], default=0
        )

    def __iter__(self) -> Iterator[Rows]:
        return iter(self._rows)

    def roots(self) -> Sequence[Root]:
        return self._roots

    def late_targets(self) -> Sequence[int]:
        return self._late


def written(walk: Walk) -> bytes:
    out = io.BytesIO()
    write_heap(walk, out)
    return out.getvalue()


def parsed(walk: Walk, directory: Path) -> Snapshot:
    path = directory / "walk.heapsnapshot"
    path.write_bytes(written(walk))
    return Snapshot(path)


def under(*numbers: int) -> Root:
    """Return a root of all that holds these nodes."""
    return Root("", [(Label("element", index), number) for index, number in enumerate(numbers)])


def test_a_small_walk_has_exactly_these_bytes() -> None:
    walk = Walk(
        [
            NodeRows("object", "dict", [7], 64, 2, 16),
            EdgeRows([0, 1], [2 * STRIDE, 3 * STRIDE]),
            NodeRows("object", "str", [8], [50], 0),
            NodeRows("object", "list", [9], [40], [1], 16),
            ElementRows(0, [1], [2 * STRIDE]),
        ],
        [under(STRIDE)],
        [Label("internal", "(key)"), Label("property", "x")],
    )
    document = json.loads(written(walk))
    assert document["snapshot"]["node_count"] == 4
    assert document["snapshot"]["edge_count"] == 4
    assert document["nodes"] == [
        *(9, 0, node_id(PLACES - 1), 0, 1),
        *(3, 1, 71, 80, 2),
        *(3, 4, 81, 50, 0),
        *(3, 5, 91, 56, 1),
    ]
    assert document["edges"] == [1, 0, 5, 3, 2, 10, 2, 3, 15, 1, 0, 10]
    assert document["strings"] == ["", "dict", "(key)", "x", "str", "list"]


def test_nothing_but_the_sections_that_the_reader_knows_stands_in_their_order() -> None:
    text = written(Walk([], [Root("", [])], [])).decode("ascii")
    assert [text.index(f'"{name}":') for name in ("snapshot", "nodes", "edges", "strings")] == sorted(
        text.index(f'"{name}":') for name in ("snapshot", "nodes", "edges", "strings")
    )
    assert list(json.loads(text)) == ["snapshot", "nodes", "edges", "strings"]


def test_labels_repeat_over_objects_of_one_shape(tmp_path: Path) -> None:
    walk = Walk(
        [
            NodeRows("object", "point", [1, 2], 48, 2),
            EdgeRows([0, 1], [3 * STRIDE, 4 * STRIDE, 4 * STRIDE, 3 * STRIDE]),
            NodeRows("number", ["1", "2"], [3, 4], 28, 0),
        ],
        [under(STRIDE, 2 * STRIDE)],
        [Label("property", "x"), Label("property", "y")],
    )
    taken = parsed(walk, tmp_path)
    assert taken.describe(1) == [("property", "x", "1"), ("property", "y", "2")]
    assert taken.describe(2) == [("property", "x", "2"), ("property", "y", "1")]


def test_targets_told_late_stand_where_they_belong(tmp_path: Path) -> None:
    walk = Walk(
        [
            NodeRows("object", "ref", [1, 2], 72, [2, 1]),
            EdgeRows([1, 0, 0], [3 * STRIDE, LATE, LATE], late=True),
            NodeRows("object", "thing", [3], 16, 0),
            NodeRows("object", "other", [4], 16, 0),
        ],
        [under(STRIDE, 2 * STRIDE, 4 * STRIDE)],
        [Label("weak", "referent"), Label("property", "callback")],
        late=[4 * STRIDE, 3 * STRIDE],
    )
    taken = parsed(walk, tmp_path)
    assert taken.describe(1) == [("property", "callback", "thing"), ("weak", "referent", "other")]
    assert taken.describe(2) == [("weak", "referent", "thing")]


def test_a_target_that_is_never_told_is_an_error() -> None:
    walk = Walk([EdgeRows([0], [LATE], late=True)], [Root("", [])], [Label("weak", "referent")])
    with pytest.raises(ValueError, match="zip"):
        written(walk)


@pytest.mark.parametrize("first", [0, 4095, 4096, 70_000])
def test_elements_are_numbered_from_where_a_slice_begins(tmp_path: Path, first: int) -> None:
    walk = Walk(
        [
            NodeRows("object", "list", [1, 2], 56, [5000, 2]),
            ElementRows(first, [5000, 2], [3 * STRIDE] * 5002),
            NodeRows("object", "item", [3], 16, 0),
        ],
        [under(STRIDE, 2 * STRIDE)],
        [],
    )
    taken = parsed(walk, tmp_path)
    assert [edge.name for edge in taken.edges(1)] == list(range(first, first + 5000))
    assert [edge.name for edge in taken.edges(2)] == [0, 1]


def test_nodes_may_have_a_name_each(tmp_path: Path) -> None:
    names = ["<module a>", '\ud800\x00"', "<module a>"]
    taken = parsed(Walk([NodeRows("object", names, [1, 2, 3], 16, 0)], [under(5, 10, 15)], []), tmp_path)
    assert taken.names == ["", *names]


def test_no_number_is_too_large_for_the_reader(tmp_path: Path) -> None:
    walk = Walk([NodeRows("object", "huge", [1, 2], [2**40, 2**32 - 5], 0, 16)], [under(5, 10)], [])
    assert parsed(walk, tmp_path).sizes[1:] == [2**32 - 1] * 2


@given(st.sets(st.integers(1, PLACES - 1), min_size=2, max_size=50))
def test_ids_are_odd_unique_and_fit_in_32_bits(places: set[int]) -> None:
    ids = {node_id(place) for place in places}
    assert len(ids) == len(places)
    assert all(number % 2 == 1 and number < 2**32 for number in ids)


@given(st.lists(st.integers(1, PLACES - 100), min_size=1, max_size=20, unique=True))
def test_every_way_to_write_a_row_gives_the_same_id(places: list[int]) -> None:
    rows = [
        NodeRows("object", "a", places, 16, 0),
        NodeRows("object", ["a"] * len(places), [place + 50 for place in places], 16, 0),
    ]
    nodes = json.loads(written(Walk(rows, [Root("", [])], [])))["nodes"]
    assert nodes[2::5][1:] == [*map(node_id, places), *(node_id(place + 50) for place in places)]


def test_the_table_of_formats_knows_it() -> None:
    kind = FORMATS["heapsnapshot"]
    assert kind.heap_writer() is write_heap
    assert kind.filename("prof-1") == "heap-prof-1.heapsnapshot"
