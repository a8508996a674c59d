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


# public modules whose tests have another name -> those, and why
TESTED_IN = {
    "cli/appserver.py": ("cli/test_loadtest.py", "serves an app for the load tests, and is seen in what they print"),
    "cli/failure.py": ("cli/test_client.py", "one class, which every command raises"),
    "cli/guide.py": ("cli/test_group.py", "one text"),
    "cli/profiled.py": ("cli/test_loadtest.py", "the session around a load test"),
    "cli/stored.py": ("cli/test_report.py", "finds what other commands show"),
    "cli/viewserver.py": ("cli/test_view.py", "the server of flask profiling view"),
    "compare/runs.py": ("compare/test_verdict.py", "what a verdict compares"),
    "exports.py": ("cli/test_export.py", "what the command and the report write"),
    "formats/trace.py": ("formats/test_timeline.py", "the timeline as events"),
    "heapfile/compare.py": ("heapfile/test_heapfile.py", "one subject: a file that is read back"),
    "heapfile/dot.py": ("heapfile/test_heapfile.py", "one subject: a file that is read back"),
    "heapfile/graph.py": ("heapfile/test_heapfile.py", "one subject: a file that is read back"),
    "heapfile/retainers.py": ("heapfile/test_heapfile.py", "one subject: a file that is read back"),
    "heapfile/scanner.py": ("heapfile/test_heapfile.py", "one subject: a file that is read back"),
    "inspector/empty.py": ("inspector/test_protocol.py", "constant answers to DevTools"),
    "sessions/machine.py": ("sessions/test_sessions.py", "the state machine is what a session is"),
}


def untested(package: Path, tests: Path) -> list[str]:
    """Public modules without a test file of their own, and exceptions that are none.

    ``store.py`` has ``test_store.py``, ``cli/heap.py`` has ``cli/test_heap.py``, or its whole room ``test_cli.py``. A
    module with an underscore is a part of those beside it, and is tested through them.
    """
    found = []
    for path in sorted(package.rglob("*.py")):
        if path.name.startswith("_"):
            continue
        module = path.relative_to(package)
        of_its_room = [tests / f"test_{folder}.py" for folder in module.parts[:-1]]
        if not any(file.exists() for file in (tests / module.parent / f"test_{module.name}", *of_its_room)):
            found.append(module.as_posix())
    files = {module: tests / file for module, (file, _) in TESTED_IN.items()}
    missing = [f"{module} has no test_{Path(module).stem}.py" for module in found if module not in files]
    stale = [f"{module} is no exception any more" for module in files if module not in found]
    return missing + stale + [f"{file.relative_to(tests)} is not there" for file in files.values() if not file.exists()]


def test_every_module_has_a_test_file_of_its_name_or_a_reason() -> None:
    assert untested(HOUSE, Path(__file__).parent) == []


def test_a_module_without_a_test_file_is_found(tmp_path: Path) -> None:
    package, tests = tmp_path / "package", tmp_path / "tests"
    for path in (package / "store.py", package / "_part.py", package / "cli" / "heap.py", tests / "test_store.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = untested(package, tests)
    assert [line for line in found if "has no" in line] == ["cli/heap.py has no test_heap.py"]
    assert "sessions/machine.py is no exception any more" in found
    (tests / "test_cli.py").touch()
    assert [line for line in untested(package, tests) if "has no" in line] == []
