"""Tests of the names of files, and of whose they are."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import NamedTuple

import pytest

from flask_profiling.engines._appcode import application_files
from flask_profiling.formats._labels import ModuleNames, is_library_file


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Order:
    number: int


GENERATED = {
    function.__code__.co_filename
    for function in (Point.__new__, Order.__init__, make_dataclass("Line", ["text"]).__init__, eval("lambda: 0"))
}


@pytest.mark.parametrize("file", [*sorted(GENERATED), "<frozen importlib._bootstrap>", "<werkzeug routing>"])
def test_code_that_libraries_generate_is_not_the_applications(file: str) -> None:
    assert is_library_file(file)
    assert not application_files()(file)


@pytest.mark.parametrize(
    ("file", "is_library"),
    [
        ("~", True),
        ("/srv/shop/views.py", False),
        ("shop/templates/page.html", False),
        ("/srv/.venv/lib/python3.12/site-packages/flask/app.py", True),
        ("/usr/lib/python3/dist-packages/flask/app.py", True),
        ("/usr/lib/python3.11/json/decoder.py", True),
        (r"C:\Python312\Lib\json\decoder.py", True),
        (r"C:\shop\views.py", False),
    ],
)
def test_installed_files_are_libraries(file: str, is_library: bool) -> None:
    assert is_library_file(file) is is_library


def test_files_are_named_as_they_are_imported() -> None:
    names = ModuleNames(["/srv/shop/views.py", "/srv/shop/models/order.py", "/srv/shop/templates/page.html"])
    assert [
        names.of(file)
        for file in (
            "/srv/shop/views.py",
            "/srv/shop/models/order.py",
            "/srv/shop/templates/page.html",
            "/srv/.venv/lib/python3.12/site-packages/flask/app.py",
            "~",
            "<string>",
        )
    ] == ["shop.views", "shop.models.order", "shop/templates/page.html", "flask.app", "", "<string>"]
