"""The ``.cpuprofile`` that Chrome DevTools, speedscope and VS Code open: one tree, its first level are the routes.

Call graphs carry no moments, so the samples are laid out one after the other, callers before callees, each as long as
the time it stands for: widths and sums are true, the order is not.
"""

from __future__ import annotations

from typing import BinaryIO

from ..model import SessionRecording
from ._chrome import Profile, families, write_profile
from ._collected import call_graphs, notes
from ._tree import Tree, grow


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the call tree of all routes; raises Unavailable where no calls were recorded.

    Times are the sums over all requests, threads and workers, so they may exceed the duration of the session.
    """
    tree = grow(call_graphs(recording).routes)
    remarks = ["samples stand in no order of time: the recording knows how long each call took, not when"]
    if tree.folded:
        remarks.append(f"{tree.folded} nodes stand for calls on too many paths to draw; see their deoptReason")
    samples, times = _laid_out(tree)
    write_profile(
        Profile(tree.functions, tree.parents, tree.reasons, samples, times, [*remarks, *notes(recording)]), out
    )


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
