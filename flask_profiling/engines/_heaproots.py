"""Where the walk begins, and which reader reads which class."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Callable, Sequence

from ..model.heap import Label
from ._heapnames import Names, class_name, code_name, identifier, type_flags, type_mro
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
from ._heapthreads import Live, held_by_threads
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
    return [Start("(modules)", held), Start("(threads)", held_by_threads(taken)), Start("(constants)", _constants())]


def _constants() -> list[tuple[Label, object]]:
    shared = (None, True, False, Ellipsis, NotImplemented, (), "", b"", *range(-5, 257))
    return [(Label("element", index), value) for index, value in enumerate(shared)]


def others() -> Sequence[object]:
    """Return all objects of the host that the collector knows: garbage that waits for it, and what C code alone holds.

    The host's objects were frozen before the walk, so that the walk's own are not among them.
    """
    gc.unfreeze()
    return gc.get_objects(generation=2)
