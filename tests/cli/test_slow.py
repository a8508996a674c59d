"""Tests of ``flask profiling slow`` and of ``--request``: the outlier is found in a list and looked at alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.archives import archive
from tests.cli.conftest import Run
from tests.formats.calls import written
from tests.formats.test_slow import SESSION, TRACES, session, slow


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The folder of two sessions, the last of which kept slow requests."""
    directory = archive(tmp_path)
    (directory / f"recording-{SESSION.session.id}.json").write_bytes(written("recording", SESSION))
    return directory


def test_slow_requests_are_listed_the_slowest_first(run: Run, directory: Path) -> None:
    result = run("slow", "--dir", str(directory))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "1,200 requests took 0.5 s or longer; the 3 slowest are kept."
    rows = [line.split() for line in lines if line.strip()[:1].isdigit()][1:]
    assert [row[:5] for row in rows] == [
        ["1", "3.000", "s", "0.500", "s"],
        ["2", "2.000", "s", "0.500", "s"],
        ["3", "1.000", "s", "running", TRACES[2][:8]],
    ]
    assert "GET /: 57% in render" in result.stdout
    assert "flask profiling report --request 1" in result.stdout


def test_slow_requests_are_listed_as_json(run: Run, directory: Path) -> None:
    document = json.loads(run("slow", "--json", "--dir", str(directory)).stdout)
    assert (document["success"], document["threshold"], document["seen"]) == (True, 0.5, 1200)
    assert [row["request"] for row in document["requests"]] == [1, 2, 3]
    assert document["requests"][2]["traceId"] == TRACES[2]
    assert all(row["hasCalls"] and "tree" not in row for row in document["requests"])


def test_where_calls_are_not_known_it_says_how_to_know_them(run: Run, directory: Path) -> None:
    path = directory / f"recording-{SESSION.session.id}.json"
    path.write_bytes(written("recording", session(slow(0, tree=None))))
    assert "--cpu calltree" in run("slow", "--dir", str(directory)).stdout


def test_a_session_without_slow_requests_says_so(run: Run, directory: Path) -> None:
    path = directory / f"recording-{SESSION.session.id}.json"
    path.write_bytes(written("recording", session()))
    assert run("slow", "--dir", str(directory)).stdout == "No request took 0.5 s or longer.\n"


def test_a_session_that_was_not_asked_is_refused_with_the_way_out(run: Run, directory: Path) -> None:
    path = directory / f"recording-{SESSION.session.id}.json"
    path.write_bytes(written("recording", replace(SESSION, recordings=SESSION.recordings[:1])))
    result = run("slow", "--dir", str(directory))
    assert result.exit_code == 1
    assert "PROFILING_SLOW_REQUEST" in result.stderr


def test_one_request_is_written_beside_its_session_under_its_number(run: Run, directory: Path) -> None:
    result = run("export", "--request", TRACES[2][:6], "--format", "cpuprofile", "--dir", str(directory))
    assert result.exit_code == 0
    path = directory / f"profile-{SESSION.session.id}.r3.cpuprofile"
    names = {node["callFrame"]["functionName"] for node in json.loads(path.read_bytes())["nodes"]}
    assert "page" in names
    assert "render" not in names


def test_the_report_of_one_request_stands_where_it_is_wanted(run: Run, directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "outlier.html"
    assert run("report", "--request", "1", "-o", str(out), "--dir", str(directory)).exit_code == 0
    assert "Only one request: GET /, 3.000 s" in out.read_text("utf-8")


def test_a_request_that_is_not_there_is_refused(run: Run, directory: Path) -> None:
    result = run("export", "--request", "4", "--format", "cpuprofile", "--dir", str(directory))
    assert result.exit_code == 1
    assert "give a number from 1 to 3" in result.stderr
