"""Who may import whom, as a table, and the reader of source text that holds every module against it. No tests.

A room is a module or a package directly under ``flask_profiling``. Imports count wherever they stand: at the head,
inside a function, under ``TYPE_CHECKING``, and as a ``"flask_profiling.room.module:name"`` string in a table of parts
that are loaded when first used.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "flask_profiling"
ROOT = "__init__"  # the package's own head: public names

# a room's row: it may import any room of a lower row, and itself
ROWS: dict[str, int] = {
    "errors": 0,
    "model": 0,
    "processes": 0,
    "signals": 0,
    "config": 1,
    "system": 1,
    "engines": 2,
    "formats": 2,
    "store": 2,
    "coordination": 2,
    "gates": 2,
    "telemetry": 2,
    "viewcode": 2,
    "compare": 2,
    "heapfile": 2,
    "loadtest": 2,
    "sessions": 3,
    "inspector": 4,
    "lifecycle": 4,
    "middleware": 5,
    "archive": 5,
    "doctor": 5,
    "pytest_plugin": 5,
    "exports": 5,
    "extension": 5,
    "views": 6,
    "cli": 6,
    "ratelimit": 6,
    ROOT: 7,
}

# rooms that see less than all that is below them: they go through the extension's public methods
ONLY: dict[str, frozenset[str]] = {
    room: frozenset({"errors", "model", "config", "extension"}) for room in ("views", "ratelimit")
} | {
    "cli": frozenset({
        "errors", "model", "config", "extension",
        "archive",  # reads stored recordings
        "compare",  # pure: two recordings in, a verdict out
        "doctor",  # looks at the machine and changes nothing
        "exports",  # what can be made of a stored recording, without a server
        "heapfile",  # pure: reads heap snapshots and compares them, without a server
        "loadtest",  # plans and counts; the command sends
    })
}

# imports against the rows, each with its reason
BESIDES: dict[tuple[str, str], str] = {
    ("errors", "model"): "an error may carry data that travels",
    ("model", "errors"): "reading damaged data raises one of ours",
    ("extension", "middleware"): "the wiring puts the middleware around the app, when the gate is open",
    ("extension", "views"): "the wiring registers the blueprint, when the gate is open",
    ("extension", "ratelimit"): "the wiring limits the blueprint, when the gate is open",
    ("views", "ratelimit"): "the blueprint names which of its endpoints are limited",
}

# other people's packages: the lowest row that may import them, or the one room
FROM_ROW: dict[str, int] = {"flask": 5, "werkzeug": 5, "click": 6}
ONE_ROOM: dict[str, str] = {
    "blinker": "signals",  # comes with Flask
    "flask_limiter": "ratelimit",
    "gprof2dot": "formats",
    "greenlet": "engines",  # only where the host has loaded it
    "limits": "ratelimit",
    "objgraph": "engines",
    "opentelemetry": "telemetry",
    "pygraphviz": "formats",
    "pytest": "pytest_plugin",  # imported by pytest itself
    "redis": "coordination",
    "websockets": "inspector",
}

# what exists only while a type checker reads
TYPING_ONLY = frozenset({"_typeshed"})

_LAZY = re.compile(rf"{PACKAGE}(\.\w+)+:\w+")


@dataclass(frozen=True, slots=True)
class Import:
    """One import: both modules dotted, the name that is taken, the line, and whether it runs when the module does."""

    module: str
    target: str
    name: str
    line: int
    at_head: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def house() -> Path:
    """Return the directory of ``flask_profiling`` as it would be imported, without importing it."""
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def room_of(module: str) -> str:
    """Return the room of a dotted module of ours: its second part, or ``__init__``."""
    return [*module.split("."), ROOT][1]


def imports_of(package: Path) -> list[Import]:
    """Return every import of every module under ``package``, the directory of ``flask_profiling``."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(package).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(path.read_text("utf-8"), str(path))
        anchor = parts[:-1]
        head = {id(node) for node in _at_head(tree)}
        for node in ast.walk(tree):
            for target, name, line in _targets(node, anchor):
                found.append(Import(module, target, name, line, id(node) in head))
    return [_resolved(item, package) for item in found]


def violations(imports: list[Import]) -> list[str]:
    """Return a sentence for every import that the tables do not allow."""
    return list(dict.fromkeys(f"{item}: {reason}" for item in imports if (reason := _objection(item))))


def cycles(imports: list[Import]) -> list[str]:
    """Return every module of ours that reaches itself through imports that run at once, as ``a -> b -> a``."""
    edges: dict[str, set[str]] = {}
    for item in imports:
        if item.at_head and item.target.split(".")[0] == PACKAGE and not item.module.startswith(f"{item.target}."):
            edges.setdefault(item.module, set()).add(item.target)
    return [" -> ".join(path) for start in sorted(edges) if (path := _path_back(start, edges))]


def _path_back(start: str, edges: dict[str, set[str]]) -> list[str] | None:
    trails, seen = [[start]], set[str]()
    while trails:
        trail = trails.pop()
        for following in sorted(edges.get(trail[-1], ())):
            if following == start:
                return [*trail, start]
            if following not in seen:
                seen.add(following)
                trails.append([*trail, following])
    return None


def _objection(item: Import) -> str | None:
    top = item.target.split(".")[0]
    room = room_of(item.module)
    if top in sys.stdlib_module_names or (top in TYPING_ONLY and not item.at_head):
        return None
    if room not in ROWS:
        return f"the room {room!r} is not in the table"
    if top == PACKAGE:
        return _own_objection(item, room)
    if top in ONE_ROOM:
        return None if room == ONE_ROOM[top] else f"{top} belongs to the room {ONE_ROOM[top]!r} alone"
    if top in FROM_ROW:
        start = FROM_ROW[top]
        return None if ROWS[room] >= start else f"{top} starts at row {start}, {room} is row {ROWS[room]}"
    return f"{top} is not one of the packages that the project depends on"


def _own_objection(item: Import, room: str) -> str | None:
    other = room_of(item.target)
    if other == room:
        return None
    if other == ROOT:  # a constant; all else of the head comes from above
        return None if item.name == "__version__" else f"{room} takes nothing but __version__ from the package's head"
    if other not in ROWS:
        return f"the room {other!r} is not in the table"
    if item.target.count(".") > 1 and ROWS[other] >= 2 and ROWS[room] < 5:  # below the wiring, through protocols
        return f"{other} is entered by its head, not by a module inside it"
    if (room, other) in BESIDES:
        return None
    if room in ONLY and other not in ONLY[room]:
        return f"{room} sees {', '.join(sorted(ONLY[room]))} and nothing else of ours"
    if ROWS[other] >= ROWS[room]:
        return f"{other} is row {ROWS[other]}, {room} is row {ROWS[room]}; imports point down"
    return None


def _targets(node: ast.AST, anchor: list[str]) -> Iterator[tuple[str, str, int]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, "", node.lineno
    elif isinstance(node, ast.ImportFrom):
        base = anchor[: len(anchor) - node.level + 1] if node.level else []
        target = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            yield target, alias.name, node.lineno
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _LAZY.fullmatch(node.value):
        target, _, name = node.value.partition(":")
        yield target, name, node.lineno


def _resolved(item: Import, package: Path) -> Import:
    """Turn ``from . import errors`` into an import of the module errors."""
    if item.target.split(".")[0] != PACKAGE or not item.name:
        return item
    inside = package.joinpath(*item.target.split(".")[1:], item.name)
    if inside.with_suffix(".py").is_file() or (inside / "__init__.py").is_file():
        return Import(item.module, f"{item.target}.{item.name}", "", item.line, item.at_head)
    return item


def _at_head(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs when the module is imported: no bodies of functions, nothing that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Constant)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _at_head(node)
