"""A verdict in words, tables and XML: names of any kind break none of them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from flask_profiling.compare import RENDERERS, Rules, compare, summarise
from tests.compare.recordings import MODEL, QUERY, VIEW, page, recording


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


@pytest.mark.parametrize("style", ["text", "markdown"])
def test_a_failure_is_shown_where_nothing_tells_its_cause(style: str) -> None:
    label = "GET / [pages.products]"
    base, new = ({label: {(None, VIEW): 10, (VIEW, MODEL): 10, (MODEL, MODEL): deeper}} for deeper in (90, 190))
    slower = summarise(recording(new, seconds=0.03))
    shown = RENDERERS[style](compare([summarise(recording(base))], slower, Rules.default()))
    assert "1 regression" in shown
    assert "REGRESSION" in shown
    assert "models:price" in shown


def test_text_names_the_change_and_its_caller() -> None:
    base, new = summarise(recording(page(24))), summarise(recording(page(24, queries=25)))
    shown = RENDERERS["text"](compare([base], new, Rules.default()))
    assert "1 regression" in shown
    assert "sqlalchemy.engine:execute" in shown
    assert "1 -> 25 calls per request, x25.00" in shown
    assert "from pages:products: 1 -> 25" in shown
