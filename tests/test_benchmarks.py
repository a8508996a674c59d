"""The benchmarks run, say what they found in a form that comes back, and the committed results are whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import page, truth
from benchmarks.__main__ import AREAS
from benchmarks.accuracy import COLUMNS, Account, judged
from benchmarks.results import Curves, Grid, Ratios, Results, Spread, growth, steep_from
from tests.components import requires

PROJECT = Path(__file__).resolve().parents[1]
COMMITTED = PROJECT / "docs" / "explanation" / "benchmarks.json"


def once(*values: float) -> list[tuple[float, Spread]]:
    """Return points for the sizes 1, 10, 100 and so on."""
    return [(10.0**place, Spread.of([value])) for place, value in enumerate(values)]


@pytest.mark.timeout(300)
@requires("gunicorn", "py-spy", "websockets")
def test_a_tiny_run_of_every_area_ends_well(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--json", "out.json", "--page", "out.html"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""  # nothing was left out
    results = Results.from_json(json.loads((tmp_path / "out.json").read_text("utf-8")))
    assert list(results.areas) == [area for area in AREAS if area != "instructions"]
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
