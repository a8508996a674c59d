"""Tools of ``sys.monitoring`` whose callbacks each thread chooses for itself, looked up in C; CPython 3.12 and later.

What is done in a callback is not known here.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable
from typing import Any

# By convention the ids 0, 1, 2 and 5 belong to debuggers, coverage, profilers and optimizers. These two are for exact
# calls, so that two apps in one process can have them; nothing else is known to use that of optimizers.
TOOL_IDS = (3, 4)
PATHS_TOOL_ID = 5
_TOOL_NAME = "flask_profiling"

_monitoring: Any = getattr(sys, "monitoring", None)


def dispatcher(idle: Callable[..., object]) -> Any:
    """Return an object that calls its attribute ``cb``, which each thread sets for itself; ``idle`` until then.

    ``slot`` is a place for what the calling thread works on.
    """

    # threading.local is looked up now: under gevent's monkey patch it belongs to the greenlet
    class Dispatcher(threading.local):
        __call__ = property(operator.attrgetter("cb"))
        cb: Any = idle
        slot: Any = None

    return Dispatcher()


def take_tool(among: tuple[int, ...] = TOOL_IDS) -> int | None:
    """Take the first tool id that is free, or return None."""
    for tool in among:
        if _monitoring.get_tool(tool) is None:
            try:
                _monitoring.use_tool_id(tool, _TOOL_NAME)
            except ValueError:  # taken by another thread since
                continue
            return tool
    return None


def listen(
    tool: int,
    *,
    started: Callable[..., object],
    thrown: Callable[..., object],
    ended: Callable[..., object],
    unwound: Callable[..., object],
) -> None:
    """Send all starts and ends of Python functions to the callbacks of a tool that was taken; gives it back where that
    fails."""
    events = _monitoring.events
    callbacks = {
        events.PY_START: started,
        events.PY_RESUME: started,
        events.PY_THROW: thrown,
        events.PY_RETURN: ended,
        events.PY_YIELD: ended,
        events.PY_UNWIND: unwound,
    }
    try:
        for event, callback in callbacks.items():
            _monitoring.register_callback(tool, event, callback)
        _monitoring.set_events(tool, sum(callbacks))
        # What an earlier holder of this id switched off stays so in code that did not run since; other tools, which
        # switched something off themselves, hear of that once more.
        _monitoring.restart_events()
    except BaseException:
        free_tool(tool)
        raise


def free_tool(tool: int) -> None:
    """Switch the events of a tool off and give it back."""
    try:
        _monitoring.set_events(tool, 0)
    finally:
        for event in ("PY_START", "PY_RESUME", "PY_THROW", "PY_RETURN", "PY_YIELD", "PY_UNWIND", "CALL"):
            _monitoring.register_callback(tool, getattr(_monitoring.events, event), None)
        _monitoring.free_tool_id(tool)
