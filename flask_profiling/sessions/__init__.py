"""The one session machine: start, follow, stop, collect, over a coordinator; no Flask, no HTTP, no file format in it.

Every worker runs one :class:`Sessions` per app.
"""

from __future__ import annotations

from .contained import containment
from .live import Live, Visit
from .machine import Sessions
from .many_hosts import ManyHosts
from .results import Started, Status, Stopped
from .world import World

__all__ = ["Live", "ManyHosts", "Sessions", "Started", "Status", "Stopped", "Visit", "World", "containment"]
