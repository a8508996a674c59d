"""How objects of the less common classes are read, one at a time: what is known about their parts names what the
collector finds in them.

The collector's own traversal says *what* an object refers to; C-level fields, slots, dicts and frames say what it is
called.
"""

from __future__ import annotations

import functools
import gc
import sys
import types
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from typing import Any, NamedTuple

from ._heapnames import Names, identifier, namespace, type_flags, type_mro
from ._heapreaders import HEAP_TYPE, STEP, Reader, Reading, dict_getter, slots_of
from ._heapthreads import frame_locals

Pair = tuple[int, object]
Part = Callable[[object], Iterable[Pair]]

# Until Python 3.10 the frame of a generator is an object of its own; later, asking for it would make one.
_FRAMES = ("gi_frame", "cr_frame", "ag_frame") if sys.version_info < (3, 11) else ()
# Builtin class -> fields that are C-level on it; what they give counts only if the collector finds it in the object
# too. Those that may hold None come first: the others have none of it.
_FIELDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (
        types.FunctionType,
        (
            *("__doc__", "__module__", "__code__", "__globals__", "__closure__", "__defaults__", "__kwdefaults__"),
            *("__builtins__", "__name__", "__qualname__"),
        ),
    ),
    (types.MethodType, ("__func__", "__self__")),
    (types.BuiltinFunctionType, ("__self__", "__module__")),
    (types.TracebackType, ("tb_frame", "tb_next")),
    (property, ("__doc__", "fget", "fset", "fdel")),
    (staticmethod, ("__func__",)),
    (classmethod, ("__func__",)),
    (slice, ("start", "stop", "step")),
    (super, ("__thisclass__", "__self__", "__self_class__")),
    (functools.partial, ("func", "args", "keywords")),
    (types.GeneratorType, ("gi_code", *_FRAMES[:1])),
    (types.CoroutineType, ("cr_code", *_FRAMES[1:2])),
    (types.AsyncGeneratorType, ("ag_code", *_FRAMES[2:])),
    (BaseException, ("args", "__traceback__", "__context__", "__cause__")),
    (type, ("__mro__", "__bases__", "__base__")),
    (defaultdict, ("default_factory",)),
)
# References that the collector does not follow.
_OWNED_FIELDS: tuple[tuple[type, tuple[str, ...]], ...] = ((types.FrameType, ("f_back", "f_code", "f_globals")),)
_CODE_FIELDS = tuple(
    name
    for name in ("co_consts", "co_names", "co_filename", "co_name", "co_qualname", "co_linetable", "co_exceptiontable")
    if type(types.CodeType.__dict__.get(name)) is types.MemberDescriptorType
)
_SUSPENDED: tuple[tuple[type, str], ...] = (
    (types.GeneratorType, "gi_frame"),
    (types.CoroutineType, "cr_frame"),
    (types.AsyncGeneratorType, "ag_frame"),
)
# Classes that hold one thing only.
HOLDERS = (
    (types.CellType, "cell_contents"),
    (types.MappingProxyType, "mapping"),
    (types.ModuleType, "__dict__"),
    (type, "(member)"),
)
_SEQUENCES: tuple[type[Any], ...] = (list, tuple, deque, set, frozenset)
_MOST_PATTERNS = 16
_VALUES_ARE_INLINE = sys.version_info >= (3, 13)
_weak_target = weakref.ReferenceType.__call__


class _Pattern(NamedTuple):
    """Which fields stand where among the references of an object: what the getters give of both must be the same
    objects.

    What stands at the places in ``rest`` must be no field at all.
    """

    rest: Sequence[int]
    found: Callable[[Sequence[object]], tuple[object, ...]]
    named: Callable[[Sequence[object]], tuple[object, ...]]
    labels: Sequence[int]


def _pattern(referents: Sequence[object], values: Sequence[object], labels: Sequence[int]) -> _Pattern | None:
    places: dict[int, int] = {}
    for index, value in enumerate(values):
        where = next((at for at, child in enumerate(referents) if child is value and at not in places), None)
        if where is not None:
            places[where] = index
    if len(places) < 2 or len(labels) != len(referents):
        return None
    rest = [at for at in range(len(referents)) if at not in places]
    return _Pattern(rest, itemgetter(*places), itemgetter(*places.values()), labels)


class Parts(Reader):
    """Objects of any class that the collector can look into.

    ``parts`` name what the collector finds; ``owned`` name references that it does not follow.
    """

    step = STEP // 4

    def __init__(self, cls: type, names: Names) -> None:
        super().__init__(cls, names)
        number = names.labels.number
        self._class = number("internal", "__class__")
        self._other = number("internal", _holds(cls))
        self._dict_of = dict_getter(cls) if type_flags(cls) & HEAP_TYPE else None
        self._dict = self._other if self._dict_of is None else number("internal", "__dict__")
        self.parts = parts_of(cls, names)
        self.owned = owned_of(cls, names)
        fields = next((fields for base, fields in _FIELDS if base is cls and cls is not type), ())
        self._fields_of = attrgetter(*fields) if len(fields) > 1 else None
        self._patterns: dict[int, list[_Pattern]] = {}

    def read(self, objects: Sequence[object]) -> Reading:
        """Return everything, with names where they are known."""
        counts: list[int] = []
        labels: list[int] = []
        children: list[object] = []
        add = self.one if self._fields_of is None else self._like_another
        for value in objects:
            before = len(children)
            add(value, labels, children)
            counts.append(len(children) - before)
        return Reading(counts, labels, tuple(children))

    def _like_another(self, value: object, labels: list[int], children: list[object]) -> None:
        """Add what one object refers to, named like those of an object before it, if the same fields are at the same
        positions."""
        assert self._fields_of is not None
        referents = gc.get_referents(value)
        values = self._fields_of(value)
        patterns = self._patterns.setdefault(len(referents), [])
        for pattern in patterns:
            if all(map(is_, pattern.found(referents), pattern.named(values))) and not any(
                any(map(is_, values, repeat(referents[at]))) for at in pattern.rest
            ):
                labels += pattern.labels
                children += referents
                return
        first = len(labels)
        self.one(value, labels, children)
        learned = _pattern(referents, values, labels[first:])
        if learned is not None and len(patterns) < _MOST_PATTERNS:
            patterns.append(learned)

    def one(self, value: object, labels: list[int], children: list[object]) -> None:
        """Add what one object refers to."""
        referents = gc.get_referents(value)
        owned = [pair for part in self.owned for pair in part(value) if pair[1] is not None]
        pairs = [pair for part in self.parts for pair in part(value)]
        if self._dict_of is not None:
            pairs += self._attributes(value, referents)
        named: dict[int, list[int]] = {}
        for label, child in reversed(pairs + owned):
            named.setdefault(id(child), []).append(label)
        for child in referents:
            waiting = named.get(id(child))
            if waiting:
                labels.append(waiting.pop())
            elif child is self.cls:
                labels.append(self._class)
            else:
                labels.append(self._dict if type(child) is dict else self._other)
        children += referents
        for label, child in owned:
            if label in named[id(child)]:
                named[id(child)].remove(label)
                labels.append(label)
                children.append(child)

    def _attributes(self, value: object, referents: Sequence[object]) -> Iterable[Pair]:
        """Return the attributes that are kept without a dict; asking for the dict makes one, so ``referents`` come
        first."""
        if not referents or self._dict_of is None:
            return []
        attributes = self._dict_of(value)
        if type(attributes) is not dict or (not _VALUES_ARE_INLINE and any(map(is_, referents, repeat(attributes)))):
            return []
        return zip(self.known.of_keys(attributes), attributes.values(), strict=True)


class Holders(Parts):
    """Objects that hold one other object, or none."""

    step = STEP

    def read(self, objects: Sequence[object]) -> Reading:
        """Return what they hold."""
        held = list(map(gc.get_referents, objects))
        return Reading(list(map(len, held)), [self._other], tuple(chain.from_iterable(held)))


class Titled(Parts):
    """Objects that are shown with a name of their own: functions, modules, frames, code."""

    def __init__(self, cls: type, names: Names, word: str, title: Callable[..., str]) -> None:
        super().__init__(cls, names)
        self._word = word
        self._title = title

    def names(self, objects: Sequence[object]) -> Sequence[str]:
        """Return one name each, in angle brackets, so that DevTools groups them under the first word."""
        return [f"<{self._word} {self._title(value)}>" for value in objects]


class Codes(Titled):
    """Code objects; the collector does not look into them."""

    def read(self, objects: Sequence[object]) -> Reading:
        """Return constants, names and tables."""
        labels = [self.known.labels.number("internal", field) for field in _CODE_FIELDS]
        values = chain.from_iterable(map(attrgetter(*_CODE_FIELDS), objects))
        return Reading(len(labels), labels, tuple(values))


class Classes(Titled):
    """Classes; the collector does not look into the static ones."""

    def one(self, value: object, labels: list[int], children: list[object]) -> None:
        """Add what one class refers to."""
        if type_flags(value) & HEAP_TYPE:
            super().one(value, labels, children)
            return
        number = self.known.labels.number
        labels += [number("internal", "__dict__"), number("internal", "__mro__")]
        children += [namespace(value), type_mro(value)]  # type: ignore[arg-type]


class WeakReferences(Parts):
    """Weak references: the object is named by a weak edge, the callback by an ordinary one."""

    def __init__(self, cls: type, names: Names) -> None:
        super().__init__(cls, names)
        self._weak = names.labels.number("weak", "referent")

    def read(self, objects: Sequence[object]) -> Reading:
        """Return what the references hold and what they point to."""
        return super().read(objects)._replace(late=True)

    def one(self, value: object, labels: list[int], children: list[object]) -> None:
        """Add what one weak reference holds, and its target if that is alive."""
        super().one(value, labels, children)
        target = _weak_target(value)  # type: ignore[arg-type]
        if target is not None:
            labels.append(self._weak)
            children.append(target)


def inherits(cls: type, base: type) -> bool:
    """Tell whether ``base`` is among the bases of ``cls``, by identity."""
    return any(map(is_, type_mro(cls), repeat(base)))


def module_title(module: object) -> str:
    """Return a module's name as its own globals tell it."""
    for candidate in gc.get_referents(module):
        if type(candidate) is dict:
            return identifier(
                next((value for key, value in candidate.items() if type(key) is str and key == "__name__"), None), "?"
            )
    return "?"


def parts_of(cls: type, names: Names) -> list[Part]:
    """Return what is known about the parts of objects of ``cls`` that the collector follows."""
    number = names.labels.number
    getters = [
        (number("internal", field), namespace(base)[field].__get__)  # type: ignore[attr-defined]
        for base, fields in _FIELDS
        if inherits(cls, base)
        for field in fields
        if field in namespace(base)
    ]
    getters += [(names.attribute(name), slot.__get__) for name, slot in slots_of(cls).items()]
    parts: list[Part] = [functools.partial(_fields, getters)] if getters else []
    bases = [base for base in _SEQUENCES if inherits(cls, base)]
    parts += [functools.partial(_elements, base.__iter__, number) for base in bases]
    if inherits(cls, dict):
        parts.append(functools.partial(_values, names))
    for base, field in _SUSPENDED:
        if cls is base:
            parts.append(functools.partial(_suspended_locals, base.__dict__[field].__get__, number))
    return parts


def owned_of(cls: type, names: Names) -> list[Part]:
    """Return the parts of objects of ``cls`` that the collector does not follow."""
    number = names.labels.number
    getters = [
        (number("internal", field), namespace(base)[field].__get__)  # type: ignore[attr-defined]
        for base, fields in _OWNED_FIELDS
        if cls is base
        for field in fields
        if field in namespace(base)
    ]
    parts: list[Part] = [functools.partial(_fields, getters)] if getters else []
    if cls is types.FrameType:
        parts.append(lambda frame: _locals(number, frame))  # type: ignore[arg-type]
    if inherits(cls, dict):
        parts.append(functools.partial(_text_keys, names))
    return parts


def _values(names: Names, value: Any) -> Iterable[Pair]:
    return zip(names.of_keys(dict.__iter__(value)), dict.values(value), strict=True)


def _text_keys(names: Names, value: Any) -> Iterable[Pair]:
    return [(names.key, key) for key in dict.__iter__(value) if type(key) is str]


def _holds(cls: type) -> str:
    return next((name for base, name in HOLDERS if inherits(cls, base)), "(reference)")


def _locals(number: Callable[[str, str], int], frame: types.FrameType) -> list[Pair]:
    return [(number("context", name), value) for name, value in frame_locals(frame)]


def _fields(getters: Sequence[tuple[int, Callable[[object], object]]], value: object) -> Iterable[Pair]:
    for label, get in getters:
        try:
            child = get(value)
        except (AttributeError, ValueError):
            continue
        yield label, child


def _elements(
    iterate: Callable[[object], Iterable[object]], number: Callable[[str, int], int], value: object
) -> Iterable[Pair]:
    return [(number("element", index), child) for index, child in enumerate(list(iterate(value)))]


def _suspended_locals(
    frame_of: Callable[[object], object], number: Callable[[str, str], int], value: object
) -> Iterable[Pair]:
    frame = frame_of(value)
    if type(frame) is not types.FrameType:
        return []
    return _locals(number, frame)
