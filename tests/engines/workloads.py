"""Programs whose calls are known: what to run, and by hand how often each function is called and by whom.

``functions`` maps a name to (calls, primitive calls), ``edges`` maps (caller, callee) to calls, both for one run.
Generators and coroutines count one call each time they are resumed. No comprehensions: 3.12 made them part of the
function around.
"""

from __future__ import annotations

import json
import time
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """One program and the truth about it."""

    run: Callable[[], object]
    functions: dict[str, tuple[int, int]]
    edges: dict[tuple[str, str], int]


def give_way() -> None:
    """Let another thread run here, so that the stacks of all threads interleave."""
    time.sleep(0)


# one helper, two callers


def helper() -> None:
    give_way()


def left() -> None:
    helper()
    helper()


def right() -> None:
    for _ in range(3):
        helper()


def two_callers() -> None:
    left()
    right()
    helper()


# a library that calls back, and what is raised through it (in no table: how much of the library shows is the engine's)


def raising_default(value: object) -> object:
    helper()
    raise LookupError


def exceptions_through_the_library() -> None:
    for _ in range(3):
        try:
            json.dumps(object(), default=raising_default)
        except LookupError:
            helper()


# recursion


def factorial(number: int) -> int:
    give_way()
    return 1 if number <= 1 else number * factorial(number - 1)


def recursion() -> None:
    assert factorial(6) == 720


def is_even(number: int) -> bool:
    give_way()
    return True if number == 0 else is_odd(number - 1)


def is_odd(number: int) -> bool:
    return False if number == 0 else is_even(number - 1)


def mutual_recursion() -> None:
    assert is_even(6)


def descend(depth: int) -> None:
    if depth:
        descend(depth - 1)


def deep_recursion() -> None:
    descend(400)


# generators


def produce(number: int) -> Iterator[int]:
    for value in range(number):
        helper()
        yield value


def delegate(number: int) -> Iterator[int]:
    yield from produce(number)


def generators() -> None:
    for _ in produce(3):
        give_way()
    for _ in delegate(2):
        give_way()


def catches() -> Generator[int, None, None]:
    try:
        yield 1
    except ValueError:
        helper()
        yield 2


def cleans_up() -> Generator[int, None, None]:
    try:
        yield 1
    finally:
        helper()


def fails() -> Generator[int, None, None]:
    yield 1


def thrown_into_generators() -> None:
    generator = catches()
    next(generator)
    give_way()
    assert generator.throw(ValueError()) == 2
    next(generator, None)
    generator = cleans_up()
    next(generator)
    generator.close()
    generator = fails()
    next(generator)
    try:
        generator.throw(KeyError())
    except KeyError:
        give_way()


# coroutines


@types.coroutine
def suspend(times: int) -> Generator[None, None, None]:
    for _ in range(times):
        yield


async def inner(times: int) -> None:
    helper()
    await suspend(times)


async def outer() -> None:
    await inner(2)
    await inner(1)


def drive(coroutine: Coroutine[None, None, None]) -> int:
    steps = 1
    try:
        while True:
            coroutine.send(None)
            give_way()
            steps += 1
    except StopIteration:
        return steps


def coroutines() -> None:
    assert drive(outer()) == 4


# exceptions


def bottom() -> None:
    give_way()
    raise LookupError


def middle() -> None:
    try:
        bottom()
    finally:
        helper()


def passes_on() -> None:
    middle()


def exceptions() -> None:
    for _ in range(2):
        try:
            passes_on()
        except LookupError:
            helper()


def leaves() -> None:
    raise SystemExit(3)


def system_exit() -> None:
    try:
        leaves()
    except SystemExit:
        helper()


# calls through C


def key(value: int) -> int:
    give_way()
    return -value


class Managed:
    """Called by the interpreter: construction, ``with``, attributes, comparison."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __enter__(self) -> int:
        return self.size

    def __exit__(self, *error: object) -> None:
        helper()

    @property
    def size(self) -> int:
        return self.value

    def __lt__(self, other: Managed) -> bool:
        return self.value < other.value


def through_c() -> None:
    assert sorted([1, 2, 3], key=key) == [3, 2, 1]
    with Managed(2) as size:
        assert size == 2
    assert min(Managed(1), Managed(2)).value == 1


WORKLOADS: dict[str, Workload] = {
    "two callers": Workload(
        two_callers,
        {"two_callers": (1, 1), "left": (1, 1), "right": (1, 1), "helper": (6, 6), "give_way": (6, 6)},
        {
            ("two_callers", "left"): 1,
            ("two_callers", "right"): 1,
            ("two_callers", "helper"): 1,
            ("left", "helper"): 2,
            ("right", "helper"): 3,
            ("helper", "give_way"): 6,
        },
    ),
    "recursion": Workload(
        recursion,
        {"recursion": (1, 1), "factorial": (6, 1), "give_way": (6, 6)},
        {("recursion", "factorial"): 1, ("factorial", "factorial"): 5, ("factorial", "give_way"): 6},
    ),
    "mutual recursion": Workload(
        mutual_recursion,
        {"mutual_recursion": (1, 1), "is_even": (4, 1), "is_odd": (3, 1), "give_way": (4, 4)},
        {
            ("mutual_recursion", "is_even"): 1,
            ("is_even", "is_odd"): 3,
            ("is_odd", "is_even"): 3,
            ("is_even", "give_way"): 4,
        },
    ),
    "deep recursion": Workload(
        deep_recursion,
        {"deep_recursion": (1, 1), "descend": (401, 1)},
        {("deep_recursion", "descend"): 1, ("descend", "descend"): 400},
    ),
    "generators": Workload(
        generators,
        {
            "generators": (1, 1),
            "produce": (4 + 3, 4 + 3),
            "delegate": (3, 3),
            "helper": (5, 5),
            "give_way": (5 + 5, 5 + 5),
        },
        {
            ("generators", "produce"): 4,
            ("generators", "delegate"): 3,
            ("delegate", "produce"): 3,
            ("produce", "helper"): 5,
            ("generators", "give_way"): 5,
            ("helper", "give_way"): 5,
        },
    ),
    "thrown into generators": Workload(
        thrown_into_generators,
        {
            "thrown_into_generators": (1, 1),
            "catches": (3, 3),
            "cleans_up": (2, 2),
            "fails": (2, 2),
            "helper": (2, 2),
            "give_way": (4, 4),
        },
        {
            ("thrown_into_generators", "catches"): 3,
            ("thrown_into_generators", "cleans_up"): 2,
            ("thrown_into_generators", "fails"): 2,
            ("thrown_into_generators", "give_way"): 2,
            ("catches", "helper"): 1,
            ("cleans_up", "helper"): 1,
            ("helper", "give_way"): 2,
        },
    ),
    "coroutines": Workload(
        coroutines,
        {
            "coroutines": (1, 1),
            "drive": (1, 1),
            "outer": (4, 4),
            "inner": (3 + 2, 3 + 2),
            "suspend": (3 + 2, 3 + 2),
            "helper": (2, 2),
            "give_way": (3 + 2, 3 + 2),
        },
        {
            ("coroutines", "drive"): 1,
            ("drive", "outer"): 4,
            ("outer", "inner"): 5,
            ("inner", "suspend"): 5,
            ("inner", "helper"): 2,
            ("drive", "give_way"): 3,
            ("helper", "give_way"): 2,
        },
    ),
    "exceptions": Workload(
        exceptions,
        {
            "exceptions": (1, 1),
            "passes_on": (2, 2),
            "middle": (2, 2),
            "bottom": (2, 2),
            "helper": (4, 4),
            "give_way": (6, 6),
        },
        {
            ("exceptions", "passes_on"): 2,
            ("passes_on", "middle"): 2,
            ("middle", "bottom"): 2,
            ("middle", "helper"): 2,
            ("exceptions", "helper"): 2,
            ("bottom", "give_way"): 2,
            ("helper", "give_way"): 4,
        },
    ),
    "system exit": Workload(
        system_exit,
        {"system_exit": (1, 1), "leaves": (1, 1), "helper": (1, 1), "give_way": (1, 1)},
        {("system_exit", "leaves"): 1, ("system_exit", "helper"): 1, ("helper", "give_way"): 1},
    ),
    "through C": Workload(
        through_c,
        {
            "through_c": (1, 1),
            "key": (3, 3),
            "__init__": (3, 3),
            "__enter__": (1, 1),
            "size": (1, 1),
            "__exit__": (1, 1),
            "__lt__": (1, 1),
            "helper": (1, 1),
            "give_way": (4, 4),
        },
        {
            ("through_c", "key"): 3,
            ("through_c", "__init__"): 3,
            ("through_c", "__enter__"): 1,
            ("__enter__", "size"): 1,
            ("through_c", "__exit__"): 1,
            ("through_c", "__lt__"): 1,
            ("__exit__", "helper"): 1,
            ("key", "give_way"): 3,
            ("helper", "give_way"): 1,
        },
    ),
}
