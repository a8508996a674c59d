"""Tests of the checked reading of JSON values."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given

from flask_profiling.errors import DamagedData
from flask_profiling.model import _json
from tests.model.documents import anything

READERS: dict[str, Callable[[object], object]] = {
    "mapping": _json.mapping,
    "sequence": _json.sequence,
    "row": lambda value: _json.row(value, 2),
    "text": _json.text,
    "texts": _json.texts,
    "flag": _json.flag,
    "integer": _json.integer,
    "count": _json.count,
    "index": lambda value: _json.index(value, 3),
    "real": _json.real,
    "optional_real": _json.optional_real,
}

# reader, value, and what it returns
GOOD = [
    ("mapping", {"a": 1}, {"a": 1}),
    ("sequence", [1, "a"], [1, "a"]),
    ("row", [1, None], [1, None]),
    ("text", "é", "é"),
    ("texts", ["a", "b"], ("a", "b")),
    ("flag", False, False),
    ("integer", -3, -3),
    ("integer", 2**256 - 1, 2**256 - 1),
    ("count", 0, 0),
    ("index", 2, 2),
    ("real", 1, 1.0),
    ("real", -0.5, -0.5),
    ("optional_real", None, None),
    ("optional_real", 2, 2.0),
]

# reader, value, and what is said
BAD = [
    ("mapping", [], "expected an object, found list"),
    ("mapping", None, "expected an object, found NoneType"),
    ("sequence", "abc", "expected a list, found str"),
    ("sequence", {}, "expected a list, found dict"),
    ("row", [1], "expected 2 values in a row, found 1"),
    ("row", [1, 2, 3], "expected 2 values in a row, found 3"),
    ("text", 1, "expected text, found int"),
    ("texts", ["a", None], "expected text, found NoneType"),
    ("flag", 1, "expected true or false, found int"),
    ("integer", True, "expected a whole number, found bool"),
    ("integer", 1.0, "expected a whole number, found float"),
    ("integer", 2**256, "expected a whole number of 256 bits, found a longer one"),
    ("integer", 10**400, "expected a whole number of 256 bits, found a longer one"),
    ("count", -1, "expected a count, found a negative number"),
    ("index", 3, "index 3 points past the 3 items there are"),
    ("index", -1, "expected a count, found a negative number"),
    ("real", math.nan, "expected a finite number"),
    ("real", math.inf, "expected a finite number"),
    ("real", 10**400, "expected a finite number"),
    ("real", True, "expected a finite number"),
    ("real", "1", "expected a finite number"),
    ("optional_real", "", "expected a finite number"),
]


@pytest.mark.parametrize(("reader", "value", "result"), GOOD)
def test_values_of_their_type_are_read(reader: str, value: object, result: object) -> None:
    found = READERS[reader](value)
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(("reader", "value", "said"), BAD)
def test_other_values_are_refused_with_advice(reader: str, value: object, said: str) -> None:
    with pytest.raises(DamagedData) as caught:
        READERS[reader](value)
    assert str(caught.value) == f"{said}; delete the damaged file"


def test_every_reader_has_a_good_and_a_bad_case() -> None:
    assert {name for name, _, _ in GOOD} == {name for name, _, _ in BAD} == set(READERS)


@pytest.mark.parametrize("reader", READERS)
@given(value=anything)
def test_anything_is_read_or_refused(reader: str, value: object) -> None:
    try:
        READERS[reader](value)
    except DamagedData:
        pass
