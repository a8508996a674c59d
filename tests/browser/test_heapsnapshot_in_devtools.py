"""The ``.heapsnapshot`` in the Memory panel of the real DevTools: a planted leak is found there as a person would
find it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.components import import_or_skip, requires
from tests.engines.heaps import run
from tests.engines.test_heap import LEAK

import_or_skip("playwright")

from tests.browser import devtools  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    requires("chromium", "playwright"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a snapshot needs fork"),
]

TWO_SNAPSHOTS = f"""
{LEAK}
snapshot("before")
planted.LEAK.extend([planted.Leaked(number) for number in range(9)])
snapshot("after")
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    directory = tmp_path_factory.mktemp("memory")
    run(TWO_SNAPSHOTS, directory / "spool")
    with devtools.chromium(directory) as browser:
        opened = devtools.front_end(browser, "heap-profiler")
        for number, name in enumerate(("before", "after"), 1):
            devtools.load_file(opened, directory / f"spool/{name}.heapsnapshot")
            devtools.wait_until(lambda number=number: len(loaded(opened)) == number, f"loading of {name}")
        yield opened


def loaded(page: Page) -> list[str]:
    texts = page.get_by_role("treeitem").all_inner_texts()
    return [text for text in texts if "MB)" in text]


def view(page: Page, snapshot: str, perspective: str, *, only: str = "") -> None:
    """Open one way of looking at one of the snapshots, with the classes whose name contains ``only``."""
    page.get_by_role("treeitem").filter(has_text=snapshot).click()
    page.get_by_role("combobox", name="Perspective").select_option(perspective)
    if only:
        page.get_by_role("textbox", name="Filter by class").fill(only)


def shown(page: Page, text: str) -> list[str]:
    """Wait for a row that begins with ``text`` and return its cells."""
    devtools.wait_until(lambda: any(cells[0].startswith(text) for cells in devtools.rows(page)), f"a row {text!r}")
    return next(cells for cells in devtools.rows(page) if cells[0].startswith(text))


def test_the_summary_shows_the_leaked_class_with_its_count(page: Page) -> None:
    view(page, "before", "Summary", only="planted")
    assert shown(page, "planted.Leaked×57")[1] == "5"
    view(page, "after", "Summary", only="planted")
    shown(page, "planted.Leaked×66")


def test_builtin_classes_are_called_as_in_python(page: Page) -> None:
    view(page, "before", "Summary", only="dict")
    shown(page, "dict×")
    view(page, "before", "Summary", only="<module>")
    shown(page, "<module>×")


def test_retainers_lead_from_the_object_to_the_global_of_the_module(page: Page) -> None:
    view(page, "before", "Summary", only="planted.Leaked")
    shown(page, "planted.Leaked×57")
    devtools.row(page, "planted.Leaked").click()
    page.keyboard.press("ArrowRight")
    shown(page, "planted.Leaked@")
    devtools.row(page, "planted.Leaked@").click()
    for retainer in ("[", "LEAKindict@", "__dict__in<module planted>@", "plantedin(modules)@"):
        shown(page, retainer)


def test_containment_begins_with_the_places_that_hold_everything(page: Page) -> None:
    view(page, "before", "Containment")
    for root in ("(modules)", "(threads)", "(constants)", "(classes)", "(held elsewhere)"):
        shown(page, root)


def test_comparison_shows_exactly_what_was_added(page: Page) -> None:
    view(page, "after", "Comparison", only="planted")
    assert shown(page, "planted.Leaked")[1:4] == ["9", "0", "+9"]
