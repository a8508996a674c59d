"""``flask profiling compare`` and ``baseline`` as people and as CI call them."""

from __future__ import annotations

import json
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.conftest import PYTHON, Run, Shell, lines_within
from tests.compare.recordings import ENVIRONMENT, page, recording

# The load test starts a server by this interpreter's own name.
whole = pytest.mark.skipif(sys.executable != PYTHON, reason="this interpreter starts through a wrapper alone")

OLD, NEW = "prof-20260101-000000-aaaa1111", "prof-20260102-000000-bbbb2222"

# A shop in SQLite; each item is asked for again where PLANTED is set.
APP = """
import os, random, sqlite3, threading
from flask import Flask
app = Flask(__name__)
database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("create table item (id integer primary key, price integer)")
database.executemany("insert into item (price) values (?)", [(n,) for n in range(24)])

lock = threading.Lock()

def query(text, *values):
    with lock:
        return database.execute(text, values).fetchall()

@app.get("/")
def items():
    for _ in range(random.randrange(20_000)):
        pass                                            # a noisy neighbour
    rows = query("select id, price from item")
    if os.environ.get("PLANTED"):
        rows = [query("select id, price from item where id = ?", row[0])[0] for row in rows]
    return str(sum(price for _, price in rows))
"""


@pytest.fixture
def output(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output directory in the working directory, with two recordings: the later one asks once more per item."""
    directory = tmp_path / "profiling"
    directory.mkdir(mode=0o700)
    for when, (session_id, queries) in enumerate([(OLD, 1), (NEW, 25)]):
        path = directory / f"recording-{session_id}.json"
        path.write_text(json.dumps(recording(page(24, queries=queries), session_id=session_id).to_json()))
        os.utime(path, (1000 + when, 1000 + when))
    monkeypatch.chdir(tmp_path)
    return directory


def test_a_regression_ends_with_1_and_names_the_cause(run: Run, output: Path) -> None:
    done = run("compare", OLD)
    assert done.exit_code == 1
    assert f"1 regression among 4 numbers, 1 changed.\n  new   {NEW}\n  base  {OLD}\n" in done.stdout
    assert "sqlalchemy.engine:execute" in done.stdout
    assert "from pages:products: 1 -> 25" in done.stdout
    assert lines_within(done.stdout, 80) == []


def test_the_way_back_is_better_and_ends_with_0(run: Run, output: Path) -> None:
    done = run("compare", "last", "prof-20260101")
    assert done.exit_code == 0
    assert "better" in done.stdout


@pytest.mark.parametrize("args", [["--json"], ["--format", "json"]])
def test_json_is_for_programs(run: Run, output: Path, args: list[str]) -> None:
    done = run("compare", OLD, NEW, *args)
    document = json.loads(done.stdout)
    assert (done.exit_code, document["success"], document["regressions"]) == (1, False, 1)


def test_junit_and_markdown_are_for_ci(run: Run, output: Path) -> None:
    assert ET.fromstring(run("compare", OLD, "--format", "junit").stdout).attrib["failures"] == "1"
    assert "| REGRESSION | `sqlalchemy.engine:execute` |" in run("compare", OLD, "--format", "markdown").stdout


def test_the_page_of_what_changed_is_written_beside_the_verdict(run: Run, output: Path) -> None:
    done = run("compare", OLD, NEW, "--html", "pages/changed.html", "--format", "junit")
    assert done.exit_code == 1, "a regression is one, however it is shown"
    assert ET.fromstring(done.stdout).attrib["failures"] == "1", "the page is not mentioned among what programs read"
    assert "changed.html shows what changed" in done.stderr
    page = Path("pages/changed.html")
    assert f"<title>{NEW} against {OLD}</title>" in page.read_text()
    assert page.stat().st_mode & 0o077 == 0


def test_what_cannot_be_compared_has_no_page(run: Run, output: Path) -> None:
    other = recording(page(24), environment={**ENVIRONMENT, "python": "3.99.0"})
    Path("other.json").write_text(json.dumps(other.to_json()))
    assert run("compare", "other.json", NEW, "--html", "changed.html").exit_code == 1
    assert not Path("changed.html").exists()


def test_a_page_that_cannot_be_written_is_a_sentence(run: Run, output: Path) -> None:
    Path("file").write_text("")
    done = run("compare", OLD, NEW, "--html", "file/changed.html")
    assert done.exit_code == 1
    assert "name another file" in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is in Python 3.11")
def test_thresholds_are_read_where_they_lie(run: Run, output: Path) -> None:
    Path("profiling-thresholds.toml").write_text('[calls]\n"sqlalchemy.*" = "ignore"\n')
    assert run("compare", OLD).exit_code == 0
    Path("strict.toml").write_text('[calls]\n"*" = "0%"\n')
    assert run("compare", OLD, "--thresholds", "strict.toml").exit_code == 1
    Path("broken.toml").write_text("[calls\n")
    broken = run("compare", OLD, "--thresholds", "broken.toml")
    assert (broken.exit_code, "is not TOML" in broken.stderr) == (2, True)
    missing = run("compare", OLD, "--thresholds", "gone.toml")
    assert (missing.exit_code, "cannot be read" in missing.stderr) == (2, True)


def test_without_a_toml_reader_the_way_out_is_said(run: Run, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, module, None)
    Path("profiling-thresholds.toml").write_text("")
    done = run("compare", OLD)
    assert done.exit_code == 1
    assert "pip install tomli" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["compare", "prof-2026010"], "beginning of several"),
        (["compare", "prof-9"], "is called"),
        (["compare", "gone.json"], "cannot be read"),
        (["compare", "profile-x.prof"], "no recording"),
        (["baseline", "check", "main"], "there is no baseline main"),
        (["baseline", "save", "../evil"], "cannot be the name"),
        (["baseline", "save", "main", "prof-9"], "is called"),
    ],
)
def test_what_is_not_there_is_a_sentence(run: Run, output: Path, args: list[str], said: str) -> None:
    done = run(*args)
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_baseline_is_saved_and_checked(run: Run, output: Path) -> None:
    assert run("baseline", "save", "main", OLD).exit_code == 0
    assert run("baseline", "check", "main", OLD).exit_code == 0
    assert run("baseline", "check", "main").exit_code == 1
    again = run("baseline", "save", "main", "--add", "--json")
    assert json.loads(again.stdout)["runs"] == [OLD, NEW]
    assert run("baseline", "check", "main").exit_code == 0, "one of its runs asked as often"
    assert [path.name for path in Path("profiling-baselines").iterdir()] == ["main.json"]


def test_a_baseline_of_another_python_is_refused(run: Run, output: Path) -> None:
    other = recording(page(24), environment={**ENVIRONMENT, "python": "3.99.0"})
    Path("other.json").write_text(json.dumps(other.to_json()))
    assert run("baseline", "save", "other", "other.json").exit_code == 0
    refused = run("baseline", "check", "other", OLD)
    assert (refused.exit_code, "python 3.99.0 and 3.11.7" in refused.stderr) == (1, True)
    assert run("baseline", "check", "other", OLD, "--across-versions").exit_code == 0


def test_a_damaged_baseline_is_a_sentence(run: Run, output: Path) -> None:
    Path("profiling-baselines").mkdir()
    Path("profiling-baselines/main.json").write_bytes(b"\x80\x05marshal")
    done = run("baseline", "check", "main")
    assert (done.exit_code, "is no baseline" in done.stderr) == (1, True)


@whole
@pytest.mark.parametrize("equal_runs", [3, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_a_planted_query_per_item_fails_and_noise_never_does(shell: Shell, equal_runs: int) -> None:
    (shell.directory / "app.py").write_text(APP)

    def profile(requests: int, **environ: str) -> None:
        args = ("--app", "app", "profiling", "load-test", "--requests", str(requests))
        done = shell.run(*args, **environ)
        assert done.returncode == 0, done.stdout + done.stderr

    profile(20)
    assert shell.run("profiling", "baseline", "save", "main").returncode == 0
    for number in range(equal_runs):
        profile(15 + 7 * number % 23)
        equal = shell.run("profiling", "baseline", "check", "main")
        assert equal.returncode == 0, equal.stdout
    profile(20, PLANTED="1")
    planted = shell.run("profiling", "baseline", "check", "main")
    assert planted.returncode == 1
    assert "app:query" in planted.stdout
    assert "1 -> 25 calls per request" in planted.stdout
