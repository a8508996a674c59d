"""One recording per thread, so that every format can be written for each alone; nothing is written here."""

from __future__ import annotations

from dataclasses import replace

from ..errors import Unavailable
from ..model import Recording, SessionRecording
from ._collected import call_tree
from ._timeline import lanes, only


def each_thread(recording: SessionRecording) -> list[tuple[str, SessionRecording]]:
    """Return the title of each lane of threads and what it did; raises Unavailable where no timeline was recorded.

    Threads of a worker that followed each other are one lane, as servers that make a thread per request would else fill
    a folder.
    """
    tree = call_tree(recording)
    shown = () if tree is None else lanes(tree)
    if tree is None or not shown:
        raise Unavailable("this session cannot be told apart by thread; start one with cpu=calltree")
    found = recording.recording(tree.kind)
    engine, notes = (found.engine, found.notes) if found is not None else (tree.kind, ())
    return [
        (
            lane.title,
            replace(
                recording,
                recordings=(Recording(engine, only(tree, lane), notes),),
                notes=(f"only {lane.title}", *recording.notes),
            ),
        )
        for lane in shown
    ]
