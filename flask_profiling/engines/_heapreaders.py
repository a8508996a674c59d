"""How objects of the common classes are read, many at a time: sizes, and what they refer to by name; runs no code of
the host.

Everything goes through C-level descriptors and methods of exact builtin classes, never through an attribute of the
object.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, repeat
from operator import attrgetter, is_
from types import GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType
from typing import Any, NamedTuple

from ._heapnames import Names, class_name, namespace, plain_keys, type_flags, type_mro

HAS_GC = 1 << 14
HEAP_TYPE = 1 << 9
_MANAGED = 1 << 4 | 1 << 3
_GC_HEAD = sys.getsizeof([]) - [].__sizeof__()
_basicsize = type.__dict__["__basicsize__"].__get__
_itemsize = type.__dict__["__itemsize__"].__get__
_objclass = {
    kind: kind.__dict__["__objclass__"].__get__
    for kind in (GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType)
}
_MISSING = object()
# Objects read in one go; small enough that the working set stays in the processor's cache.
STEP = 4096
# Pieces of a class that did not fit; then its objects are no longer tried in bulk.
_MOST_MISSES = 8


class Reading(NamedTuple):
    """What some objects refer to.

    ``counts`` are edges per object, one for all or one each; ``labels`` name the edges and repeat until the children
    are used up (None: the children are elements, numbered from 0 in each object); ``children`` are the objects
    referred to, object after object;
    ``late`` tells that some labels are weak.
    """

    counts: int | Sequence[int]
    labels: Sequence[int] | None
    children: tuple[object, ...]
    late: bool = False


Sizes = int | Sequence[int]


def find(cls: type, name: str) -> object:
    """Return what the class or its bases hold under ``name``, unbound, or ``_MISSING``; compares no keys of the
    host's making."""
    for base in type_mro(cls):
        members = namespace(base)
        if plain_keys(members):
            value = members.get(name, _MISSING)
        else:
            value = next((item for key, item in members.items() if type(key) is str and key == name), _MISSING)
        if value is not _MISSING:
            return value
    return _MISSING


def sizer(cls: type) -> tuple[int, Callable[[Sequence[object]], Sizes]]:
    """Return the bytes in front of an object of the class, and how to size such objects with C code alone."""
    flags = type_flags(cls)
    ahead = (_GC_HEAD if flags & HAS_GC else 0) + (2 * 8 if sys.version_info >= (3, 11) and flags & _MANAGED else 0)
    bases = type_mro(cls)
    for base in bases:
        method = namespace(base).get("__sizeof__") if plain_keys(namespace(base)) else None
        if type(method) is not MethodDescriptorType or not any(
            map(is_, bases, repeat(_objclass[MethodDescriptorType](method)))
        ):
            continue
        if base is object and not _itemsize(cls):
            break
        return ahead, partial(_measured, method)
    return ahead, partial(_constant, _basicsize(cls))


def _measured(method: Callable[[object], int], objects: Sequence[object]) -> Sizes:
    return list(map(method, objects))


def _constant(size: int, objects: Sequence[object]) -> Sizes:
    return size


class Reader:
    """How objects of one exact class are read; this one: they refer to nothing."""

    kind = "object"
    step = 2 * STEP

    def __init__(self, cls: type, names: Names) -> None:
        self.cls = cls
        self.name = class_name(cls)
        self.known = names
        self.extra, self.sizes = sizer(cls)

    def names(self, objects: Sequence[object]) -> str | Sequence[str]:
        """Return what the objects are shown as, one for all or one each."""
        return self.name

    def read(self, objects: Sequence[object]) -> Reading | None:
        """Return what the objects refer to; None where such objects never refer to anything."""
        return None


class FullText(Reader):
    """Text, shown with its contents."""

    kind = "string"

    def names(self, objects: Sequence[object]) -> Sequence[str]:
        """Return the texts, cut where they are long."""
        return [text[:1000] for text in objects]  # type: ignore[index]


class FullBytes(Reader):
    """Bytes, shown with their contents."""

    kind = "string"

    def names(self, objects: Sequence[object]) -> Sequence[str]:
        """Return the literals, cut where they are long."""
        return [bytes.__repr__(value[:1000]) for value in objects]  # type: ignore[index]


class FullNumber(Reader):
    """Integers and floats, shown with their values."""

    kind = "number"

    def names(self, objects: Sequence[object]) -> Sequence[str]:
        """Return the literals; an integer of more than 256 bits by its size."""
        return [repr(value) if type(value) is float or value.bit_length() <= 256 else "(big int)" for value in objects]  # type: ignore[attr-defined]


class Elements(Reader):
    """Exact lists, tuples, sets and frozensets."""

    step = STEP

    def read(self, objects: Sequence[object]) -> Reading:
        """Return the elements."""
        lengths = list(map(len, objects))  # type: ignore[arg-type]
        alike = lengths.count(lengths[0]) == len(lengths)
        children: tuple[object, ...] = tuple(chain.from_iterable(objects))  # type: ignore[arg-type]
        return Reading(lengths[0] if alike else lengths, None, children)


class Dicts(Reader):
    """Exact dicts: the keys first, then the values under the names of their keys."""

    step = STEP // 2

    def read(self, objects: Sequence[dict[object, object]]) -> Reading:  # type: ignore[override]
        """Return keys and values."""
        known = self.known
        lengths = list(map(len, objects))
        parts = chain.from_iterable(zip(objects, map(dict.values, objects), strict=True))
        children = tuple(chain.from_iterable(parts))
        if lengths.count(lengths[0]) == len(lengths) and self._alike(children, lengths[0]):
            return Reading(2 * lengths[0], [known.key] * lengths[0] + known.of_keys(objects[0]), children)
        labels: list[int] = []
        for mapping, length in zip(objects, lengths, strict=True):
            labels += [known.key] * length
            labels += known.of_keys(mapping)
        return Reading([2 * length for length in lengths], labels, children)

    def _alike(self, children: tuple[object, ...], length: int) -> bool:
        """Tell whether all dicts, of one length, have the very same keys."""
        width = 2 * length
        columns = [children[column::width] for column in range(length)]
        return length > 0 and all(all(map(is_, column, repeat(column[0]))) for column in columns)


class Tuples(Reader):
    """Tuples of a subclass without attributes (named tuples): the elements, then the class."""

    step = STEP // 4

    def __init__(self, cls: type, names: Names) -> None:
        super().__init__(cls, names)
        self._class = names.labels.number("internal", "__class__")

    def read(self, objects: Sequence[tuple[object, ...]]) -> Reading:  # type: ignore[override]
        """Return elements and class."""
        lengths = list(map(tuple.__len__, objects))
        number = self.known.labels.number
        patterns = {
            length: [number("element", index) for index in range(length)] + [self._class] for length in set(lengths)
        }
        last = (self.cls,)
        children = tuple(chain.from_iterable(map(chain, map(tuple.__iter__, objects), repeat(last))))
        if len(patterns) == 1:
            return Reading(lengths[0] + 1, patterns[lengths[0]], children)
        labels = list(chain.from_iterable(map(patterns.__getitem__, lengths)))
        return Reading([length + 1 for length in lengths], labels, children)


class Instances(Reader):
    """Instances of classes written in Python, read in bulk while all of them have the same attributes.

    What the names give is compared with what the collector finds, object by object: what does not fit goes to
    ``otherwise``. No dict is made for them, except for one sample (in the walking process).
    """

    step = STEP // 4

    def __init__(self, cls: type, names: Names, otherwise: Reader) -> None:
        super().__init__(cls, names)
        self._otherwise = otherwise
        self._class = names.labels.number("internal", "__class__")
        self._dict = [names.labels.number("internal", "__dict__"), self._class]
        self._slots = slots_of(cls)
        self._dict_of = dict_getter(cls)
        self._attributes: tuple[str, ...] = ()
        self._labels: list[int] = []
        self._misses = 0

    def read(self, objects: Sequence[object]) -> Reading:
        """Return the attributes, or the dict that holds them, and the class."""
        if self._misses < _MOST_MISSES:
            referents = gc.get_referents(*objects)
            reading = self._by_name(objects, referents) or self._by_dict(objects, referents)
            if reading is None and self._learn(objects[0]):
                # what the collector found before: asking the sample for its names may have given it a dict of its own
                reading = self._by_name(objects, referents)
            if reading is not None:
                return reading
            self._misses += 1
        reading = self._otherwise.read(objects)
        assert reading is not None
        return reading

    def _learn(self, sample: object) -> bool:
        """Learn the names of a sample's attributes, in the order in which the collector finds them."""
        referents = list(map(id, gc.get_referents(sample)))
        attributes: dict[Any, object] = {} if self._dict_of is None else self._dict_of(sample)
        if type(attributes) is not dict or not plain_keys(attributes):
            return False
        inherited = [find(self.cls, name) for name in attributes]
        if any(value is not _MISSING and is_data_descriptor(value) for value in inherited):
            return False
        values = dict(attributes)
        for name, slot in self._slots.items():
            try:
                values[name] = slot.__get__(sample)
            except AttributeError:
                continue
        if len(values) != len(referents) - 1:
            return False
        order = {address: position for position, address in reversed(list(enumerate(referents)))}
        names = sorted(values, key=lambda name: order.get(id(values[name]), 0))
        self._attributes = tuple(names)
        self._labels = [self.known.attribute(name) for name in names] + [self._class]
        return True

    def _by_name(self, objects: Sequence[object], referents: Sequence[object]) -> Reading | None:
        width = len(self._labels)
        if not width or len(referents) != width * len(objects):
            return None
        try:
            children = self._children(objects, width - 1)
        except AttributeError:
            return None
        if all(map(is_, referents, children)) or sorted(map(id, children)) == sorted(map(id, referents)):
            return Reading(width, self._labels, children)
        return None

    def _by_dict(self, objects: Sequence[object], referents: Sequence[object]) -> Reading | None:
        if self._dict_of is None or self._slots or len(referents) != 2 * len(objects):
            return None
        if not all(map(is_, referents[1::2], repeat(self.cls))) or not all(
            map(is_, map(type, referents[::2]), repeat(dict))
        ):
            return None
        if not all(map(is_, map(self._dict_of, objects), referents[::2])):
            return None
        return Reading(2, self._dict, tuple(referents))

    def _children(self, objects: Sequence[object], attributes: int) -> tuple[object, ...]:
        last = (self.cls,)
        if not attributes:
            return last * len(objects)
        values = map(attrgetter(*self._attributes), objects)
        if attributes == 1:
            return tuple(chain.from_iterable(zip(values, repeat(self.cls))))
        return tuple(chain.from_iterable(map(chain, values, repeat(last))))


def slots_of(cls: type) -> dict[str, MemberDescriptorType]:
    """Return the slots that classes written in Python declare, by name."""
    found: dict[str, MemberDescriptorType] = {}
    for base in type_mro(cls):
        if type_flags(base) & HEAP_TYPE:
            for name, value in namespace(base).items():
                if type(name) is str and type(value) is MemberDescriptorType:
                    found.setdefault(name, value)
    return found


def dict_getter(cls: type) -> Callable[[object], dict[object, object]] | None:
    """Return the C function that gives an instance's dict, None where instances have none."""
    for base in type_mro(cls):
        if base is type:
            return None
        for name, value in namespace(base).items():
            if type(name) is str and name == "__dict__" and type(value) is GetSetDescriptorType:
                getter: Callable[[object], dict[object, object]] = value.__get__
                return getter
    return None


def is_data_descriptor(value: object) -> bool:
    """Tell whether a class attribute takes precedence over an instance's own."""
    return find(type(value), "__set__") is not _MISSING or find(type(value), "__delete__") is not _MISSING


def reads_plainly(cls: type) -> bool:
    """Tell whether reading an attribute of an instance is C code alone: no ``__getattr__``, no ``__getattribute__``,
    no builtin base."""
    bases = type_mro(cls)
    if not all(type_flags(base) & HEAP_TYPE and plain_keys(namespace(base)) for base in bases[:-1]):
        return False
    return find(cls, "__getattr__") is _MISSING and find(cls, "__getattribute__") is find(object, "__getattribute__")
