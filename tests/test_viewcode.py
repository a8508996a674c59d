"""Which code belongs to which route: of every kind of view function, without calling any."""

from __future__ import annotations

from functools import partial, wraps
from types import CodeType

import pytest
from flask import Flask
from flask.views import MethodView, View

from flask_profiling.viewcode import view_code


def page() -> str:
    raise AssertionError("called")


def other() -> str:
    raise AssertionError("called")


def decorated(view: object) -> object:
    @wraps(view)  # type: ignore[arg-type]
    def wrapper() -> str:
        raise AssertionError("called")

    return wrapper


class Shelf:
    def show(self) -> str:
        raise AssertionError("called")

    def __call__(self) -> str:
        raise AssertionError("called")

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"asked for {name}")


class Single(View):
    def dispatch_request(self) -> str:
        raise AssertionError("called")


class Base(MethodView):
    def get(self) -> str:
        raise AssertionError("called")

    def help(self) -> None:
        raise AssertionError("called")


class ByMethod(Base):
    def post(self) -> str:
        raise AssertionError("called")


def code_of(view: object) -> tuple[CodeType, ...]:
    app = Flask("viewcode", static_folder=None)
    app.add_url_rule("/page/<int:number>", "page", lambda number: "")
    app.view_functions["page"] = view  # type: ignore[assignment]
    found = view_code(app.view_functions, app.url_map.iter_rules())
    assert set(found) <= {"/page/<int:number> [page]"}
    return found.get("/page/<int:number> [page]", ())


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (page, {page.__code__}),
        (decorated(decorated(page)), {page.__code__}),
        (partial(partial(page)), {page.__code__}),
        (Shelf().show, {Shelf.show.__code__}),
        (Shelf(), {Shelf.__call__.__code__}),
        (Single.as_view("page"), {Single.dispatch_request.__code__}),
        (decorated(ByMethod.as_view("page")), {Base.get.__code__, ByMethod.post.__code__}),
        (MethodView.as_view("page"), set()),
        (len, set()),
    ],
    ids=["function", "decorated", "partial", "method", "callable", "class", "by method", "nothing of its own", "C"],
)
def test_the_code_is_that_of_the_innermost_function(view: object, code: set[CodeType]) -> None:
    assert set(code_of(view)) == code


def test_a_decorator_around_itself_has_an_end() -> None:
    def endless() -> None: ...

    endless.__wrapped__ = endless  # type: ignore[attr-defined]
    assert code_of(endless) == ()


def test_a_route_is_called_by_its_rules_and_its_endpoint() -> None:
    app = Flask("viewcode", static_folder=None)
    for rule in ("/a", "/b", "/c", "/d"):
        app.add_url_rule(rule, "many", page)
    app.add_url_rule("/one", "one", other, methods=["GET", "POST"])
    app.view_functions["without a rule"] = page
    found = view_code(app.view_functions, app.url_map.iter_rules())
    assert found == {"/a, /b, /c [many]": (page.__code__,), "/one [one]": (other.__code__,)}
