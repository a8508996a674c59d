"""Which code an application's view functions run, by route: reads functions as they are and calls nothing; imports no
Flask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from types import CodeType, FunctionType, MethodType
from typing import Protocol

# Names of an endpoint's rules that are shown.
_MOST_RULES = 3
# Decorators around a function; one that names itself as what it wraps would have no end.
_DEEPEST = 50
_ANSWERS = ("dispatch_request", "get", "head", "post", "put", "delete", "patch", "options", "trace")

_bases = type.__dict__["__mro__"].__get__
_namespace = type.__dict__["__dict__"].__get__


class Rule(Protocol):
    """What is read of a URL rule."""

    @property
    def rule(self) -> str:
        """Return the rule as it is written."""

    @property
    def endpoint(self) -> str:
        """Return the name of the view function that it leads to."""


def view_code(views: Mapping[str, object], rules: Iterable[Rule]) -> dict[str, tuple[CodeType, ...]]:
    """Return the code of each endpoint's view function by ``rule [endpoint]``, without a method: what runs does not
    tell it.

    ``views`` maps endpoints to view functions. Of a decorated function it is the innermost, of a class its methods.
    """
    written: dict[str, list[str]] = {}
    for rule in rules:
        written.setdefault(rule.endpoint, []).append(rule.rule)
    return {
        f"{', '.join(islice(written[endpoint], _MOST_RULES))} [{endpoint}]": code
        for endpoint, view in tuple(views.items())
        if endpoint in written and (code := _code_of(view))
    }


def _code_of(view: object) -> tuple[CodeType, ...]:
    for _ in range(_DEEPEST):
        if type(view) is FunctionType:
            attributes = view.__dict__
            inner = attributes.get("__wrapped__", attributes.get("view_class"))
            if inner is None:
                return (view.__code__,)
            view = inner
        elif type(view) is MethodType:
            view = view.__func__
        elif type(view) is partial:
            view = view.func
        elif issubclass(type(view), type):
            return _methods(view)  # type: ignore[arg-type]  # isinstance would ask the view for its class
        else:
            view = _namespace(type(view)).get("__call__")
    return ()


def _methods(cls: type) -> tuple[CodeType, ...]:
    """Return the code of the methods with which a class answers requests; those of Flask's classes are everyone's."""
    found: dict[str, CodeType] = {}
    for base in _bases(cls):
        members = _namespace(base)
        for name in _ANSWERS:
            method = members.get(name)
            if type(method) is FunctionType and method.__module__ != "flask.views":
                found.setdefault(name, method.__code__)
    return tuple(found.values())
