"""``flask profiling config``: every setting, its source, the mistakes, and what must not be shown."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from flask.cli import ScriptInfo

from flask_profiling.config import SETTINGS
from tests.cli.conftest import Run, lines_within


def _app(**config: object) -> ScriptInfo:
    def create_app() -> Flask:
        app = Flask("shop")
        app.config.update(config)
        return app

    return ScriptInfo(create_app=create_app)


def test_every_setting_is_shown_with_its_source(run: Run) -> None:
    result = run("config", env={"PROFILING_CPU": "off"}, obj=_app(PROFILING_MAX_SESSIONS=7))
    assert result.exit_code == 0
    for setting in SETTINGS:
        assert f"\n{setting.key} = " in result.output
    assert "PROFILING_CPU = off  (environment)" in result.output
    assert "PROFILING_MAX_SESSIONS = 7  (app.config)" in result.output
    assert "PROFILING_HEAP = true  (default)" in result.output
    assert "Settings of the app shop and of the environment." in result.output
    assert lines_within(result.output, 80) == []


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "Profiling is closed here: FLASK_ENV is unset, which means production"),
        ({"FLASK_ENV": "production", "PROFILING_ENABLED": "true"}, "Profiling is closed here:"),
        ({"FLASK_ENV": "development", "PROFILING_ENABLED": "true"}, "Profiling is open here:"),
    ],
)
def test_it_says_why_profiling_is_open_or_closed(run: Run, env: dict[str, str], said: str) -> None:
    result = run("config", env=env)
    assert result.exit_code == 0
    assert said in " ".join(result.output.split())
    assert "No app was named" in result.output


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_the_token_is_masked(run: Run, args: tuple[str, ...]) -> None:
    result = run(
        "config", *args, env={"PROFILING_TOKEN": "hunter2"}, obj=_app(PROFILING_COORDINATOR="redis://:swordfish@h/0")
    )
    assert "PROFILING_TOKEN" in result.output
    assert "hunter2" not in result.output
    assert "swordfish" not in result.output


def test_every_mistake_is_told_and_the_exit_status_is_1(run: Run) -> None:
    mistakes = {"PROFILING_CPU": "stopwatch", "PROFILING_CPUU": "off", "PROFILING_RATE_LIMIT": "often"}
    result = run("config", env=mistakes, obj=_app(PROFILING_HEAP="maybe"))
    assert result.exit_code == 1
    assert "correct 4 settings" in result.stderr
    for key in (*mistakes, "PROFILING_HEAP"):
        assert key in result.stderr
    assert "PROFILING_HEAP = maybe  (app.config)" in result.stdout
    assert "Wrong: it must be true or false" in result.stdout


def test_json_holds_the_gate_the_settings_and_the_mistakes(run: Run) -> None:
    good, bad = run("config", "--json"), run("config", "--json", env={"PROFILING_HEAP": "maybe"})
    assert (good.exit_code, bad.exit_code, bad.stderr) == (0, 1, "")
    document = json.loads(good.stdout)
    assert document["success"] is True
    assert document["open"] is False
    assert [row["key"] for row in document["settings"]] == [setting.key for setting in SETTINGS]
    document = json.loads(bad.stdout)
    assert (document["success"], document["error"]) == (False, "bad_configuration")
    assert [row["key"] for row in document["settings"] if row["problem"]] == ["PROFILING_HEAP"]


def test_an_app_that_does_not_load_is_a_failure_and_the_environment_is_shown(run: Run) -> None:
    def create_app() -> Flask:
        raise ValueError("no \x1b[31mdatabase")

    result = run("config", obj=ScriptInfo(create_app=create_app))
    assert result.exit_code == 1
    assert "the app fails as it is loaded (ValueError: no \\x1b[31mdatabase)" in result.stderr
    assert "PROFILING_HEAP = true  (default)" in result.stdout
    missing = run("config", obj=ScriptInfo("no_such_module_here"))
    assert missing.exit_code == 1
    assert "Could not import 'no_such_module_here'." in missing.stderr


def test_an_app_with_mistakes_in_its_settings_shows_them(run: Run) -> None:
    def create_app() -> Flask:
        from flask_profiling import Profiling

        app = Flask("shop")
        app.config["PROFILING_HEAP"] = "maybe"
        Profiling(app)
        return app

    env = {"FLASK_ENV": "development", "PROFILING_ENABLED": "true"}
    result = run("config", env=env, obj=ScriptInfo(create_app=create_app))
    assert result.exit_code == 1
    assert "PROFILING_HEAP is 'maybe'" in result.stderr
