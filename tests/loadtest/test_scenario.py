"""Scenarios: what is asked for, how often and in what order; mistakes are named with their line."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.errors import BadRequest
from flask_profiling.loadtest import Capture, from_paths, parse_scenario


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("/", "/", 1),
        ("/a=3", "/a", 3),
        ("/a?b=3", "/a?b=3", 1),
        ("/a?b=3=2", "/a?b=3", 2),
        ("/a?b&c=3", "/a?b&c=3", 1),
        ("/a=b", "/a=b", 1),
        ("/a=1.2.3", "/a=1.2.3", 1),
        ("/a?b=0.5", "/a?b=0.5", 1),
        ("/a=0.5=1", "/a=0.5", 1),
    ],
)
def test_a_path_may_carry_a_weight(text: str, path: str, weight: int) -> None:
    (step,) = from_paths([text]).steps
    assert (step.path, step.weight) == (path, weight)


@pytest.mark.parametrize("text", ["a", "", "/a b", "/ä", "http://example.com/", "/a=0", "/a=1001", "/a\r\nX: y"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        from_paths([text])


@pytest.mark.parametrize("number", ["0.01", "-1", "1.5", ".5", "2.", "1e3", "50%", "0001001", "9" * 5000])
def test_a_number_that_is_no_weight_is_not_taken_for_a_path(number: str) -> None:
    with pytest.raises(BadRequest, match=r"is no whole number from 1 to 1000; write one such as /deals=3$"):
        from_paths([f"/deals={number}"])


def test_weights_are_kept_exactly_and_spread_evenly() -> None:
    scenario = from_paths(["/a=5", "/b=2", "/c"])
    sent = [scenario.step(number).path for number in range(80)]
    assert Counter(sent) == {"/a": 50, "/b": 20, "/c": 10}
    assert Counter(sent[:8]) == {"/a": 5, "/b": 2, "/c": 1}
    assert "/b" in sent[:4], "not all of one first"


FILE = """{
  "steps": [
    {"path": "/", "name": "home"},
    {"method": "POST", "path": "/checkout", "form": {"product": 7, "note": "a b"},
     "headers": {"X-Test": "1"},
     "capture": {"order": {"header": "Location"}}},
    {"path": "${order}", "headers": {"Referer": "${order}"}}
  ]
}"""


def test_a_file_is_read() -> None:
    scenario = parse_scenario(FILE.encode(), "shop.json")
    home, checkout, receipt = scenario.steps
    assert scenario.in_order
    assert (home.label, home.method, home.body) == ("home", "GET", None)
    assert checkout.body == "product=7&note=a+b"
    assert dict(checkout.headers) == {"X-Test": "1", "Content-Type": "application/x-www-form-urlencoded"}
    assert receipt.holes() == {"order"}
    assert [scenario.step(number).label for number in range(4)] == ["home", "POST /checkout", "GET ${order}", "home"]


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('"name": "home"}', '"name": "home"', 4, "not JSON"),
        ('"steps"', '"stages"', 1, "mix"),
        ('"name": "home"', '"nmae": "home"', 3, "'nmae' is not known"),
        ('"POST"', '"SEND"', 4, "method must be one of"),
        ('"X-Test": "1"', '"X-Test": 1', 5, "header 'X-Test'"),
        ('"X-Test": "1"', '"X-Test": "a\\nb"', 5, "on one line"),
        ('"header": "Location"', '"cookie": "Location"', 6, "one of header, json, regex"),
        ('"header": "Location"', '"regex": "("', 6, "pattern cannot be used"),
        ('"header": "Location"', '"regex": "abc"', 6, "one group"),
        ('"Referer": "${order}"', '"Referer": "${number}"', 7, "${number} is not captured"),
        ('"path": "/", ', '"path": "home", ', 3, "starts with /"),
        ('"path": "/", ', "", 3, "the path must be"),
        ('"form": {', '"text": "x", "form": {', 4, "only one of"),
        ('"path": "/", ', '"path": "/", "weight": 2, ', 3, "no weight"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, line: int, reason: str) -> None:
    assert old in FILE
    with pytest.raises(BadRequest) as caught:
        parse_scenario(FILE.replace(old, new).encode(), "shop.json")
    assert caught.value.message.startswith(f"shop.json, line {line}: ")
    assert reason in caught.value.message


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["mix", "steps", "path", "method", "capture", "headers", "form", "weight", "x"]), inner
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_file_makes_the_reader_fail_otherwise(data: bytes) -> None:
    try:
        parse_scenario(data, "x.json")
    except BadRequest as error:
        assert error.message.startswith("x.json, line ")


@pytest.mark.parametrize(
    ("source", "where", "value"),
    [
        ("header", "Location", "/orders/3"),
        ("json", "items.1.id", "8"),
        ("json", "name", "ä"),
        ("json", "items.9.id", None),
        ("json", "items.id", None),
        ("regex", r'"id": (\d+)', "7"),
        ("regex", r"x(\d+)", None),
    ],
)
def test_values_are_captured(source: str, where: str, value: str | None) -> None:
    body = json.dumps({"items": [{"id": 7}, {"id": 8}], "name": "ä"}, ensure_ascii=False).encode()
    assert Capture("x", source, where).value({"location": "/orders/3"}, body) == value
