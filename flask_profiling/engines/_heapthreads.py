"""The stacks of threads, taken hold of just before the fork: after it the other threads, and from Python 3.13 on the
memory of their frames, are gone. Walks nothing.

Until 3.12 reading the locals of a running frame changes that frame, so it is left to the child, where the frames'
memory is still whole. From 3.13 on it changes nothing and is done before the fork; the frames themselves must not be
touched after it.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterable, Iterator
from contextvars import Context
from inspect import CO_OPTIMIZED
from itertools import compress
from types import CodeType, FrameType
from typing import NamedTuple
from weakref import ReferenceType

from ..model.heap import Label
from ._heapnames import code_name, identifier, thread_name
from ._heapreaders import dict_getter

_FRAMES_DIE = sys.version_info >= (3, 13)
# Objects looked at before another thread may have its turn: some milliseconds.
_STEP = 1 << 16


class Stack(NamedTuple):
    """The stack of one thread: its topmost frame where that can be read in the child, else its code and its locals by
    name."""

    frame: FrameType | None
    codes: list[CodeType]
    held: list[tuple[str, object]]


class Live(NamedTuple):
    """What the threads hold: stacks and thread objects by identifier; ``dead`` are frames that nobody may read after
    the fork, ``kept`` is what :func:`held_by_states` found."""

    stacks: dict[int, Stack]
    threads: dict[int, object]
    dead: list[FrameType]
    kept: list[object]


def live(caller: FrameType, current: int, threads: dict[int, object]) -> Live:
    """Take hold of all threads: of the calling one (``current``) from the frame ``caller`` on; ``threads`` are thread
    objects by identifier."""
    stacks = {current: Stack(caller, [], [])}
    dead: list[FrameType] = []
    for ident, top in sys._current_frames().items():
        if ident == current:
            continue
        if not _FRAMES_DIE:
            stacks[ident] = Stack(top, [], [])
            continue
        stack = stacks[ident] = Stack(None, [], [])
        for frame in _chain(top):
            dead.append(frame)
            stack.codes.append(frame.f_code)
            stack.held.extend((f"{code_name(frame.f_code)}.{name}", value) for name, value in frame_locals(frame))
    return Live(stacks, threads.copy(), dead, held_by_states())


def held_by_states() -> list[object]:
    """Return what the states of threads hold, maybe alone: the marks of their thread-local values, contexts, exceptions
    that are being handled.

    Python destroys the states of all other threads in a forked child. To hold this over the fork, and no longer, keeps
    the host's ``__del__`` from running there, where it would end connections and remove files that are in use.
    """
    if len(sys._current_frames()) == 1:
        return []
    handled: Iterable[object] = sys._current_exceptions().values()  # until Python 3.11 a tuple for each
    held: list[object] = [part for each in handled for part in (each if type(each) is tuple else (each,))]
    wanted = {id(cls) for cls in (Context, *_with_subclasses(threading.local))}
    objects = gc.get_objects()
    for first in range(0, len(objects), _STEP):
        part = objects[first : first + _STEP]
        for value in compress(part, map(wanted.__contains__, map(id, map(type, part)))):
            held += [value] if type(value) is Context else _marks(value)
    return held


def _with_subclasses(cls: type) -> Iterator[type]:
    yield cls
    inner: type
    for inner in type.__subclasses__(cls):
        yield from _with_subclasses(inner)


def _marks(local: object) -> Iterator[object]:
    """Yield the objects that live as long as a thread with values in ``local``: the values go when they do."""
    for table in gc.get_referents(local):
        if type(table) is dict or type(table) is set:
            yield from (mark() for mark in list(table) if type(mark) is ReferenceType)


def frame_locals(frame: FrameType) -> list[tuple[str, object]]:
    """Return the names and values in a function's frame; other frames work on dicts that are found elsewhere."""
    if not frame.f_code.co_flags & CO_OPTIMIZED:
        return []
    return [(identifier(name, "(local)"), value) for name, value in frame.f_locals.items()]


def running(taken: Live) -> Iterator[CodeType]:
    """Yield the code that the threads are running."""
    for stack in taken.stacks.values():
        yield from stack.codes
        for frame in _chain(stack.frame):
            yield frame.f_code


def held_by_threads(taken: Live) -> list[tuple[Label, object]]:
    """Return what hangs below the root of the threads: for each its stack and its object."""
    held: list[tuple[Label, object]] = []
    for number, (ident, stack) in enumerate(taken.stacks.items(), 1):
        thread = taken.threads.get(ident)
        name = thread_name(_name_of(thread), number)
        if stack.frame is not None:
            held.append((Label("internal", f"stack of {name}"), stack.frame))
        held += [(Label("internal", f"stack of {name}: {code_name(code)}"), code) for code in stack.codes]
        held += [(Label("context", f"stack of {name}: {local}"), value) for local, value in stack.held]
        if thread is not None:
            held.append((Label("internal", name), thread))
    return held


def _chain(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _name_of(thread: object) -> object:
    getter = dict_getter(type(thread))
    attributes: Iterable[tuple[object, object]] = () if getter is None else dict.items(getter(thread))
    return next((value for key, value in attributes if type(key) is str and key == "_name"), None)
