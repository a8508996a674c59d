"""The group itself: light to import, lazy, helpful; it never needs an app and ends with the right status."""

from __future__ import annotations

import json
import os
import subprocess

import click
import pytest

from flask_profiling.cli import COMMANDS, profiling
from tests.cli.conftest import PYTHON, STATUS, FakeServer, Run, Shell, lines_within

HEAVY = (
    "cProfile",
    "profile",
    "pstats",
    "tracemalloc",
    "gprof2dot",
    "objgraph",
    "flask_limiter",
    "limits",
    "websockets",
    "redis",
)


def test_importing_the_group_imports_nothing_heavy(shell: Shell) -> None:
    """Flask's own command imports every plug-in, and so ours, each time anybody runs ``flask``."""
    code = f"import sys, flask_profiling.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([PYTHON, "-c", code], env=dict(shell.environ), capture_output=True, text=True, timeout=60)
    assert (found.stdout.strip(), found.stderr) == ("[]", "")


def test_a_command_is_imported_when_it_is_used(shell: Shell) -> None:
    code = "import sys, flask_profiling.cli; print([n for n in sys.modules if n.startswith('flask_profiling.cli.')])"
    found = subprocess.run([PYTHON, "-c", code], env=dict(shell.environ), capture_output=True, text=True, timeout=60)
    assert "flask_profiling.cli.session" not in found.stdout
    assert "flask_profiling.cli.serve" not in found.stdout


def test_flask_help_lists_the_group(shell: Shell) -> None:
    done = shell.run("--help")
    assert done.returncode == 0
    assert "profiling  Profile the CPU and the memory of the running app." in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists_and_shows_an_example(run: Run, name: str) -> None:
    by_option, by_command = run(name, "--help"), run("help", name)
    assert by_option.exit_code == by_command.exit_code == 0
    assert by_option.output == by_command.output
    assert f"Usage: flask profiling {name}" in by_option.output
    example = by_option.output.partition("Example:")[2]
    assert "flask " in example.partition("Options:")[0]
    assert name in example
    assert lines_within(by_option.output, 80) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_short_help_that_is_not_cut(name: str) -> None:
    command = profiling.get_command(click.Context(profiling), name)
    assert command is not None
    assert len(command.get_short_help_str()) < 60
    assert not command.get_short_help_str().endswith("...")


@pytest.mark.parametrize("args", [("--help",), ("help",)])
def test_the_groups_help_lists_every_command_and_the_exit_statuses(run: Run, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.output
    assert "Exit status: 0 done, 1 refused or failed, 2 usage, 3 server not reachable." in result.output
    assert "Example:" in result.output
    assert lines_within(result.output, 80) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("statsu",), "there is no command 'statsu'; did you mean 'status'?"),
        (("help", "stop"), "there is no command 'stop'"),
        (("\x1b[31m",), "flask profiling help lists the commands"),
        (("status", "--bogus"), "--bogus"),
        (("status", "--url"), "--url"),
        (("start-session", "--allocations", "-1"), "-1"),
        (("start-session", "--seconds", "0"), "is not a number of seconds"),
        (("start-session", "--slow", "nan"), "'nan' is not a number of seconds from 0 up to"),
        (("start-session", "--slow", "-1"), "is not a number of seconds from 0 up to"),
        (("load-test", "--rate", "nan"), "'nan' is not a number of requests per second above 0"),
        (("status", "--url", "ftp://x"), "only http:// and https:// are known"),
    ],
)
def test_a_mistake_in_the_command_line_ends_with_2(run: Run, args: tuple[str, ...], said: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    "args", [("status", "--bogus"), ("start-session", "--allocations", "-1"), ("--url", "ftp://x"), ("nope",)]
)
def test_a_mistake_in_the_command_line_is_json_where_that_is_wanted(run: Run, args: tuple[str, ...]) -> None:
    result = run(*args, "--json")
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert (answer["success"], answer["error"], result.stderr) == (False, "usage", "")


@pytest.mark.parametrize("place", ["empty", "broken", "missing"])
def test_session_commands_never_load_an_app(shell: Shell, fake: FakeServer, place: str) -> None:
    fake.on("GET /status", STATUS)
    environ = {"PROFILING_URL": fake.url}
    if place == "broken":
        (shell.directory / "app.py").write_text("raise SystemExit('the app was loaded')\n")
    if place == "missing":
        environ["FLASK_APP"] = "no.such:app"
    done = shell.run("profiling", "status", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Profiling is on and idle" in done.stdout


@pytest.mark.parametrize("options", [(), ("--json",), ("--json", "--url", "ftp://nowhere")])
def test_output_that_cannot_be_written_is_a_sentence(shell: Shell, fake: FakeServer, options: tuple[str, ...]) -> None:
    fake.on("GET /status", STATUS)
    done = shell.run_into_a_full_disk("profiling", "status", "--url", fake.url, *options)
    assert done.stderr.splitlines() == [
        "Error: the command broke off ([Errno 28] No space left on device); check the disk and the directory it runs in"
    ]
    assert done.returncode == 1


@pytest.mark.parametrize("closed", [0, 1, 2])
@pytest.mark.parametrize("command", ["status", "clean"])
def test_a_stream_that_was_closed_does_no_harm(shell: Shell, fake: FakeServer, closed: int, command: str) -> None:
    fake.on("GET /status", STATUS)
    fake.on("DELETE /cleanup", {"success": True, "cleaned": {"reports": 0, "sessions": 0}})
    words = shell.argv("profiling", command, "--url", fake.url)
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}>&-', "sh", *words],
        env=dict(shell.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_traceback(shell: Shell, fake: FakeServer) -> None:
    fake.on("GET /status", {**STATUS, "padding": "x" * 3_000_000})
    reader, writer = os.pipe()
    process = subprocess.Popen(
        shell.argv("profiling", "status", "--json", "--url", fake.url),
        env=dict(shell.environ),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert os.read(reader, 1) == b"{"
    os.close(reader)
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    assert process.returncode in (0, 1)  # as the installed click has it


def test_the_exit_statuses_reach_the_shell(shell: Shell, fake: FakeServer, closed_port: int) -> None:
    fake.on("GET /status", STATUS)
    ends = {
        ("status", "--url", fake.url): 0,
        ("stop-session", "--url", fake.url): 1,
        ("nope",): 2,
        ("status", "--url", f"127.0.0.1:{closed_port}"): 3,
    }
    assert {args: shell.run("profiling", *args).returncode for args in ends} == ends


def test_the_shell_completes_commands(shell: Shell) -> None:
    words = {"_FLASK_COMPLETE": "bash_complete", "COMP_WORDS": "flask profiling sta", "COMP_CWORD": "2"}
    done = subprocess.run(
        [PYTHON, "-c", "import sys; from flask.cli import main; sys.argv[0] = 'flask'; main()"],
        cwd=shell.directory,
        env={**shell.environ, **words},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert [line for line in done.stdout.split(os.linesep) if line] == [
        "plain,start",
        "plain,status",
        "plain,start-session",
    ]
