"""The stacks of threads, taken hold of just before the fork: after it the other threads, and from Python 3.13 on the
memory of their frames, are gone. Walks nothing.

Until 3.12 reading the locals of a running frame changes that frame, so it is left to the child, where the frames'
memory is still whole. From 3.13 on it changes nothing and is done before the fork; the frames themselves must not be
touched after it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from inspect import CO_OPTIMIZED
from types import CodeType, FrameType
from typing import NamedTuple

from ..model.heap import Label
from ._heapnames import code_name, identifier, thread_name
from ._heapreaders import dict_getter

_FRAMES_DIE = sys.version_info >= (3, 13)


class Stack(NamedTuple):
    """The stack of one thread: its topmost frame where that can be read in the child, else its code and its locals by
    name."""

    frame: FrameType | None
    codes: list[CodeType]
    held: list[tuple[str, object]]


class Live(NamedTuple):
    """What the threads hold: stacks and thread objects by identifier; ``dead`` are frames that nobody may read after
    the fork."""

    stacks: dict[int, Stack]
    threads: dict[int, object]
    dead: list[FrameType]


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
    return Live(stacks, threads.copy(), dead)


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
