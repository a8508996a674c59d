"""What the application calls may answer any question with an error: no engine asks one, on any Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MethodType

import pytest

from flask_profiling.engines import EngineOptions, create, with_companion

from .harness import request

HERE = str(Path(__file__).parent)
ASKED: list[str] = []


def asked(name: str) -> Callable[..., object]:
    def answer(*_: object) -> object:
        ASKED.append(name)
        raise RuntimeError(name)

    return answer


class Meta(type):
    __hash__ = asked("hash of a class")  # type: ignore[assignment]
    __eq__ = asked("equality of classes")  # type: ignore[assignment]
    __instancecheck__ = asked("isinstance")  # type: ignore[assignment]
    __getattribute__ = asked("attribute of a class")  # type: ignore[assignment]


class Hostile(metaclass=Meta):
    __hash__ = asked("hash")  # type: ignore[assignment]
    __eq__ = asked("equality")  # type: ignore[assignment]
    __bool__ = asked("truth")
    __repr__ = asked("repr")  # type: ignore[assignment]
    __getattribute__ = asked("attribute")  # type: ignore[assignment]

    def __call__(self, number: int = 0) -> int:
        return number + 1


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, number: int = 0) -> int:
        return number + 1


class Indirect:
    """What a call of it runs is hostile itself."""

    __call__ = Hostile()


def first(self: object) -> int:
    return 1


def visit() -> list[int]:
    hostile = Hostile()
    return [
        hostile(),
        partial(hostile, 1)(),
        MethodType(first, hostile)(),
        Unhashable()(),
        Indirect()(),
        *map(hostile, [1]),
        *sorted([2, 1], key=hostile),
    ]


@pytest.mark.parametrize("scope", ["app", "all"])
@pytest.mark.parametrize("name", ["calltree", *with_companion("cprofile")])
def test_what_is_called_is_never_asked_about_itself(name: str, scope: str) -> None:
    ASKED.clear()
    expected = visit()
    assert ASKED == []
    engine = create(name, EngineOptions("prof-test", app_paths=(HERE,), scope=scope))
    found: list[list[int]] = []
    engine.start()
    try:
        for _ in range(2):
            request(engine, "GET /", lambda: found.append(visit()))
    finally:
        engine.stop()
    assert found == [expected] * 2
    assert ASKED == []
