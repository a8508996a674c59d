"""The ``.heapprofile`` in the Memory panel of the real DevTools: its lines hold the bytes that were recorded."""

from __future__ import annotations

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
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    directory = tmp_path_factory.mktemp("browser")
    with devtools.chromium(directory) as browser:
        yield opened(browser, directory)


def shop() -> SessionRecording:
    sites = {stack: Amount(size + 9, 2, size, 1) for stack, size in SITES.items()}
    found = Allocations(5, False, sites, Amount(50_000, 70, 50_000, 70), 70)
    plain = recording({})
    parts = (Recording("allocations", found),)
    return SessionRecording(plain.session, plain.workers, (), {}, parts, {})


def opened(browser: Browser, directory: Path) -> Page:
    file = directory / "allocations.heapprofile"
    file.write_bytes(written("heapprofile", shop()))
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
