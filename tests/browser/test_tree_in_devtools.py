"""Exact trees in the Performance panel of the real DevTools: as ``.cpuprofile`` and as trace, with their true times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_profiling.model import SessionRecording
from tests.components import import_or_skip, requires
from tests.formats.calls import call, written
from tests.formats.trees import Request, Thread, recorded, tree_recording

import_or_skip("playwright")

from tests.browser import devtools  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [requires("chromium", "playwright"), pytest.mark.timeout(300)]

PAGE = call("page", 0.040, call("price", 0.020), call("price", 0.010))


def shop() -> SessionRecording:
    """Two threads at the same time, one with a pause of 50 ms between two requests."""
    one = Thread(812, "Thread-1", (Request("GET /", (PAGE,)), Request("GET /", (PAGE,), gap=50_000)))
    two = Thread(812, "Thread-2", (Request("POST /checkout", (call("checkout", 0.100, PAGE),)),), begin=5000)
    return tree_recording(recorded(one, two))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with devtools.chromium(tmp_path_factory.mktemp("browser")) as started:
        yield started


def opened(browser: Browser, name: str, file: Path) -> Page:
    file.write_bytes(written(name, shop()))
    page = devtools.front_end(browser, "timeline")
    devtools.load_profile(page, file)
    return page


def test_the_cpuprofile_of_a_tree_has_its_times(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, "cpuprofile", tmp_path / "profile.cpuprofile")
    devtools.open_tab(page, "Bottom-up")
    own = {item.name: item.self_time for item in devtools.all_activities(page)}
    for name, time in {"page": 120.0, "price": 90.0, "checkout": 100.0}.items():
        assert own[name] == pytest.approx(time, abs=0.06)
    devtools.open_tab(page, "Call tree")
    devtools.row(page, "worker 812 · Thread-2").wait_for()
    first = {item.name: item.total_time for item in devtools.activities(page)}
    assert first["worker 812 · Thread-1"] == pytest.approx(140.0, abs=0.06)
    assert first["worker 812 · Thread-2"] == pytest.approx(170.0, abs=0.06)
    page.close()


def test_the_trace_has_a_row_per_thread_with_its_times(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, "trace", tmp_path / "trace.json")
    page.locator("canvas.flame-chart-canvas, .flame-chart-main-pane canvas").first.click(position={"x": 16, "y": 29})
    devtools.open_tab(page, "Bottom-up")
    page.locator("canvas.flame-chart-canvas, .flame-chart-main-pane canvas").first.click(position={"x": 250, "y": 42})

    def own() -> dict[str, float]:
        return {item.name: item.self_time for item in devtools.activities(page)}

    expected = {"page": pytest.approx(80.0, abs=0.06), "price": pytest.approx(60.0, abs=0.06)}
    devtools.wait_until(lambda: own() == expected, "the thread's calls")
    page.close()
