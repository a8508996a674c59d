"""The commands about the heap: what they ask the server, and what they tell of snapshot files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.heapfile.snapshots import shop, write

from .conftest import FakeServer, Run

VISIT = "shop.visits.Visit"
STARTED = {"success": True, "sessionId": "prof-1"}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Two snapshots between which seven visits leaked."""
    before = write(tmp_path / "heap-1.heapsnapshot", shop(3))
    after = write(tmp_path / "heap-2.heapsnapshot", shop(10))
    return str(before), str(after)


def test_heap_runs_a_session_of_a_snapshot_alone(fake: FakeServer, run: Run) -> None:
    fake.on("POST /start", STARTED)
    artifacts = ["profiling/heap-prof-1-812.heapsnapshot", "profiling/recording-prof-1.json"]
    fake.on("POST /stop", {"success": True, "artifacts": artifacts, "notes": ["values are left out"]})
    outcome = run("heap", "--url", fake.url)
    assert outcome.exit_code == 0
    assert json.loads(fake.requests[0][2]) == {"cpu": "off", "heap": True, "allocations": 0}
    assert "  profiling/heap-prof-1-812.heapsnapshot\n" in outcome.stdout
    assert "recording" not in outcome.stdout
    assert "Note: values are left out" in outcome.stdout
    assert "Memory > Load profile" in outcome.stdout


def test_heap_prints_the_answer_as_json(fake: FakeServer, run: Run) -> None:
    fake.on("POST /start", STARTED)
    answer = {"success": True, "artifacts": ["profiling/heap-prof-1.heapsnapshot"]}
    fake.on("POST /stop", answer)
    assert json.loads(run("heap", "--json", "--url", fake.url).stdout) == answer


def test_heap_says_so_where_no_snapshot_was_written(fake: FakeServer, run: Run) -> None:
    fake.on("POST /start", STARTED)
    fake.on("POST /stop", {"success": True, "artifacts": [], "notes": ["This platform cannot fork"]})
    outcome = run("heap", "--url", fake.url)
    assert outcome.exit_code == 1
    assert "This platform cannot fork" in outcome.stdout
    assert "no snapshot was written" in outcome.stderr


def test_heap_does_not_stop_a_session_of_somebody_else(fake: FakeServer, run: Run) -> None:
    refusal = {"success": False, "error": "already_running", "message": "profiling is already running; stop it"}
    fake.on("POST /start", refusal, status=409)
    outcome = run("heap", "--url", fake.url)
    assert outcome.exit_code == 1
    assert len(fake.requests) == 1


def test_heap_diff_shows_what_grew_and_what_holds_it(files: tuple[str, str], run: Run) -> None:
    outcome = run("heap-diff", *files)
    assert outcome.exit_code == 0
    lines = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    assert "+7 3 10 +336B shop.visits.Visit" in lines
    assert "14 1.0KB shop.visits.VISITS (list)" in lines
    assert "shop.visits.Visit: 7 new held by" in lines
    assert "7 × shop.visits.VISITS[*]" in lines
    assert "7 × shop.visits.VISITS[*].request" in lines


def test_heap_diff_shows_one_class_as_json(files: tuple[str, str], run: Run) -> None:
    document = json.loads(run("heap-diff", *files, "--class", VISIT, "--json").stdout)
    assert [(row["class"], row["growth"], row["sizeGrowth"]) for row in document["classes"]] == [(VISIT, 7, 336)]
    assert document["retained"] == [
        {
            "class": VISIT,
            "count": 7,
            "lookedAt": 7,
            "paths": [
                {
                    "path": "shop.visits.VISITS[*]",
                    "count": 7,
                    "steps": [
                        {"label": "", "class": "(modules)"},
                        {"label": "shop.visits", "class": "<module>"},
                        {"label": ".VISITS", "class": "list"},
                        {"label": "[*]", "class": VISIT},
                    ],
                }
            ],
        }
    ]


def test_heap_diff_says_when_nothing_grew(files: tuple[str, str], run: Run) -> None:
    assert "No class has more objects" in run("heap-diff", files[0], files[0]).stdout


def test_heap_diff_of_two_processes_is_told(tmp_path: Path, run: Run) -> None:
    before = write(tmp_path / "a.heapsnapshot", shop(300))
    after = write(tmp_path / "b.heapsnapshot", shop(300, first_id=100_001))
    assert "of two processes" in " ".join(run("heap-diff", str(before), str(after)).stdout.split())


def test_heap_diff_shows_no_more_than_asked_for(files: tuple[str, str], run: Run) -> None:
    outcome = run("heap-diff", *files, "--limit", "1")
    assert "and 1 more classes" in outcome.stdout
    assert "shop.visits.Visit: " not in outcome.stdout


def test_heap_paths_draws_what_holds_a_class(files: tuple[str, str], tmp_path: Path, run: Run) -> None:
    drawn = tmp_path / "visits.dot"
    outcome = run("heap-paths", files[1], VISIT, "--dot", str(drawn))
    assert "10 × shop.visits.VISITS[*]" in outcome.stdout
    assert "dot -Tsvg" in outcome.stdout
    assert drawn.read_text("utf-8").count("->") == 4


def test_a_class_without_its_module_is_helped(files: tuple[str, str], run: Run) -> None:
    outcome = run("heap-paths", files[1], "Visit")
    assert outcome.exit_code == 1
    assert "there is shop.visits.Visit" in " ".join(outcome.stderr.split())


@pytest.mark.parametrize("command", ["heap-diff", "heap-paths"])
def test_a_damaged_file_is_named(tmp_path: Path, run: Run, command: str) -> None:
    path = tmp_path / "half.heapsnapshot"
    path.write_text('{"snapshot":{')
    other = str(path) if command == "heap-diff" else VISIT
    outcome = run(command, str(path), other)
    assert outcome.exit_code == 1
    assert "half.heapsnapshot" in outcome.stderr
    assert "ends in the middle" in outcome.stderr


def test_a_drawing_that_cannot_be_written_is_told(files: tuple[str, str], tmp_path: Path, run: Run) -> None:
    outcome = run("heap-paths", files[1], VISIT, "--dot", str(tmp_path / "nowhere" / "x.dot"))
    assert outcome.exit_code == 1
    assert "cannot be written" in outcome.stderr


def test_a_file_that_is_not_there_is_a_mistake_in_usage(tmp_path: Path, run: Run) -> None:
    assert run("heap-paths", str(tmp_path / "none.heapsnapshot"), VISIT).exit_code == 2
