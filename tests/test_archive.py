"""Stored recordings are found by what people type, and nothing that is not ours is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flask_profiling import archive
from flask_profiling.errors import BadRequest, DamagedData, ProfilingError
from flask_profiling.model import Session, SessionOptions, SessionRecording, WorkerId
from flask_profiling.store import Store

WORKER = WorkerId("host", 1, 0)
OLD, NEW = "prof-20260101-000000-aaaa1111", "prof-20260102-000000-bbbb2222"


def recording(session_id: str) -> SessionRecording:
    session = Session(session_id, WORKER, 0.0, SessionOptions("cprofile", False, 0, 1.0), 1.0, 1.0, "stop")
    return SessionRecording(session, (WORKER,), (), {}, (), {"python": "3.11.7"})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    directory = tmp_path / "profiling"
    directory.mkdir(mode=0o700)
    for when, session_id in enumerate([OLD, NEW]):
        path = directory / f"recording-{session_id}.json"
        path.write_text(json.dumps(recording(session_id).to_json()))
        os.utime(path, (1000 + when, 1000 + when))
    return directory


@pytest.mark.parametrize(("name", "found"), [("last", NEW), (OLD, OLD), ("prof-20260101", OLD), (f"{NEW[:-2]}", NEW)])
def test_a_session_is_found_by_its_name(output: Path, name: str, found: str) -> None:
    assert archive.load(name, output).session.id == found


def test_the_last_session_is_the_one_that_began_last_though_its_files_seem_older(output: Path) -> None:
    after = "prof-20251231-000000-cccc3333"  # the clock was put back a day or two
    Store(output, types={"recording": ("recording", ".json")}, max_sessions=1, max_bytes=1).begin(after)
    path = output / f"recording-{after}.json"
    path.write_text(json.dumps(recording(after).to_json()))
    os.utime(path, (10, 10))
    assert archive.load("last", output).session.id == after
    assert [item.session_id for item in archive.recordings(output)] == [after, NEW, OLD]


def test_a_file_is_read_wherever_it_is(output: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "base.json"
    (output / f"recording-{OLD}.json").rename(elsewhere)
    assert archive.load(str(elsewhere), output).session.id == OLD


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("prof-2026010", "several sessions"),
        ("prof-1999", "is called"),
        ("", "is called"),
        ("gone.json", "cannot be read"),
        ("profile-x.prof", "no recording"),
        ("/dev/zero.json", "cannot be read"),
    ],
)
def test_what_is_not_there_is_a_sentence(output: Path, name: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        archive.load(name, output)


def test_an_empty_directory_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no recordings"):
        archive.load("last", tmp_path / "none")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"null", b"\x00\xff", b"[" * 200_000, b'{"version": 99}', b'{"version": 1}']
)
def test_damaged_and_planted_files_are_a_sentence_with_their_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "planted.json"
    path.write_bytes(content)
    with pytest.raises(DamagedData, match=r"planted\.json"):
        archive.load(str(path), tmp_path)


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.json"
    path.write_text(json.dumps(recording(OLD).to_json()))
    monkeypatch.setattr(archive, "LARGEST_RECORDING", 10)
    with pytest.raises(DamagedData, match="larger"):
        archive.load(str(path), tmp_path)


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(ProfilingError, match="regular file"):
        archive.load(str(pipe), tmp_path)
