"""Recorders: one calling-context tree and event log each, fed by one thread at a time; no hook is set here."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from sys import getsizeof
from time import perf_counter_ns
from types import CodeType

from ..model import CallTree, Function, Track, TreeBuilder

# Bounds of one worker: a node takes about 300 bytes, a transition 16, a stretch 200, so some 100 MB in all.
MOST_NODES = 100_000
MOST_TRANSITIONS = 2_000_000
MOST_STRETCHES = 200_000
IDLE = -1


class Node:
    """One path: a code object in the context of its callers."""

    __slots__ = ("calls", "children", "code", "index", "parent", "self_ns")

    def __init__(self, code: CodeType | None, parent: Node | None, index: int) -> None:
        self.code = code
        self.parent = parent
        self.index = index
        # By identity: a code object's own hash and equality compare its whole content.
        self.children: dict[int, Node] = {}
        self.calls = 0
        self.self_ns = 0


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
    """A stretch of one thread: times in ns, and where its transitions stand in the recorder's log."""

    thread: str
    begin: int
    end: int
    first: int
    last: int

    def moved(self, entries: int) -> Segment:
        """Return the same stretch in a log that has so many entries in front of it."""
        return Segment(self.thread, self.begin, self.end, self.first + entries, self.last + entries)


class Recorder:
    """The tree of one route, as far as one thread at a time walks it.

    The hooks call ``push`` where a function starts or goes on, ``pop`` where it ends or pauses.
    """

    __slots__ = (
        "_budget",
        "_clock",
        "_lost",
        "_segment",
        "_silent",
        "entries",
        "mark",
        "nodes",
        "root",
        "route",
        "segments",
        "times",
        "top",
        "tops",
    )

    def __init__(self, route: str, budget: Budget, clock: Callable[[], int] = perf_counter_ns) -> None:
        self.route = route
        self._budget = budget
        self._clock = clock
        self.root = Node(None, None, 0)
        self.nodes = [self.root]
        self.top = self.root
        self.mark = 0
        # Calls that found no room for a node and have not returned yet: their time is that of the node on top.
        self._lost = 0
        # No room for this stretch's transitions any more.
        self._silent = False
        self.times = array("q")
        self.tops = array("q")
        self.segments: list[Segment] = []
        self._segment: Segment | None = None
        # Frames of library functions on the stack, by identity; kept by hooks that hear of such functions everywhere.
        self.entries: list[int] = []

    def begin(self) -> None:
        """A request (or a chunk of its body) goes on in the calling thread."""
        self.root.calls += 1
        self.mark = now = self._clock()
        self._silent = self._budget.transitions <= 0 or self._budget.stretches <= 0
        self._segment = None
        if self._silent:
            self._budget.dropped_transitions += 1
            return
        self._budget.stretches -= 1
        place = len(self.times)
        self._segment = Segment(threading.current_thread().name, now, 0, place, place)
        self.segments.append(self._segment)
        self._log(now, 0)

    def end(self) -> None:
        """The thread leaves; what is still open ends now."""
        now = self._clock()
        self.top.self_ns += now - self.mark
        self.mark = now
        self.top = self.root
        self._lost = 0
        self.entries.clear()
        segment = self._segment
        if segment is None:
            return
        if not self._silent:
            self._log(now, IDLE)
        segment.end, segment.last = now, len(self.times)

    def discard(self) -> None:
        """The thread cannot be watched after all: undo :meth:`begin`."""
        self.root.calls -= 1
        if self._segment is not None:
            self.segments.pop()
            del self.times[self._segment.first :], self.tops[self._segment.first :]

    def push(self, code: CodeType) -> None:
        """A function starts, or goes on."""
        if self._lost:
            self._lost += 1
            self._budget.dropped_calls += 1
            return
        top = self.top
        node = top.children.get(id(code))
        if node is None:
            node = self._made(code, top)
            if node is None:
                self._lost = 1
                return
        node.calls += 1
        now = self._clock()
        top.self_ns += now - self.mark
        self.mark = now
        self.top = node
        if self._budget.transitions > 0:
            self._budget.transitions -= 1
            self.times.append(now)
            self.tops.append(node.index)
        else:
            self._drop(now)

    def pop(self, code: CodeType) -> None:
        """A function ends, or pauses; one that was not seen to start is none of ours."""
        if self._lost:
            self._lost -= 1
            return
        top = self.top
        parent = top.parent
        if top.code is not code or parent is None:
            return
        now = self._clock()
        top.self_ns += now - self.mark
        self.mark = now
        self.top = parent
        if self._budget.transitions > 0:
            self._budget.transitions -= 1
            self.times.append(now)
            self.tops.append(parent.index)
        else:
            self._drop(now)

    def child(self, code: CodeType, parent: Node) -> Node | None:
        """Return the node of a function below another, or None (and one dropped call) where there is no room for it."""
        return parent.children.get(id(code)) or self._made(code, parent)

    def _log(self, now: int, top: int) -> None:
        # The ends of a stretch do not count against the budget: there are as many as requests.
        self.times.append(now)
        self.tops.append(top)

    def _drop(self, now: int) -> None:
        self._budget.dropped_transitions += 1
        if not self._silent:
            # What comes is unknown: without this the last function seen would seem to go on.
            self._silent = True
            self._log(now, IDLE)

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
            total += getsizeof(recorder.times) + getsizeof(recorder.tops)
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
    origin = min((segment.begin for recorder in recorders for segment in recorder.segments), default=0) // 1000
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
        seconds = node.self_ns / 1e9
        if node.parent is None or node.code is None:
            places.append(builder.root(recorder.route, calls=node.calls, self_time=seconds))
            continue
        code = node.code
        places.append(
            builder.child(
                places[node.parent.index],
                Function(code.co_filename, code.co_firstlineno, code.co_name),
                calls=node.calls,
                self_time=seconds,
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
        last = segment.last if segment.end else min(len(recorder.times), len(recorder.tops))
        times += (time // 1000 - origin for time in recorder.times[segment.first : last])
        nodes += (
            IDLE if top == IDLE else places[top] if top < len(places) else places[0]
            for top in recorder.tops[segment.first : last]
        )
        end = segment.end or recorder.mark
        requests.append((builder.route(recorder.route), segment.begin // 1000 - origin, end // 1000 - origin))
    return Track(worker, thread, tuple(times), tuple(nodes), tuple(requests))
