"""Tests of what the shell completes: names that are stored, through click's own machinery."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from flask_profiling.cli import profiling
from tests.cli.archives import OLDER, SESSION, archive
from tests.cli.conftest import PYTHON, Shell

FLASK = "import sys; sys.argv[0] = 'flask'; from flask.cli import main; main()"

Complete = Callable[[str], list[str]]


def asked(line: str) -> dict[str, str]:
    """What bash says where the cursor stands behind ``line``."""
    words = shlex.split(line)
    return {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - (not line.endswith(" ")))}


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Complete:
    """Ask as bash does, in an empty directory of its own; returns what is offered, and nothing may be said."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("PROFILING_OUTPUT_DIR", raising=False)
    flask = click.Group("flask", commands={"profiling": profiling})

    def ask(line: str) -> list[str]:
        for name, value in asked(line).items():
            monkeypatch.setenv(name, value)
        offered = BashComplete(flask, {}, "flask", "_FLASK_COMPLETE").complete().split()
        assert capfd.readouterr() == ("", "")
        return offered

    return ask


ALL = ["plain,last", f"plain,{SESSION}", f"plain,{OLDER}"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("flask profiling export ", ALL),
        ("flask profiling export --format speedscope ", ALL),
        ("flask profiling report ", ALL),
        ("flask profiling view ", ALL),
        ("flask profiling compare ", ALL),
        ("flask profiling compare last ", ALL),
        ("flask profiling baseline save main ", ALL),
        ("flask profiling baseline check main ", ALL),
        (f"flask profiling export {OLDER[:13]}", [f"plain,{OLDER}"]),
        ("flask profiling export la", ["plain,last"]),
        ("flask profiling export nothing", []),
        ("flask profiling export ./rec", ["file,./rec"]),
    ],
)
def test_names_of_stored_sessions_are_offered_the_newest_first(
    line: str, offered: list[str], complete: Complete
) -> None:
    archive(Path())
    assert complete(line) == offered


def test_the_shell_is_answered_by_flask_itself(shell: Shell) -> None:
    archive(shell.directory)
    done = subprocess.run(
        [PYTHON, "-c", FLASK],
        cwd=shell.directory,
        env={**shell.environ, **asked("flask profiling export "), "_FLASK_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ALL, "")


def test_they_come_from_the_directory_that_is_named(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = archive(tmp_path)
    assert complete("flask profiling report ") == []
    assert complete(f"flask profiling report --dir {shlex.quote(str(directory))} ") == ALL
    monkeypatch.setenv("PROFILING_OUTPUT_DIR", str(directory))
    assert complete("flask profiling report ") == ALL


def test_heap_snapshots_are_offered_by_their_paths(complete: Complete) -> None:
    path = archive(Path()) / f"heap-{SESSION}.heapsnapshot"
    path.write_text("{}")
    path.chmod(0o600)
    offered = [f"plain,profiling/{path.name}"]
    assert complete("flask profiling heap-diff ") == offered
    assert complete(f"flask profiling heap-diff profiling/{path.name} ") == offered
    assert complete("flask profiling heap-paths profiling/he") == offered
    assert complete("flask profiling heap-paths elsewhere/") == ["file,elsewhere/"]


def test_baselines_are_offered_by_their_names(complete: Complete) -> None:
    folder = Path("profiling-baselines")
    folder.mkdir()
    for name in ("main", "main-3.13", "release"):
        (folder / f"{name}.json").write_text("{}")
    assert complete("flask profiling baseline check ma") == ["plain,main", "plain,main-3.13"]


@pytest.mark.parametrize("state", ["missing", "a file", "a link", "unreadable", "damaged"])
def test_where_nothing_can_be_read_nothing_is_offered_and_nothing_made(
    state: str, complete: Complete, tmp_path: Path
) -> None:
    directory = Path("profiling")
    if state == "a file":
        directory.write_text("in the way")
    elif state == "a link":
        directory.symlink_to(tmp_path / "nowhere")
    elif state == "unreadable":
        directory.mkdir(mode=0o000)
    elif state == "damaged":
        directory.mkdir(mode=0o700)
        (directory / f"recording-{SESSION}.json").mkdir()
    before = sorted(path.name for path in Path().iterdir())
    assert complete("flask profiling export ") == []
    assert complete("flask profiling baseline check ") == []
    assert sorted(path.name for path in Path().iterdir()) == before
