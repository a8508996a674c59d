"""Allocations and growth as data: they merge without losing a byte, stay bounded, and damage is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.errors import DamagedData
from flask_profiling.model import Allocations, Amount, Frame, Growth

frames = st.builds(Frame, st.text(max_size=5), st.integers(0, 99), st.text(max_size=5))
numbers = st.integers(0, 10**12)
changes = st.integers(-(10**12), 10**12)
amounts = st.builds(Amount, numbers, numbers, changes, changes)
stacks = st.lists(frames, max_size=4).map(tuple)
allocations = st.builds(
    Allocations, st.integers(0, 100), st.booleans(), st.dictionaries(stacks, amounts, max_size=9), amounts, numbers
)
counts = st.tuples(numbers, numbers)
growths = st.builds(Growth, st.dictionaries(st.text(max_size=9), counts, max_size=9), counts, numbers)


@given(allocations)
def test_allocations_come_back_from_json(data: Allocations) -> None:
    assert Allocations.from_json(json.loads(json.dumps(data.to_json()))) == data


@given(growths)
def test_growth_comes_back_from_json(data: Growth) -> None:
    assert Growth.from_json(json.loads(json.dumps(data.to_json()))) == data


@given(allocations, allocations)
def test_merging_adds_up_and_order_does_not_matter(one: Allocations, other: Allocations) -> None:
    merged = one.merged_with(other)
    assert merged == other.merged_with(one)
    assert merged.total == one.total + other.total
    assert merged.from_nothing is (one.from_nothing and other.from_nothing)


@given(growths, growths)
def test_merged_growth_adds_up(one: Growth, other: Growth) -> None:
    merged = one.merged_with(other)
    assert merged == other.merged_with(one)
    assert merged.total == (one.total[0] + other.total[0], one.total[1] + other.total[1])


@given(allocations, st.integers(0, 5))
def test_what_is_cut_is_the_smallest_and_the_total_stays(data: Allocations, most: int) -> None:
    cut = data.bounded(most)
    assert cut.total == data.total
    assert len(cut.sites) == min(most, len(data.sites))
    assert cut.rest_sites - data.rest_sites == len(data.sites) - len(cut.sites)
    assert (cut is data) is (len(data.sites) <= most)
    kept = [max(amount.size, abs(amount.size_growth)) for amount in cut.sites.values()]
    gone = [max(a.size, abs(a.size_growth)) for stack, a in data.sites.items() if stack not in cut.sites]
    assert not kept or not gone or min(kept) >= max(gone)


@given(growths, st.integers(0, 5))
def test_what_is_cut_of_growth_changed_least_and_the_total_stays(data: Growth, most: int) -> None:
    cut = data.bounded(most)
    assert cut.total == data.total
    assert cut.rest_classes - data.rest_classes == len(data.classes) - len(cut.classes)
    assert (cut is data) is (len(data.classes) <= most)


def test_of_classes_those_are_kept_that_changed_most_then_the_most_numerous_then_by_name() -> None:
    classes = {"b": (7, 7), "a": (7, 7), "few": (1, 2), "y": (9, 4), "grown": (0, 5), "x": (3, 8), "gone": (9, 0)}
    assert list(Growth(classes).bounded(6).classes) == ["gone", "x", "grown", "y", "few", "a"]


def test_of_sites_that_matter_as_much_the_first_by_place_are_kept() -> None:
    later, earlier = (Frame("/b.py", 1, "f"),), (Frame("/a.py", 1, "f"),)
    data = Allocations(1, True, {later: Amount(8, 1, -8, 1), earlier: Amount(4, 1, -8, 1)})
    assert list(data.bounded(1).sites) == [earlier]


def test_two_thousand_sites_and_five_hundred_classes_are_kept() -> None:
    sites = {(Frame("/a.py", line, "f"),): Amount(8, 1, 8, 1) for line in range(2001)}
    cut = Allocations(1, True, sites).bounded()
    assert (len(cut.sites), cut.rest, cut.rest_sites) == (2000, Amount(8, 1, 8, 1), 1)
    growth = Growth({f"{number:03}": (number, 500) for number in range(501)}).bounded()
    assert (len(growth.classes), growth.rest, growth.rest_classes) == (500, (500, 500), 1)


def test_lines_add_up_over_the_stacks_that_lead_to_them() -> None:
    line = Frame("/a.py", 3, "f")
    callers = [Frame("/b.py", number, "g") for number in range(2)]
    sites = {(caller, line): Amount(10, 1, 5, 1) for caller in callers} | {(callers[0],): Amount(99, 1, 99, 1)}
    found = Allocations(2, False, sites).by_line()
    assert list(found.items()) == [(callers[0], Amount(99, 1, 99, 1)), (line, Amount(20, 2, 10, 2))]


def test_of_lines_that_grew_as_much_the_first_by_place_comes_first() -> None:
    frames = [Frame(file, 1, "f") for file in ("/b.py", "/a.py")]
    found = Allocations(1, True, {(frame,): Amount(8, 1, 8, 1) for frame in frames}).by_line()
    assert list(found) == [frames[1], frames[0]]


def test_routes_add_up_over_their_stacks_and_outlive_merging_json_and_bounds() -> None:
    stacks = [(Frame("/a.py", number, "f"),) for number in range(4)]
    amounts = [Amount(size, 1, size, 1) for size in (40, 30, 20, 10)]
    routes = {stacks[0]: "/b [b]", stacks[1]: "/a [a]", stacks[3]: "/a [a]"}
    data = Allocations(1, True, dict(zip(stacks, amounts, strict=True)), routes=routes)
    assert data.by_route() == {"/a [a]": Amount(40, 2, 40, 2), "/b [b]": Amount(40, 1, 40, 1)}
    assert data.of_route("/a [a]").total == Amount(40, 2, 40, 2)
    assert data.of_route("").total == Amount(20, 1, 20, 1)
    assert Allocations.from_json(data.to_json()) == data
    assert data.merged_with(data).routes == data.routes
    assert data.bounded(1).routes == {stacks[0]: "/b [b]"}


def test_a_recording_from_before_there_were_routes_has_none() -> None:
    old = {name: value for name, value in GOOD.items() if name != "routes"}
    assert Allocations.from_json(old).routes == {}


def test_the_classes_that_grew_most_come_first() -> None:
    found = Growth({"a": (1, 3), "b": (5, 4), "c": (0, 9), "d": (2, 2)})
    assert found.grown() == [("c", 0, 9), ("a", 1, 3)]
    assert Growth({"b": (1, 3), "a": (5, 7)}).grown() == [("a", 5, 7), ("b", 1, 3)]


GOOD = Allocations(1, True, {(Frame("/a.py", 1, "f"),): Amount(1, 1, 1, 1)}).to_json()


@pytest.mark.parametrize(
    "damage",
    [
        {"places": [["/a.py", 1]]},
        {"places": []},
        {"places": [["/a.py", "1", "f"]]},
        {"sites": [[[0], [-1, 1, 1, 1]]]},
        {"sites": [[[-1], [1, 1, 1, 1]]]},
        {"sites": [[[0], [1, 1, 1]]]},
        {"rest": None},
        {"frames": True},
        {"fromNothing": 1},
        {"restSites": -1},
        {"routes": [["/a [a]", [1]]]},
        {"routes": [["/a [a]"]]},
        {"routes": [[7, [0]]]},
    ],
)
def test_damage_is_told(damage: dict[str, Any]) -> None:
    with pytest.raises(DamagedData):
        Allocations.from_json({**GOOD, **damage})


@pytest.mark.parametrize("damage", [{"classes": [["a", 1]]}, {"classes": [["a", -1, 2]]}, {"rest": [1]}])
def test_damaged_growth_is_told(damage: dict[str, Any]) -> None:
    with pytest.raises(DamagedData):
        Growth.from_json({**Growth({}).to_json(), **damage})


def test_memory_without_a_stack_is_on_no_line() -> None:
    data = Allocations(0, True, {(): Amount(8, 1, 8, 1), (Frame("a.py", 1, "f"),): Amount(4, 1, 4, 1)})
    assert data.by_line() == {Frame("a.py", 1, "f"): Amount(4, 1, 4, 1)}
