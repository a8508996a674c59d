"""The changes that ``make mutation`` makes: each kind is made, only where code runs, and is valid Python."""

from __future__ import annotations

import pytest

from tests.imports import house
from tests.mutation import ROOMS, mutants


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if a:\n    b = c", {"if (not (a)):\n    b = c"}),
        ("x = [a for a in b if a]", {"x = [a for a in b if (not (a))]"}),
        ("x = a and b and c", {"x = ((b) and (c))", "x = ((a) and (c))", "x = ((a) and (b))"}),
        ("x = a | b", {"x = (a)", "x = (b)"}),
        ("x = a < b == c", {"x = (a <= b == c)", "x = (a < b != c)"}),
        ("x = not a", {"x = (a)"}),
        ("x = True", {"x = False"}),
        ("x = 1.5", {"x = 2.5", "x = (0.5)"}),
        ("raise a", {"pass"}),
        ("f(a)", {"pass"}),
        ("while a:\n    break", {"while (not (a)):\n    break", "while a:\n    pass"}),
        ("try:\n    a = b\nexcept E:\n    c = d", {"try:\n    a = b\nexcept E:\n    raise; c = d"}),
        ("try:\n    a = b\nexcept E:\n    raise", {"try:\n    a = b\nexcept E:\n    pass"}),
        ("with suppress(E):\n    a = b", {"with suppress():\n    a = b"}),
        ("def f():\n    if 'é':\n        return a", {"def f():\n    if (not ('é')):\n        return a",
                                                    "def f():\n    if 'é':\n        pass"}),
        ("def f():\n    return a", set()),
        ("def f(a: int | None = None) -> b | c:\n    '''Text 1.'''", set()),
        ("if TYPE_CHECKING:\n    import a", set()),
        ("x = f'{a and b}'", set()),
        ("x: a | b = c", set()),
    ],
)  # fmt: skip
def test_each_check_is_turned_off_once(source: str, expected: set[str]) -> None:
    found = mutants(source)
    assert {mutant.text for mutant in found} == expected
    assert len(found) == len(expected)


def test_every_room_has_modules_and_tests() -> None:
    project = house().parent
    for patterns, tests in ROOMS.values():
        assert all(list(house().glob(pattern)) for pattern in patterns)
        assert all((project / path).exists() for path in tests)
