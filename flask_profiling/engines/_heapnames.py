"""What may be called by its name: labels of edges, names of classes, functions and modules; decides what is redacted.

The rule: a name is shown if the program's *source* uses it as a name. These are attributes and globals in code
objects, the globals of modules, the members of classes and their annotations. Any other text is data: a dict key, an
attribute set from input and an interned string look the same, so only the vocabulary tells them apart.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Sequence
from itertools import compress, repeat
from operator import attrgetter, is_
from types import CodeType, FunctionType, ModuleType

from ..model.heap import Label

type_dict = type.__dict__["__dict__"].__get__
type_flags = type.__dict__["__flags__"].__get__
type_mro = type.__dict__["__mro__"].__get__
_type_qualname = type.__dict__["__qualname__"].__get__
_type_module = type.__dict__["__module__"].__get__

_LONGEST = 200
_PART = r"(?:[^\W\d]\w*|<(?:locals|lambda|module|listcomp|setcomp|dictcomp|genexpr)>)"
_DOTTED = re.compile(rf"{_PART}(?:\.{_PART})*\Z")
_CODE_NAME = attrgetter("co_qualname" if hasattr(CodeType, "co_qualname") else "co_name")
_ADDED_BY_THREADING = re.compile(
    r"(?:MainThread|Thread-\d+|Dummy-\d+|(?:ThreadPoolExecutor-\d+|waitress|asyncio)[-_]\d+)\Z"
)


def identifier(value: object, otherwise: str) -> str:
    """Return ``value`` if it is text that looks like a (dotted) Python name, else ``otherwise``."""
    if type(value) is str and len(value) <= _LONGEST and (value.isidentifier() or _DOTTED.match(value)):
        return value
    return otherwise


def namespace(cls: type) -> dict[object, object]:
    """Return a class's own dict (the real one, read-only by agreement)."""
    found: dict[object, object] = gc.get_referents(type_dict(cls))[0]
    return found


def plain_keys(names: dict[object, object]) -> bool:
    """Tell whether all keys are exact strings, so that a look-up runs no ``__eq__`` of the host."""
    return all(map(is_, map(type, names), repeat(str)))


def class_name(cls: type) -> str:
    """Return the qualified name of a class; builtins stand without their module."""
    if not plain_keys(namespace(cls)):
        return "(class)"
    module = identifier(_type_module(cls), "")
    name = identifier(_type_qualname(cls), "(class)")
    return name if module in ("builtins", "") else f"{module}.{name}"


def code_name(code: CodeType) -> str:
    """Return the qualified name of the function that ``code`` is the body of (the plain name on Python 3.10)."""
    return identifier(_CODE_NAME(code), "(function)")


def thread_name(name: object, number: int) -> str:
    """Return a thread's name if a library numbered it, else ``Thread <number>``: names that people give may say
    anything."""
    if type(name) is str:
        head = name.partition(" (")[0]
        if _ADDED_BY_THREADING.match(head):
            return head
    return f"Thread {number}"


class Labels(list[Label]):
    """The labels of edges, by number."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[Label, int] = {}

    def number(self, kind: str, name: str | int) -> int:
        """Return the number of a label, a new one if it is new."""
        label = Label(kind, name)
        number = self._numbers.get(label)
        if number is None:
            number = self._numbers[label] = len(self)
            self.append(label)
        return number


class Names(dict[str, int]):
    """Text -> the number of the label it may be shown under as the name of an attribute or key.

    ``full`` shows every text. What is not in the vocabulary is labelled :attr:`hidden`.
    """

    def __init__(self, labels: Labels, *, full: bool) -> None:
        super().__init__()
        self.labels = labels
        self.full = full
        self._classes: dict[int, int] = {}
        self.hidden = labels.number("property", "(str)")
        self.key = labels.number("internal", "(key)")

    def learn(self, names: Iterable[object]) -> None:
        """Add names to the vocabulary."""
        number = self.labels.number
        for name in names:
            if type(name) is str and name not in self:
                shown = len(name) <= _LONGEST and name.isidentifier()
                self[name] = number("property", name) if shown else self.hidden

    def __missing__(self, text: str) -> int:
        if not self.full:
            return self.hidden
        return self.labels.number("property", text[:_LONGEST])

    def attribute(self, name: object) -> int:
        """Return the label of an attribute or key that is exact text."""
        return self[name] if self.full else self.get(name, self.hidden)  # type: ignore[index, call-overload]

    def of_keys(self, keys: Iterable[object]) -> list[int]:
        """Return the labels of what stands under ``keys``."""
        if self.full:
            return [self[key] if type(key) is str else self._other(key) for key in keys]
        get, hidden = self.get, self.hidden
        return [get(key, hidden) if type(key) is str else self._other(key) for key in keys]

    def _other(self, key: object) -> int:
        cls = type(key)
        if self.full and cls is int and key.bit_length() <= 64:  # type: ignore[attr-defined]
            return self.labels.number("property", repr(key))
        number = self._classes.get(id(cls))
        if number is None:
            number = self._classes[id(cls)] = self.labels.number("property", f"({class_name(cls)})")
        return number

    def learn_program(self, objects: Sequence[object], running: Iterable[CodeType]) -> None:
        """Add the names that the code, the modules and the classes among ``objects`` use, and those of code that is
        running."""
        kinds = list(map(type, objects))
        classes = dict(zip(map(id, kinds), kinds, strict=True))
        wanted = {address for address, kind in classes.items() if type_flags(kind) & _TYPE_SUBCLASS}
        wanted |= {id(FunctionType), id(ModuleType)}
        codes = {id(code): code for code in running}
        for value in compress(objects, map(wanted.__contains__, map(id, kinds))):
            kind = type(value)
            if kind is FunctionType:
                code = value.__code__  # type: ignore[attr-defined]
                codes[id(code)] = code
            elif kind is ModuleType:
                self._learn_dict(gc.get_referents(value))
            else:
                self._learn_class(value)  # type: ignore[arg-type]
        self._learn_code(codes)

    def _learn_code(self, codes: dict[int, CodeType]) -> None:
        waiting = list(codes.values())
        names: set[str] = set()
        while waiting:
            names.update(*map(attrgetter("co_names"), waiting))
            inner = {id(value): value for code in waiting for value in code.co_consts if type(value) is CodeType}
            waiting = [code for address, code in inner.items() if address not in codes]
            codes.update(inner)
        self.learn(names)

    def _learn_class(self, cls: type) -> None:
        members = namespace(cls)
        self.learn(members)
        if plain_keys(members):
            self._learn_dict([members.get("__annotations__")])

    def _learn_dict(self, candidates: Iterable[object]) -> None:
        for candidate in candidates:
            if type(candidate) is dict:
                self.learn(candidate)
                return


# Py_TPFLAGS_TYPE_SUBCLASS: the instances of such a class are classes
_TYPE_SUBCLASS = 1 << 31
