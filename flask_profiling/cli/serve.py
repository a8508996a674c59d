"""``flask profiling start`` and ``dev``: the app under Flask's own development server, with profiling on."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping

import click
from flask import Flask
from flask.cli import ScriptInfo, run_command
from flask.helpers import get_debug_flag
from werkzeug.serving import is_running_from_reloader

from ..extension import Profiling, examine
from .client import DEFAULT_PREFIX, DEFAULT_URL
from .failure import Failure
from .render import plain, say

# an address that means all of them -> one of them
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def _run_parameters() -> list[click.Parameter]:
    """Copy the parameters of ``flask run`` as the installed Flask has them, with its variables (``FLASK_RUN_PORT``)."""
    parameters = []
    for parameter in run_command.params:
        own = copy.copy(parameter)
        own.envvar = f"FLASK_RUN_{(own.name or '').upper()}"
        parameters.append(own)
    return parameters


@click.command(short_help="Serve the app with profiling on.", params=_run_parameters())
@click.pass_context
def start(ctx: click.Context, /, **run_options: object) -> None:
    """Serve the app with Flask's development server and profiling on.

    FLASK_ENV becomes development where it is unset. The app is found as by flask run, and need not
    know the extension. Ctrl-C ends the server.

    \b
    Example:
      flask --app shop profiling start --port 8000
    """
    _serve(ctx, run_options)


@click.command(short_help="The same with reloader and debugger.", params=_run_parameters())
@click.pass_context
def dev(ctx: click.Context, /, **run_options: object) -> None:
    """Serve the app with profiling, the reloader and the debugger on.

    A reload stops a running session and writes its files, and so does Ctrl-C; SIGTERM alone ends the
    reloader at once, and what was not written is lost.

    \b
    Example:
      flask --app shop profiling dev
    """
    os.environ.setdefault("FLASK_DEBUG", "1")
    for name in ("reload", "debugger"):
        if run_options.get(name) is None:
            run_options[name] = True
    _serve(ctx, run_options)


def _serve(ctx: click.Context, run_options: dict[str, object]) -> None:
    """Run the server over an app that is wired as it is loaded: here, and again in each child of the reloader."""
    environment_is_ours = not os.environ.get("FLASK_ENV")
    if environment_is_ours:
        os.environ["FLASK_ENV"] = "development"
    os.environ["PROFILING_ENABLED"] = "true"
    _refuse_closed({})
    info = ctx.ensure_object(ScriptInfo)

    def load_app() -> Flask:
        app = info.load_app()
        own = app.config.get("FLASK_ENV") or app.config.get("ENV")
        if environment_is_ours and own:
            # the app names its environment itself: staging must not be at odds with our development
            os.environ["FLASK_ENV"] = str(own)
        _refuse_closed(app.config)
        Profiling(app)
        if not is_running_from_reloader():
            _announce(app, run_options)
        inspector = app.extensions["profiling"].inspector
        if inspector is not None and (is_running_from_reloader() or not _reloads(run_options)):
            inspector.start(announce=lambda text: say(f" * {plain(text)}"))
        return app

    ctx.obj = ScriptInfo(info.app_import_path, create_app=load_app, set_debug_flag=info.set_debug_flag)
    try:
        ctx.invoke(run_command, **run_options)
    except click.UsageError as error:  # an app that is not found: flask run speaks of itself, as a command below ours
        error.ctx = ctx
        raise


def _reloads(run_options: Mapping[str, object]) -> bool:
    """Tell whether a reloader will run, so that this process serves nothing itself; as ``flask run`` decides it."""
    reload = run_options.get("reload")
    return get_debug_flag() if reload is None else bool(reload)


def _refuse_closed(config: Mapping[str, object]) -> None:
    """Raise Failure where the gate would be closed, whatever this command sets."""
    condition = examine(config, os.environ)
    if not condition.is_open:
        raise Failure(f"the app is not served: {condition.reason}", code="closed")


def _announce(app: Flask, run_options: Mapping[str, object]) -> None:
    """Say, in the manner of Flask's own lines, how a session is started from another terminal."""
    config = app.extensions["profiling"].config
    address = _address(run_options, config.url_prefix)
    say(f" * Profiling: on, environment {os.environ['FLASK_ENV']}, files in {plain(config.output_dir)}")
    if config.token:
        say("   In another terminal, with the same PROFILING_TOKEN:")
    else:
        say("   In another terminal:")
    for command in ("start-session", "stop-session"):
        say(f"     flask profiling {command}{address}")


def _address(run_options: Mapping[str, object], prefix: str) -> str:
    """Return the option that a command in another terminal needs to find this server; empty for the usual address."""
    host = str(run_options["host"])
    host = _EVERYWHERE.get(host, host)
    scheme = "https" if run_options.get("cert") else "http"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{run_options['port'] or 'PORT'}"
    if prefix != DEFAULT_PREFIX:
        return f" --url {url}{prefix}"
    return "" if url == DEFAULT_URL else f" --url {url}"
