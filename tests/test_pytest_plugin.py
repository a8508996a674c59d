"""The pytest plugin in pytest runs of its own: bounds are kept, and nothing happens where nobody asks."""

from __future__ import annotations

import os
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from tests.components import requires
from tests.pythons import PYTHON, python_path

MODELS = """
def price(item):
    return item * 3

def total(count):
    found = 0
    for item in range(count):  # no comprehension: before Python 3.12 that is a function of its own
        found += price(item)
    return found
"""

APP = """
from flask import Flask
from shop.models import total
app = Flask(__name__)

@app.get("/<int:count>")
def index(count):
    return str(total(count))
"""

TESTS = """
import pytest
from shop.app import app
client = app.test_client()

@pytest.mark.profiling(max_calls={"shop.models:*": 11})
def test_within(): assert client.get("/10").text == "135"

@pytest.mark.profiling(max_calls={"shop.models:price": 10, "flask.app:wsgi_app": 1})
def test_within_by_name(): client.get("/10")

@pytest.mark.profiling(max_calls={"shop.models:*": 10})
def test_beyond(): client.get("/10")

@pytest.mark.profiling(max_calls={"shop.modles:*": 10})
def test_typo(): client.get("/10")

@pytest.mark.profiling(max_calls={"shop.models:*": 0})
def test_nothing_allowed_and_nothing_called(): pass

@pytest.mark.profiling(max_calls={"shop.models:*": 1})
def test_own_failure(): client.get("/10"); assert 1 == 2, "its own reason"

@pytest.mark.profiling(200)
def test_misused(): pass

def test_fixture(profiling):
    client.get("/50")
    with profiling.measure() as calls:
        client.get("/10")
    assert calls.count("models:price") == 10
    assert calls.count("shop.models:*") == 11
    assert next(iter(calls.functions("models:*"))).endswith("shop.models:price")
    with profiling.measure(max_calls={"models:price": 3}):
        client.get("/3")

def test_fixture_beyond(profiling):
    with profiling.measure(max_calls={"models:price": 3}):
        client.get("/4")

def test_fixture_too_early(profiling):
    with profiling.measure() as calls:
        with pytest.raises(RuntimeError, match="behind it"):
            calls.count("*")

def test_unmarked(): client.get("/1000")
"""
FAILED = {"test_beyond", "test_typo", "test_own_failure", "test_misused", "test_fixture_beyond"}


# Where the package is installed pytest finds the plugin itself, and would refuse to load it twice.
_INSTALLED = any(point.name == "flask_profiling" for point in metadata.entry_points(group="pytest11"))
_LOADED = [] if _INSTALLED else ["-p", "flask_profiling.pytest_plugin"]


def run(directory: Path, *args: str) -> str:
    """Run pytest with the plugin, and every warning an error."""
    done = subprocess.run(
        [
            PYTHON,
            "-m",
            "pytest",
            *_LOADED,
            "-W",
            "error",
            "--strict-markers",
            "-rA",
            *args,
        ],
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": python_path(directory),
            "PYTEST_ADDOPTS": "",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shop = tmp_path / "shop"
    shop.mkdir()
    for name, text in {"__init__.py": "", "models.py": MODELS, "app.py": APP}.items():
        (shop / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_shop.py").write_text(TESTS)
    return tmp_path


def outcomes(output: str) -> dict[str, str]:
    return {name: how for how, name in re.findall(r"^(PASSED|FAILED|ERROR) test_shop\.py::(\w+)", output, re.MULTILINE)}


@pytest.mark.parametrize("args", [(), pytest.param(("-n", "2"), marks=requires("pytest-xdist"))])
def test_bounds_are_kept_alone_and_under_xdist(project: Path, args: tuple[str, ...]) -> None:
    output = run(project, *args)
    found = outcomes(output)
    assert {name for name, how in found.items() if how != "PASSED"} == FAILED, output
    assert len(found) == 11
    assert "shop.models:*: 11 calls, at most 10 are allowed (shop.models:price 10, shop.models:total 1)" in output
    assert "shop.modles:*: no function that was called matches" in output
    assert "its own reason" in output
    assert 'needs max_calls={"module:name": number}' in output


def test_the_marker_is_explained(project: Path) -> None:
    assert "@pytest.mark.profiling(max_calls)" in run(project, "--markers")


def test_importing_the_plugin_imports_nothing_of_flask_or_of_the_engines() -> None:
    code = (
        "import sys, flask_profiling.pytest_plugin;"
        "print([n for n in sys.modules if n.split('.')[0] in ('flask', 'werkzeug', 'click')"
        " or n.startswith('flask_profiling.') and n != 'flask_profiling.pytest_plugin'])"
    )
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run([PYTHON, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_public_names_are_there_all_the_same() -> None:
    import flask_profiling

    assert set(flask_profiling.__all__) <= set(dir(flask_profiling))
    assert flask_profiling.Profiling.__module__ == "flask_profiling.extension"
    with pytest.raises(AttributeError, match="no attribute 'Profilling'"):
        flask_profiling.Profilling  # type: ignore[attr-defined]  # noqa: B018
