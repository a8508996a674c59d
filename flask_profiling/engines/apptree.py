"""The ``apptree`` engine: the paths of application code, beside the ``cprofile`` engine; CPython 3.12 and later only.

Call graphs forget paths. This engine keeps those of the application's own functions, with their calls and wall times,
at the price of two short Python functions for each call of application code; library code is switched off at its first
event. What library functions did is left to the engine beside. Nothing is written here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import perf_counter
from types import CodeType
from typing import Any

from ..errors import Unavailable
from ..model import ApplicationTree, Function, Recording, TreeBuilder
from . import EngineOptions
from ._appcode import application_code
from ._apppaths import NOBODY, Brief, Budget, Node, Walk
from ._dispatch import PATHS_TOOL_ID, free_tool, listen, take_tool
from ._lsprof_pool import was_forgotten

NO_TOOL_NOTE = (
    "Paths of application code are estimated too: the tool id of sys.monitoring that they need was in use, as by "
    "another app in the process."
)
DROPPED_NOTE = "{} calls found no room for a path of their own: on that path they are part of their caller."

BRIEF_NOTE = (
    "Functions that are short, call no application code and were called very often are shown as library code is: below "
    "application code whose paths are exact, and estimated where they have several callers."
)

_monitoring: Any = getattr(sys, "monitoring", None)


Callbacks = tuple[Callable[..., object], Callable[..., object]]


def _rarely(
    brief: Brief, is_application: Callable[[CodeType], bool], clock: Callable[[], float]
) -> tuple[Callable[[Walk, CodeType], Node | None], Callable[[Walk | None, CodeType], object]]:
    """Return what finds the node of a start that was not expected (or None: switch it off), and what answers an end."""

    def below(walk: Walk, code: CodeType) -> Node | None:
        top = walk.top
        node = top.children.get(id(code))
        if node is None:
            if id(code) in brief.codes or not is_application(code):
                return None
            node = brief.made(code, walk)
            if node.index < 0:  # no room: nobody may expect it
                return node
        if top.last is not NOBODY:
            top.last.after = node
        top.last = node
        return node

    def unexpected(walk: Walk | None, code: CodeType) -> object:
        if id(code) in brief.codes:
            return None if id(code) in brief.ending and brief.is_open(code) else _monitoring.DISABLE
        if not is_application(code):
            return _monitoring.DISABLE
        if walk is not None:
            walk.end_of(code, clock())
        return None

    return below, unexpected


def _on_path(
    walk_of: Callable[[int], Walk | None],
    current: Callable[[], int],
    brief: Brief,
    is_application: Callable[[CodeType], bool],
    clock: Callable[[], float],
) -> Callbacks:
    """Return what is called as functions start and end: both for each call, so they say themselves what is usual."""
    disable, brief_takes = _monitoring.DISABLE, brief.takes
    below, unexpected = _rarely(brief, is_application, clock)

    def started(code: CodeType, offset: int) -> object:
        walk = walk_of(current())
        if walk is None:
            return None if is_application(code) else disable
        top = walk.top
        node = top.last.after
        if node.code is code:
            top.last = node
        else:
            found = below(walk, code)
            if found is None:
                return disable
            node = found
        while node.calls >= node.limit:
            if brief_takes(node):
                return disable
        # Between this question and the next line no other thread runs: nothing is called.
        walk.top = node
        node.calls += 1
        node.seconds -= clock()
        return None

    def ended(code: CodeType, offset: int, value: object) -> object:
        walk = walk_of(current())
        if walk is None or (top := walk.top).code is not code:
            return unexpected(walk, code)
        top.seconds += clock()
        walk.top = top.parent  # type: ignore[assignment]  # a node with code has one
        return None

    return started, ended


def _on_exceptions(
    walk_of: Callable[[int], Walk | None],
    current: Callable[[], int],
    is_application: Callable[[CodeType], bool],
    on_path: Callbacks,
) -> Callbacks:
    """Return what is called as exceptions are thrown into functions and as they leave by one.

    These two must never return DISABLE: it would raise ValueError inside the application.
    """
    started, ended = on_path

    def thrown(code: CodeType, offset: int, exception: BaseException) -> None:
        if is_application(code):
            started(code, offset)

    def unwound(code: CodeType, offset: int, exception: BaseException) -> None:
        walk = walk_of(current())
        if walk is not None and (walk.top.code is code or is_application(code)):
            ended(code, offset, exception)

    return thrown, unwound


class ApplicationTreeEngine:
    """Records the tree of application code, per route; see :class:`flask_profiling.engines.RequestEngine`.

    It does without where its tool id of ``sys.monitoring`` is in use, as by another app in this process.
    """

    def __init__(self, options: EngineOptions, *, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._is_application = application_code(options.app_paths)
        # Late: where gevent has patched threads, this names the greenlet.
        self._current = threading.get_ident
        self._all: list[Walk] = []
        self._free: dict[str, list[Walk]] = {}
        self._running: dict[int, Walk] = {}
        self._brief = Brief(self._all, self._budget)
        self._tool: int | None = None
        self._active = False

    def start(self) -> None:
        """Begin to collect; raises Unavailable before Python 3.12."""
        if _monitoring is None or sys.implementation.name != "cpython":
            raise Unavailable(
                "application paths beside cprofile need CPython 3.12 or later; choose cpu=calltree for them"
            )
        tool = take_tool((PATHS_TOOL_ID,))
        if tool is None:
            return
        walk_of, is_application = self._running.get, self._is_application
        started, ended = _on_path(walk_of, self._current, self._brief, is_application, perf_counter)
        thrown, unwound = _on_exceptions(walk_of, self._current, is_application, (started, ended))
        listen(tool, started=started, thrown=thrown, ended=ended, unwound=unwound)
        self._tool, self._active = tool, True

    def enter(self, route: str) -> object:
        """Begin to attribute what the calling thread does to ``route``; returns a token for :meth:`leave`."""
        if not self._active:
            return None
        thread = self._current()
        known = self._running.get(thread)
        if known is not None:
            if not was_forgotten(known):
                return None
            self._give_up(known)
        try:
            walk = self._free[route].pop()
        except (KeyError, IndexError):
            walk = Walk(route)
            self._all.append(walk)
            self._free.setdefault(route, [])
        walk.begin(thread, sys._getframe(1).f_back, perf_counter())
        self._running[thread] = walk
        return walk

    def leave(self, token: object) -> None:
        """End what :meth:`enter` began, in the same thread; harmless after :meth:`stop`."""
        if not isinstance(token, Walk) or not token.running:
            return
        if token.thread != self._current():  # that thread may be inside a callback with it
            self._give_up(token)
            return
        self._running.pop(token.thread, None)  # not _give_up: each call here is one more event for the engines
        token.end(perf_counter())
        self._free[token.route].append(token)

    def _give_up(self, walk: Walk) -> None:
        if self._running.get(walk.thread) is walk:
            del self._running[walk.thread]
        walk.end(perf_counter())

    def stop(self) -> Recording:
        """End collecting, put everything back as it was and return the tree."""
        if not self._active or self._tool is None:
            return Recording("apptree", None, (NO_TOOL_NOTE,))
        self._active = False
        free_tool(self._tool)
        for walk in list(self._running.values()):
            self._give_up(walk)
        builder = TreeBuilder("app")
        for walk in list(self._all):
            _add(walk, builder)
        dropped = self._budget.dropped_calls
        notes = (DROPPED_NOTE.format(dropped),) if dropped else ()
        brief = frozenset(_function(code) for code in self._brief.codes.values())
        return Recording("apptree", ApplicationTree(builder.tree(), brief), (*notes, BRIEF_NOTE) if brief else notes)

    def abandon(self) -> None:
        """In a forked child: switch the events off, and keep nothing."""
        if self._active and self._tool is not None:
            self._active = False
            free_tool(self._tool)


def _add(walk: Walk, builder: TreeBuilder) -> None:
    """Add a walk's nodes; the time of a node's children is not its own."""
    nodes = list(walk.nodes)
    own = [node.seconds for node in nodes]
    for node in nodes:
        if node.parent is not None:
            own[node.parent.index] -= node.seconds
    places: list[int] = []
    for node, left in zip(nodes, own, strict=True):
        seconds = max(left, 0.0)
        if node.parent is None or node.code is None:
            places.append(builder.root(walk.route, calls=node.calls, self_time=seconds))
            continue
        above = places[node.parent.index]
        places.append(builder.child(above, _function(node.code), calls=node.calls, self_time=seconds, is_library=False))


def _function(code: CodeType) -> Function:
    return Function(code.co_filename, code.co_firstlineno, code.co_name)
