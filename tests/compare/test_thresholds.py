"""Thresholds: how much more is too much, by pattern, and what a file may not say."""

from __future__ import annotations

import pytest

from flask_profiling.compare import DEFAULTS, Rules, compare, matches, summarise
from flask_profiling.errors import BadRequest
from tests.compare.recordings import page, recording

RULES = Rules.default()


def test_patterns_widen_and_silence() -> None:
    base, new = summarise(recording(page(24))), summarise(recording(page(30, queries=2)))
    rules = Rules.from_toml({"calls": {"sqlalchemy.*": "ignore", "models:*": "30%"}}, "t.toml")
    assert compare([base], new, rules).changes == ()
    assert len(compare([base], new, RULES).regressions) == 2


@pytest.mark.parametrize(
    "document",
    [{"call": {}}, {"calls": 3}, {"calls": {"*": 5}}, {"calls": {"*": "five"}}, {"calls": {"*": "-5%"}}],
)
def test_mistakes_in_thresholds_are_named(document: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match=r"t\.toml: "):
        Rules.from_toml(document, "t.toml")


def test_patterns_match_with_and_without_leading_folders() -> None:
    assert matches("shop.models:*", "shop.models:price")
    assert matches("shop.models:*", "examples.shop.models:price")
    assert not matches("shop.models:*", "bookshop.models:price")
    assert DEFAULTS["time"] is None
