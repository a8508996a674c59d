"""The house stays small enough to read: bounds on modules and functions, and nothing left for later."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imports import house

HOUSE = house()
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50


def long_modules(package: Path) -> list[str]:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in sorted(package.rglob("*.py"))}
    return [f"{path.relative_to(package)}: {lines} lines" for path, lines in lengths.items() if lines > LONGEST_MODULE]


def long_functions(package: Path) -> list[str]:
    return [
        f"{path.relative_to(package)}: {node.name} has {length} lines"
        for path, node in _definitions(package)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]


def stubs(package: Path) -> list[str]:
    """Bodies that only raise NotImplementedError, and notes about work left over."""
    unfinished = [
        f"{path.relative_to(package)}: {node.name} is a stub"
        for path, node in _definitions(package)
        if not isinstance(node, ast.ClassDef) and "NotImplementedError" in ast.dump(node.body[-1])
    ]
    notes = re.compile(r"\b(TODO|FIXME|XXX)\b")
    return unfinished + [
        f"{path.relative_to(package)}:{number}: {line.strip()}"
        for path in sorted(package.rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if notes.search(line)
    ]


def _definitions(package: Path) -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield path, node


def test_no_module_is_too_long() -> None:
    assert long_modules(HOUSE) == []


def test_no_function_is_too_long() -> None:
    assert long_functions(HOUSE) == []


def test_nothing_is_left_for_later() -> None:
    assert stubs(HOUSE) == []


@pytest.mark.parametrize(
    ("text", "measure", "finding"),
    [
        ("\n" * 401, long_modules, "planted.py: 401 lines"),
        ("def f():\n" + "    pass\n" * 50, long_functions, "planted.py: f has 51 lines"),
        ("def f():\n    raise NotImplementedError", stubs, "planted.py: f is a stub"),
        ("x = 1  # TO" + "DO: y", stubs, "planted.py:1: x = 1  # TO" + "DO: y"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, text: str, measure: object, finding: str) -> None:
    (tmp_path / "planted.py").write_text(text)
    assert callable(measure)
    assert measure(tmp_path) == [finding]
