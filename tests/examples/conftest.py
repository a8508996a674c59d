"""The example application for its tests: importable as ``shop``, as it is for a server started in ``examples``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask import Flask

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture
def closed_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment and no switch, whatever the shell that runs the tests has set."""
    for name in ("FLASK_ENV", "PROFILING_ENABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def app(tmp_path: Path, closed_gate: None) -> Iterator[Flask]:
    """A shop with a database of its own, with profiling closed."""
    from shop import create_app, visits

    app = create_app({"DATABASE": f"sqlite:///{tmp_path / 'shop.sqlite3'}", "TESTING": True})
    yield app
    visits.VISITS.clear()
    app.extensions["shop"].dispose()
