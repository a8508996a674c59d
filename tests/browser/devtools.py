"""The DevTools front end that is bundled in Chromium, driven headless by Playwright: pages, files and tables. No tests.

``js_app.html`` is the front end of a plain JavaScript runtime; everything in it lives in shadow roots, which
Playwright's locators look into.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.components import program

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--window-size=1400,900",
    "--remote-debugging-port=0",
)

# The Performance panel opens a dialog the first time, which takes the first click; this is its own way out for tests.
_NO_DIALOG = "localStorage.setItem('hide-shortcuts-dialog-for-test', 'true')"

# Seconds; a busy machine takes a while to start a browser.
PATIENCE = 60.0


@contextmanager
def chromium(directory: Path, *, preferences: Mapping[str, object] | None = None) -> Iterator[Browser]:
    """Run a Chromium with a fresh profile in ``directory`` until the block ends.

    ``preferences`` are those of DevTools in that profile.
    """
    profile = directory / "chromium"
    settings = profile / "Default" / "Preferences"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"devtools": dict(preferences or {})}))
    process = subprocess.Popen(
        [str(program("chromium")), *_FLAGS, f"--user-data-dir={profile}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = _told_port(profile / "DevToolsActivePort")
        with sync_playwright() as playwright:
            browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", timeout=PATIENCE * 1000)
            yield browser
            browser.close()
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait(10)


def front_end(browser: Browser, panel: str, *, websocket: str | None = None, height: int = 900) -> Page:
    """Open DevTools on ``panel`` (``"timeline"``, ``"heap-profiler"``, ``"console"``).

    ``websocket`` is ``host:port/path`` of a target to attach to; without one, files can be loaded.
    """
    page = browser.contexts[0].new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.set_viewport_size({"width": 1400, "height": height})
    page.add_init_script(_NO_DIALOG)
    target = f"ws={websocket}&" if websocket else ""
    page.goto(f"devtools://devtools/bundled/js_app.html?{target}panel={panel}")
    page.get_by_role("tab", name="Memory").first.wait_for()
    return page


def load_file(page: Page, file: Path) -> None:
    """Load a file into the panel that is open: a ``.cpuprofile`` or trace into Performance, a heap into Memory."""
    page.locator("input[type=file]").first.set_input_files(file)


def load_profile(page: Page, file: Path) -> None:
    """Load a ``.cpuprofile`` or a trace into the Performance panel, and wait until it is drawn."""
    load_file(page, file)
    page.get_by_role("tab", name="Bottom-up").wait_for()


def open_tab(page: Page, name: str) -> None:
    """Open one of the panes below the flame chart: ``"Bottom-up"``, ``"Call tree"``, ``"Event log"``."""
    page.get_by_role("tab", name=name).click()


def rows(page: Page) -> list[list[str]]:
    """Return the texts of the cells of every table row on the screen, without empty rows."""
    tables: list[list[str]] = page.locator("tr:visible").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.replaceAll('\\u00a0', ' ').trim()))"
    )
    return [cells for cells in tables if any(cells)]


def row(page: Page, text: str) -> Locator:
    """Return the table row that contains ``text``."""
    return page.locator("tr:visible", has_text=text).first


class Activity(NamedTuple):
    """A row of the Bottom-up or Call tree pane: times in milliseconds, and a share of the whole in percent."""

    name: str
    place: str
    self_time: float
    self_share: float
    total_time: float


def activities(page: Page) -> list[Activity]:
    """Return the rows of the open pane that are on the screen."""
    found = []
    for cells in rows(page):
        numbers = [re.findall(r"-?[\d,]+\.\d", cell) for cell in cells[:2]]
        if len(cells) > 2 and all(len(item) == 2 for item in numbers):
            own, total = ([float(number.replace(",", "")) for number in item] for item in numbers)
            name, _, place = cells[2].partition("\n")
            found.append(Activity(name, place, own[0], own[1], total[0]))
    return found


def all_activities(page: Page) -> list[Activity]:
    """Return all rows of the open pane, scrolling down to its end."""
    wait_until(lambda: activities(page), "rows of the table")
    found: dict[Activity, None] = {}
    while True:
        found.update(dict.fromkeys(activities(page)))
        if not page.locator("tr:visible").last.evaluate(_SCROLL_DOWN):
            return list(found)
        page.evaluate(_DRAWN)


# Lets a chart take the room that it has now, which it does in steps, or a table draw the rows that it was scrolled to.
_DRAWN = """
async () => {
    for (let frame = 0; frame < 60; frame++) await new Promise(drawn => requestAnimationFrame(drawn));
}
"""

# Says whether there was more; tables draw only the rows on the screen, some time after they were scrolled.
_SCROLL_DOWN = """
row => {
    let box = row;
    while (!(box.classList && box.classList.contains("data-container"))) box = box.parentNode || box.host;
    const before = box.scrollTop;
    box.scrollTop += Math.max(box.clientHeight - 40, 20);
    return box.scrollTop > before;
}
"""


def picture(page: Page, name: str) -> None:
    """Store what a page shows, as the documentation's picture ``name``, where ``PROFILING_PICTURES`` says where."""
    directory = os.environ.get("PROFILING_PICTURES")
    if not directory:
        return
    page.set_viewport_size({"width": 1120, "height": 640})
    sidebar = page.get_by_role("button", name="Hide sidebar")
    if sidebar.is_visible():  # all the room for the chart
        sidebar.click()
    page.evaluate(_DRAWN)
    page.screenshot(path=Path(directory) / f"{name}.png")


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition that Playwright cannot wait for; fails saying what did not happen."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:g} s"
        time.sleep(0.05)


def _told_port(file: Path) -> str:
    wait_until(lambda: file.is_file() and len(file.read_text("ascii").splitlines()) == 2, "Chromium's listening")
    return file.read_text("ascii").splitlines()[0]
