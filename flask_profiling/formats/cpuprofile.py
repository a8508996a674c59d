"""The ``.cpuprofile`` that Chrome DevTools, speedscope and VS Code open: one tree, its first level are the routes.

Call graphs carry no moments, so the samples are laid out one after the other, callers before callees, each as long as
the time it stands for: widths and sums are true, the order is not.
"""

from __future__ import annotations

from typing import BinaryIO

from ..model import SessionRecording
from ._chrome import Profile, write_profile
from ._collected import call_graphs, notes
from ._tree import Tree, grow


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the call tree of all routes; raises Unavailable where no calls were recorded.

    Times are the sums over all requests, threads and workers, so they may exceed the duration of the session.
    """
    tree = grow(call_graphs(recording).routes)
    write_profile(_laid_out(tree, recording), out)


def _laid_out(tree: Tree, recording: SessionRecording) -> Profile:
    """Return the tree with a sample for each node that has time of its own, rounded so that errors do not add up."""
    samples: list[int] = []
    times: list[int] = []
    clock = 0.0
    for node in tree.preorder():
        begin = round(clock * 1e6)
        clock += tree.self_times[node]
        if round(clock * 1e6) > begin:
            samples.append(node)
            times.append(begin)
    times.append(round(clock * 1e6))
    remarks = ["samples stand in no order of time: the recording knows how long each call took, not when"]
    if tree.folded:
        remarks.append(f"{tree.folded} nodes stand for calls that were too many to draw; see their deoptReason")
    return Profile(
        tree.functions,
        tree.parents,
        tree.reasons,
        samples,
        times,
        round(recording.session.started * 1e6),
        [*remarks, *notes(recording)],
    )
