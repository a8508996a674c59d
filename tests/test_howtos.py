"""The how-tos work: their commands are run in their order, on a small shop, and end as the pages say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components import requires
from tests.pythons import python_path

PROJECT = Path(__file__).resolve().parents[1]
HOWTO = PROJECT / "docs" / "howto"
SHOP = """
from flask import Flask

from flask_profiling import Profiling

app = Flask(__name__)
Profiling(app)


def price(number):
    return number * 2


@app.get("/")
def index():
    return str(price(1))


@app.get("/deals")
def deals():
    return str(sum(price(number) for number in range(PRICES)))
"""


def run(words: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    names = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "PROFILING_"))}
    names["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names["PYTHONPATH"] = python_path()
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=directory, env=names, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def commands(page: str, *wanted: str) -> list[list[str]]:
    """Return the words of the page's commands that name all of ``wanted``."""
    lines = re.findall(r"^    \$ (flask .*)$", (HOWTO / page).read_text("utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines if all(word in line for word in wanted)]


@pytest.mark.timeout(400)  # six commands, each a Python of its own
def test_the_gate_holds_the_same_load_against_the_baseline_and_ends_with_1_where_calls_grew(tmp_path: Path) -> None:
    (first, again, _) = commands("ci-gate.rst", "load-test")
    (save,) = commands("ci-gate.rst", "baseline save")
    (check,) = commands("ci-gate.rst", "baseline check")
    shop = tmp_path / "shop.py"
    shop.write_text(SHOP.replace("PRICES", "3"))
    for words in (first, save, again, check):
        done = run(words, tmp_path)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert (tmp_path / "profiling-baselines").is_dir()
    assert done.stdout.startswith("<?xml")
    shop.write_text(SHOP.replace("PRICES", "7"))
    assert run(again, tmp_path).returncode == 0
    done = run(check, tmp_path)
    assert done.returncode == 1, done.stdout
    assert "price" in done.stdout


def test_the_gate_on_latency_ends_with_1_where_it_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.replace("PRICES", "3"))
    (*_, bound) = commands("ci-gate.rst", "load-test")
    assert bound[-4:] == ["--fail-if", "errors>0", "--fail-if", "p95>200ms"]
    done = run([*bound[:-1], "p95>0.000001ms"], tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr


@requires("k6")
@pytest.mark.parametrize("words", commands("k6.rst", "--app", "profiling k6"), ids=" ".join)
def test_k6_puts_its_load_on(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.replace("PRICES", "3"))
    (script,) = re.findall(r":name: k6-script\n\n((?:    .*\n|\n)+)", (HOWTO / "k6.rst").read_text("utf-8"))
    (tmp_path / "shop.js").write_text(script)
    words = ["DURATION=2s" if word == "DURATION=30s" else word for word in words]
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "index" in done.stdout or "deals" in done.stdout
