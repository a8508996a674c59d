"""The benchmarks run, say what they found in a form that comes back, and the committed results are whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import page, truth
from benchmarks.__main__ import AREAS, main
from benchmarks.accuracy import COLUMNS, Account, judged
from benchmarks.instructions import COUNTERS, counter
from benchmarks.results import Curves, Grid, Ratios, Results, Spread, growth, steep_from
from tests.components import requires
from tests.pythons import python_path

PROJECT = Path(__file__).resolve().parents[1]
COMMITTED = PROJECT / "docs" / "explanation" / "benchmarks.json"


def once(*values: float) -> list[tuple[float, Spread]]:
    """Return points for the sizes 1, 10, 100 and so on."""
    return [(10.0**place, Spread.of([value])) for place, value in enumerate(values)]


def program(directory: Path, name: str, script: str) -> str:
    """Write a shell script and return its path."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.timeout(300)
@requires("gunicorn", "py-spy", "websockets")
def test_a_tiny_run_of_every_area_ends_well(tmp_path: Path) -> None:
    timed = [area for area in AREAS if area != "instructions"]
    command = [sys.executable, "-m", "benchmarks", *timed, "--tiny", "--json", "out.json", "--page", "out.html"]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""  # nothing was left out
    results = Results.from_json(json.loads((tmp_path / "out.json").read_text("utf-8")))
    assert list(results.areas) == list(results.slices) == timed
    html = (tmp_path / "out.html").read_text("utf-8")
    titles = [section.title for sections in results.areas.values() for section in sections]
    assert [title for title in titles if title not in html or title not in done.stdout] == []
    (accuracy,) = results.areas["accuracy"]
    assert isinstance(accuracy, Grid)
    for row in accuracy.rows[:2]:  # cprofile and calltree count exactly
        assert dict(zip(COLUMNS[1:6], row[1:6], strict=True)) == {
            "requests failed": "0",
            "call counts off by": "0.0%",
            "false edges": "0",
            "edges missing": "0",
            "edge counts off by": "0.0%",
        }


def test_a_witness_that_lies_is_found_out() -> None:
    rounds, shares = 2, {"chatty": 0.5, "solid": 0.25, "native": 0.25}
    times = rounds * truth.THREADS
    honest = Account()
    honest.calls.update({name: calls * times for name, calls in truth.CALLS.items()})
    honest.edges.update({edge: calls * times for edge, calls in truth.EDGES.items()})
    honest.times.update({"chatty": 2, "solid": 1, "native": 1})
    assert judged(honest, rounds, shares) == [0, 0, 0, 0, 0, 0]
    honest.edges["leaf", "small"] = 1
    del honest.edges["cheap", "shared"]
    honest.calls["leaf"] *= 2
    honest.times["chatty"] = 6
    assert judged(honest, rounds, shares) == [
        0,
        pytest.approx(1 / len(truth.CALLS)),
        1,
        1,
        pytest.approx(1 / len(truth.EDGES)),
        pytest.approx(0.25),
    ]
    honest.counts = False
    assert judged(honest, rounds, shares)[1] is None


@pytest.mark.timeout(200)
@requires("valgrind")
def test_instructions_repeat_and_an_idle_extension_takes_hardly_any(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "instructions", "--tiny", "--json", "out.json"]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = Results.from_json(json.loads((tmp_path / "out.json").read_text("utf-8"))).areas["instructions"]
    assert isinstance(found, Ratios)
    assert found.cases["without"].median == 1
    assert 0.9 < found.cases["extension, idle"].median < 1.1


def test_the_first_program_that_can_count_is_taken(tmp_path: Path) -> None:
    found: dict[str, str] = {}
    assert counter(lambda name: found.get(name, "")) is None
    report = 'for option; do case $option in -o) ;; *report) report=$option;; esac; done; report=${report#*=}; '
    runs = f'while [ "$1" != "{sys.executable}" ]; do shift; done; "$@" || exit; '
    found["perf"] = program(tmp_path, "perf", f"{report}{runs}echo '<not supported>,,instructions:u,0,,' > $report")
    assert counter(lambda name: found.get(name, "")) is None  # as on a virtual machine
    counted = "printf 'thread: 1\\nevents: Ir\\ntotals: 42\\n' > $report-01"
    found["valgrind"] = program(tmp_path, "valgrind", f"{report}{runs}{counted}")
    found["callgrind_control"] = program(tmp_path, "callgrind_control", 'echo "$@" >> "$0.log"')
    taken = counter(lambda name: found.get(name, ""))
    assert taken is COUNTERS[1]
    switched = (tmp_path / "callgrind_control.log").read_text().split("\n")
    assert [line[:5] for line in switched] == ["-i on", "-i of", ""]
    found["perf"] = program(tmp_path, "perf", f"{report}{runs}echo '123,,instructions:u,0,,' > $report")
    taken = counter(lambda name: found.get(name, ""))
    assert taken is COUNTERS[0]
    silent = ["-c", "print(1, flush=True); input(); print(2, flush=True); input()"]
    assert taken.count([sys.executable, *silent], lambda name: found.get(name, "")) == 123
    assert taken.count([sys.executable, "-c", "raise SystemExit(3)"], lambda name: found.get(name, "")) is None


def test_slices_are_entered_beside_each_other_and_another_python_s_under_its_name() -> None:
    results = Results("python -m benchmarks", {}, {"CPython": "3.13.0", "flask": "3.1"})
    for value, python in ((1.0, "CPython 3.13.0"), (2.0, "CPython 3.11.7"), (3.0, "CPython 3.13.0")):
        results.add("heap", [Curves("Nodes", "", "nodes", "ms", {"all": once(value)})], python, f"run {value}")
    results.add("heap", [Grid("Others", "", ("",), [("a",)])], "CPython 3.13.0", "run 4")
    assert [section.title for section in results.areas["heap"]] == ["Others", "Nodes", "Nodes, CPython 3.11.7"]
    (_, nodes, older) = results.areas["heap"]
    assert isinstance(nodes, Curves)
    assert isinstance(older, Curves)
    assert (nodes.lines["all"][0][1].median, older.lines["all"][0][1].median) == (3.0, 2.0)
    assert results.slices == {"heap": "run 4", "heap, CPython 3.11.7": "run 2.0"}


def test_an_area_that_takes_too_long_is_left_out_and_the_next_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    areas = ModuleType("areas_of_this_test")
    areas.wait = lambda scale: time.sleep(100)  # type: ignore[attr-defined]
    areas.hasten = lambda scale: [Grid("Done", "", ("",), [("at once",)])]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, areas.__name__, areas)
    monkeypatch.setitem(AREAS, "heap", f"{areas.__name__}:wait")
    monkeypatch.setitem(AREAS, "latency", f"{areas.__name__}:hasten")
    file = tmp_path / "out.json"
    assert main(["heap", "latency", "--tiny", "--seconds", "1", "--json", str(file)]) == 1
    results = Results.from_json(json.loads(file.read_text("utf-8")))
    assert list(results.areas) == ["latency"]
    assert results.left_out == {"heap": "not done within 1 s"}
    assert "left out: heap (not done within 1 s)" in capsys.readouterr().err
    assert main(["latency", "--tiny", "--add", "--json", str(file)]) == 0
    again = Results.from_json(json.loads(file.read_text("utf-8")))
    assert again.areas == results.areas
    assert again.command.count("python -m benchmarks") == 2


def test_results_come_back_from_json_and_are_shown() -> None:
    results = Results("python -m benchmarks", {"memory": "1 GiB"}, {"CPython": "3.13.0"}, left_out={"spy": "no spy"})
    results.areas["some"] = [
        Ratios("Ratios", "What it is.", "without", {"without": Spread.of([1, 1]), "with <b>": Spread.of([2, 3, 4, 5])}),
        Curves("Curves", "What it is.", "things", "ms", {"all": once(1, 10, 90)}),
        Grid("Grid", "What it is.", ("", "fast"), [("a snail", "no")]),
    ]
    again = Results.from_json(json.loads(json.dumps(results.to_json())))
    html = page.html(again)
    assert html == page.html(results)
    assert "with &lt;b&gt;" in html
    assert "<b>" not in html
    assert "3.50 (3.00-4.00)" in html
    assert "a snail" in page.text("some", again.areas["some"])
    assert html.count("<svg") == 2


def test_growth_is_a_power_of_the_size_and_says_where_it_stops_being_linear() -> None:
    assert growth(once(1, 10, 1000)) == [pytest.approx(1), pytest.approx(2)]
    assert steep_from(once(1, 10, 100)) is None
    assert steep_from(once(1, 10, 1000, 100_000)) == 10
    assert steep_from(once(1, 100, 1000)) is None  # steep at first, linear in the end


def test_the_committed_results_are_those_of_every_area_with_the_others_beside() -> None:
    results = Results.from_json(json.loads(COMMITTED.read_text("utf-8")))
    assert set(results.areas) >= {area for area in AREAS if area != "instructions"}
    assert "--peers" in results.command
    assert {"flask", "yappi", "pyinstrument", "viztracer"} <= set(results.versions)
    (overhead, *_) = results.areas["overhead"]
    assert isinstance(overhead, Ratios)
    assert overhead.cases["without"].median == 1
