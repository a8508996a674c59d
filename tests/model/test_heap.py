"""The summary of a heap: adding up workers, and JSON that was vandalised."""

from __future__ import annotations

import pytest

from flask_profiling.errors import DamagedData
from flask_profiling.model import DATA_KINDS
from flask_profiling.model.heap import HeapSummary

ONE = HeapSummary(10, 20, True, {"dict": (3, 300), "list": (7, 70)})
TWO = HeapSummary(5, 1, False, {"dict": (1, 64), "app.Order": (4, 900)})


def test_two_workers_add_up() -> None:
    both = ONE.merged_with(TWO)
    assert (both.nodes, both.edges, both.exact, both.size) == (15, 21, False, 1334)
    assert both.classes == {"dict": (4, 364), "list": (7, 70), "app.Order": (4, 900)}
    assert TWO.merged_with(ONE).exact is False
    assert ONE.merged_with(ONE).exact is True


def test_the_largest_classes_come_first() -> None:
    assert ONE.merged_with(TWO).largest(2) == [("app.Order", 4, 900), ("dict", 4, 364)]


def test_without_sizes_the_most_numerous_come_first() -> None:
    counted = HeapSummary(6, 0, False, {"a": (1, 0), "b": (3, 0), "c": (2, 0)})
    assert counted.largest(2) == [("b", 3, 0), ("c", 2, 0)]


def test_of_classes_that_hold_as_much_the_first_by_name_comes_first() -> None:
    equal = HeapSummary(4, 0, True, {"b": (2, 64), "a": (2, 64)})
    assert equal.largest(1) == [("a", 2, 64)]


def test_what_is_not_told_by_name_is_told_in_one_row() -> None:
    both = ONE.merged_with(TWO)
    told = both.of_largest(1)
    assert told.classes == {"app.Order": (4, 900), "(other classes)": (11, 434)}
    assert (told.nodes, told.edges, told.size) == (both.nodes, both.edges, both.size)
    assert both.of_largest(3) == both


def test_a_summary_comes_back_from_json() -> None:
    assert DATA_KINDS[ONE.kind].from_json(ONE.to_json()) == ONE


@pytest.mark.parametrize(
    "damage",
    [None, {}, {**ONE.to_json(), "nodes": -1}, {**ONE.to_json(), "classes": [["x", 1]]}, {**ONE.to_json(), "exact": 1}],
)
def test_damaged_json_is_refused(damage: object) -> None:
    with pytest.raises(DamagedData):
        HeapSummary.from_json(damage)
