"""The ``apptree`` engine: the paths of application code, beside the ``cprofile`` engine; CPython 3.12 and later only.

Call graphs forget paths. This engine keeps those of the application's own functions, with their calls and wall times,
at the price of two short Python functions for each call of application code; library code is switched off at its first
event. What library functions did is left to the engine beside. Nothing is written here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from types import CodeType, FrameType
from typing import Any

from ..errors import Unavailable
from ..model import ApplicationTree, Function, Recording, TreeBuilder
from . import EngineOptions
from ._appcode import application_code
from ._dispatch import PATHS_TOOL_ID, free_tool, listen, take_tool
from ._lsprof_pool import lasting_frame, was_forgotten

# A node takes about 350 bytes.
MOST_NODES = 100_000
# After so many calls on one path a function that is this short (ns of wall time) is looked at: see Brief.
MOST_CALLS = 5_000
SHORT = 10_000

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


class Node:
    """One path: a code object in the context of its callers; ``ns`` is its wall time with all that it called."""

    __slots__ = ("calls", "children", "code", "index", "last", "limit", "ns", "parent")

    def __init__(self, code: CodeType | None, parent: Node | None, index: int) -> None:
        self.code = code
        self.parent = parent
        self.index = index
        # By identity: a code object's own hash and equality compare its whole content.
        self.children: dict[int, Node] = {}
        # the child that was called last: mostly it is called again
        self.last = _NOBODY
        self.calls = 0
        # the number of calls from which on it is looked at again
        self.limit = MOST_CALLS
        self.ns = 0


_NOBODY = Node.__new__(Node)
_NOBODY.code = None


class Budget:
    """How many nodes are left in this worker, how many calls found none, and below how many ns a call is short."""

    def __init__(self, nodes: int = MOST_NODES, short: int = SHORT) -> None:
        self.nodes = nodes
        self.short = short
        self.dropped_calls = 0


class Brief:
    """Application functions whose events are switched off, because hearing them costs more than they do.

    They are short and call no other application code, so their callers' paths stay as they were, and their time is in
    the wall time of these. ``walks`` are all there are.
    """

    def __init__(self, walks: Sequence[Walk], budget: Budget) -> None:
        self.codes: dict[int, CodeType] = {}
        # those of which a call was open that must still be heard to end
        self.ending: set[int] = set()
        # functions that were seen to call application code
        self.callers: set[int] = set()
        self._walks = walks
        self._budget = budget
        self._asked = 0

    def made(self, code: CodeType, walk: Walk) -> Node:
        """Return a new node below the top of a walk."""
        self.callers.add(id(walk.top.code))
        node = walk.made(code, self._budget)
        if id(code) in self.codes:  # another thread has just switched it off
            node.limit = -1
        return node

    def takes(self, node: Node) -> bool:
        """Say whether a node's function is switched off from now on; if not, when to ask again."""
        code = node.code
        if code is None or id(code) in self.codes:
            return code is not None
        if id(code) in self.callers or node.ns > self._budget.short * node.calls or self._budget.nodes <= 0:
            node.limit = 2 * node.calls
            if id(code) not in self.codes:  # or another thread has just switched it off
                return False
            node.limit = -1
            return True
        self.codes[id(code)] = code
        walks = list(self._walks)
        for other in [other for walk in walks for other in list(walk.nodes) if other.code is code]:
            other.limit = -1  # no call of it is taken in after this, so those that are open are known now
        if any(walk.open_call(code) for walk in walks):
            self.ending.add(id(code))
        return True

    def is_open(self, code: CodeType) -> bool:
        """Say whether a call must still be heard to end, of a function in ``ending``; looks at every 100th question."""
        self._asked += 1
        if self._asked % 100:
            return True
        if any(walk.open_call(code) for walk in list(self._walks)):
            return True
        self.ending.discard(id(code))
        return False


class Walk:
    """The tree of one route, as far as one thread at a time walks it: that which :attr:`thread` names.

    ``frame`` is what :func:`lasting_frame` returned, while the walk is ``running``.
    """

    __slots__ = ("frame", "nodes", "root", "route", "running", "thread", "top")

    def __init__(self, route: str) -> None:
        self.route = route
        self.root = self.top = Node(None, None, 0)
        self.nodes = [self.root]
        self.thread = 0
        self.running = False
        self.frame: FrameType | None = None

    def begin(self, now: int) -> None:
        """A request (or a chunk of its body) goes on in the calling thread."""
        self.running = True
        self.top = self.root
        self.root.calls += 1
        self.root.ns -= now

    def end(self, now: int) -> None:
        """The thread leaves; what is still open ends now."""
        self.running, self.frame = False, None
        node: Node | None = self.top
        while node is not None:
            node.ns += now
            node = node.parent
        self.top = self.root

    def open_call(self, code: CodeType) -> Node | None:
        """Return the innermost open call of ``code``, or None."""
        node: Node | None = self.top
        while node is not None and node.code is not code:
            node = node.parent
        return node

    def made(self, code: CodeType, budget: Budget) -> Node:
        """Return a new node below the top, in no list where there is no room: its time stays with its caller."""
        if budget.nodes <= 0:
            budget.dropped_calls += 1
            return Node(code, self.top, -1)
        budget.nodes -= 1
        node = self.top.children[id(code)] = Node(code, self.top, len(self.nodes))
        self.nodes.append(node)
        return node

    def end_of(self, code: CodeType, now: int) -> None:
        """End a function that is not on top.

        An end that was not heard, as where no stack was left for a callback, must not make false paths of what follows.
        """
        found = self.open_call(code)
        if found is None or found.parent is None:
            return  # it began before the request
        while self.top is not found.parent and self.top.parent is not None:
            self.top.ns += now
            self.top = self.top.parent


Callbacks = tuple[Callable[..., object], Callable[..., object]]


def _on_path(  # noqa: C901  # two functions
    walk_of: Callable[[int], Walk | None],
    current: Callable[[], int],
    brief: Brief,
    is_application: Callable[[CodeType], bool],
    clock: Callable[[], int],
) -> Callbacks:
    """Return what is called as functions start and end: both for each call, so they say everything themselves."""
    disable = _monitoring.DISABLE
    brief_codes, brief_takes = brief.codes, brief.takes

    def started(code: CodeType, offset: int) -> object:
        walk = walk_of(current())
        if walk is None:
            return None if is_application(code) else disable
        top = walk.top
        node = top.last
        if node.code is not code:
            known = top.children.get(id(code))
            if known is None:
                if id(code) in brief_codes or not is_application(code):
                    return disable
                node = brief.made(code, walk)
            else:
                node = top.last = known
        while node.calls >= node.limit:
            if brief_takes(node):
                return disable
        # Between this question and the next line no other thread runs: nothing is called.
        walk.top = node
        node.calls += 1
        node.ns -= clock()
        return None

    def ended(code: CodeType, offset: int, value: object) -> object:
        walk = walk_of(current())
        if walk is None or walk.top.code is not code:
            if id(code) in brief_codes:
                return None if id(code) in brief.ending and brief.is_open(code) else disable
            if not is_application(code):
                return disable
            if walk is not None:
                walk.end_of(code, clock())
            return None
        top = walk.top
        top.ns += clock()
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
        started, ended = _on_path(walk_of, self._current, self._brief, is_application, perf_counter_ns)
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
        walk.thread = thread
        walk.frame = lasting_frame(sys._getframe(1))
        walk.begin(perf_counter_ns())
        self._running[thread] = walk
        return walk

    def leave(self, token: object) -> None:
        """End what :meth:`enter` began, in the same thread; harmless after :meth:`stop`."""
        if not isinstance(token, Walk) or not token.running:
            return
        if self._give_up(token) == self._current():  # else the thread that entered may be inside a callback with it
            self._free.setdefault(token.route, []).append(token)

    def _give_up(self, walk: Walk) -> int:
        if self._running.get(walk.thread) is walk:
            del self._running[walk.thread]
        walk.end(perf_counter_ns())
        return walk.thread

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
    own = [node.ns for node in nodes]
    for node in nodes:
        if node.parent is not None:
            own[node.parent.index] -= node.ns
    places: list[int] = []
    for node, nanoseconds in zip(nodes, own, strict=True):
        seconds = max(nanoseconds, 0) / 1e9
        if node.parent is None or node.code is None:
            places.append(builder.root(walk.route, calls=node.calls, self_time=seconds))
            continue
        above = places[node.parent.index]
        places.append(builder.child(above, _function(node.code), calls=node.calls, self_time=seconds, is_library=False))


def _function(code: CodeType) -> Function:
    return Function(code.co_filename, code.co_firstlineno, code.co_name)
