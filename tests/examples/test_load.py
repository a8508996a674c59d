"""Load on the example app under a real server: what puts it there does not change what is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flask_profiling
from flask_profiling.archive import load, recordings
from tests.components import import_or_skip, program, requires

import_or_skip("sqlalchemy")
import_or_skip("asgiref")

import demo  # noqa: E402

OUTPUT = Path(demo.OUTPUT)
PATHS = ("--path", "/", "--path", "/deals", "--path", "/api/recommendations")


def hottest(document: dict[str, Any]) -> tuple[str, str]:
    """Return the hottest route, and its hottest function."""
    route = document["routes"][0]
    return route["route"], route["functions"][0]["name"]


def profiled(url: str, folder: Path, *command: str) -> dict[str, Any]:
    """Run a command on the server at ``url``, from the directory that it runs in; returns its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "profiling", *command, *PATHS, "--url", url, "--json"],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "PROFILING_"))},
            "PYTHONPATH": str(Path(flask_profiling.__file__).parents[1]),
            "PROFILING_K6_BIN": program("k6") or "",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@requires("gunicorn", "k6")
@pytest.mark.timeout(300)
def test_k6_and_the_embedded_load_agree_on_the_hot_route_over_two_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(flask_profiling.__file__).parents[1]))
    with demo.serve("gunicorn", tmp_path) as shop:
        url = f"http://127.0.0.1:{shop.port}"
        hot = [hottest(profiled(url, tmp_path, *by)) for by in (("load-test", "--requests", "30"), ("k6", "smoke"))]
    assert hot[0] == hot[1] == ("GET /deals [pages.deals]", "price_with_every_discount")
    assert [len(load(item.session_id, OUTPUT).workers) for item in recordings(OUTPUT)] == [2, 2]
