"""The ``.cpuprofile`` that Chrome DevTools, speedscope and VS Code open: one tree and when each of its nodes ran.

A call tree knows when: samples are its transitions, at their times. DevTools has one row for all of them, so lanes
(threads, of which each has a node at the first level) stand one after the other. Call graphs carry no moments: the
samples are laid out callers before callees, each as long as the time it stands for: widths and sums are true, the
order is not. Below come the routes, and the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from ..model import ROOT, CallTree, Function, SessionRecording
from ._chrome import Profile, families, write_profile
from ._collected import application_tree, call_graphs, call_tree, notes, readable
from ._paths import of_tree
from ._timeline import IDLE, Lane, lanes, untold
from ._tree import Tree, grow

_ONE_AFTER_THE_OTHER = (
    "threads that ran at the same time stand one after the other here, because this format has one row: times within "
    "a thread are true, between threads they are not; for one file each: flask profiling export --per-thread"
)
_NO_ORDER = "samples stand in no order of time: the recording knows how long each call took, not when"


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the call tree of all routes; raises Unavailable where no calls were recorded.

    Times are the sums over all requests, threads and workers, so they may exceed the duration of the session.
    """
    tree = call_tree(recording)
    said = notes(recording)
    write_profile(_of_graphs(recording, said) if tree is None else _of_tree(tree, said), out)


def _of_graphs(recording: SessionRecording, said: Sequence[str]) -> Profile:
    tree = grow(call_graphs(recording).routes, application_tree(recording))
    remarks = [_NO_ORDER]
    if tree.folded:
        remarks.append(f"{tree.folded} nodes stand for calls on too many paths to draw; see their deoptReason")
    samples, times = _laid_out(tree)
    return Profile(tree.functions, tree.parents, tree.reasons, samples, times, [*remarks, *said])


def _of_tree(tree: CallTree, said: Sequence[str]) -> Profile:
    shown = lanes(tree)
    rest = untold(tree, shown)
    chart = _Chart(tree)
    has_level = len(shown) + bool(rest) > 1
    for lane in shown:
        chart.add_lane(lane, chart.first_level(lane.title) if has_level else 0)
    remarks = [_ONE_AFTER_THE_OTHER] if len(shown) > 1 else []
    if rest:
        chart.add_rest(rest, chart.first_level("(in no order of time)") if has_level else 0)
        remarks.append(f"{_NO_ORDER}; this holds for what is below (in no order of time)" if has_level else _NO_ORDER)
    grown = chart.nodes
    times = [*chart.times, chart.now]
    return Profile(grown.functions, grown.parents, grown.reasons, chart.samples, times, [*remarks, *said])


class _Chart:
    """Nodes and samples of a profile, as lanes are added one after the other."""

    def __init__(self, tree: CallTree) -> None:
        self.nodes = Tree()
        self.nodes.add(Function("", 0, "(root)"), -1)
        self.samples: list[int] = []
        self.times: list[int] = []
        self.now = 0
        self._source = of_tree(tree)
        self._idle = -1

    def first_level(self, title: str) -> int:
        """Add a node below the root."""
        return self.nodes.add(Function("", 0, readable(title)), 0)

    def add_lane(self, lane: Lane, top: int) -> None:
        """Add what a lane did below the node ``top``."""
        begin = self.now - lane.times[0]
        places: dict[int, int] = {}
        for node, time, end in zip(lane.nodes, lane.times, lane.times[1:], strict=False):
            if end == time and node == IDLE:
                continue
            place = places.get(node)
            if place is None:
                place = self._gap() if node == IDLE else self._place(node, top, places)
            if end > time:  # else it was shorter than a microsecond, but it was called
                self._sample(place, begin + time)
        self.now = begin + lane.times[-1]

    def add_rest(self, seconds: Sequence[float], top: int) -> None:
        """Add times without an order below the node ``top``; their sum is rounded, so that errors do not add up."""
        places: dict[int, int] = {}
        begin, told = self.now, 0.0
        for node, time in enumerate(seconds):
            told += time
            end = begin + round(told * 1e6)
            if end > self.now:
                self._sample(self._place(node, top, places), self.now)
                self.now = end
            elif time > 0:  # shorter than a microsecond, but it was called
                self._place(node, top, places)

    def _sample(self, place: int, time: int) -> None:
        self.samples.append(place)
        self.times.append(time)

    def _gap(self) -> int:
        if self._idle < 0:
            self._idle = self.first_level("(idle)")
        return self._idle

    def _place(self, node: int, top: int, places: dict[int, int]) -> int:
        """Return the profile's node for one of the tree's, with all that are above it."""
        above: list[int] = []
        while node != ROOT and node not in places:
            above.append(node)
            node = self._source.parents[node]
        place = places.get(node, top)
        for item in reversed(above):
            place = places[item] = self.nodes.add(self._source.functions[item], place)
        return place


def _laid_out(tree: Tree) -> tuple[list[int], list[int]]:
    """Return the nodes that have time of their own, callers first, and when each begins, in microseconds.

    The sums are rounded, not the times, so that errors do not add up.
    """
    eldest, younger = families(tree.parents)
    samples: list[int] = []
    times: list[int] = []
    seconds, begin = 0.0, 0
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if younger[node]:
            waiting.append(younger[node])
        if eldest[node]:
            waiting.append(eldest[node])
        seconds += tree.self_times[node]
        end = round(seconds * 1e6)
        if end > begin:
            samples.append(node)
            times.append(begin)
            begin = end
    return samples, [*times, begin]
