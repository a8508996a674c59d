"""Paths of application code as they are walked: one tree for each route and thread at a time; no hook is set here."""

from __future__ import annotations

from collections.abc import Sequence
from types import CodeType, FrameType

# A node takes about 350 bytes.
MOST_NODES = 100_000
# After so many calls on one path a function that is this short (seconds of wall time) is looked at: see Brief.
MOST_CALLS = 5_000
SHORT = 10e-6


class Node:
    """One path: a code object in the context of its callers; ``seconds`` is its wall time with all that it called.

    It is a float: adding whole numbers of that size takes longer, at each call.
    """

    __slots__ = ("after", "calls", "children", "code", "index", "last", "limit", "parent", "seconds")

    def __init__(self, code: CodeType | None, parent: Node | None, index: int) -> None:
        self.code = code
        self.parent = parent
        self.index = index
        # By identity: a code object's own hash and equality compare its whole content.
        self.children: dict[int, Node] = {}
        # the child that was called last, and the sibling that was called after this one: mostly it is again
        self.last: Node = NOBODY
        self.after: Node = NOBODY
        self.calls = 0
        # the number of calls from which on it is looked at again
        self.limit = MOST_CALLS
        self.seconds = 0.0


NOBODY = Node.__new__(Node)
NOBODY.code = None
NOBODY.after = NOBODY


class Budget:
    """How many nodes are left in this worker, how many calls found none, and below how many seconds a call is short."""

    def __init__(self, nodes: int = MOST_NODES, short: float = SHORT) -> None:
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
        if id(code) in self.callers or node.seconds > self._budget.short * node.calls or self._budget.nodes <= 0:
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

    ``frame`` is that of what called for the engine, while the walk is ``running``.
    """

    __slots__ = ("frame", "nodes", "root", "route", "running", "thread", "top")

    def __init__(self, route: str) -> None:
        self.route = route
        self.root = self.top = Node(None, None, 0)
        self.nodes = [self.root]
        self.thread = 0
        self.running = False
        self.frame: FrameType | None = None

    def begin(self, thread: int, frame: FrameType | None, now: float) -> None:
        """A request (or a chunk of its body) goes on in the calling thread."""
        self.running, self.thread, self.frame = True, thread, frame
        self.top = self.root
        self.root.calls += 1
        self.root.seconds -= now

    def end(self, now: float) -> None:
        """The thread leaves; what is still open ends now."""
        self.running, self.frame = False, None
        node: Node | None = self.top
        while node is not None:
            node.seconds += now
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

    def end_of(self, code: CodeType, now: float) -> None:
        """End a function that is not on top.

        An end that was not heard, as where no stack was left for a callback, must not make false paths of what follows.
        """
        found = self.open_call(code)
        if found is None or found.parent is None:
            return  # it began before the request
        while self.top is not found.parent and self.top.parent is not None:
            self.top.seconds += now
            self.top = self.top.parent
