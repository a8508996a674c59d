"""Servers with an inspector, and the DevTools front end attached to them; no tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser.devtools import chromium, front_end
from tests.inspector.places import listed
from tests.integration.servers import Server, serve, wait_for

APP = "tests.browser.busy_app:create_app()"


@contextmanager
def inspected(directory: Path, port: int, *, workers: int = 1) -> Iterator[Server]:
    """Serve the busy app, its inspector on ``port``, until the block ends; every worker has answered."""
    environment = {
        "PROFILING_INSPECTOR": "true",
        "PROFILING_INSPECTOR_PORT": str(port),
        "PROFILING_INSPECTOR_SOURCES": "true",
    }
    with serve("gthread", directory, app=APP, workers=workers, environment=environment) as server:
        server.worker_pids(at_least=workers)
        wait_for(lambda: len(listed(port)) == workers, "every worker to be listed")
        yield server


@contextmanager
def browser_that_discovers(directory: Path, port: int) -> Iterator[Browser]:
    """Run a Chromium whose chrome://inspect looks at ``port`` too, until the block ends."""
    discovery = {"discover_tcp_targets": True, "tcp_discovery_config": [f"127.0.0.1:{port}"]}
    with chromium(directory, preferences=discovery) as browser:
        yield browser


def attach(browser: Browser, url: str, panel: str) -> Page:
    """Open DevTools on a panel, by the address that a worker told."""
    return front_end(browser, panel, websocket=url.partition("?ws=")[2])
