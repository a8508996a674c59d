"""What holds for every kind of data that travels: it survives JSON, workers' shares add up, and damage is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.errors import DamagedData
from flask_profiling.model import DATA_KINDS, Data
from tests.model.documents import anything, damaged, through_json
from tests.samples import ODD_SAMPLES, SAMPLES

kinds = pytest.mark.parametrize("kind", DATA_KINDS)
samples = pytest.mark.parametrize("make", [*SAMPLES.values(), *ODD_SAMPLES.values()])


def numbers(document: object) -> float:
    """Return the sum of all numbers in a document, scaled down so that the largest do not overflow."""
    if isinstance(document, dict):
        return math.fsum(numbers(value) for value in document.values())
    if isinstance(document, list):
        return math.fsum(numbers(value) for value in document)
    return document / 1e10 if isinstance(document, (int, float)) and not isinstance(document, bool) else 0.0


@kinds
def test_a_kind_stands_in_the_table_under_its_own_name(kind: str) -> None:
    assert SAMPLES[kind]().kind == kind
    assert isinstance(SAMPLES[kind](), DATA_KINDS[kind])


@samples
def test_it_survives_json(make: Callable[[], Data]) -> None:
    data = make()
    assert DATA_KINDS[data.kind].from_json(through_json(data.to_json())) == data


@samples
def test_adding_a_worker_changes_neither(make: Callable[[], Data]) -> None:
    one, other = make(), make()
    merged: Any = one.merged_with(other)  # type: ignore[attr-defined]
    assert merged.kind == one.kind
    assert one == other == make()


@kinds
def test_the_order_of_the_workers_does_not_matter(kind: str) -> None:
    one: Any = SAMPLES[kind]()
    other: Any = ODD_SAMPLES[kind]()
    assert numbers(one.merged_with(other).to_json()) == pytest.approx(numbers(other.merged_with(one).to_json()))


@kinds
def test_three_workers_add_up_whoever_is_added_first(kind: str) -> None:
    one: Any = SAMPLES[kind]()
    left, right = one.merged_with(one).merged_with(one), one.merged_with(one.merged_with(one))
    assert numbers(left.to_json()) == pytest.approx(numbers(right.to_json()))
    assert numbers(left.to_json()) > numbers(one.to_json())


@kinds
@given(data=st.data())
def test_damage_is_read_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    document = data.draw(damaged(through_json(SAMPLES[kind]().to_json())))
    try:
        found = DATA_KINDS[kind].from_json(document)
    except DamagedData as error:
        assert "; " in str(error)
        return
    assert DATA_KINDS[kind].from_json(through_json(found.to_json())) == found


@kinds
@given(value=anything)
def test_any_value_is_refused(kind: str, value: object) -> None:
    with pytest.raises(DamagedData):
        DATA_KINDS[kind].from_json(value)
