"""Options that commands share, and what they mean: where the server is and the stored sessions are, how long
to wait, JSON or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
from click.core import ParameterSource

from .client import DEFAULT_PREFIX, DEFAULT_URL, Target, ask
from .render import progress, say

Command = TypeVar("Command", bound=Callable[..., object])

_META = "flask_profiling."
_WEEK = 7 * 24 * 3600.0


def number(most: float, unit: str, *, off: bool = False) -> Callable[[object], float]:
    """Return the type of an option: a number of ``unit`` above 0, or 0 too where there is an ``off``, up to ``most``.

    Unlike click's own range, it takes NaN for no number.
    """
    bounds = f"{'from 0' if off else 'above 0 and'} up to {most:g}"

    def read(value: object) -> float:
        try:
            found = float(str(value))
        except ValueError:
            found = -1.0
        if 0 < found <= most or (off and found == 0):
            return found
        raise click.BadParameter(f"{value!r} is not a number of {unit} {bounds}")

    return read


span = number(_WEEK, "seconds")
span_or_off = number(_WEEK, "seconds", off=True)


@dataclass(frozen=True, slots=True)
class Server:
    """The server a command talks to, as the options and the environment name it."""

    target: Target
    token: str
    seconds: float

    def ask(
        self, method: str, path: str, *, fields: tuple[str, ...], doing: str, body: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """Ask the server, with progress on a terminal while it takes long; see :func:`.client.ask`."""
        with progress(doing):
            return ask(self.target, method, path, fields=fields, body=body, token=self.token, seconds=self.seconds)


def _remember(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keep an option for the whole command line: people put ``--url`` before the command as well as after it."""
    name = parameter.name or ""
    if ctx.get_parameter_source(name) is ParameterSource.DEFAULT:
        ctx.meta[_META + name + ".default"] = value
        return
    ctx.meta[_META + name] = value


def _remembered(ctx: click.Context, name: str) -> object:
    return ctx.meta.get(_META + name, ctx.meta.get(_META + name + ".default"))


def json_option(command: Command) -> Command:
    """Add ``--json``, which :func:`wants_json` reads."""
    return click.option("--json", is_flag=True, expose_value=False, help="Print JSON, errors too.")(command)


def server_options(*, seconds: float) -> Callable[[Command], Command]:
    """Add ``--url``, ``--prefix``, ``--timeout`` (``seconds`` by default) and ``--json``; :func:`server` reads them."""
    timeout = click.option(
        "--timeout",
        type=span,
        default=seconds,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for the answer.",
        expose_value=False,
        callback=_remember,
    )
    prefix = click.option(
        "--prefix",
        metavar="PATH",
        help=f"Where the endpoints are  [env: PROFILING_URL_PREFIX; default: {DEFAULT_PREFIX}]",
        expose_value=False,
        callback=_remember,
    )
    url = click.option(
        "--url",
        metavar="URL",
        help=f"The running server; may carry the prefix  [env: PROFILING_URL; default: {DEFAULT_URL}]",
        expose_value=False,
        callback=_remember,
    )
    return lambda command: url(prefix(timeout(json_option(command))))


def remember_json(ctx: click.Context, args: Sequence[str]) -> None:
    """Note early whether JSON is wanted, so that mistakes in the options are reported as JSON too."""
    ctx.meta[_META + "json"] = "--json" in args


def wants_json(ctx: click.Context) -> bool:
    """Return whether ``--json`` was given."""
    return bool(ctx.meta.get(_META + "json"))


def output_directory() -> Path:
    """Return where sessions are stored as the environment says, for commands that need no server."""
    return Path(os.environ.get("PROFILING_OUTPUT_DIR", "").strip() or "profiling")


def server_is_named(ctx: click.Context) -> bool:
    """Return whether anybody said where the server is: by ``--url`` or by ``PROFILING_URL``."""
    return bool(ctx.meta.get(_META + "url") or os.environ.get("PROFILING_URL"))


def server(ctx: click.Context) -> Server:
    """Read the options of :func:`server_options`, then the environment; raises Failure where they cannot be used."""
    url = _remembered(ctx, "url") or os.environ.get("PROFILING_URL") or DEFAULT_URL
    prefix = _remembered(ctx, "prefix") or os.environ.get("PROFILING_URL_PREFIX")
    target = Target.parse(str(url), str(prefix) if prefix else None)
    token = os.environ.get("PROFILING_TOKEN", "")
    if token and not target.private:
        say(f"Warning: PROFILING_TOKEN travels to {target.origin} unencrypted; use https where you can.", err=True)
    return Server(target, token, float(str(_remembered(ctx, "timeout"))))
