"""Tests of ``flask profiling report``: one HTML file, in its place, opened if that is wanted."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from tests.cli.archives import OLDER, SESSION, archive, graphs, shop
from tests.cli.conftest import Run, Shell
from tests.formats.calls import written


def test_the_report_of_the_last_session_lies_beside_it_and_is_private(run: Run, tmp_path: Path) -> None:
    directory = archive(tmp_path)
    result = run("report", "--dir", str(directory), "--json")
    (item,) = json.loads(result.stdout)["files"]
    path = directory / f"report-{SESSION}.html"
    assert item == {"file": str(path), "size": path.stat().st_size}
    assert path.read_bytes() == written("html", shop())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_report_may_be_written_anywhere(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    result = run("report", OLDER, "-o", str(out), "--dir", str(archive(tmp_path)))
    assert result.exit_code == 0
    assert out.read_bytes() == written("html", graphs())


def test_without_a_recording_there_is_no_report(run: Run, tmp_path: Path) -> None:
    result = run("report", "--dir", str(tmp_path / "nothing"))
    assert result.exit_code == 1
    assert "profile a session first" in result.stderr.replace("\n", " ")
    assert not (tmp_path / "nothing").exists()


def test_stdout_cannot_be_opened(run: Run, tmp_path: Path) -> None:
    result = run("report", "--open", "-o", "-", "--dir", str(archive(tmp_path)))
    assert (result.exit_code, result.stdout) == (2, "")


def browser(tmp_path: Path, *, fails: bool = False) -> tuple[str, Path]:
    """Make a browser that notes what it was to open; returns the value of BROWSER, and where the note will be."""
    note, script = tmp_path / "opened", tmp_path / "browser"
    script.write_text(f"#!/bin/sh\nprintf %s \"$1\" > '{note}'\nexit {int(fails)}\n")
    script.chmod(0o700)
    return f"{script} %s", note


def test_the_browser_is_given_the_file(shell: Shell, tmp_path: Path) -> None:
    command, note = browser(tmp_path)
    directory = archive(tmp_path)
    done = shell.run("profiling", "report", "--open", "--dir", str(directory), BROWSER=command)
    assert done.returncode == 0, done.stderr
    assert note.read_text() == (directory / f"report-{SESSION}.html").as_uri()


def test_a_browser_that_does_not_start_is_a_failure_that_names_the_file(shell: Shell, tmp_path: Path) -> None:
    command, _ = browser(tmp_path, fails=True)
    directory = archive(tmp_path)
    nowhere = {
        "BROWSER": f"{command}{os.pathsep}{command}",
        "DISPLAY": "",
        "WAYLAND_DISPLAY": "",
        "PATH": str(tmp_path),
    }
    done = shell.run("profiling", "report", "--open", "--dir", str(directory), **nowhere)
    assert done.returncode == 1
    assert f"report-{SESSION}.html" in done.stderr.replace("\n", "")
