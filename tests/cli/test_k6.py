"""``flask profiling k6`` with a k6 that does as it is told, and with a real one."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import PYTHON, FakeServer, Run, Shell
from tests.cli.test_loadtest import STARTED, STOPPED
from tests.cli.test_terminal import OpenTerminal, terminal
from tests.components import program, requires

__all__ = ["terminal"]

FAKE = """#!/bin/sh
echo "$@" > "$K6_SEEN"
echo "extension resolution: $K6_AUTO_EXTENSION_RESOLUTION" >> "$K6_SEEN"
echo k6 speaks
while [ $# -gt 0 ]; do
  if [ "$1" = --summary-export ]; then printf '%s' "$K6_SUMMARY" > "$2"; fi
  shift
done
if [ -n "$K6_HANGS" ]; then exec sleep 60; fi
exit ${K6_EXIT:-0}
"""
SUMMARY = '{"metrics": {"http_reqs": {"count": 7, "rate": 1.5}, "checks": {"thresholds": {"rate==1": true}}}}'


@pytest.fixture
def fake_k6(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "k6"
    path.write_text(FAKE)
    path.chmod(0o755)
    monkeypatch.setenv("PROFILING_K6_BIN", str(path))
    monkeypatch.setenv("K6_SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("K6_SUMMARY", SUMMARY)
    return path


@pytest.fixture
def server(fake: FakeServer) -> FakeServer:
    fake.on("POST /start", STARTED)
    fake.on("POST /stop", STOPPED)
    return fake


def requests(server: FakeServer) -> list[str]:
    return [request.rpartition("/")[2] for request, _, _ in server.requests]


def test_k6_runs_inside_a_session(run: Run, server: FakeServer, fake_k6: Path) -> None:
    done = run("k6", "--url", server.url, "--path", "/a", "--path", "/b", "-e", "VUS=3", "--json")
    assert done.exit_code == 0, done.output
    seen = (fake_k6.parent / "seen").read_text()
    assert re.match(r"run --summary-export \S+ --quiet --no-usage-report --address ", seen)
    assert f"-e BASE_URL={server.url} -e PATHS=/a /b -e VUS=3" in seen
    assert seen.splitlines()[0].endswith("k6_scripts/smoke.js")
    assert "extension resolution: false" in seen
    assert requests(server) == ["start", "stop"]
    document = json.loads(done.stdout)
    assert document["summary"] == {"http_reqs": {"count": 7, "rate": 1.5}, "checks": {}}
    assert document["k6Exit"] == 0


@pytest.mark.parametrize(("code", "said"), [(99, "thresholds"), (107, "script has an error"), (3, "ended with 3")])
def test_the_exit_code_of_k6_is_what_counts(
    run: Run, server: FakeServer, fake_k6: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    monkeypatch.setenv("K6_EXIT", str(code))
    done = run("k6", "load", "--url", server.url, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["k6Exit"] == code
    assert said in json.loads(done.stdout)["message"]
    assert requests(server) == ["start", "stop"]


def test_a_session_that_goes_on_is_told_of_also_where_k6_fails(
    run: Run, server: FakeServer, fake_k6: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K6_EXIT", "99")
    server.on("POST /stop", {"success": False, "error": "disk_full", "message": "the disk is full"}, status=507)
    done = run("k6", "--url", server.url)
    assert done.exit_code == 1
    assert "thresholds of the script were crossed" in done.stderr
    assert "the session could not be stopped: the disk is full" in done.stderr


@pytest.mark.parametrize("summary", ["", "[]", "{", '{"metrics": 3}', '{"metrics": {"a": 1}}'])
def test_a_broken_summary_breaks_nothing(
    run: Run, server: FakeServer, fake_k6: Path, monkeypatch: pytest.MonkeyPatch, summary: str
) -> None:
    monkeypatch.setenv("K6_SUMMARY", summary)
    done = run("k6", "--url", server.url, "--json")
    assert (done.exit_code, json.loads(done.stdout)["summary"]) == (0, {})


def test_without_k6_nothing_starts_and_the_ways_out_are_named(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("k6", "--url", server.url)
    assert done.exit_code == 127
    assert all(word in done.stderr for word in ("--k6-bin", "PROFILING_K6_BIN", "load-test"))
    assert server.requests == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["gone.js"], "no script 'gone.js'"),
        (["-e", "nonsense"], "is no variable"),
        (["--path", "deals"], "is no path"),
    ],
)
def test_mistakes_are_found_before_anything_starts(
    run: Run, server: FakeServer, fake_k6: Path, args: list[str], said: str
) -> None:
    done = run("k6", "--url", server.url, *args)
    assert (done.exit_code, said in done.stderr) == (2, True)
    assert server.requests == []


def test_a_program_that_does_not_run_leaves_no_session_behind(run: Run, server: FakeServer, fake_k6: Path) -> None:
    fake_k6.write_bytes(b"\x7fELF not really")
    done = run("k6", "--url", server.url)
    assert (done.exit_code, "cannot be run" in done.stderr) == (1, True)
    assert requests(server) == ["start", "stop"]


def test_ctrl_c_ends_k6_and_stops_the_session(terminal: OpenTerminal, server: FakeServer, fake_k6: Path) -> None:
    environ = {"PROFILING_K6_BIN": str(fake_k6), "K6_SEEN": os.devnull, "K6_SUMMARY": "", "K6_HANGS": "1"}
    shown = terminal("k6", "--url", server.url, **environ)
    shown.read(lambda seen: "k6 speaks" in seen)
    shown.type("\x03")
    assert shown.wait() == 130
    assert requests(server) == ["start", "stop"]
    assert "interrupted; its session is stopped" in shown.seen
    assert "Traceback" not in shown.seen


@requires("k6")
@pytest.mark.skipif(sys.executable != PYTHON, reason="this interpreter starts through a wrapper alone")
def test_a_real_k6_profiles_an_app(shell: Shell) -> None:
    (shell.directory / "app.py").write_text(
        "from flask import Flask\napp = Flask(__name__)\n"
        "def work():\n    return sum(range(1000))\n"
        "@app.get('/deals')\ndef deals():\n    return str(work())\n"
    )
    real = program("k6")
    assert real is not None

    def k6(*args: str) -> dict[str, object]:
        done = shell.run("--app", "app", "profiling", "k6", "--json", *args, PROFILING_K6_BIN=shutil.which(real) or "")
        document: dict[str, object] = {"status": done.returncode, "said": done.stderr, **json.loads(done.stdout)}
        return document

    smoke = k6("--path", "/deals")
    assert (smoke["status"], smoke["k6Exit"]) == (0, 0), smoke
    (route,) = smoke["routes"]  # type: ignore[misc]
    assert route["requests"] == 5  # type: ignore[index]
    assert {"work": 5}.items() <= {f["name"]: f["calls"] for f in route["functions"]}.items()  # type: ignore[index]
    missing = k6("--path", "/nothing")
    assert (missing["status"], missing["k6Exit"], missing["error"]) == (1, 99, "thresholds_crossed")
    load = k6("load", "--path", "/deals", "-e", "VUS=2", "-e", "DURATION=1s", "-e", "RAMP=1s")
    assert (load["status"], load["k6Exit"]) == (0, 0), load
    (shell.directory / "broken.js").write_text("export default function () { throw new Error('x') }; nonsense(")
    broken = k6("broken.js")
    assert (broken["status"], broken["k6Exit"]) == (1, 107)
