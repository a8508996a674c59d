"""Where the walk begins, and which reader reads which class; collected just before the fork, laid out in the child."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..model.heap import Label
from ._heapnames import Names, class_name, code_name, identifier, thread_name, type_flags, type_mro
from ._heapparts import HOLDERS, Classes, Codes, Holders, Parts, Titled, WeakReferences, inherits, module_title
from ._heapreaders import (
    HAS_GC,
    HEAP_TYPE,
    Dicts,
    Elements,
    FullBytes,
    FullNumber,
    FullText,
    Instances,
    Reader,
    Tuples,
    dict_getter,
    reads_plainly,
    slots_of,
)
from ._heapwalk import Start

_TYPE_SUBCLASS = 1 << 31
_FULL: tuple[tuple[type, type[Reader]], ...] = (
    (str, FullText),
    (bytes, FullBytes),
    (int, FullNumber),
    (float, FullNumber),
)
_EXACT: tuple[tuple[type, type[Reader]], ...] = (
    (dict, Dicts),
    *((cls, Elements) for cls in (list, tuple, set, frozenset)),
)
_TITLED: tuple[tuple[type, type[Titled], str, Callable[..., str]], ...] = (
    (types.FunctionType, Titled, "function", lambda value: code_name(value.__code__)),
    (types.CodeType, Codes, "code", code_name),
    (types.FrameType, Titled, "frame", lambda value: code_name(value.f_code)),
    (types.ModuleType, Titled, "module", module_title),
)


class Live(NamedTuple):
    """What must be taken hold of before the fork: the child's own threads and thread table are gone after it."""

    frames: dict[int, types.FrameType]
    threads: dict[int, object]
    current: int


def live(frame: types.FrameType | None, current: int, threads: dict[int, object]) -> Live:
    """Return the frames of all threads, the calling one from ``frame`` on, and the thread objects by identifier."""
    frames = sys._current_frames()
    if frame is not None:
        frames[current] = frame
    return Live(frames, threads.copy(), current)


def running(taken: Live) -> Iterator[types.CodeType]:
    """Yield the code that the threads are running."""
    for top in taken.frames.values():
        frame: types.FrameType | None = top
        while frame is not None:
            yield frame.f_code
            frame = frame.f_back


def reader_for(cls: type, names: Names) -> Reader:
    """Return the reader of objects whose exact class is ``cls``."""
    for base, simple in (*(_FULL if names.full else ()), *_EXACT):
        if cls is base:
            return simple(cls, names)
    for base, titled, word, title in _TITLED:
        if cls is base or (base is types.ModuleType and inherits(cls, base)):
            return titled(cls, names, word, title)
    if type_flags(cls) & _TYPE_SUBCLASS:
        return Classes(cls, names, "class", class_name)
    if inherits(cls, weakref.ReferenceType):
        return WeakReferences(cls, names)
    return _reader_by_shape(cls, names)


def _reader_by_shape(cls: type, names: Names) -> Reader:
    flags = type_flags(cls)
    if not flags & HAS_GC:
        return Reader(cls, names)
    if any(cls is base for base, _ in HOLDERS):
        return Holders(cls, names)
    if flags & HEAP_TYPE and reads_plainly(cls):
        return Instances(cls, names, Parts(cls, names))
    if inherits(cls, tuple) and type_mro(cls)[1] is tuple and dict_getter(cls) is None and not slots_of(cls):
        return Tuples(cls, names)
    return Parts(cls, names)


def starts(taken: Live) -> list[Start]:
    """Return the roots: modules, the stacks of threads, constants that everything shares."""
    held: list[tuple[Label, object]] = [
        (Label("property", identifier(name, "(module)")), module)
        for name, module in dict.items(sys.modules)
        if module is not None
    ]
    return [Start("(modules)", held), Start("(threads)", _stacks(taken)), Start("(constants)", _constants())]


def _stacks(taken: Live) -> list[tuple[Label, object]]:
    held: list[tuple[Label, object]] = []
    for number, (ident, frame) in enumerate(taken.frames.items(), 1):
        thread = taken.threads.get(ident)
        attributes = {} if thread is None else _attributes(thread)
        name = thread_name(attributes.get("_name"), number)
        held.append((Label("internal", f"stack of {name}"), frame))
        if thread is not None:
            held.append((Label("internal", name), thread))
    return held


def _attributes(value: object) -> dict[object, object]:
    getter = dict_getter(type(value))
    attributes = {} if getter is None else getter(value)
    return {key: item for key, item in dict.items(attributes) if type(key) is str}


def _constants() -> list[tuple[Label, object]]:
    singles = [None, True, False, Ellipsis, NotImplemented, (), "", b""]
    shared = [*singles, *range(-5, 257), *map(chr, range(256)), *(bytes([code]) for code in range(256))]
    return [(Label("element", index), value) for index, value in enumerate(shared)]


def others() -> Sequence[object]:
    """Return all objects of the host that the collector knows: garbage that waits for it, and what C code alone holds.

    The host's objects were frozen before the walk, so that the walk's own are not among them.
    """
    gc.unfreeze()
    return gc.get_objects(generation=2)
