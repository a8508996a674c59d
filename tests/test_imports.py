"""Imports point down: every import of every module is held against one table of who may import whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.imports import ROWS, Import, cycles, house, imports_of, room_of, violations

HOUSE = house()


def plant(package: Path, files: dict[str, str]) -> Path:
    for name, text in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return imports_of(HOUSE)


def test_every_import_is_in_the_table(imports: list[Import]) -> None:
    assert violations(imports) == []


def test_no_module_reaches_itself_by_its_imports(imports: list[Import]) -> None:
    assert cycles(imports) == []


def test_every_room_has_a_row() -> None:
    rooms = {path.stem for path in HOUSE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - set(ROWS) == set()


def test_the_reader_sees_the_imports_that_are_there(imports: list[Import]) -> None:
    assert any(room_of(item.module) == "formats" and room_of(item.target) == "model" for item in imports)
    assert any(item.module == "flask_profiling.engines" and item.target == "importlib" for item in imports)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"model.py": "from . import config", "config.py": ""}, "config is row 1, model is row 0; imports point down"),
        ({"model.py": "from .config import Config", "config.py": ""}, "imports point down"),
        ({"engines/heap.py": "from ..formats import FORMATS"}, "formats is row 2, engines is row 2"),
        ({"engines/heap.py": "from flask_profiling.formats import FORMATS"}, "formats is row 2, engines is row 2"),
        ({"engines/heap.py": "import flask_profiling.formats"}, "formats is row 2, engines is row 2"),
        ({"store.py": "def list():\n    from .gates import check"}, "gates is row 2, store is row 2"),
        ({"store.py": "if TYPE_CHECKING:\n    from .gates import check"}, "gates is row 2, store is row 2"),
        ({"store.py": "TABLE = {'x': 'flask_profiling.gates:check'}"}, "gates is row 2, store is row 2"),
        ({"engines/heap.py": "from .. import Profiling"}, "nothing but __version__"),
        ({"sessions.py": "import flask"}, "flask starts at row 5, sessions is row 3"),
        ({"gates.py": "from werkzeug.wrappers import Request"}, "werkzeug starts at row 5"),
        ({"views.py": "import click"}, None),
        ({"extension.py": "import click"}, "click starts at row 6"),
        ({"views.py": "from .store import Store"}, "views sees config, errors, extension, model and nothing else"),
        ({"views.py": "from .extension import Profiling"}, None),
        ({"cli.py": "from .views import blueprint"}, "cli sees "),
        ({"store.py": "import redis"}, "redis belongs to the room 'coordination' alone"),
        ({"coordination/redis.py": "import redis.asyncio"}, None),
        ({"formats/dot.py": "from gprof2dot import DotWriter"}, None),
        ({"formats/dot.py": "import numpy"}, "numpy is not one of the packages that the project depends on"),
        ({"sessions.py": "from .engines.heap import HeapEngine", "engines/heap.py": ""}, "entered by its head"),
        ({"sessions.py": "def f():\n    from .engines import heap", "engines/heap.py": ""}, "entered by its head"),
        ({"sessions.py": "from .engines import create"}, None),
        ({"extension.py": "from .engines.heap import HeapEngine", "engines/heap.py": ""}, None),
        ({"telemetry.py": "from . import __version__"}, None),
        ({"helpers.py": "from . import errors", "errors.py": ""}, "the room 'helpers' is not in the table"),
        ({"store.py": "if TYPE_CHECKING:\n    from _typeshed import StrPath"}, None),
        ({"store.py": "from _typeshed import StrPath"}, "_typeshed is not one of the packages"),
        ({"cli.py": "from .helpers import x"}, "the room 'helpers' is not in the table"),
    ],
)
def test_a_planted_import_is_judged(tmp_path: Path, files: dict[str, str], complaint: str | None) -> None:
    found = violations(imports_of(plant(tmp_path, files)))
    if complaint is None:
        assert found == []
        return
    assert len(found) == 1
    assert complaint in found[0]


def test_a_planted_cycle_is_found(tmp_path: Path) -> None:
    circle = {"a.py": "from .b import x", "b.py": "from . import c", "c.py": "from .a import y"}
    plant(tmp_path, {f"engines/{name}": text for name, text in {"__init__.py": "", **circle}.items()})
    assert cycles(imports_of(tmp_path))[0] == " -> ".join(f"flask_profiling.engines.{name}" for name in "abca")


def test_an_import_inside_a_function_makes_no_cycle(tmp_path: Path) -> None:
    plant(tmp_path, {"engines/a.py": "from .b import x", "engines/b.py": "def f():\n    from .a import y"})
    assert cycles(imports_of(tmp_path)) == []
