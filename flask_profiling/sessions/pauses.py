"""How long the garbage collector held requests up while a session runs; outside of sessions nothing is heard."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

Listener = Callable[[Literal["start", "stop"], dict[str, int]], object]


class Pauses:
    """Adds up the pauses by the route that the collecting thread works on.

    A collection runs in the thread (or greenlet) whose allocation triggered it, and no two run at once. ``routes`` are
    what each thread works on, by its identifier; ``clock`` is in seconds of wall time; ``callbacks`` is
    :data:`gc.callbacks`.
    """

    def __init__(
        self,
        routes: Mapping[int, str],
        clock: Callable[[], float] = time.perf_counter,
        *,
        callbacks: list[Listener] = gc.callbacks,
    ) -> None:
        self.number = 0
        self.seconds = 0.0
        self.by_route: dict[str, float] = {}
        self._clock = clock
        self._callbacks = callbacks
        self._begun: float | None = None
        self._routes = routes
        # Late: where gevent has patched threads, this names the greenlet.
        self._current = threading.get_ident

    def start(self) -> None:
        """Begin to listen."""
        self._callbacks.append(self._heard)

    def stop(self) -> None:
        """End listening; other listeners are not touched."""
        with suppress(ValueError):
            self._callbacks.remove(self._heard)

    def share(self, routes: Mapping[str, float]) -> float:
        """Return which part of the wall time of requests the pauses in them took; ``routes`` are seconds of each."""
        whole = sum(routes.values())
        return sum(self.by_route.values()) / whole if whole else 0.0

    def _heard(self, phase: Literal["start", "stop"], info: dict[str, int]) -> None:
        if phase == "start":
            self._begun = self._clock()
            return
        if self._begun is None:  # it began before we listened
            return
        pause = self._clock() - self._begun
        self._begun = None
        self.number += 1
        self.seconds += pause
        route = self._routes.get(self._current())
        if route is not None:
            self.by_route[route] = self.by_route.get(route, 0.0) + pause
