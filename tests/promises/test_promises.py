"""Every promise has tests that are named after it, and the published table of failures has a test for every row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.promises.failures import GROUPS, TABLE, read
from tests.promises.promises import PROMISES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def promised(directory: Path) -> dict[int, list[str]]:
    """Return the tests of each promise: the methods of classes that are called ``TestP07Something``."""
    found: dict[int, list[str]] = {}
    for path in sorted(directory.glob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            match = re.match(r"TestP(\d\d)[A-Z]", node.name) if isinstance(node, ast.ClassDef) else None
            if match is None or not isinstance(node, ast.ClassDef):
                continue
            tests = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            found.setdefault(int(match[1]), []).extend(name for name in tests if name.startswith("test_"))
    return found


def rows_of_tests(directory: Path) -> set[str]:
    """Return the texts of the tests in a directory, among which the faults that they publish must be."""
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted(directory.rglob("test_*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_there_are_twenty_promises() -> None:
    assert sorted(PROMISES) == list(range(1, 21))


@pytest.mark.parametrize("number", PROMISES)
def test_every_promise_has_tests_of_its_own_and_those_named_elsewhere_exist(number: int) -> None:
    assert promised(HERE).get(number), f"no class TestP{number:02}… in tests/promises"
    _, elsewhere = PROMISES[number]
    missing = [name for name in elsewhere if not (ROOT / name).is_file()]
    assert missing == []


def test_every_row_of_the_published_table_is_observed_by_a_test() -> None:
    texts = rows_of_tests(HERE)
    faults = [row.fault for row in read(TABLE)]
    assert len(faults) == len(set(faults)) > 15
    assert [(row.group, row.fault) for row in read(TABLE)] == [
        (group, fault) for group, grouped in GROUPS.items() for fault in grouped
    ]
    signals = {f"the server is told to end ({name})" for name in ("SIGTERM", "SIGINT")}  # one test, two parameters
    assert [fault for fault in faults if fault not in texts | signals] == []


def test_a_class_without_tests_keeps_no_promise(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(
        "class TestP01Empty:\n    def helper(self): ...\nclass TestP02Full:\n    def test_it(self): ...\n"
    )
    assert promised(tmp_path) == {1: [], 2: ["test_it"]}
