"""Baselines: they come back as they were, and whatever is in them is harmless."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.compare import Rules, baseline_from_json, baseline_to_json, compare, summarise
from flask_profiling.errors import DamagedData
from flask_profiling.model import Frame
from tests.compare.recordings import page, recording

GROWN = {Frame("/srv/app/shop/pages.py", 12, "products"): 5000}


def test_a_baseline_comes_back_as_it_was() -> None:
    runs = [summarise(recording(page(24), grown=GROWN)), summarise(recording(page(25)))]
    data = baseline_to_json(runs)
    assert baseline_from_json(data, "b.json") == runs
    assert data == baseline_to_json(baseline_from_json(data, "b.json"))
    assert b"/srv/" not in data, "no path of the machine"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no baseline"),
        (b"\x80\x04marshal", "no baseline"),
        (b"[]", "no baseline"),
        (b"[" * 100_000, "no baseline"),
        (b'{"flaskProfilingBaseline": 2, "runs": []}', "version 2"),
        (b'{"flaskProfilingBaseline": 1, "runs": []}', "no run"),
        (b'{"flaskProfilingBaseline": 1, "runs": [3]}', "damaged"),
        (b'{"flaskProfilingBaseline": 1}', "damaged"),
    ],
)
def test_what_is_no_baseline_is_a_sentence(data: bytes, said: str) -> None:
    with pytest.raises(DamagedData, match=said) as caught:
        baseline_from_json(data, "b.json")
    assert caught.value.message.startswith("b.json")


@given(st.data())
def test_a_damaged_value_anywhere_is_a_sentence_or_a_baseline(data: st.DataObject) -> None:
    document = json.loads(baseline_to_json([summarise(recording(page(2), grown=GROWN))]))
    here = document["runs"][0]
    while isinstance(here, dict) and here:
        key = data.draw(st.sampled_from(sorted(here)))
        if not isinstance(here[key], dict) or data.draw(st.booleans()):
            here[key] = data.draw(st.sampled_from([None, -1, 1.5, "x", [], {}, True, {"a": "b"}, 10**30]))
            break
        here = here[key]
    try:
        runs = baseline_from_json(json.dumps(document).encode(), "b.json")
    except DamagedData:
        return
    assert compare(runs, runs[0], Rules.default()).regressions == () if runs[0].routes else True
