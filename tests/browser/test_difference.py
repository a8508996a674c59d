"""The page of two recordings in a real browser: it is drawn in two colours, answers to mouse and keys, and asks
nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

from flask_profiling.model import RouteTimes
from tests.browser.test_report import NAMELESS, Seen, browser, opened
from tests.components import requires
from tests.formats.calls import call, profiled, recording
from tests.formats.differences import page_of, sessions

pytestmark = [requires("chromium", "playwright"), pytest.mark.timeout(180)]

__all__ = ["browser"]  # the fixture

RED, BLUE, GREY = "rgb(178, 24, 43)", "rgb(33, 102, 172)", "rgb(233, 230, 224)"


@pytest.fixture(params=[True, False], ids=["calltree", "callgraphs"])
def seen(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Seen]:
    with opened(browser, tmp_path / "changed.html", page_of(*sessions(of_tree=request.param))) as seen:
        yield seen


@pytest.fixture
def tree(browser: Browser, tmp_path: Path) -> Iterator[Seen]:
    with opened(browser, tmp_path / "changed.html", page_of(*sessions(of_tree=True))) as seen:
        yield seen


def colour(seen: Seen, row: int, share: float) -> str:
    """Return the colour of the flame graph near the lower edge of a row, at a part of its width."""
    script = """([row, share]) => {
        const canvas = document.getElementById("flame"), ratio = canvas.width / canvas.clientWidth;
        const x = Math.round(share * canvas.width), y = Math.round((row * 21 + 17) * ratio);
        const copy = document.createElement("canvas");
        copy.width = copy.height = 1;
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(canvas, -x, -y);
        const [red, green, blue] = pen.getImageData(0, 0, 1, 1).data;
        return `rgb(${red}, ${green}, ${blue})`;
    }"""
    return str(seen.page.evaluate(script, [row, share]))


def test_it_says_what_was_compared_and_what_is_worse(seen: Seen) -> None:
    assert seen.text("#verdict") == "2 regressions"
    assert "prof-20261123-101112-0123abcd" in seen.text("#facts")
    first = seen.rows("#changes")[0]
    assert first[:2] == ["regression", "pages:price\nGET /"]
    assert first[2:4] == ["1 → 3 calls", "×3.00"]
    assert first[4] == "pages:page1 → 3"


def test_more_is_red_less_is_blue_and_the_same_is_grey(seen: Seen) -> None:
    # by the new widths: price takes 12 of the 21 or 22 ms of a request, and is the widest
    assert colour(seen, 3, 0.3) == "rgb(214, 96, 77)", "three times as often"
    assert colour(seen, 3, 0.7) == RED, "new"
    assert colour(seen, 2, 0.3) == GREY, "the page itself is called once per request, before and after"
    seen.page.get_by_text("Base", exact=True).click()
    assert colour(seen, 3, 0.2) == BLUE, "gone"
    assert "Width: time in the base" in seen.text("#colour-text")


def test_a_click_zooms_and_shows_before_and_after(seen: Seen) -> None:
    seen.click_frame(3, 0.3)
    assert seen.text("#crumbs").split(" › ")[-2:] == ["page", "price"]
    assert seen.text("#flame-sum") == "240 ms in price"
    assert "1 → 3 calls per request ×3.00" in seen.text("#said")
    assert seen.text("#around .self b") == "price"
    assert seen.rows("#functions")[0][:3] == ["price\npages.py:561", "20 → 60", "×3.00"]
    seen.page.get_by_role("button", name="Zoom out").click()
    assert seen.page.locator("#reset").is_hidden()


def test_per_request_can_be_switched_off(seen: Seen) -> None:
    seen.page.get_by_title("Hold requests of a route").click()
    assert seen.rows("#functions")[0][:3] == ["price\npages.py:561", "10 → 60", "×6.00"]
    seen.click_frame(3, 0.3)
    assert "10 → 60 calls ×6.00" in seen.text("#said")
    assert "however many requests" in seen.text("#colour-text")


def test_time_is_shown_as_loose(seen: Seen) -> None:
    seen.page.get_by_text("Time", exact=True).click()
    assert "Times are loose" in seen.text("#colour-text")
    assert colour(seen, 3, 0.7) == RED
    assert colour(seen, 2, 0.3) == GREY, "17 ms and 21 ms are the same"


def test_what_only_one_of_them_has_is_listed(seen: Seen) -> None:
    gone, fresh = seen.page.locator("#only > div").all()
    assert gone.inner_text().startswith("Only in the base (1)\nlegacy")
    assert fresh.inner_text().startswith("Only in the new session (1)\nfresh")


def test_search_keys_and_routes_work_as_in_the_report(tree: Seen) -> None:
    tree.page.keyboard.press("/")
    tree.page.keyboard.type("price")
    assert tree.text("#flame-sum").startswith("1 frame found, 240 ms")
    tree.page.keyboard.press("Enter")
    assert tree.text("#around .self b") == "price"
    tree.page.keyboard.press("Escape")
    tree.page.keyboard.press("ArrowUp")
    tree.page.keyboard.press("Enter")
    assert tree.text("#crumbs").endswith("GET / › page")
    tree.page.locator("#route").select_option(label="GET /help")
    assert tree.text("#flame-sum") == "16.0 ms in all"
    assert "4 → 4" in " ".join(tree.rows("#functions")[0])


def test_a_change_leads_to_its_function(tree: Seen) -> None:
    tree.page.locator("#changes").get_by_role("button", name="pages:fresh").click()
    assert tree.text("#around .self b") == "fresh"
    assert "0 → 20 new" in tree.text("#around .self")


def test_lists_that_are_cut_off_say_how_much_is_missing(browser: Browser, tmp_path: Path) -> None:
    fresh = [call(f"fresh_{number}", 1e-6) for number in range(2100)]
    times = {"GET /": RouteTimes(1, 0, 0.1, 0.0, {})}
    base, new = (
        replace(recording({"GET /": profiled([call("page", 1e-6, *calls)])}), requests=times) for calls in ([], fresh)
    )
    with opened(browser, tmp_path / "changed.html", page_of(base, new)) as seen:
        seen.page.locator("#around").get_by_role("button", name="page", exact=True).click()
        assert seen.page.locator("#around li").last.inner_text() == "and 2,088 more"
        assert seen.page.locator("#only li").last.inner_text() == "and 1,900 more"
        seen.page.get_by_role("button", name="show all").click()
        assert seen.text("#functions-sum").endswith("showing 2,000")
        seen.page.get_by_role("button", name="show more").click()
        assert len(seen.rows("#changes")) == 120
        assert "1,980 more" in seen.text("#changes-sum")


def test_every_control_has_a_name(tree: Seen) -> None:
    assert tree.page.evaluate(NAMELESS) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    page = page_of(*sessions(of_tree=True))
    with opened(browser, tmp_path / "changed.html", page, width=width, scheme=scheme) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert len(seen.page.screenshot()) > 15_000


def test_without_calls_the_routes_are_still_compared(browser: Browser, tmp_path: Path) -> None:
    base, new = (replace(subject, recordings=()) for subject in sessions(of_tree=True))
    with opened(browser, tmp_path / "changed.html", page_of(base, new)) as seen:
        assert not seen.page.locator("#flame-card").is_visible()
        assert len(seen.rows("#routes")) == 2
