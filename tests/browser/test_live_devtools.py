"""Chrome's own DevTools, attached to running workers: every panel that we serve, as a person would use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.components import import_or_skip, requires
from tests.integration.servers import Server, wait_for

import_or_skip("playwright")

from playwright.sync_api import Browser, Page, expect  # noqa: E402

from tests.browser.devtools import all_activities, open_tab, picture, row, rows  # noqa: E402
from tests.browser.live import attach, browser_that_discovers, inspected  # noqa: E402
from tests.inspector.places import listed  # noqa: E402
from tests.ports import free_port  # noqa: E402

pytestmark = [
    requires("chromium", "playwright", "websockets", "gunicorn"),
    # Playwright's own event loop is closed with the fixture.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
LEAKED = 1234


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Browser, str]]:
    """Two workers, one browser, and the address of DevTools on the worker that has the wanted port."""
    directory = tmp_path_factory.mktemp("live")
    port = free_port()
    with ExitStack() as stack:
        server = stack.enter_context(inspected(directory, port, workers=2))
        browser = stack.enter_context(browser_that_discovers(directory, port))
        yield server, browser, listed(port)[0]["devtoolsFrontendUrl"]


@pytest.fixture
def server(stage: tuple[Server, Browser, str]) -> Iterator[Server]:
    yield stage[0]
    if stage[0].status()["active"]:
        stage[0].stop()


@pytest.fixture
def open_panel(stage: tuple[Server, Browser, str]) -> Iterator[object]:
    pages: list[Page] = []

    def opened(panel: str) -> Page:
        pages.append(attach(stage[1], stage[2], panel))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


def record(page: Page, server: Server) -> None:
    page.get_by_role("button", name="Record - Ctrl").click()
    page.get_by_text("Tracing").wait_for()
    wait_for(lambda: server.status()["active"], "the session of the recording")  # the panel says so before it has begun


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_role("tab", name="Bottom-up").wait_for(timeout=30_000)


def test_chrome_inspect_lists_every_worker(stage: tuple[Server, Browser, str]) -> None:
    server, browser, _ = stage
    page = browser.contexts[0].new_page()
    page.goto("chrome://inspect")
    for pid in server.worker_pids(at_least=2):
        expect(page.get_by_text(f"busy (pid {pid})")).to_be_visible(timeout=20_000)
    page.close()


def test_a_recording_names_the_hot_function_under_busy_threads(server: Server, open_panel: object) -> None:
    assert callable(open_panel)
    page = open_panel("timeline")
    record(page, server)
    assert set(server.load(["/work"] * 60, threads=4)) == {200}
    stop(page)
    open_tab(page, "Bottom-up")
    wait_for(lambda: any("spin" in " ".join(cells) for cells in rows(page)), "the hot function")
    picture(page, "live-recording")
    shares = {activity.name: activity for activity in all_activities(page)}
    own = {name: activity.self_time for name, activity in shares.items() if name != "(idle)"}
    assert max(own, key=own.__getitem__) == "spin"
    assert own["spin"] > 10 * own["hot"]
    hot, mild = shares["hot"].total_time, shares["mild"].total_time
    assert 0.6 < hot / (hot + mild) < 0.9  # three quarters, were there no other threads
    open_tab(page, "Call tree")
    row(page, "worker ").wait_for()  # until then the rows are those of the other tab
    first_level = [activity.name for activity in all_activities(page) if activity.name.startswith("worker ")]
    assert len(first_level) >= 2
    assert {int(name.split()[1]) for name in first_level} <= server.worker_pids(at_least=2)
    last = server.status()
    assert last["active"] is False
    assert {report["type"] for report in last["reports"] if report["id"] == last["lastSession"]["id"]} >= {
        "cpuprofile",
        "recording",
    }


def test_the_source_of_a_recorded_function_is_shown(server: Server, open_panel: object) -> None:
    assert callable(open_panel)
    page = open_panel("timeline")
    record(page, server)
    server.load(["/work"] * 10)
    stop(page)
    page.get_by_role("tab", name="Bottom-up").click()
    page.get_by_text("busy_app.py:").first.wait_for()
    page.get_by_role("tab", name="Sources").click()
    page.keyboard.press("Control+p")
    page.get_by_role("combobox").first.wait_for()
    page.keyboard.type("busy_app")
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("spin(30_000)").first.wait_for()


def test_a_recording_while_a_session_runs_is_refused_in_the_console(server: Server, open_panel: object) -> None:
    assert callable(open_panel)
    page = open_panel("timeline")
    session_id = server.start().json()["sessionId"]
    record(page, server)
    stop(page)
    page.get_by_role("tab", name="Bottom-up").click()
    wait_for(lambda: any("(idle)" in " ".join(cells) for cells in rows(page)), "the empty profile")
    page.get_by_role("tab", name="Console").click()
    page.get_by_text(f"profiling is already running ({session_id}").first.wait_for()
    assert server.stop().json()["sessionId"] == session_id


def test_a_session_that_was_stopped_elsewhere_is_offered(server: Server, open_panel: object) -> None:
    assert callable(open_panel)
    page = open_panel("timeline")
    page.get_by_role("button", name="Record - Ctrl").wait_for()
    session_id = server.start(cpu="calltree").json()["sessionId"]
    server.load(["/work"] * 10)
    server.stop()
    page.get_by_text("Load CPU profile?").wait_for()
    assert page.get_by_text(session_id).first.is_visible()
    page.get_by_role("button", name="OK").click()
    page.get_by_role("tab", name="Bottom-up").wait_for()


def test_a_snapshot_shows_the_leak_with_its_count_and_what_keeps_it(server: Server, open_panel: object) -> None:
    assert callable(open_panel)
    page = open_panel("heap-profiler")
    for _ in range(16):  # either worker may answer
        server.get(f"/leak/{LEAKED}")
    page.get_by_text("Take snapshot", exact=True).click()
    page.get_by_role("textbox", name="Filter by class").wait_for(timeout=60_000)
    page.get_by_role("textbox", name="Filter by class").click()
    page.keyboard.type("Leaked")
    found: list[str] = []

    def shown() -> bool:
        found[:] = [cells[0] for cells in rows(page) if "busy_app.Leaked×" in cells[0]]
        return len(found) == 1

    wait_for(shown, "the class of the leak")
    count = int(found[0].partition("×")[2].replace(",", ""))
    assert count > 0
    assert count % LEAKED == 0
    page.locator("tr:visible").filter(has_text="busy_app.Leaked").first.click()
    page.keyboard.press("ArrowRight")
    page.locator("tr:visible").filter(has_text="busy_app.Leaked@").first.click()
    wait_for(lambda: any("KEPT" in cells[0] for cells in rows(page)), "the list that keeps it")
    picture(page, "live-snapshot")


def test_allocation_sampling_names_the_site_of_the_leak(server: Server, open_panel: object) -> None:
    assert callable(open_panel)
    page = open_panel("heap-profiler")
    page.get_by_text("Allocation sampling", exact=True).click()
    page.get_by_text("Start", exact=True).first.click()
    wait_for(lambda: server.status()["active"], "the session to start")
    server.load(["/leak/10000"] * 10)
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_text("Profile 1").first.wait_for()
    sites: list[list[str]] = []

    def shown() -> bool:
        sites[:] = [cells for cells in rows(page) if len(cells) > 2 and "%" in cells[0]]
        return len(sites) > 1

    wait_for(shown, "the sites")
    assert sites[0][2].splitlines()[0] == "leak"
    share = re.search(r"([\d.]+) ?%", sites[0][0])
    assert share is not None
    assert float(share[1]) > 90
    assert server.status()["active"] is False


def test_the_console_refuses_to_run_code_in_red(open_panel: object) -> None:
    assert callable(open_panel)
    page = open_panel("console")
    page.get_by_text("Code is never run from here").wait_for()
    page.keyboard.type("1+1")
    page.keyboard.press("Enter")
    refusal = page.locator(".console-error-level").first
    refusal.wait_for()
    assert "EvalError: this is a profiler" in refusal.inner_text()
    red, green, blue = map(int, re.findall(r"\d+", refusal.evaluate("e => getComputedStyle(e).backgroundColor"))[:3])
    assert red > max(green, blue)
