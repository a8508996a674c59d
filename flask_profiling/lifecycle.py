"""The end of a process and its forks: signals, atexit and fork hooks, installed only while a gate is open; no Flask
here."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from .sessions import containment

FINALISE_PATIENCE = 10.0

Handler = Callable[[int, FrameType | None], object]


class Machine(Protocol):
    """What is looked after: a session machine, or an inspector."""

    def shut_down(self, *, recycled: bool) -> None:
        """Finish, for the process ends; ``recycled`` says that the server replaces it. Never raises."""

    def forget(self) -> None:
        """In a forked child: let go of what is the parent's."""


class Lifecycle:
    """Finishes the session machines of a process when it ends, and frees a forked child of them; one per process.

    ``atexit`` serves every orderly end. A SIGTERM that would kill the process at once is caught, and sent again when
    the artifacts are written. Handlers of gunicorn, which also replaces workers without a signal, are called as
    before, and only noted; any other handler is the host's own business and left alone.
    """

    def __init__(self) -> None:
        self._machines: weakref.WeakSet[Machine] = weakref.WeakSet()
        self._hooked = False
        self._signalled = False
        self._finished = False
        self._chained: dict[int, Handler] = {}
        self._quietly = containment()

    def look_after(self, machine: Machine) -> None:
        """Finish ``machine`` when the process ends."""
        self._machines.add(machine)
        if self._hooked:
            return
        self._hooked = True
        atexit.register(self._at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def watch_signals(self) -> None:
        """Chain the signal handlers as they are now; again is harmless, and outside the main thread it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in {signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGTERM)}:
            previous = signal.getsignal(number)
            if previous == self._on_signal:
                continue
            if number == signal.SIGTERM and previous is signal.SIG_DFL:
                signal.signal(number, self._on_signal)
            # KeyboardInterrupt ends in atexit, and an ignored signal ends nothing.
            if callable(previous) and _is_gunicorn(previous):
                self._chained[number] = previous
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        is_first, self._signalled = not self._signalled, True
        previous = self._chained.get(number)
        if previous is not None:
            previous(number, frame)
            return
        # In a thread of its own: the main thread may have been interrupted while it held one of our locks. A second
        # signal (one to the process, one to its group) waits for the same end; any lock may be held here, so it looks.
        deadline = time.monotonic() + FINALISE_PATIENCE
        try:
            if is_first:
                threading.Thread(target=self._finish, name="flask-profiling-end", daemon=True).start()
        except RuntimeError:  # no thread can be had any more
            self._finish()
        while not self._finished and time.monotonic() < deadline:
            time.sleep(0.01)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _at_exit(self) -> None:
        self._finish(recycled=bool(self._chained) and not self._signalled)

    def _finish(self, *, recycled: bool = False) -> None:
        for machine in list(self._machines):
            self._quietly(machine.shut_down, recycled=recycled)
        self._finished = True

    def _after_fork(self) -> None:
        self._signalled = self._finished = False
        for machine in list(self._machines):
            self._quietly(machine.forget)


def _is_gunicorn(handler: Callable[..., object]) -> bool:
    return str(getattr(handler, "__module__", "")).startswith("gunicorn.")


process = Lifecycle()
