"""The changes that ``make mutation`` makes, and what is published: each kind is made, only where code runs."""

from __future__ import annotations

import ast
import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.imports import house
from tests.mutants import Mutant, mutants
from tests.mutation import OUTCOMES, ROOMS, SCORE, changed_lines, equivalents, part_around
from tests.mutation_copy import PROJECT


@cache
def made_in(path: Path) -> list[Mutant]:
    return mutants(path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if a:\n    b = c", {"if True:\n    b = c", "if False:\n    b = c"}),
        ("if (a := b):\n    c = a", {"if ((((a := b)), True)[1]):\n    c = a",
                                    "if ((((a := b)), False)[1]):\n    c = a"}),
        ("x = [a for a in b if a]", {"x = [a for a in b if True]", "x = [a for a in b if False]"}),
        ("x = a and b and c", {"x = ((b) and (c))", "x = ((a) and (c))", "x = ((a) and (b))"}),
        ("x = a | b", {"x = (a)", "x = (b)"}),
        ("x = a < b == c", {"x = (a <= b == c)", "x = (a < b != c)"}),
        ("x = not a", {"x = (a)"}),
        ("x = True", {"x = False"}),
        ("x = 1.5", {"x = 2.5", "x = (0.5)"}),
        ("raise a", {"pass"}),
        ("f(a)", {"pass"}),
        ("while a:\n    break", {"while False:\n    break", "while a:\n    pass"}),
        ("try:\n    a = b\nexcept E:\n    c = d", {"try:\n    a = b\nexcept E:\n    raise; c = d"}),
        ("try:\n    a = b\nexcept E:\n    raise", {"try:\n    a = b\nexcept E:\n    pass"}),
        ("try:\n    a = b\nexcept (E, F):\n    raise", {"try:\n    a = b\nexcept (F,):\n    raise",
                                                         "try:\n    a = b\nexcept (E,):\n    raise",
                                                         "try:\n    a = b\nexcept (E, F):\n    pass"}),
        ("x = any(a)", {"x = all(a)"}),
        ("x = min(a, b)", {"x = (a)", "x = (b)"}),
        ("with suppress(E):\n    a = b", {"with suppress():\n    a = b"}),
        ("def f():\n    if 'é':\n        return a", {"def f():\n    if True:\n        return a",
                                                    "def f():\n    if False:\n        return a",
                                                    "def f():\n    if 'é':\n        pass"}),
        ("def f():\n    return a", set()),
        ("def f(a: int | None = None) -> b | c:\n    '''Text 1.'''", set()),
        ("if TYPE_CHECKING:\n    import a", set()),
        ("x = f'{a and b}'", set()),
        ("x: a | b = c", set()),
        ("X = a[b | None]", set()),
    ],
)  # fmt: skip
def test_each_check_is_turned_off_once(source: str, expected: set[str]) -> None:
    found = mutants(source)
    assert {mutant.text for mutant in found} == expected
    assert len(found) == len(expected)


def test_what_was_noticed_is_believed_as_long_as_the_function_is_the_same() -> None:
    source = "A = 1\ndef f():\n    return a\ndef g():\n    if b:\n        return c\n"
    before = part_around(ast.parse(source), 5)
    assert part_around(ast.parse(source.replace("return a", "'more'\n    return d")), 6) == before
    assert part_around(ast.parse(source.replace("return c", "return d")), 5) != before
    assert part_around(ast.parse(source), 6) != before
    assert part_around(ast.parse(source), 1) == "0 A = 1"


def test_every_room_has_modules_and_tests() -> None:
    for patterns, tests in ROOMS.values():
        assert all(list(house().glob(pattern)) for pattern in patterns)
        assert all((PROJECT / path).exists() for path in tests)


def test_every_change_that_cannot_be_noticed_is_one_that_is_made() -> None:
    possible = Counter(
        (module, changed_lines(path.read_text("utf-8"), mutant.text))
        for module in {module for module, _ in equivalents()}
        for path in [house().parent / module]
        for mutant in made_in(path)
    )
    odd = {change: possible[change] for change in equivalents() if possible[change] != 1}
    assert odd == {}, "the code has changed: take these out of tests/equivalents.json, or say which of them it is"
    assert all(reason.endswith(".") for reason in equivalents().values())


def test_the_published_score_adds_up_and_is_about_the_code_as_it_is() -> None:
    score = json.loads(SCORE.read_bytes())
    for room, row in score.items():
        modules = [path for pattern in ROOMS[room][0] for path in house().glob(pattern)]
        now = sum(len(made_in(path)) for path in modules)
        assert row["mutants"] == sum(row[outcome] for outcome in OUTCOMES)
        assert abs(row["mutants"] - now) <= now // 5, "much has changed since: run make mutation ARGS=--publish"
