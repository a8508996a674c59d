"""Recorders: one calling-context tree and event log each, fed by one thread at a time; no hook is set here."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import pack
from sys import getsizeof
from time import perf_counter
from types import CodeType

from ..model import CallTree, Function, Track, TreeBuilder

# Bounds of one worker: a node takes about 300 bytes, a transition 16, a stretch 200, so some 100 MB in all.
MOST_NODES = 100_000
MOST_TRANSITIONS = 2_000_000
MOST_STRETCHES = 200_000
IDLE = -1
# So many numbers of the log, two a transition, wait in a list, which takes less time at each call than an array.
MOST_FRESH = 2_000


class Node:
    """One path: a code object in the context of its callers.

    ``own`` is the code too, where hooks that take short cuts may take one: see :meth:`Recorder.push_own`.
    """

    __slots__ = ("after", "calls", "children", "code", "index", "last", "overhead", "own", "parent", "self_time")

    def __init__(self, code: CodeType | None, parent: Node | None, index: int) -> None:
        self.code = code
        self.parent = parent
        self.index = index
        # By identity: a code object's own hash and equality compare its whole content.
        self.children: dict[int, Node] = {}
        self.own: CodeType | None = None
        # the child that was called last, and the sibling that was called after this one, of those with ``own``
        self.last: Node = NOBODY
        self.after: Node = NOBODY
        self.calls = 0
        self.self_time = 0.0
        # what hooks took by their own clock, since this node was on top
        self.overhead = 0.0


NOBODY = Node.__new__(Node)
NOBODY.own = None
NOBODY.after = NOBODY


class Budget:
    """How many nodes, transitions and stretches are left in this worker, over all recorders."""

    def __init__(
        self, nodes: int = MOST_NODES, transitions: int = MOST_TRANSITIONS, stretches: int = MOST_STRETCHES
    ) -> None:
        self.nodes = nodes
        self.transitions = transitions
        self.stretches = stretches
        self.dropped_calls = 0
        self.dropped_transitions = 0


@dataclass
class Segment:
    """A stretch of one thread: times in seconds, and where its transitions stand in the recorder's log."""

    thread: str
    begin: float
    end: float
    first: int
    last: int

    def moved(self, entries: int) -> Segment:
        """Return the same stretch in a log that has so many entries in front of it."""
        return Segment(self.thread, self.begin, self.end, self.first + entries, self.last + entries)


class Recorder:
    """The tree of one route, as far as one thread at a time walks it.

    The hooks call ``push`` where a function starts or goes on, ``pop`` where it ends or pauses, and say when they were
    called: what they take from then on is no time of any function, but ``overhead``. Times are floats, for adding whole
    nanoseconds takes longer, at each call.
    """

    __slots__ = (
        "_budget",
        "_clock",
        "_segment",
        "_silent",
        "entries",
        "fresh",
        "log",
        "lost",
        "mark",
        "nodes",
        "root",
        "route",
        "segments",
        "top",
    )

    def __init__(self, route: str, budget: Budget, clock: Callable[[], float] = perf_counter) -> None:
        self.route = route
        self._budget = budget
        self._clock = clock
        self.root = Node(None, None, 0)
        self.nodes = [self.root]
        self.top = self.root
        self.mark = 0.0
        # Calls that found no room for a node and have not returned yet: their time is that of the node on top.
        self.lost = 0
        # No room for this stretch's transitions any more.
        self._silent = False
        # For each transition its time and the index of the node on top from then on. In one array, which one call
        # extends, so that a thread which stops the session cannot come in between.
        self.log = array("d")
        self.fresh: list[float] = []
        self.segments: list[Segment] = []
        self._segment: Segment | None = None
        # Frames of library functions on the stack, by identity; kept by hooks that hear of the ends of others too.
        self.entries: list[int] = []

    def begin(self) -> None:
        """A request (or a chunk of its body) goes on in the calling thread."""
        self.root.calls += 1
        self.fresh = []
        self.mark = now = self._clock()
        self._silent = self._budget.transitions <= 0 or self._budget.stretches <= 0
        self._segment = None
        if self._silent:
            self._budget.dropped_transitions += 1
            return
        self._budget.stretches -= 1
        place = len(self.log) // 2
        self._segment = Segment(threading.current_thread().name, now, 0, place, place)
        self.segments.append(self._segment)
        self.log.extend((now, 0))

    def end(self) -> None:
        """The thread leaves; what is still open ends now."""
        now = self._clock()
        self.top.self_time += now - self.mark
        self.mark = now
        self.top = self.root
        self.lost = 0
        self.entries.clear()
        self.keep()
        segment = self._segment
        if segment is None:
            return
        if not self._silent:
            self.log.extend((now, IDLE))
        segment.end, segment.last = now, len(self.log) // 2

    def discard(self) -> None:
        """The thread cannot be watched after all: undo :meth:`begin`."""
        self.root.calls -= 1
        if self._segment is not None:
            self.segments.pop()
            del self.log[2 * self._segment.first :]

    def push(self, code: CodeType, now: float) -> None:
        """A function starts, or goes on."""
        if self.lost:
            self.lost += 1
            self._budget.dropped_calls += 1
            return
        top = self.top
        node = top.children.get(id(code))
        if node is None:
            node = self._made(code, top)
            if node is None:
                self.lost = 1
                return
        node.calls += 1
        self.move(node, now)

    def push_own(self, code: CodeType, now: float) -> None:
        """A function starts, or goes on, whose calls all come from the same hook.

        That hook may go without :meth:`push` and :meth:`pop` where ``own`` of the node that is expected is the code.
        """
        top, last = self.top, self.top.last
        node = last.after
        if node.own is code and not self.lost:
            top.last = node
            node.calls += 1
            self.move(node, now)
            return
        self.push(code, now)
        node = self.top
        if node is not top:
            node.own = code
            if last is not NOBODY:
                last.after = node
            top.last = node

    def pop(self, code: CodeType, now: float) -> None:
        """A function ends, or pauses; one that was not seen to start is none of ours."""
        if self.lost:
            self.lost -= 1
            return
        top = self.top
        parent = top.parent
        if top.code is code and parent is not None:
            self.move(parent, now)

    def move(self, node: Node, now: float) -> None:
        """Another node is on top from now on."""
        self.top.self_time += now - self.mark
        self.top = node
        if len(self.fresh) >= MOST_FRESH:
            self.keep()
        # By a call, and right before the clock: after a call the interpreter may let another thread run. Where it does
        # so only after the clock, the hook's part of waiting is the function's.
        self.fresh.extend((now, node.index))
        self.mark = mark = self._clock()
        node.overhead += mark - now

    def keep(self) -> None:
        """Take the newest transitions over into the log, as far as there is room."""
        fresh, following = self.fresh, list[float]()
        number = len(fresh) // 2
        room = 0 if self._silent else min(max(self._budget.transitions, 0), number)
        taken = fresh[: 2 * room]
        ends_here = number > room and not self._silent
        if ends_here:
            # What comes is unknown: without this the last function seen would seem to go on.
            taken += (fresh[2 * room], IDLE)
        # by pack, which takes less than half the time that an array takes to convert numbers itself
        packed = pack(f"{len(taken)}d", *taken)
        # Where a session is stopped, two threads may be here. From this line on nothing is called but the last, so they
        # do not take turns, and the transitions are taken once, in one piece.
        if self.fresh is not fresh:
            return
        self.fresh = following
        self._silent = self._silent or ends_here
        self._budget.transitions -= room
        self._budget.dropped_transitions += number - room
        self.log.frombytes(packed)

    def child(self, code: CodeType, parent: Node) -> Node | None:
        """Return the node of a function below another, or None (and one dropped call) where there is no room for it."""
        return parent.children.get(id(code)) or self._made(code, parent)

    def _made(self, code: CodeType, parent: Node) -> Node | None:
        if self._budget.nodes <= 0:
            self._budget.dropped_calls += 1
            return None
        self._budget.nodes -= 1
        node = parent.children[id(code)] = Node(code, parent, len(self.nodes))
        self.nodes.append(node)
        return node


class Recorders:
    """The recorders of a session: per route as many as there were requests of it at once."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._all: list[Recorder] = []
        self._free: dict[str, list[Recorder]] = {}

    def take(self, route: str) -> Recorder:
        """Return a recorder for the calling thread alone."""
        try:
            return self._free[route].pop()
        except (KeyError, IndexError):
            recorder = Recorder(route, self.budget)
            self._all.append(recorder)
            return recorder

    def give_back(self, recorder: Recorder) -> None:
        """The thread has done with it."""
        self._free.setdefault(recorder.route, []).append(recorder)

    def memory(self) -> int:
        """Return the bytes that nodes and logs take now, as far as ``sys.getsizeof`` knows."""
        total = 0
        for recorder in list(self._all):
            total += getsizeof(recorder.log)
            total += sum(getsizeof(node) + getsizeof(node.children) for node in list(recorder.nodes))
        return total

    def all(self) -> list[Recorder]:
        """Return every recorder of the session."""
        return list(self._all)


def tree_of(
    recorders: Sequence[Recorder], *, scope: str, worker: int, is_library: Callable[[CodeType], bool], dropped: int
) -> CallTree:
    """Return what recorders hold as one tree, of which ``dropped`` transitions are missing."""
    builder = TreeBuilder(scope)
    origin = _microseconds(min((segment.begin for recorder in recorders for segment in recorder.segments), default=0.0))
    threads: dict[str, list[tuple[Segment, Recorder, list[int]]]] = {}
    for recorder in recorders:
        nodes = _added(recorder, builder, is_library)
        for segment in recorder.segments:
            threads.setdefault(segment.thread, []).append((segment, recorder, nodes))
    tracks = [_track(worker, thread, several, builder, origin) for thread, several in threads.items()]
    return builder.tree(tracks=tracks, dropped=dropped, origin=origin)


def _added(recorder: Recorder, builder: TreeBuilder, is_library: Callable[[CodeType], bool]) -> list[int]:
    """Add a recorder's nodes to the builder; returns where each is now."""
    places: list[int] = []
    for node in list(recorder.nodes):
        if node.parent is None or node.code is None:
            places.append(
                builder.root(recorder.route, calls=node.calls, self_time=node.self_time, overhead=node.overhead)
            )
            continue
        code = node.code
        places.append(
            builder.child(
                places[node.parent.index],
                Function(code.co_filename, code.co_firstlineno, code.co_name),
                calls=node.calls,
                self_time=node.self_time,
                overhead=node.overhead,
                is_library=is_library(code),
            )
        )
    return places


def _track(
    worker: int,
    thread: str,
    segments: list[tuple[Segment, Recorder, list[int]]],
    builder: TreeBuilder,
    origin: int,
) -> Track:
    """Return a thread's stretches one after the other, as it lived them."""
    times: list[int] = []
    nodes: list[int] = []
    requests: list[tuple[int, int, int]] = []
    for segment, recorder, places in sorted(segments, key=lambda item: item[0].begin):
        last = segment.last if segment.end else len(recorder.log) // 2
        log = recorder.log[2 * segment.first : 2 * last]
        times += (_microseconds(time) - origin for time in log[::2])
        tops = map(int, log[1::2])
        nodes += (IDLE if top == IDLE else places[top] if top < len(places) else places[0] for top in tops)
        begin, end = (_microseconds(time) - origin for time in (segment.begin, segment.end or recorder.mark))
        requests.append((builder.route(recorder.route), begin, end))
    return Track(worker, thread, tuple(times), tuple(nodes), tuple(requests))


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)
