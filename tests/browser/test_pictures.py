"""The tutorials in a real browser, step by step: what their pictures show is there, and the pictures are taken.

With ``PROFILING_PICTURES=DIRECTORY`` they are stored there; ``make pictures`` does so for the documentation.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components import import_or_skip, requires
from tests.integration.servers import PROJECT, PYTHON, Server, serve

import_or_skip("playwright")

from playwright.sync_api import Browser  # noqa: E402

from tests.browser import devtools  # noqa: E402

pytestmark = [
    requires("chromium", "playwright"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a heap snapshot needs fork"),
    pytest.mark.timeout(300),
]
VISITS = 50


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Browser]]:
    """The app of the tutorials in a server of its own, and a browser."""
    directory = tmp_path_factory.mktemp("tutorial")
    shutil.copy(PROJECT / "docs" / "tutorial" / "app.py", directory)
    with serve("werkzeug", directory, app="app:app") as server, devtools.chromium(directory) as browser:
        yield server, browser


def command(server: Server, *arguments: str) -> str:
    """Run ``flask profiling …`` as the tutorials do; returns what it printed."""
    environment = {**os.environ, "PROFILING_URL": server.url, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [PYTHON, "-m", "flask", "--app", "app", "profiling", *arguments],
        cwd=server.directory, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def artifact(server: Server, pattern: str) -> Path:
    """Return the newest artifact whose name matches."""
    return max(server.output.glob(pattern), key=lambda path: path.stat().st_mtime)


def test_the_first_flame_chart(stage: tuple[Server, Browser]) -> None:
    server, browser = stage
    command(server, "start-session")
    assert [server.get(path).status for path in ("/slow", "/quick")] == [200, 200]
    command(server, "stop-session")
    page = devtools.front_end(browser, "timeline")
    devtools.load_profile(page, artifact(server, "profile-*.cpuprofile"))
    devtools.open_tab(page, "Bottom-up")
    devtools.wait_until(lambda: devtools.activities(page), "rows of the table")
    assert "squares" in {item.name for item in devtools.activities(page)[:3]}
    devtools.picture(page, "flame-chart")
    page.close()


def test_the_report_of_the_first_session(stage: tuple[Server, Browser]) -> None:
    server, browser = stage
    command(server, "start-session", "--cpu", "calltree", "--no-heap")
    assert [server.get(path).status for path in ("/slow", "/quick")] == [200, 200]
    command(server, "stop-session")
    command(server, "report")
    page = browser.contexts[0].new_page()
    page.goto(artifact(server, "report-*.html").as_uri())
    page.get_by_text("squares").first.wait_for()
    devtools.picture(page, "report")
    page.close()


def test_the_leak_in_the_comparison_of_two_snapshots(stage: tuple[Server, Browser]) -> None:
    server, browser = stage
    page = devtools.front_end(browser, "heap-profiler")
    files = []
    for number in (1, 2):
        command(server, "heap")
        files.append(artifact(server, "heap-*.heapsnapshot"))
        if number == 1:
            assert {server.get("/quick").status for _ in range(VISITS)} == {200}
    for number, file in enumerate(files, 1):
        devtools.load_file(page, file)
        devtools.wait_until(
            lambda number=number: page.get_by_role("treeitem").filter(has_text="MB)").count() == number, "a snapshot"
        )
    page.get_by_role("treeitem").filter(has_text=files[1].stem[:30]).last.click()
    page.get_by_role("combobox", name="Perspective").select_option("Comparison")
    page.get_by_role("textbox", name="Filter by class").fill("app.")
    devtools.wait_until(lambda: any(cells[0] == "app.Visit" for cells in devtools.rows(page)), "the class that grew")
    grown = next(cells for cells in devtools.rows(page) if cells[0] == "app.Visit")
    assert grown[1:4] == [str(VISITS), "0", f"+{VISITS}"]
    devtools.row(page, "app.Visit").click()
    page.keyboard.press("ArrowRight")
    devtools.row(page, "app.Visit@").click()
    devtools.wait_until(lambda: any("KEPT" in cells[0] for cells in devtools.rows(page)), "what keeps it")
    devtools.picture(page, "leak")
    page.close()
