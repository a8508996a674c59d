"""Baselines and what is printed: they come back as they were, and whatever is in them is harmless."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.compare import RENDERERS, Rules, baseline_from_json, baseline_to_json, compare, summarise
from flask_profiling.errors import DamagedData
from flask_profiling.model import Frame
from tests.compare.recordings import QUERY, VIEW, page, recording

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


def verdict_with_odd_names() -> object:
    odd = QUERY._replace(name="<b>|`x`\n\x1b[31m&\"'", file="/srv/app/shop/<i>.py")
    label = "GET /<int:id> [a]"
    base, new = ({label: {(None, VIEW): 10, (VIEW, odd): calls}} for calls in (10, 50))
    return compare([summarise(recording(base))], summarise(recording(new)), Rules.default())


@pytest.mark.parametrize("style", RENDERERS)
def test_odd_names_break_nothing(style: str) -> None:
    shown = RENDERERS[style](verdict_with_odd_names())  # type: ignore[arg-type]
    assert "\x1b" not in shown
    if style == "json":
        assert json.loads(shown)["regressions"] == 1
    if style == "markdown":
        assert not any("<b>" in line and "`" not in line for line in shown.splitlines())
        assert len({line.replace("\\|", "").count("|") for line in shown.splitlines() if line.startswith("|")}) == 1


def test_junit_is_xml_that_counts_the_regressions() -> None:
    suite = ET.fromstring(RENDERERS["junit"](verdict_with_odd_names()))  # type: ignore[arg-type]
    assert suite.attrib["failures"] == "1"
    (case,) = suite
    assert case.attrib["classname"] == "GET /<int:id> [a]"
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "1 -> 5 calls per request, x5.00"
    run = summarise(recording(page(1)))
    passed = ET.fromstring(RENDERERS["junit"](compare([run], run, Rules.default())))
    assert (passed.attrib["failures"], len(passed)) == ("0", 1)


def test_text_names_the_change_and_its_caller() -> None:
    base, new = summarise(recording(page(24))), summarise(recording(page(24, queries=25)))
    shown = RENDERERS["text"](compare([base], new, Rules.default()))
    assert "1 regression" in shown
    assert "sqlalchemy.engine:execute" in shown
    assert "1 -> 25 calls per request, x25.00" in shown
    assert "from pages:products: 1 -> 25" in shown
