"""Options that commands share: numbers within bounds, and a server that is named before or after the command."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from flask_profiling.cli.options import number, server, server_is_named, server_options


@click.group()
@server_options(seconds=5.0)
def group() -> None:
    """A group that remembers."""


@group.command()
@server_options(seconds=9.0)
@click.pass_context
def show(ctx: click.Context) -> None:
    """Show what was understood."""
    found = server(ctx)
    click.echo(f"{found.target.origin} {found.target.prefix} {found.seconds:g} {server_is_named(ctx)}")


def shown(*arguments: str, **environment: str) -> str:
    cleared = {"PROFILING_URL": None, "PROFILING_URL_PREFIX": None, "PROFILING_TOKEN": None}
    result = CliRunner().invoke(group, arguments, env={**cleared, **environment})
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_without_options_it_is_the_server_of_this_machine_and_nobody_named_it() -> None:
    assert shown("show") == "http://127.0.0.1:5000 /debug/profiling 9 False"


@pytest.mark.parametrize("arguments", [("--url", "http://localhost:1", "show"), ("show", "--url", "http://localhost:1")])
def test_an_option_is_heard_before_and_after_the_command(arguments: tuple[str, ...]) -> None:
    assert shown(*arguments) == "http://localhost:1 /debug/profiling 9 True"


def test_the_later_one_wins_and_both_win_over_the_environment() -> None:
    told = ("--url", "http://localhost:1", "--timeout", "3", "show", "--url", "http://localhost:2")
    assert shown(*told, PROFILING_URL="http://localhost:3") == "http://localhost:2 /debug/profiling 3 True"
    environment = {"PROFILING_URL": "http://localhost:3", "PROFILING_URL_PREFIX": "/p"}
    assert shown("show", **environment) == "http://localhost:3 /p 9 True"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "61", "1e999", "", "a minute", "0x10"])
def test_what_is_no_number_within_the_bounds_is_refused_with_them(value: str) -> None:
    with pytest.raises(click.BadParameter, match="number of seconds above 0 and up to 60"):
        number(60, "seconds")(value)


def test_a_number_within_them_is_read_and_0_where_there_is_an_off() -> None:
    assert [number(60, "seconds")(value) for value in ("0.5", "60", " 1e1 ")] == [0.5, 60.0, 10.0]
    assert number(60, "seconds", off=True)("0") == 0.0
    with pytest.raises(click.BadParameter, match="from 0 up to 60"):
        number(60, "seconds", off=True)("-0.1")
