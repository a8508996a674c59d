"""``flask profiling doctor`` as people and as CI call it."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import STATUS, FakeServer, Run, Shell, lines_within


def test_a_closed_gate_without_a_server_is_a_problem(run: Run, closed_port: int) -> None:
    done = run("doctor", "--url", f"http://127.0.0.1:{closed_port}")
    assert done.exit_code == 1
    assert "closed here: FLASK_ENV is unset" in done.stdout
    assert "flask profiling start" in done.stdout


def test_a_running_server_excuses_a_closed_shell(run: Run, fake: FakeServer) -> None:
    workers = [{"pid": 11, "state": "idle"}, {"pid": 12, "state": "idle"}]
    fake.on("GET /status", {**STATUS, "workers": workers})
    done = run("doctor", "--json", "--url", fake.url)
    found = {finding["topic"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["server"]["state"] == "ok"
    assert "2 workers (11, 12)" in found["server"]["message"]
    assert found["gate"]["state"] == "note"
    assert done.exit_code == 0, [finding for finding in found.values() if finding["state"] == "problem"]


def test_a_server_that_was_named_and_does_not_answer_is_a_problem(run: Run, closed_port: int) -> None:
    done = run("doctor", "--json", "--url", f"http://127.0.0.1:{closed_port}")
    found = {finding["topic"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["server"]["state"] == "problem"


def test_mistakes_in_the_configuration_are_a_problem(
    run: Run, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.on("GET /status", STATUS)
    monkeypatch.setenv("PROFILING_CPU", "abacus")
    done = run("doctor", "--url", fake.url)
    assert done.exit_code == 1
    assert "PROFILING_CPU" in done.stdout


def test_an_app_that_does_not_load_is_a_problem(shell: Shell) -> None:
    (shell.directory / "broken.py").write_text("raise RuntimeError('no database')\n")
    done = shell.run("--app", "broken", "profiling", "doctor", FLASK_ENV="development", PROFILING_ENABLED="true")
    assert done.returncode == 1
    assert "no database" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_in_an_open_shell_all_is_well_in_80_columns(shell: Shell) -> None:
    done = shell.run("profiling", "doctor", FLASK_ENV="development", PROFILING_ENABLED="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines_within(done.stdout, 80) == []
    assert "open here" in done.stdout


def test_the_memory_that_a_session_holds_is_said(run: Run, fake: FakeServer) -> None:
    held = [{"what": "calltree", "size": "2.4MB", "sizeBytes": 2_400_000}]
    fake.on("GET /status", {**STATUS, "active": True, "memory": {"pid": 811, "held": held}})
    done = run("doctor", "--json", "--url", fake.url)
    found = {finding["topic"]: finding["message"] for finding in json.loads(done.stdout)["findings"]}
    assert found["memory"] == "the session holds in worker 811: calltree 2.4MB"
    fake.on("GET /status", STATUS)
    done = run("doctor", "--json", "--url", fake.url)
    found = {finding["topic"]: finding["message"] for finding in json.loads(done.stdout)["findings"]}
    assert found["memory"].startswith("the worker that answered records nothing")
