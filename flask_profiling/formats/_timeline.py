"""What a call tree knows of time: threads as lanes that never overlap, calls, what no lane shows; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..model import CallTree, Track
from ._collected import readable

IDLE = -1

# DevTools was seen to draw so many samples; what is beyond is told without its order.
MOST_TRANSITIONS = 600_000


@dataclass(slots=True)
class Lane:
    """What one worker did, one thing after the other: one thread, or several that followed each other.

    Threads that live for one request would else be as many rows as there were requests. From ``times[i]`` on (µs)
    ``nodes[i]`` was running, or nothing where that is -1; the last is -1. ``requests`` are ``(route, from, to)``.
    """

    worker: int
    threads: list[str]
    times: list[int]
    nodes: list[int]
    requests: list[tuple[int, int, int]]

    @property
    def thread(self) -> str:
        """The name of the thread, or those of the first and the last."""
        names = list(dict.fromkeys(readable(name) for name in self.threads))
        if len(names) == 1:
            return names[0]
        return f"{names[0]} … {names[-1]} ({len(names):,} threads in turn)"

    @property
    def title(self) -> str:
        """Worker and thread, for people."""
        return f"worker {self.worker} · {self.thread}"


def lanes(tree: CallTree, *, most: int = MOST_TRANSITIONS) -> tuple[Lane, ...]:
    """Return the lanes of a tree in order of worker and time, at most ``most`` transitions in all.

    Where the engine's log was full, what comes after is left out, because calls are missing there. Requests begin when
    they did; what recording took is in no call, so that each of them ends a little earlier than it did.
    """
    tracks = [track for track in tree.tracks if track.times]
    if tree.dropped:
        full = {worker: _last_inner(tracks, worker) for worker in {track.worker for track in tracks}}
        tracks = [_until(track, full[track.worker]) for track in tracks]
    if sum(len(track.times) for track in tracks) > most:
        moment = sorted(time for track in tracks for time in track.times)[most]
        tracks = [_until(track, moment) for track in tracks]
    shares = tree.own_shares() if tree.overheads else ()
    found: list[Lane] = []
    ends: list[int] = []  # as they were: threads that were there at the same time share no lane
    for track in sorted((track for track in tracks if track.times), key=lambda track: (track.worker, track.times[0])):
        known = enumerate(found)
        place = next((n for n, lane in known if lane.worker == track.worker and ends[n] <= track.times[0]), len(found))
        if place == len(found):
            found.append(Lane(track.worker, [], [], [], []))
            ends.append(0)
        ends[place] = track.times[-1]
        shown = _without_recording(track, shares) if shares else track
        lane = found[place]
        lane.threads.append(shown.thread)
        lane.times += shown.times
        lane.nodes += shown.nodes
        lane.requests += shown.requests
        if lane.nodes[-1] != IDLE:
            lane.times.append(lane.times[-1])
            lane.nodes.append(IDLE)
    return tuple(found)


def lane_times(lane: Lane) -> dict[int, int]:
    """Return the µs that each node was running in a lane."""
    times: dict[int, int] = {}
    for node, begin, end in zip(lane.nodes, lane.times, lane.times[1:], strict=False):
        if node != IDLE:
            times[node] = times.get(node, 0) + end - begin
    return times


def untold(tree: CallTree, shown: Sequence[Lane]) -> list[float]:
    """Return the seconds of each node that no lane shows; nothing where the lanes are complete but for rounding."""
    rest = list(tree.self_times)
    for lane in shown:
        for node, time in lane_times(lane).items():
            rest[node] -= time / 1e6
    is_complete = sum(len(lane.times) for lane in shown) >= sum(len(track.times) for track in tree.tracks)
    if is_complete and not tree.dropped and shown:
        return []
    return [max(0.0, seconds) for seconds in rest]


def steps(tree: CallTree, lane: Lane) -> Iterator[tuple[int, int, bool]]:
    """Yield ``(time, node, begins)`` for each call in a lane as it begins and as it ends, properly nested.

    The root of a route is one of its requests.
    """
    parents = tree.parents
    stack: list[int] = []
    for time, node in zip(lane.times, lane.nodes, strict=True):
        if stack and node != IDLE and parents[node] == stack[-1]:
            stack.append(node)
            yield time, node, True
            continue
        if len(stack) > 1 and node == stack[-2]:  # most often one call ends, and its caller goes on
            yield time, stack.pop(), False
            continue
        path = _path(parents, node)
        common = 0
        while common < min(len(path), len(stack)) and path[common] == stack[common]:
            common += 1
        while len(stack) > common:
            yield time, stack.pop(), False
        for entered in path[common:]:
            stack.append(entered)
            yield time, entered, True


def slices(tree: CallTree, lane: Lane) -> Iterator[tuple[int, int, int, int]]:
    """Yield ``(begin, end, depth, node)`` of each call in a lane as it ends; requests have the depth 0."""
    begun: list[int] = []
    for time, node, begins in steps(tree, lane):
        if begins:
            begun.append(time)
        else:
            begin = begun.pop()
            yield begin, time, len(begun), node


def only(tree: CallTree, lane: Lane) -> CallTree:
    """Return the tree with the calls and times of one lane; nodes keep their numbers."""
    calls = [0] * len(tree)
    for _, node, begins in steps(tree, lane):
        calls[node] += begins
    times = lane_times(lane)
    track = Track(lane.worker, lane.thread, tuple(lane.times), tuple(lane.nodes), tuple(lane.requests))
    return CallTree(
        scope=tree.scope,
        routes=tree.routes,
        functions=tree.functions,
        library=tree.library,
        parents=tree.parents,
        labels=tree.labels,
        calls=tuple(calls),
        self_times=tuple(times.get(node, 0) / 1e6 for node in range(len(tree))),
        tracks=(track,),
        origin=tree.origin,
    )


def _path(parents: Sequence[int], node: int) -> list[int]:
    path = []
    while node != IDLE:
        path.append(node)
        node = parents[node]
    return path[::-1]


def _without_recording(track: Track, shares: Sequence[float]) -> Track:
    """Return a track whose nodes take their ``shares`` of the time, from the beginning of each request on."""
    moment: float = 0
    times: list[int] = []
    before, began = IDLE, 0
    for time, node in zip(track.times, track.nodes, strict=True):
        moment = time if before == IDLE else moment + (time - began) * shares[before]
        times.append(round(moment))
        before, began = node, time
    ends = dict(zip(track.times, times, strict=True))
    requests = tuple((route, begin, ends.get(end, end)) for route, begin, end in track.requests)
    return Track(track.worker, track.thread, tuple(times), track.nodes, requests)


def _until(track: Track, moment: int) -> Track:
    kept = sum(1 for time in track.times if time <= moment)
    times, nodes = tuple(track.times[:kept]), tuple(track.nodes[:kept])
    if kept < len(track.times) and nodes and nodes[-1] != IDLE:
        times, nodes = (*times, moment), (*nodes, IDLE)
    requests = tuple((route, begin, min(end, moment)) for route, begin, end in track.requests if begin <= moment)
    return Track(track.worker, track.thread, times, nodes, requests)


def _last_inner(tracks: Sequence[Track], worker: int) -> int:
    """Return when the log of a worker was full: only beginnings and ends of requests were noted after that."""
    last = 0
    for track in tracks:
        if track.worker != worker:
            continue
        before = IDLE
        for time, node in zip(track.times, track.nodes, strict=True):
            if IDLE not in (before, node):
                last = max(last, time)
            before = node
    return last
