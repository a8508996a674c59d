"""Tests of the error tree: what is drawn at the top of the module is what there is."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from flask_profiling import errors
from flask_profiling.errors import MethodNotAllowed, MissingExtra, ProfilingError, TooManyRequests

CLASSES = {
    name: item
    for name, item in vars(errors).items()
    if isinstance(item, type) and issubclass(item, ProfilingError) and item.__module__ == errors.__name__
}


def drawn() -> dict[str, tuple[str, int, str]]:
    """Return ``{class: (parent, status, code)}`` as the docstring draws them."""
    assert errors.__doc__ is not None
    above: list[tuple[int, str]] = [(-1, "Exception")]
    found = {}
    for line in errors.__doc__.splitlines():
        row = re.fullmatch(r"([ │├└─]+)([A-Z]\w+) +(\d{3}) (\w+)(?:  .*)?", line)
        if row:
            depth = len(row[1])
            above = [item for item in above if item[0] < depth]
            found[row[2]] = (above[-1][1], int(row[3]), row[4])
            above.append((depth, row[2]))
    return found


def test_the_tree_is_as_drawn() -> None:
    assert drawn() == {name: (item.__base__.__name__, item.status, item.code) for name, item in CLASSES.items()}


def test_no_two_errors_share_a_code() -> None:
    codes = [item.code for item in CLASSES.values()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_described(name: str) -> None:
    assert inspect.getdoc(CLASSES[name]) != inspect.getdoc(CLASSES[name].__base__)
    assert CLASSES[name].status in range(400, 600)


def test_the_message_is_the_sentence() -> None:
    assert ProfilingError("it broke; mend it").message == "it broke; mend it"


def test_refusals_carry_what_their_headers_need() -> None:
    assert MethodNotAllowed("GET is not allowed; use POST", allowed=("POST",)).allowed == ("POST",)
    assert TooManyRequests("too many; wait", retry_after=7).retry_after == 7


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = MissingExtra.of("redis", extra="redis", purpose="the coordination of several hosts")
    assert isinstance(error, MissingExtra)
    assert str(error) == (
        "the coordination of several hosts needs the package 'redis', which is not installed; "
        "run: pip install 'flask-profiling-devtools[redis]'"
    )


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"MethodNotAllowed", "TooManyRequests"}))
def test_errors_travel_between_processes(name: str) -> None:
    again = pickle.loads(pickle.dumps(CLASSES[name]("it broke; mend it")))
    assert (type(again), again.message) == (CLASSES[name], "it broke; mend it")
