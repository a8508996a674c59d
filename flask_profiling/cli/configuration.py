"""``flask profiling config``: every setting as it stands here, and whether profiling is open; nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click
from flask.cli import ScriptInfo

from ..errors import ConfigurationError
from ..extension import Condition, examine
from .failure import Failure
from .options import json_option, wants_json
from .render import plain, say, say_json, sentence, show_failure

# where Flask looks for an app when none is named
_APP_FILES = ("wsgi.py", "app.py")


@click.command(short_help="Show every setting, and whether profiling is open here.")
@json_option
@click.pass_context
def config(ctx: click.Context) -> None:
    """Show every setting: its value, where it comes from and what it means; and why profiling is open or closed.

    Settings come from the app's config, which wins, and from the environment. Ends with 1 and every
    mistake where the configuration cannot be used.

    \b
    Example:
      flask --app shop profiling config
    """
    app_config, about_app, failure = read_app_config(ctx.ensure_object(ScriptInfo))
    condition = examine(app_config, os.environ)
    if condition.mistakes:
        failure = Failure(condition.mistakes, code=ConfigurationError.code)
    if wants_json(ctx):
        settings = [asdict(row) for row in condition.settings]
        outcome = failure.to_json() if failure else {"success": True}
        say_json({**outcome, "open": condition.is_open, "reason": condition.reason, "settings": settings})
    else:
        _show(condition, about_app)
        if failure:
            say(err=True)
            show_failure(failure, as_json=False)
    if failure:
        raise click.exceptions.Exit(failure.exit_status)


def read_app_config(info: ScriptInfo) -> tuple[Mapping[str, object], str, Failure | None]:
    """Load the app and return its config, a sentence about it, and what went wrong.

    Where nobody names an app and none lies here, the environment is all there is to show, and nothing is wrong.
    """
    if not info.app_import_path and info.create_app is None and not any(Path(name).exists() for name in _APP_FILES):
        return {}, "No app was named (flask --app NAME), so app.config is not looked at.", None
    try:
        app = info.load_app()
    except ConfigurationError as error:
        failure = Failure(error.message, code=error.code)
    except click.ClickException as error:
        failure = Failure(error.format_message(), code="app_failed")
    except Exception as error:
        reason = f"{type(error).__name__}: {plain(error)}"
        failure = Failure(f"the app fails as it is loaded ({reason}); see flask routes", code="app_failed")
    else:
        return app.config, f"Settings of the app {plain(app.import_name)} and of the environment.", None
    return {}, "The app does not load, so app.config is not looked at.", failure


def _show(condition: Condition, about_app: str) -> None:
    say(sentence(f"Profiling is {'open' if condition.is_open else 'closed'} here: {condition.reason}."))
    say(sentence(about_app))
    for row in condition.settings:
        say()
        value = click.style(plain(row.value), fg="red" if row.problem else None, bold=row.source != "default")
        say(f"{click.style(row.key, bold=True)} = {value}  ({row.source})")
        say(sentence(row.meaning, indent="    "))
        if row.problem:
            say(sentence(f"Wrong: {row.problem}", indent="    "))
