"""Call trees with their timelines, made of calls whose truth is known, and recordings of those. No tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from flask_profiling.model import CallTree, Function, Recording, RouteTimes, SessionRecording, Track, TreeBuilder
from tests.formats.calls import Call, call_trees, recording, walk

SESSION = "prof-20261123-101112-0123abcd"


@dataclass(frozen=True)
class Request:
    """A request that began so many µs after the one before it ended; ``own`` µs are the framework's."""

    route: str
    calls: tuple[Call, ...]
    gap: int = 0
    own: int = 0


@dataclass(frozen=True)
class Thread:
    """A thread of a worker, its requests in order; it begins ``begin`` µs after the origin."""

    worker: int
    name: str
    requests: tuple[Request, ...]
    begin: int = 0


class _Clerk:
    """Lives through requests and notes every transition, as the engine does."""

    def __init__(self, builder: TreeBuilder, begin: int) -> None:
        self._builder = builder
        self._now = begin
        self.times: list[int] = []
        self.nodes: list[int] = []
        self.requests: list[tuple[int, int, int]] = []

    def serve(self, request: Request) -> None:
        self._now += request.gap
        begin = self._now
        root = self._builder.root(request.route, calls=1, self_time=request.own / 1e6)
        self._note(root)
        self._now += request.own
        for item in request.calls:
            self._run(item, root)
        self._note(-1)
        self.requests.append((self._builder.route(request.route), begin, self._now))

    def _run(self, item: Call, parent: int) -> None:
        is_library = item.function.file.startswith("/usr/lib")
        node = self._builder.child(parent, item.function, calls=1, self_time=item.self_time, is_library=is_library)
        self._note(node)
        self._now += round(item.self_time * 1e6)
        for callee in item.calls:
            self._run(callee, node)
        self._note(parent)

    def _note(self, node: int) -> None:
        self.times.append(self._now)
        self.nodes.append(node)


def recorded(*threads: Thread) -> CallTree:
    """Return the tree of what these threads did."""
    builder = TreeBuilder("app")
    tracks = []
    for thread in threads:
        clerk = _Clerk(builder, thread.begin)
        for request in thread.requests:
            clerk.serve(request)
        tracks.append(Track(thread.worker, thread.name, tuple(clerk.times), tuple(clerk.nodes), tuple(clerk.requests)))
    return builder.tree(tracks=tracks)


def tree_recording(tree: CallTree, *, notes: tuple[str, ...] = ()) -> SessionRecording:
    """Return a session that recorded this tree, and the times of as many requests as its routes had."""
    requests = {
        tree.name(node): RouteTimes(tree.calls[node], 0, total, total / 2, {80: tree.calls[node]})
        for node, total in enumerate(tree.total_times())
        if tree.parents[node] == -1
    }
    plain = recording({})
    session = replace(plain.session, id=SESSION)
    return replace(plain, session=session, recordings=(Recording("calltree", tree, notes),), requests=requests)


def true_costs(threads: Sequence[Thread]) -> tuple[Counter[Function], Counter[Function]]:
    """Return how often each function was called, and its own µs; routes have no file."""
    calls: Counter[Function] = Counter()
    times: Counter[Function] = Counter()
    for request in (request for thread in threads for request in thread.requests):
        route = Function("", 0, request.route)
        calls[route] += 1
        times[route] += request.own
        for item in walk(request.calls):
            calls[item.function] += 1
            times[item.function] += round(item.self_time * 1e6)
    return calls, times


def requests() -> st.SearchStrategy[Request]:
    """Draw a request of one of two routes."""
    moments = st.integers(min_value=0, max_value=3000)
    return st.builds(Request, st.sampled_from(["GET /", "POST /checkout"]), call_trees(), moments, moments)


def threads() -> st.SearchStrategy[list[Thread]]:
    """Draw what up to four threads of two workers did, at the same time or one after the other."""
    one = st.builds(
        Thread,
        st.sampled_from([812, 813]),
        st.sampled_from(["MainThread", "Thread-1", "Thread-2"]),
        st.lists(requests(), min_size=1, max_size=4).map(tuple),
        st.integers(min_value=0, max_value=20_000),
    )
    return st.lists(one, min_size=1, max_size=4)
