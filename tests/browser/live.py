"""The real DevTools front end on a running worker: Debian's Chromium, headless, driven by Playwright. No tests."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.components import program
from tests.integration.servers import Server, serve, wait_for

APP = "tests.browser.busy_app:create_app()"
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listed(port: int) -> list[dict[str, str]]:
    """Return what ``/json/list`` answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        entries: list[dict[str, str]] = json.load(answer)
        return entries


@contextmanager
def inspected(directory: Path, port: int, *, kind: str = "gthread", workers: int = 1) -> Iterator[Server]:
    """Serve the busy app, its inspector on ``port``, until the block ends; every worker has answered."""
    environment = {
        "PROFILING_INSPECTOR": "true",
        "PROFILING_INSPECTOR_PORT": str(port),
        "PROFILING_INSPECTOR_SOURCES": "true",
    }
    with serve(kind, directory, app=APP, workers=workers, environment=environment) as server:
        server.worker_pids(at_least=workers)
        wait_for(lambda: len(listed(port)) == workers, "every worker to be listed")
        yield server


@contextmanager
def chromium(directory: Path, *, discover: int) -> Iterator[Browser]:
    """Run a Chromium whose chrome://inspect looks at port ``discover``, until the block ends."""
    profile = directory / "chromium"
    settings = profile / "Default" / "Preferences"
    settings.parent.mkdir(parents=True)
    discovery = {"discover_tcp_targets": True, "tcp_discovery_config": [f"127.0.0.1:{discover}"]}
    settings.write_text(json.dumps({"devtools": discovery}))
    process = subprocess.Popen(
        [str(program("chromium")), *_FLAGS, f"--user-data-dir={profile}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = profile / "DevToolsActivePort"
        wait_for(lambda: len(told.read_text("ascii").splitlines()) == 2, "Chromium to listen")
        port = told.read_text("ascii").splitlines()[0]
        with sync_playwright() as playwright:
            browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
            yield browser
            browser.close()
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait(10)


def attach(browser: Browser, url: str, panel: str) -> Page:
    """Open DevTools on a worker; ``panel`` is ``"timeline"``, ``"heap-profiler"`` or ``"console"``."""
    page = browser.contexts[0].new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{url}&panel={panel}")
    page.get_by_role("tab", name="Memory").first.wait_for(timeout=30_000)
    # The first recording opens it, over what the next click wants.
    shortcuts = page.locator("devtools-shortcut-dialog").get_by_role("button", name="Close").first
    page.add_locator_handler(shortcuts, lambda close: close.click())
    return page


def rows(page: Page) -> list[list[str]]:
    """Return the cells of every row of every table that is to be seen, through all shadow roots."""
    found: Any = page.locator("tr:visible").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => (cell.innerText || cell.textContent).trim()))"
    )
    return [cells for cells in found if any(cells)]
