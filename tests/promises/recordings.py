"""What a server has stored, read for tests: its recordings, and what must not be there."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.servers import Server


def recordings(server: Server) -> list[Any]:
    """Return all recordings of a server's output directory, the oldest first."""
    return [json.loads(path.read_bytes()) for path in sorted(server.output.glob("recording-*.json"))]


def requests_of(recording: Any, endpoint: str) -> int:
    """Return how many requests of an endpoint a recording counts."""
    return sum(times["requests"] for route, times in recording["requests"].items() if f"[{endpoint}]" in route)


def temporary_files(server: Server) -> list[str]:
    """Return what half-written files there are."""
    return [path.name for path in server.output.rglob("*") if "tmp" in path.name]
