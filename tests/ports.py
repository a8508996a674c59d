"""Ports of this machine. No tests."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below those that systems give to whoever connects to somewhere, which else takes one between the asking and the use.
PORTS = range(20_000, 32_768)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
