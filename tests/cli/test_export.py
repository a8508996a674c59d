"""Tests of ``flask profiling export``: any stored session, in any format, in any place."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from flask_profiling.exports import TYPES
from tests.cli.archives import OLDER, SESSION, archive, graphs, shop
from tests.cli.conftest import Run, Shell
from tests.formats import readers
from tests.formats.calls import written

PURE = [name for name in TYPES if name not in ("svg", "dot")]


@pytest.mark.parametrize("name", PURE)
def test_the_last_session_is_written_beside_itself(run: Run, tmp_path: Path, name: str) -> None:
    directory = archive(tmp_path)
    result = run("export", "--format", name, "--dir", str(directory))
    assert result.exit_code == 0
    (path,) = [path for path in directory.iterdir() if not path.name.startswith("recording-")]
    assert SESSION in path.name
    if name == "pstats":  # marshal notes which objects are one and the same, so bytes differ
        assert readers.prof(path.read_bytes()) == readers.prof(written(name, shop()))
    else:
        assert path.read_bytes() == written(name, shop())
    assert str(path) in result.stdout.replace("\n", "")
    assert "Open with: " in result.stdout


def test_the_call_graph_is_written_too(run: Run, tmp_path: Path) -> None:
    result = run("export", "--format", "dot", "-o", "-", "--dir", str(archive(tmp_path)))
    assert result.stdout.startswith("digraph")


@pytest.mark.parametrize("name", [OLDER, "prof-20261122"])
def test_a_session_is_named_by_its_id_or_how_it_begins(run: Run, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out.txt"
    result = run("export", name, "--format", "collapsed", "-o", str(out), "--dir", str(archive(tmp_path)))
    assert result.exit_code == 0
    assert out.read_bytes() == written("collapsed", graphs())


def test_a_recording_is_named_by_its_file(run: Run, tmp_path: Path) -> None:
    path = archive(tmp_path) / f"recording-{OLDER}.json"
    assert run("export", str(path), "--format", "collapsed", "-o", "-").stdout.encode() == written(
        "collapsed", graphs()
    )


def test_the_directory_may_stand_in_the_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILING_OUTPUT_DIR", str(archive(tmp_path)))
    assert run("export", "--format", "collapsed", "-o", "-").stdout.encode() == written("collapsed", shop())


def test_each_thread_may_have_a_file_of_its_own(run: Run, tmp_path: Path) -> None:
    directory = archive(tmp_path)
    result = run("export", "--format", "cpuprofile", "--per-thread", "--json", "--dir", str(directory))
    files = json.loads(result.stdout)["files"]
    assert [item["thread"] for item in files] == ["worker 812 · Thread-1", "worker 812 · Thread-2"]
    first, second = (json.loads(Path(item["file"]).read_bytes()) for item in files)
    names = [{node["callFrame"]["functionName"] for node in document["nodes"]} for document in (first, second)]
    assert names[0] == {"(root)", "GET /", "page", "render"}
    assert names[1] == {"(root)", "POST /checkout", "page", "render"}
    assert first["notes"][0] == "only worker 812 · Thread-1"


def test_threads_add_up_to_the_whole(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.pb.gz"
    run("export", "--format", "pprof", "--per-thread", "-o", str(out), "--dir", str(archive(tmp_path)))
    parts = [readers.pprof((tmp_path / f"out.pb.{number}.gz").read_bytes()).costs() for number in (1, 2)]
    whole = readers.pprof(written("pprof", shop())).costs()
    assert parts[0].times + parts[1].times == whole.times
    assert parts[0].calls + parts[1].calls == whole.calls


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((OLDER, "--format", "pprof", "--per-thread"), "start one with cpu=calltree"),
        (("--format", "html", "--per-thread"), "leave out --per-thread"),
        ((OLDER, "--format", "trace"), "start one with cpu=calltree"),
        (("prof-2", "--format", "pprof"), "several sessions"),
        (("nosuch", "--format", "pprof"), "nosuch"),
        (("--format", "pprof", "-o", "/nosuch/place/x"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(
    run: Run, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    directory = archive(tmp_path)
    result = run("export", *args, "--dir", str(directory))
    assert result.exit_code == 1
    assert said in result.stderr.replace("\n", " ")
    assert sorted(path.name for path in directory.iterdir()) == [f"recording-{OLDER}.json", f"recording-{SESSION}.json"]


def test_an_unknown_format_is_a_mistake_in_the_command_line(run: Run, tmp_path: Path) -> None:
    result = run("export", "--format", "heap", "--dir", str(tmp_path))
    assert result.exit_code == 2
    assert "speedscope" in result.stderr


def test_several_files_for_stdout_are_a_mistake_in_the_command_line(run: Run, tmp_path: Path) -> None:
    result = run("export", "--format", "pprof", "--per-thread", "-o", "-", "--dir", str(archive(tmp_path)))
    assert result.exit_code == 2
    assert "give -o FILE" in result.stderr


def test_a_prof_file_is_never_read(run: Run, tmp_path: Path) -> None:
    planted = tmp_path / "profile-x.prof"
    planted.write_bytes(b"\xe3crash")
    result = run("export", str(planted), "--format", "collapsed")
    assert result.exit_code == 1
    assert "is no recording" in result.stderr


def test_a_full_disk_behind_stdout_is_a_sentence(shell: Shell, tmp_path: Path) -> None:
    stored = str(archive(tmp_path))
    done = shell.run_into_a_full_disk("profiling", "export", "--format", "pprof", "-o", "-", "--dir", stored)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr


def test_the_shell_writes_bytes_to_a_pipe(shell: Shell, tmp_path: Path) -> None:
    done = subprocess.run(
        shell.argv("profiling", "export", "--format", "pprof", "-o", "-", "--dir", str(archive(tmp_path))),
        cwd=shell.directory,
        env=dict(shell.environ),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == written("pprof", shop())
