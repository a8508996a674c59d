"""The ``.heapprofile`` in the Memory panel of the real DevTools: its lines hold the bytes that were recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_profiling.model import Allocations, Amount, Frame, Recording, SessionRecording
from tests.components import import_or_skip, requires
from tests.formats.calls import recording, written

import_or_skip("playwright")

from tests.browser import devtools  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [requires("chromium", "playwright"), pytest.mark.timeout(300)]

VIEW = Frame("/srv/shop/pages.py", 98, "pixel")
SITES = {
    (VIEW, Frame("/srv/shop/visits.py", 30, "remember")): 2_000_000,
    (VIEW, Frame("/srv/shop/visits.py", 31, "")): 500_000,
    (VIEW,): 1_000_000,
    (Frame("/srv/shop/api.py", 7, "recommend"),): 250_000,
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with devtools.chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Page:
    return opened(browser, tmp_path, shop())


def shop() -> SessionRecording:
    sites = {stack: Amount(size + 9, 2, size, 1) for stack, size in SITES.items()}
    found = Allocations(5, False, sites, Amount(50_000, 70, 50_000, 70), 70)
    plain = recording({})
    parts = (Recording("allocations", found),)
    return SessionRecording(plain.session, plain.workers, (), {}, parts, {})


def recursive() -> SessionRecording:
    """What a walk over a tree, and imports within imports, leave behind: functions that call themselves, or in turn."""
    walk, step, load, leaf = (Frame("/srv/shop/tree.py", line, f"f{line}") for line in (10, 20, 30, 40))
    stacks = [(walk,) * depth for depth in (1, 2, 3, 4)]
    stacks += [(load, step, walk, step, walk), (load, step, load, step, leaf), (load, walk, walk, leaf)]
    plain = recording({})
    found = Allocations(5, False, {stack: Amount(100_000, 1, 100_000, 1) for stack in stacks})
    parts = (Recording("allocations", found),)
    return SessionRecording(plain.session, plain.workers, (), {}, parts, {})


def opened(browser: Browser, directory: Path, subject: SessionRecording) -> Page:
    file = directory / "allocations.heapprofile"
    file.write_bytes(written("heapprofile", subject))
    page = devtools.front_end(browser, "heap-profiler")
    devtools.load_file(page, file)
    page.get_by_role("treeitem", name="allocations").click()
    devtools.wait_until(lambda: len(devtools.rows(page)) > 5, "the table of allocations")
    return page


def test_every_line_is_listed_with_its_own_bytes_and_those_below_it(page: Page) -> None:
    head, *shown = devtools.rows(page)
    assert head[:3] == ["Self size", "Total size", "Function"]
    assert [cells[:3] for cells in shown] == [
        ["2.0 MB52.63 %", "2.0 MB52.63 %", "remember\n/srv/shop/visits.py:30"],
        ["1.0 MB26.32 %", "3.5 MB92.11 %", "pixel\n/srv/shop/pages.py:98"],
        ["500 kB13.16 %", "500 kB13.16 %", "(visits.py:31)\n/srv/shop/visits.py:31"],
        ["250 kB6.58 %", "250 kB6.58 %", "recommend\n/srv/shop/api.py:7"],
        ["50.0 kB1.32 %", "50.0 kB1.32 %", "(70 smaller sites)"],
    ]


def test_routes_hold_what_their_stacks_hold(browser: Browser, tmp_path: Path) -> None:
    sites = {stack: Amount(size, 1, size, 1) for stack, size in SITES.items()}
    routes = {stack: "/pixel [pages.pixel]" for stack in SITES if stack[0] is VIEW}
    plain = recording({})
    parts = (Recording("allocations", Allocations(5, True, sites, routes=routes)),)
    subject = SessionRecording(plain.session, plain.workers, (), {}, parts, {})
    _, *shown = devtools.rows(opened(browser, tmp_path, subject))
    assert [cells[:3] for cells in shown if cells[2].startswith(("/pixel", "(no route"))] == [
        ["0 B0.00 %", "3.5 MB93.33 %", "/pixel [pages.pixel]"],
        ["0 B0.00 %", "250 kB6.67 %", "(no route told)"],
    ]


def shares(cells: list[str]) -> tuple[float, float]:
    """Return the percentages of own bytes and of all below, of one line."""
    own, below = (float(re.findall(r"([\d.]+)\s*%", cell)[0]) for cell in cells[:2])
    return own, below


def test_functions_that_call_themselves_hold_no_more_than_there_is(browser: Browser, tmp_path: Path) -> None:
    _, *shown = devtools.rows(opened(browser, tmp_path, recursive()))
    found = [shares(cells) for cells in shown]
    assert sum(own for own, _ in found) == pytest.approx(100, abs=0.1)
    assert max(below for _, below in found) <= 100
    assert any("(recursion 1)" in cells[2] for cells in shown)
