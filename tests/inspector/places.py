"""Where an inspector listens, and whom it lists; no tests."""

from __future__ import annotations

import json
import socket
import urllib.request


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listed(port: int) -> list[dict[str, str]]:
    """Return what ``/json/list`` answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        entries: list[dict[str, str]] = json.load(answer)
        return entries


def pid_of(entry: dict[str, str]) -> int:
    """Return the worker that an entry of ``/json/list`` is of."""
    return int(entry["title"].partition("(pid ")[2].rstrip(")"))
