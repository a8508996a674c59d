"""Tests of ``flask profiling report --backrefs``: what holds a class, drawn from the snapshots of a session."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Shell
from tests.components import requires
from tests.heapfile.snapshots import shop, write

OLD, NEW = "prof-20261122-080000-feedc0de", "prof-20261123-101112-0123abcd"
VISIT = "shop.visits.Visit"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An output directory with the snapshots of two sessions, the newer one of two workers."""
    directory = tmp_path / "profiling"
    directory.mkdir(mode=0o700)
    snapshots = [(OLD, ".heapsnapshot", 1), (NEW, ".812.heapsnapshot", 3), (NEW, ".813.heapsnapshot", 0)]
    for age, (session, suffix, visits) in enumerate(snapshots):
        path = write(directory / f"heap-{session}{suffix}", shop(visits))
        path.chmod(0o600)
        os.utime(path, (1_700_000_000 + age, 1_700_000_000 + age))
    return directory


def test_the_graph_is_written_beside_the_newest_snapshots_and_is_private(run: Run, directory: Path) -> None:
    done = run("report", "--backrefs", VISIT, "--dir", str(directory))
    assert done.exit_code == 0, done.stderr
    path = directory / f"backrefs-{VISIT}.dot"
    assert str(path) in done.stdout.replace("\n", "")
    assert "3 × shop.visits.VISITS[*]" in done.stdout
    assert f'label="{VISIT}", style=filled' in path.read_text()
    assert 'label="[*] ×3"' in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@requires("dot")
def test_the_picture_is_drawn_where_graphviz_is(run: Run, directory: Path) -> None:
    done = run("report", "--backrefs", VISIT, "--dir", str(directory), "--json")
    document = json.loads(done.stdout)
    graph, picture = (Path(item["file"]) for item in document["files"])
    assert (graph.suffix, picture.suffix) == (".dot", ".svg")
    assert VISIT in picture.read_text()
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    assert [item["count"] for item in document["retained"]] == [3], "the other worker has none"


def test_where_no_renderer_works_the_graph_is_written_and_the_reason_said(shell: Shell, directory: Path) -> None:
    broken = shell.directory / "bin" / "dot"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o700)
    path = os.pathsep.join([str(broken.parent), os.environ.get("PATH", os.defpath)])
    done = shell.run("profiling", "report", OLD, "--backrefs", VISIT, "--dir", str(directory), PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not drawn as SVG: 'dot' failed" in done.stderr
    assert (directory / f"backrefs-{VISIT}.dot").is_file()
    assert not (directory / f"backrefs-{VISIT}.svg").exists()


def test_it_may_be_written_elsewhere_and_of_a_file(run: Run, directory: Path, tmp_path: Path) -> None:
    snapshot = directory / f"heap-{OLD}.heapsnapshot"
    out = tmp_path / "held.dot"
    assert run("report", str(snapshot), "--backrefs", VISIT, "-o", str(out)).exit_code == 0
    assert "VISITS" in out.read_text()
    assert run("report", str(snapshot), "--backrefs", VISIT, "-o", "-").stdout == out.read_text()


def test_a_class_of_any_name_has_a_file_name(run: Run, directory: Path) -> None:
    assert run("report", OLD, "--backrefs", "<module>", "--dir", str(directory)).exit_code == 0
    assert (directory / "backrefs-_module_.dot").is_file()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--backrefs", "Visit"], "there is shop.visits.Visit"),
        (["prof-9", "--backrefs", VISIT], "take one: flask profiling heap"),
        (["prof-2026112", "--backrefs", VISIT], "beginning of several"),
        (["gone.heapsnapshot", "--backrefs", VISIT], "cannot be read"),
        (["--backrefs", VISIT, "-o", "nosuch/held.dot"], "choose another file"),
        (["--backrefs", VISIT, "--request", "1"], "leave out --request"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(run: Run, directory: Path, args: list[str], said: str) -> None:
    done = run("report", *args, "--dir", str(directory))
    assert done.exit_code in (1, 2)
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
