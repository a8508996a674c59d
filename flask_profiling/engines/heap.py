"""The heap engine: a snapshot of every Python object, taken in a forked child; the walk itself is in the ``_heap``
modules."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType

from ..errors import Unavailable
from ..model import Recording
from ..model.heap import HeapSummary
from . import EngineOptions, _heapchild, _heapfiles, _heapfork, _heapmemory
from ._heapnames import class_name
from ._heapthreads import live

# A walk takes two seconds per million objects on a slow core.
_DEADLINE = 240
_FULL = (
    "The heap snapshot holds the contents of strings, bytes and numbers: guard it as you guard this process's secrets."
)
_REDACTED = "The heap snapshot leaves out the contents of strings, bytes and numbers."
_INSTEAD = "; objects were counted by class instead."

_FORK: Callable[[], int] | None = getattr(os, "fork", None)

# Pages of addresses in which earlier snapshots found objects: they make an object's id the same in every snapshot.
_known_pages: list[int] = []


class HeapEngine:
    """Takes one snapshot at stop; see :class:`flask_profiling.engines.Engine`.

    ``fork`` makes the child (None: this platform cannot); ``deadline`` is the longest it may take, in seconds;
    ``shortage`` tells why there is too little memory, or nothing.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        fork: Callable[[], int] | None = _FORK,
        deadline: int = _DEADLINE,
        shortage: Callable[[], str] = _heapmemory.shortage,
    ) -> None:
        self._options = options
        self._fork = fork
        self._deadline = deadline
        self._shortage = shortage

    def start(self) -> None:
        """Check that a snapshot can be written; nothing is collected before the end."""
        if self._options.spool is None or self._options.write_heap is None:
            raise Unavailable("a heap snapshot needs a directory to be written to; use a session of the extension")

    def stop(self) -> Recording:
        """Take the snapshot; where that fails, count the objects by class instead and say why.

        Raises Unavailable where nobody wants it any more.
        """
        caller = sys._getframe(1)
        is_wanted = self._options.is_wanted
        with _heapfork.turn(self._deadline, is_wanted):
            if self._fork is None:
                return _counted("This platform cannot fork, so no heap snapshot was written")
            shortage = self._shortage()
            if shortage:
                return _counted(f"There is too little memory for a heap snapshot: {shortage}")
            try:
                return self._snapshot(self._fork, caller)
            except OSError as error:
                return _counted(f"No heap snapshot was written: {error.strerror or type(error).__name__}")

    def _snapshot(self, fork: Callable[[], int], caller: FrameType) -> Recording:
        assert self._options.spool is not None and self._options.write_heap is not None
        with _heapfiles.opened(self._options.spool) as files:
            task = _heapchild.Task(
                files.out,
                files.scratch,
                files.report,
                self._options.write_heap,
                tuple(_known_pages),
                self._options.heap_values == "full",
                live(caller, threading.get_ident(), threading._active),  # type: ignore[attr-defined]
                self._deadline,
                (files,),
                os.getpid(),
                str(files.temporary),
            )
            pid = _heapfork.spawn(lambda mask: _heapchild.run(task, mask), fork)
            task.live.kept.clear()
            code = _heapfork.wait(pid, self._deadline, is_wanted=self._options.is_wanted)
            report = files.told()
            if code not in (_heapchild.DONE, None) or "summary" not in report:
                return _counted(_failure(code, report))
            name = f"heap-{os.getpid()}.heapsnapshot"
            files.keep(name)
        return self._recording(report, name)

    def _recording(self, report: dict[str, object], name: str) -> Recording:
        pages = report["pages"]
        _known_pages.extend(pages)  # type: ignore[arg-type]
        note = _FULL if self._options.heap_values == "full" else _REDACTED
        return Recording("heap", HeapSummary.from_json(report["summary"]), (note,), (name,))


def _failure(code: int | None, report: dict[str, object]) -> str:
    reasons = {
        None: "the process that takes it was lost",
        _heapchild.NO_MEMORY: "there was too little memory; stop other workers or raise the limit",
        _heapchild.NO_SPACE: "the disk of the output directory is full; make room",
        _heapchild.FAILED: f"the walk failed ({report.get('error', 'for an unknown reason')})",
    }
    if code is not None and code < 0:
        ended = f"the process that takes it was ended by signal {-code} (out of memory or out of time)"
        return f"No heap snapshot was written: {ended}"
    return f"No heap snapshot was written: {reasons.get(code, f'the process that takes it ended with code {code}')}"


def _counted(reason: str) -> Recording:
    return Recording("heap", count_objects(), (reason + _INSTEAD,))


def count_objects() -> HeapSummary:
    """Count the objects that the garbage collector knows, by class, while the program runs on; sizes are not told."""
    objects = gc.get_objects()
    counts: dict[int, int] = {}
    classes: dict[int, type] = {}
    for value in objects:
        cls = type(value)
        address = id(cls)
        classes[address] = cls
        counts[address] = counts.get(address, 0) + 1
    found: dict[str, tuple[int, int]] = {}
    for address, count in counts.items():
        name = class_name(classes[address])
        found[name] = (found.get(name, (0, 0))[0] + count, 0)
    return HeapSummary(len(objects), 0, False, found).of_largest(_heapchild.CLASSES_TOLD)
