"""The objects engine: how many objects of each class there are at start and at stop; counted by objgraph, in a forked
child.

Counting stalls the interpreter (a third of a second for half a million objects), so it never happens in the process
that serves, and where there is no fork nothing is counted.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import ModuleType

from ..model import Recording
from ..model.memory import Growth
from . import EngineOptions, _forkedwork, _heapchild, _heapmemory
from ._heapnames import class_name, identifier, namespace, plain_keys, type_mro

_UNCOUNTED = "How many objects of each class there are was not counted: {reason}."
_NO_FORK = "this platform cannot fork, and counting here would hold up every request"
_CAVEAT = "Object counts are of what the garbage collector knows, and garbage that it has not yet found is among them."
_BUILTINS = "builtins."

_FORK: Callable[[], int] | None = getattr(os, "fork", None)


class ObjectsEngine:
    """Counts objects by class twice; see :class:`flask_profiling.engines.Engine`. What stands in the way becomes a
    note."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        fork: Callable[[], int] | None = _FORK,
        shortage: Callable[[], str] = _heapmemory.shortage,
    ) -> None:
        self._fork = fork
        self._shortage = shortage
        self._before: Mapping[str, int] = {}
        self._reason = ""

    def start(self) -> None:
        """Count what there is before."""
        try:
            self._before = self._counts()
        except _forkedwork.NotDone as error:
            self._reason = str(error)

    def stop(self) -> Recording:
        """Count again and return the difference."""
        try:
            after = {} if self._reason else self._counts()
        except _forkedwork.NotDone as error:
            self._reason = str(error)
        if self._reason:
            return Recording("objects", None, (_UNCOUNTED.format(reason=self._reason),))
        counts = {name: (self._before.get(name, 0), after.get(name, 0)) for name in {**self._before, **after}}
        return Recording("objects", Growth(counts).bounded(), (_CAVEAT,))

    def abandon(self) -> None:
        """Nothing of this engine is in a child."""

    def _counts(self) -> Mapping[str, int]:
        if self._fork is None:
            raise _forkedwork.NotDone(_NO_FORK)
        objgraph = _objgraph()
        found = _forkedwork.in_child(lambda: _in_child(objgraph), fork=self._fork, shortage=self._shortage)
        assert isinstance(found, dict)
        return found


def _in_child(objgraph: ModuleType | None) -> dict[str, int]:
    _heapchild.untrace()
    return count(objgraph)


def count(objgraph: ModuleType | None) -> dict[str, int]:
    """Return the number of objects of each class that the garbage collector knows.

    objgraph asks a class for its names and prints them, which would run a metaclass's or a property's code: so it sees
    only the instances of classes whose names are plain, and the others (or all, where objgraph is not installed) are
    counted here. It is given the objects, for by itself it would collect garbage, and so run the host's ``__del__``.
    """
    groups: dict[int, list[object]] = {}
    for value in gc.get_objects():
        groups.setdefault(id(type(value)), []).append(value)
    counts: dict[str, int] = {}
    plain: list[object] = []
    for group in groups.values():
        cls = type(group[0])
        if objgraph is not None and _is_plain(cls):
            plain += group
            continue
        name = class_name(cls)
        counts[name] = counts.get(name, 0) + len(group)
    if objgraph is not None:
        for long_name, number in objgraph.typestats(plain, shortnames=False).items():
            name = long_name.removeprefix(_BUILTINS)
            counts[name] = counts.get(name, 0) + number
    return counts


def _is_plain(cls: type) -> bool:
    """Tell whether reading the class's name and module runs no code of the host and shows nothing but names."""
    metaclass = type(cls)
    if metaclass is not type and _overrides(type_mro(metaclass)):
        return False
    members = namespace(cls)
    if not plain_keys(members):
        return False
    module = members.get("__module__", "builtins")
    return identifier(module, "") != "" and identifier(type.__dict__["__name__"].__get__(cls), "") != ""


def _overrides(metaclasses: Iterable[type]) -> bool:
    names = {"__getattribute__", "__getattr__", "__module__", "__name__", "__class__"}
    for metaclass in metaclasses:
        if metaclass is type:
            return False
        members = namespace(metaclass)
        if not plain_keys(members) or not names.isdisjoint(set(members) - {"__module__"}):
            return True
    return True


def _objgraph() -> ModuleType | None:
    try:
        return import_module("objgraph")
    except ImportError:
        return None
