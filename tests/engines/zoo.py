"""Hostile objects: every hook that Python offers them counts its calls, most of them raise; a heap walk must leave
all at zero."""

from __future__ import annotations

import sys
import types
import weakref
from collections import OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable

calls: list[str] = []
# The owner of the process may look at its zoo; only then are calls allowed.
_HOOKS = [
    "__abs__",
    "__add__",
    "__aenter__",
    "__aexit__",
    "__aiter__",
    "__and__",
    "__anext__",
    "__await__",
    "__bool__",
    "__bytes__",
    "__call__",
    "__ceil__",
    "__complex__",
    "__contains__",
    "__copy__",
    "__deepcopy__",
    "__del__",
    "__delattr__",
    "__delitem__",
    "__dir__",
    "__divmod__",
    "__enter__",
    "__eq__",
    "__exit__",
    "__float__",
    "__floor__",
    "__floordiv__",
    "__format__",
    "__fspath__",
    "__ge__",
    "__getattr__",
    "__getattribute__",
    "__getitem__",
    "__getnewargs__",
    "__getstate__",
    "__gt__",
    "__hash__",
    "__index__",
    "__instancecheck__",
    "__int__",
    "__invert__",
    "__iter__",
    "__le__",
    "__len__",
    "__length_hint__",
    "__lshift__",
    "__lt__",
    "__matmul__",
    "__missing__",
    "__mod__",
    "__mul__",
    "__ne__",
    "__neg__",
    "__next__",
    "__or__",
    "__pos__",
    "__pow__",
    "__reduce__",
    "__reduce_ex__",
    "__repr__",
    "__reversed__",
    "__round__",
    "__rshift__",
    "__setattr__",
    "__setitem__",
    "__sizeof__",
    "__str__",
    "__sub__",
    "__subclasscheck__",
    "__subclasses__",
    "__truediv__",
    "__trunc__",
    "__xor__",
    "__buffer__",
    "__prepare__",
    "mro",
    "keys",
    "values",
    "items",
    "get",
    "copy",
]


class Hostile(Exception):
    """What the hooks raise."""


def hook(name: str) -> Callable[..., object]:
    def called(*arguments: object, **named: object) -> object:
        calls.append(name)
        raise Hostile(name)

    return called


def hooks(*without: str) -> dict[str, object]:
    return {name: hook(name) for name in _HOOKS if name not in without}


def lying_class() -> property:
    def pretend(self: object) -> type:
        calls.append("__class__")
        return dict

    return property(pretend)


def make(name: str, bases: tuple[type, ...], *without: str, **more: object) -> type:
    return type(name, bases, {**hooks("mro", *without), "__class__": lying_class(), **more})


class Descriptor:
    """A data descriptor that counts what it is asked."""

    def __get__(self, instance: object, owner: object) -> object:
        calls.append("descriptor get")
        raise Hostile("get")

    def __set__(self, instance: object, value: object) -> None:
        calls.append("descriptor set")
        raise Hostile("set")


class QuietDescriptor:
    """A descriptor that has no ``__set__``."""

    def __get__(self, instance: object, owner: object) -> object:
        calls.append("quiet descriptor get")
        raise Hostile("get")


class KeyText(str):
    """Text that is not exactly text; as a key of a class or a dict it is asked for its hash and whether it is equal."""

    armed = False

    def __hash__(self) -> int:
        if KeyText.armed:
            calls.append("key hash")
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        if KeyText.armed:
            calls.append("key eq")
        return str.__eq__(self, other)


class HostileMeta(type):
    """A class of classes that answers nothing without counting."""

    armed = False

    def __getattribute__(cls, name: str) -> object:
        if HostileMeta.armed:
            calls.append(f"meta {name}")
        return type.__getattribute__(cls, name)

    def __hash__(cls) -> int:
        if HostileMeta.armed:
            calls.append("meta hash")
        return type.__hash__(cls)

    def __eq__(cls, other: object) -> bool:
        if HostileMeta.armed:
            calls.append("meta eq")
        return cls is other

    def __instancecheck__(cls, instance: object) -> bool:
        calls.append("meta instancecheck")
        return False

    def __subclasscheck__(cls, subclass: type) -> bool:
        calls.append("meta subclasscheck")
        return False

    def __repr__(cls) -> str:
        calls.append("meta repr")
        return "?"

    @property
    def __name__(cls) -> str:
        calls.append("meta name")
        return "lie"

    @property
    def __dict__(cls) -> dict[str, object]:
        calls.append("meta dict")
        return {}

    @property
    def __mro__(cls) -> tuple[type, ...]:
        calls.append("meta mro")
        return ()


class LoudModule(types.ModuleType):
    """A module whose attributes answer loudly."""

    def __getattribute__(self, name: str) -> object:
        calls.append(f"module {name}")
        raise Hostile(name)


def instances() -> list[object]:
    """Return one animal of each kind."""
    plain = make("Plain", (), "__del__")
    loud = make("Loud", (), "__getattribute__", "__setattr__", "__del__")
    slotted = make("Slotted", (), "__setattr__", "__del__", __slots__=("left", "right", "unset"))
    found: list[object] = [object.__new__(plain) for _ in range(3)]
    for index, value in enumerate(found):
        object.__setattr__(value, "inside", [index])
    found.append(_with_attribute(loud))
    slot_value = object.__new__(slotted)
    object.__setattr__(slot_value, "left", [1])
    object.__setattr__(slot_value, "right", [2])
    found.append(slot_value)
    for base in (
        list,
        dict,
        tuple,
        set,
        frozenset,
        str,
        bytes,
        bytearray,
        int,
        float,
        deque,
        OrderedDict,
        defaultdict,
        Exception,
    ):
        cls = make(
            f"Hostile{base.__name__}", (base,), "__setattr__", "__del__", "__setitem__", "__getattribute__", "__hash__"
        )
        found.append(base.__new__(cls))
    found += [_descriptors(), _odd_names(), _odd_dict(), _of_hostile_class(), _weak(plain), _module(), _lazy()]
    return found


def _with_attribute(cls: type) -> object:
    value = object.__new__(cls)
    object.__setattr__(value, "inside", ["x"])
    return value


def _descriptors() -> object:
    cls = type("Described", (), {"data": Descriptor(), "quiet": QuietDescriptor(), "made": property(hook("property"))})
    value = cls()
    attributes = object.__getattribute__(value, "__dict__")
    attributes.update({"data": [1], "quiet": [2], "made": [3], "own": [4]})
    twins = [cls(), cls()]
    for twin in twins:
        object.__getattribute__(twin, "__dict__").update({"data": [1], "own": [4]})
    return [value, twins]


def _odd_names() -> object:
    cls = type("Odd", (), {})
    setattr(cls, KeyText("__sizeof__"), hook("odd sizeof"))
    namespace = {KeyText("odd"): 1, "plain": 2, KeyText("__getattr__"): hook("odd getattr")}
    return [cls(), type("Odder", (), namespace)()]


def _odd_dict() -> object:
    cls = make("OddDict", (dict,), "__setitem__", "__setattr__", "__del__", "update")
    carrier = type("Carrier", (), {})()
    odd = dict.__new__(cls)
    dict.__init__(odd, {"a": [1]})
    object.__setattr__(carrier, "__dict__", odd)
    hostile_key = object.__new__(type("Key", (), {"__repr__": hook("key repr"), "__str__": hook("key str")}))
    return [carrier, {KeyText("k"): 1, hostile_key: 2, 3: 4}]


def _of_hostile_class() -> object:
    cls = HostileMeta("OfHostileClass", (), {})
    value = cls()
    object.__setattr__(value, "inside", [1])
    return [cls, value]


def _weak(cls: type) -> object:
    target = object.__new__(cls)
    proxy = weakref.proxy(target, hook("weak callback"))
    subclass = type(
        "Reference",
        (weakref.ref,),
        {"__call__": hook("weak call"), "__eq__": hook("weak eq"), "__hash__": hook("weak hash")},
    )
    return [target, proxy, weakref.ref.__new__(subclass, target)]


def _module() -> object:
    module = LoudModule("loud_module")
    sys.modules["tests_zoo_loud_module"] = module
    quiet = types.ModuleType("quiet_module")
    quiet.__getattr__ = hook("module __getattr__")  # type: ignore[method-assign]
    sys.modules["tests_zoo_quiet_module"] = quiet
    return [module, quiet]


class _Lazy(UserDict):  # type: ignore[type-arg]
    def __getattr__(self, name: str) -> object:
        calls.append(f"lazy {name}")
        raise AttributeError(name)


def _lazy() -> object:
    return [object.__new__(_Lazy), _suspended()]


def _suspended() -> object:
    def generator() -> object:
        guest = object.__new__(make("Guest", (), "__del__"))
        yield 1
        return guest

    running = generator()
    next(running)  # type: ignore[call-overload]
    return running


def arm() -> None:
    """Let the keys and classes count, from now on."""
    KeyText.armed = HostileMeta.armed = True
    calls.clear()


def disarm() -> None:
    """Let the owner look at its zoo again."""
    KeyText.armed = HostileMeta.armed = False
    for name in ("tests_zoo_loud_module", "tests_zoo_quiet_module"):
        sys.modules.pop(name, None)
