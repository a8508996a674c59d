"""Where an inspector listens, and whom it lists; no tests."""

from __future__ import annotations

import json
import urllib.request


def listed(port: int) -> list[dict[str, str]]:
    """Return what ``/json/list`` answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        entries: list[dict[str, str]] = json.load(answer)
        return entries


def pid_of(entry: dict[str, str]) -> int:
    """Return the worker that an entry of ``/json/list`` is of."""
    return int(entry["title"].partition("(pid ")[2].rstrip(")"))
