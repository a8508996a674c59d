"""What the forked child does: leave the host's world alone, walk, write, report, go; it never returns and never raises.

Only the forking thread exists here. Other threads may have held any lock at the moment of the fork, so nothing is
imported, logged or printed, and every function used is loaded before the fork.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from io import BufferedRandom
from json import JSONEncoder
from typing import BinaryIO, NamedTuple

from ._heapnames import Labels, Names
from ._heapplaces import Places
from ._heaproots import others, reader_for, starts
from ._heapthreads import Live, running
from ._heapwalk import Walk

_trace_no_more: Callable[[], None] | None
try:
    from _tracemalloc import stop as _trace_no_more
except ImportError:  # not CPython
    _trace_no_more = None

# Exit codes that no interpreter uses by itself.
DONE, FAILED, NO_MEMORY, NO_SPACE = range(40, 44)
# So many classes are told by name in the summary.
CLASSES_TOLD = 200
# Half the share of the host when both want the processor.
_NICENESS = 3
_encode = JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class Orphaned(BaseException):
    """The process that wanted the snapshot is gone."""


class Task(NamedTuple):
    """What the parent hands to its child: open files (all but these are closed), the pages of earlier walks, and the
    rules.

    ``out`` is the artifact, ``scratch`` room for the format, ``report`` where the child leaves JSON for the parent;
    ``own`` are objects made for the snapshot, which do not belong in it; ``temporary`` is where ``out`` is until the
    parent renames it.
    """

    out: BufferedRandom
    scratch: BufferedRandom
    report: BufferedRandom
    write_heap: Callable[[Iterable[object], BinaryIO], None]
    pages: Sequence[int]
    full: bool
    live: Live
    seconds: int
    own: Sequence[object]
    parent: int
    temporary: str


def run(task: Task, mask: Iterable[int]) -> None:
    """Walk and write in the child, then leave the process with one of the codes above."""
    code = FAILED
    try:
        leave_the_host([file.fileno() for file in (task.out, task.scratch, task.report)], task.seconds, mask)
        untrace()
        walk(task, freeze())
        code = DONE
    except MemoryError:
        code = NO_MEMORY
    except OSError as error:
        code = code_of(error)
    except Orphaned:
        os.unlink(task.temporary)
    except BaseException as error:
        leave_word(task, error)
    finally:
        os._exit(code)


def code_of(error: OSError) -> int:
    """Return the code to leave with after an error of the system."""
    return NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else FAILED


def stay_only_with(parent: int) -> None:
    """Raise Orphaned when the host has died: nobody would give the file its name, or remove it."""
    if os.getppid() != parent:
        raise Orphaned


def leave_word(task: Task, error: BaseException) -> None:
    """Report the class of an error and the line of this package that it came from; the message may hold anything."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" in {os.path.basename(place.tb_frame.f_code.co_filename)} line {place.tb_lineno}"
    task.report.write(_encode({"error": f"{type(error).__name__}{where}"}).encode())
    task.report.flush()


def leave_the_host(keep: Iterable[int], seconds: int, mask: Iterable[int]) -> None:
    """Let go of what the child inherited: hooks, signal handlers, descriptors (but those to ``keep``), the right to
    survive; an alarm ends the child after so many seconds."""
    sys.setprofile(None)
    sys.settrace(None)
    if sys.version_info >= (3, 12):
        for tool in range(6):
            if sys.monitoring.get_tool(tool) is not None:
                sys.monitoring.set_events(tool, 0)
    gc.disable()
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGALRM,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    signal.alarm(seconds)
    _close_all_but(sorted(keep))
    _be_the_first_to_go()


def untrace() -> None:
    """Trace the child's memory no more, where the host traces its own: each allocation would cost ten times as much."""
    if _trace_no_more is not None:
        _trace_no_more()


def _close_all_but(keep: Sequence[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        if descriptor not in keep:
            os.dup2(nothing, descriptor)
    first = 3
    for descriptor in keep:
        os.closerange(first, descriptor)
        first = max(first, descriptor + 1)
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _be_the_first_to_go() -> None:
    """Make the kernel prefer this process over the host when memory or time is short."""
    try:
        os.nice(_NICENESS)
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"1000")
        os.close(descriptor)
    except OSError:
        return


def freeze() -> list[object]:
    """Set the host's objects apart from those the walk will make, and return them."""
    objects = gc.get_objects()
    gc.freeze()
    return objects


def walk(task: Task, objects: list[object]) -> None:
    """Walk the heap, write it and report; ``objects`` is emptied."""
    names = Names(Labels(), full=task.full)
    names.learn_program(objects, running(task.live))
    objects.clear()
    places = Places(task.pages)
    heap = Walk(
        starts(task.live),
        others,
        own=own_objects(task),
        places=places,
        names=names,
        reader_of=lambda cls: reader_for(cls, names),
        scratch=task.scratch,
        tick=lambda: stay_only_with(task.parent),
    )
    task.write_heap(heap, task.out)
    task.out.flush()
    os.fsync(task.out.fileno())
    summary = heap.summary()
    report = {
        "summary": summary.of_largest(CLASSES_TOLD).to_json(),
        "pages": places.pages[len(task.pages) :],
        "size": summary.size,
    }
    task.report.write(_encode(report).encode())
    task.report.flush()


def own_objects(task: Task) -> Sequence[object]:
    """Return what was made for the snapshot, and what must not be read; none of it belongs in it."""
    live = task.live
    stacks = live.stacks.values()
    lists = [part for stack in stacks for part in (stack, stack.codes, stack.held, *stack.held)]
    tables = (live.stacks, live.threads, live.dead, *live.dead, live.kept)
    return (task, task.out, task.scratch, task.report, live, *tables, *lists, *task.own)
