"""The reference as reStructuredText, made of the code's own tables when the docs are built; nothing is kept on disk.

Each function of :data:`PARTS` returns one part; ``.. generated:: NAME`` in a page puts it there. Sphinx is not needed
to call them.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import click
import openapi

import flask_profiling
from benchmarks import page
from benchmarks.results import Results
from flask_profiling.cli import profiling
from flask_profiling.config import SETTINGS
from flask_profiling.config.settings import CLI_VARIABLES
from flask_profiling.engines import ENGINES
from flask_profiling.formats import FORMATS
from flask_profiling.views import ENDPOINTS

PACKAGE = Path(flask_profiling.__file__).parent
RESULTS = Path(__file__).resolve().parent / "explanation" / "benchmarks.json"
FAILURES = Path(__file__).resolve().parent / "explanation" / "failures.json"
MUTATION = Path(__file__).resolve().parent / "explanation" / "mutation.json"
IMPORTS = Path(__file__).resolve().parent.parent / "tests" / "imports.py"

MOMENTS = {
    "stop": "at stop",
    "auto": "at stop with ``PROFILING_AUTO_GENERATE``; on request",
    "export": "on request",
    "engine": "at stop, by the engine itself",
}
CHOSEN_BY = {
    "apptree": "together with ``cprofile``, on Python 3.12 and later",
    "heap": "``PROFILING_HEAP`` or the option ``heap``",
    "allocations": "``PROFILING_ALLOCATIONS`` or the option ``allocations``",
    "objects": "together with ``allocations``",
}


def configuration() -> str:
    """Return every setting, and the variables that only the command line reads."""
    lines: list[str] = []
    for setting in SETTINGS:
        default = f"``{setting.default}``" if setting.default else "empty"
        lines += [
            f".. envvar:: {setting.key}",
            "",
            f"   {setting.meaning}",
            "",
            f"   :default: {default}",
            f"   :value: {escaped(setting.allowed)}",
            f"   :example: ``{setting.example}``",
            "",
        ]
    lines += ["The command line reads these besides:", ""]
    for name, meaning in CLI_VARIABLES.items():
        lines += [f".. envvar:: {name}", "", f"   {meaning.replace('`', '``')}", ""]
    return "\n".join(lines)


def http() -> str:
    """Return every endpoint with the shapes of its answers."""
    prefix = openapi.DEFAULTS["PROFILING_URL_PREFIX"]
    parts = []
    for name, endpoint in ENDPOINTS.items():
        title = f"{endpoint.method} {prefix}/{name}"
        answer = openapi.ANSWERS[name]
        statuses = sorted({*openapi.ALWAYS, *openapi.CHANGING.get(name, openapi.READING)})
        parts += [heading(title, "-"), f"{openapi.SUMMARIES[name]}.", ""]
        if name == "start":
            parts += [str(openapi.operation(name)["description"]), "", fields("Options"), ""]
        limited = "``PROFILING_RATE_LIMIT`` counts calls of it. " if endpoint.limited else ""
        parts += [f"{limited}It answers 200 with:", "", fields(answer), ""]
        parts += [f"Refusals: {', '.join(f'{status}' for status in statuses)}.", ""]
    parts += [heading("Parts of answers", "-")]
    for name in ("Worker", "WorkerState", "Memory", "Running", "Ended", "SlowRequest"):
        parts += [f".. _{name.lower()}:", "", heading(name, "~"), fields(name), ""]
    return "\n".join(parts)


def errors() -> str:
    """Return every code of the error tree, and those that only commands end with."""
    rows = [(f"``{kind.code}``", f"{kind.status}", first_line(kind.__doc__)) for kind in openapi.errors()]
    said: dict[str, set[str]] = {}
    for command, code in command_codes():
        said.setdefault(code, set()).add(command)
    commands = [
        (f"``{code}``", ", ".join(f"``{name}``" for name in sorted(names))) for code, names in sorted(said.items())
    ]
    return "\n".join(
        [
            table(("code", "status", "meaning"), rows),
            "Commands end with the server's code, or with one of their own:",
            "",
            table(("code", "said in ``flask_profiling/cli``"), commands),
        ]
    )


def command_codes() -> Iterator[tuple[str, str]]:
    """Yield module and code for every failure that a command ends with, as the source names them."""
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Failure":
                for value in (keyword.value for keyword in node.keywords if keyword.arg == "code"):
                    branches = (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)
                    yield from ((path.stem, str(each.value)) for each in branches if isinstance(each, ast.Constant))
    default = inspect.signature(importlib.import_module("flask_profiling.cli.failure").Failure).parameters["code"]
    yield "failure", default.default


def cli() -> str:
    """Return every command with its options."""
    context = click.Context(profiling, info_name="flask profiling")
    return "\n".join(_commands(profiling, context))


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        yield heading(inner.command_path, "-")
        yield from _command(command, inner)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f".. code-block:: text\n\n   {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        marked, text = paragraph.startswith("\b\n"), paragraph.removeprefix("\b\n")
        if not marked:
            yield f"{escaped(' '.join(text.split()))}\n"
            continue
        title, _, example = text.partition("\n")
        yield f"{escaped(title.rstrip(':'))}::\n\n{textwrap.indent(textwrap.dedent(example), '   ')}\n"
    records = [found for parameter in command.params if (found := parameter.get_help_record(context))]
    if records:
        yield table(("option", "meaning"), [(f"``{name}``", escaped(meaning)) for name, meaning in records])


def formats() -> str:
    """Return every format: its file, when it is written, and what it is."""
    rows = [
        (f"``{name}``", f"``{entry.filename('ID')}``", MOMENTS[entry.when], ", ".join(f"``{k}``" for k in entry.kinds))
        for name, entry in FORMATS.items()
    ]
    parts = [table(("format", "file", "written", "needs one of"), rows)]
    for name, entry in FORMATS.items():
        module = importlib.import_module(entry.entry.partition(":")[0])
        parts += [heading(name, "-"), inspect.cleandoc(module.__doc__ or ""), ""]
    return "\n".join(parts)


def engines() -> str:
    """Return every engine: how it is chosen, and what it is."""
    rows = [(f"``{name}``", CHOSEN_BY.get(name, f"``PROFILING_CPU={name}`` or the option ``cpu``")) for name in ENGINES]
    parts = [table(("engine", "chosen by"), rows)]
    for name, entry in ENGINES.items():
        module = importlib.import_module(entry.partition(":")[0])
        parts += [heading(name, "-"), inspect.cleandoc(module.__doc__ or ""), ""]
    return "\n".join(parts)


def rooms() -> str:
    """Return the table of rooms, which ``tests/imports.py`` holds and proves."""
    table_of_imports = imports()
    rows = [
        (f"{row}", f"``{'flask_profiling' if room == table_of_imports.ROOT else room}``", first_line(_room_doc(room)))
        for room, row in sorted(table_of_imports.ROWS.items(), key=lambda item: item[1])
        if _room_exists(room)
    ]
    besides = [(f"``{room}``", f"``{other}``", reason) for (room, other), reason in table_of_imports.BESIDES.items()]
    foreign = [(f"``{name}``", f"row {row} and above") for name, row in table_of_imports.FROM_ROW.items()]
    foreign += [(f"``{name}``", f"``{room}`` alone") for name, room in table_of_imports.ONE_ROOM.items()]
    only = [(f"``{room}``", listed(f"``{seen}``" for seen in sorted(rooms))) for room, rooms in
            table_of_imports.ONLY.items()]  # fmt: skip
    return "\n".join(
        [
            table(("row", "room", "what lives there"), rows),
            "Some rooms see less than all that is below them:",
            "",
            table(("room", "sees"), only),
            "Imports against the rows, each with its reason:",
            "",
            table(("room", "imports", "because"), besides),
            "Other people's packages:",
            "",
            table(("package", "imported by"), foreign),
        ]
    )


def benchmarks() -> str:
    """Return the tables and plots of the benchmarks that were committed."""
    results = Results.from_json(json.loads(RESULTS.read_text("utf-8")))
    parts = [table(("of this run", ""), [(name, escaped(value)) for name, value in page.facts(results)])]
    for area, sections in results.areas.items():
        parts += [heading(area.capitalize(), "-"), ""]
        for section in sections:
            first, *others = page.rows(section)
            drawn = page.plot(section)
            parts += [heading(section.title, "~"), escaped(section.about), ""]
            parts += [".. raw:: html", "", textwrap.indent(drawn, "   "), ""] if drawn else []
            parts.append(table([escaped(cell) for cell in first], [[escaped(cell) for cell in row] for row in others]))
    return "\n".join(parts)


def imports() -> ModuleType:
    """Load ``tests/imports.py``, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("flask_profiling_imports", IMPORTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    importlib.import_module("sys").modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _room_exists(room: str) -> bool:
    return (PACKAGE / f"{room}.py").exists() or (PACKAGE / room / "__init__.py").exists()


def _room_doc(room: str) -> str:
    path = PACKAGE / f"{room}.py"
    source = path if path.exists() else PACKAGE / room / "__init__.py"
    return ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""


def fields(name: str) -> str:
    """Return the properties of a schema as a table."""
    schema = openapi.schemas()[name]
    properties, required = schema["properties"], schema["required"]
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    return table(("field", "type", "meaning"), list(_fields(properties, required, "")))


def _fields(properties: dict[str, openapi.Schema], required: list[str], before: str) -> Iterator[tuple[str, str, str]]:
    for name, schema in properties.items():
        shown = f"``{before}{name}``"
        meaning = str(schema.get("description", "")) + ("" if name in required else _ABSENT)
        if "anyOf" in schema:
            inner = schema["anyOf"][0]  # type: ignore[index]
            meaning = str(inner.get("description", "")) + ("" if name in required else _ABSENT)
        yield shown, _type(schema), escaped(meaning.strip())
        below = schema.get("items", schema)
        if isinstance(below, dict) and isinstance(below.get("properties"), dict):
            step = "[]." if "items" in schema else "."
            yield from _fields(below["properties"], below["required"], f"{before}{name}{step}")


_ABSENT = " May be left out."


def _type(schema: openapi.Schema) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f":ref:`{name.lower()}`"
    if "anyOf" in schema:
        return f"{_type(schema['anyOf'][0])} or null"  # type: ignore[index]
    if "const" in schema:
        return str(schema["const"]).lower()
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return listed(f"``{value}``" for value in schema["enum"])  # type: ignore[attr-defined]
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"  # type: ignore[arg-type]
    return str(schema["type"])


def heading(title: str, line: str) -> str:
    """Return a section's title with its underline."""
    return f"{title}\n{line * len(title)}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        for place, cell in enumerate(row):
            mark = "   * - " if place == 0 else "     - "
            lines.append((mark + textwrap.indent(cell, " " * 7).strip()).rstrip())
    return "\n".join([*lines, "", ""])


def first_line(text: str | None) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def escaped(text: str) -> str:
    """Return text that reStructuredText shows as it is."""
    return text.replace("\\", "\\\\").replace("`", "\\`").replace("*", "\\*").replace("_ ", "\\_ ").replace("|", "\\|")


def listed(names: Iterable[str]) -> str:
    """Return names with commas between them."""
    return ", ".join(names)


def failures() -> str:
    """Return what faults do, as the tests in ``tests/promises`` observe it."""
    columns = ("fault", "requests", "answer", "kept", "lost")
    head = ("what happens", "the app's requests", "what you are told", "kept", "lost")
    groups: dict[str, list[list[str]]] = {}
    for row in json.loads(FAILURES.read_bytes()):
        groups.setdefault(row["group"], []).append([escaped(row[column]) for column in columns])
    return "".join(f"**{group}**\n\n{table(head, rows)}" for group, rows in groups.items())


def mutation() -> str:
    """Return how many checks were turned off in each room, and how many of them a test noticed."""
    score = json.loads(MUTATION.read_bytes())
    columns = ("mutants", "killed", "timeout", "equivalent", "survived", "left")
    rows = [(f"``{room}``", *(f"{row[column]}" for column in columns)) for room, row in score.items()]
    rows.append(("together", *(f"{sum(row[column] for row in score.values())}" for column in columns)))
    head = ("room", "changes", "a test failed", "a test never ended", "cannot be noticed", "survived", "not run")
    return table(head, rows)


PARTS: dict[str, Callable[[], str]] = {
    "configuration": configuration,
    "http": http,
    "errors": errors,
    "cli": cli,
    "formats": formats,
    "engines": engines,
    "rooms": rooms,
    "failures": failures,
    "mutation": mutation,
    "benchmarks": benchmarks,
}
