"""The demo: run as ``make demo`` runs it, under each server, and what it leaves behind is looked at."""

from __future__ import annotations

import json
import os
import pstats
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import flask_profiling
from flask_profiling.formats import FORMATS
from flask_profiling.model import NO_COST, CallGraph, Cost, Function
from tests.components import import_or_skip, requires

import_or_skip("sqlalchemy")
import_or_skip("asgiref")

import demo  # noqa: E402

from .conftest import EXAMPLES  # noqa: E402

VISITS = 4
REQUESTS = VISITS * len(demo.VISIT)
PRODUCTS = 24
# more than a minute of load: the deals alone take a tenth of a second and more of each visit
NEVER_ENDING = "2000"


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process in ``folder``; it does not outlive the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment["PYTHONPATH"] = str(Path(flask_profiling.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "demo.py"), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def server_of(line: str) -> tuple[int, int]:
    """The port and the process that the line about serving names."""
    found = re.search(r"http://127\.0\.0\.1:(\d+)/ on \w+, process (\d+)", line)
    assert found, line
    return int(found[1]), int(found[2])


def is_gone(port: int, pid: int) -> bool:
    """Neither the server's process nor anybody else listens any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) != 0
    return False


def artifact(folder: Path, pattern: str) -> Path:
    (found,) = (folder / "profiling").glob(pattern)
    return found


@pytest.mark.parametrize(
    "server",
    [
        pytest.param("gunicorn", marks=requires("gunicorn")),
        pytest.param("waitress", marks=requires("waitress")),
        "werkzeug",
    ],
)
def test_the_demo_profiles_the_shop_and_leaves_artifacts(tmp_path: Path, server: str) -> None:
    with running(tmp_path, "--server", server, "--visits", str(VISITS), "--seconds", "40") as process:
        output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors + output
    assert errors == ""
    assert is_gone(*server_of(output))

    assert "\033" not in output
    assert [line for line in output.splitlines() if len(line) > 80] == []
    assert f"{REQUESTS} of {REQUESTS} requests recorded" in output
    deals = output[output.index("pages.deals") :].splitlines()
    assert f"{VISITS} requests" in deals[0]
    assert "price_with_every_discount" in deals[1]
    assert f" {VISITS * PRODUCTS} " in deals[1]

    for path in (tmp_path / "profiling").iterdir():
        assert path.name.startswith(".") or f"profiling/{path.name}" in output
    stats = pstats.Stats(str(artifact(tmp_path, "profile-*.prof"))).get_stats_profile()
    assert stats.func_profiles["price_with_every_discount"].ncalls == str(VISITS * PRODUCTS)
    nodes = json.loads(artifact(tmp_path, "profile-*.cpuprofile").read_bytes())["nodes"]
    assert "price_with_every_discount" in {node["callFrame"]["functionName"] for node in nodes}
    graph = artifact(tmp_path, "callgraph-*.dot").read_text()
    assert graph.startswith("digraph")
    assert "price_with_every_discount" in graph


def test_a_server_that_cannot_start_is_a_sentence_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "profiling").write_text("in the way")
    with running(tmp_path, "--server", "werkzeug", "--visits", "1") as process:
        output, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert errors.startswith("The demo failed. ")
    assert "Traceback" not in output
    assert (tmp_path / "profiling").read_text() == "in the way"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_demo_that_is_ended_takes_its_server_with_it(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with running(tmp_path, "--server", "werkzeug", "--visits", NEVER_ENDING, "--seconds", "60") as process:
        assert process.stdout
        server = server_of(process.stdout.readline())
        assert "/debug/profiling/start" in process.stdout.readline()
        process.send_signal(number)
        process.communicate(timeout=100)
    assert process.returncode == code
    assert is_gone(*server)


def test_a_server_that_dies_under_load_is_a_sentence_and_exit_code_1(tmp_path: Path) -> None:
    with running(tmp_path, "--server", "werkzeug", "--visits", NEVER_ENDING, "--seconds", "60") as process:
        assert process.stdout
        server = server_of(process.stdout.readline())
        assert "/debug/profiling/start" in process.stdout.readline()
        os.kill(server[1], signal.SIGKILL)
        _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert errors.startswith("The demo failed. The server stopped answering")
    assert is_gone(*server)


def test_the_load_ends_when_the_time_is_up(tmp_path: Path) -> None:
    with running(tmp_path, "--server", "werkzeug", "--visits", NEVER_ENDING, "--seconds", "1") as process:
        before = time.monotonic()
        output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors + output
    assert time.monotonic() - before < 60


def test_what_would_steer_the_shop_elsewhere_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILING_TOKEN", "secret")
    monkeypatch.setenv("FLASK_ENV", "production")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 64")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = demo.environment(tmp_path)
    assert environment["FLASK_ENV"] == "development"
    assert environment["PYTHONPATH"] == os.pathsep.join([str(EXAMPLES), "/somewhere"])
    assert "PROFILING_TOKEN" not in environment
    assert "GUNICORN_CMD_ARGS" not in environment


def test_the_demo_says_how_to_open_everything_that_a_session_writes() -> None:
    assert {kind.suffix for kind in FORMATS.values() if kind.when != "export"} <= demo.HOW_TO_OPEN.keys()


@pytest.mark.parametrize(
    ("function", "name", "place"),
    [
        (Function("/home/ada/shop/pricing.py", 35, "price"), "price ", " shop/pricing.py:35"),
        (Function("~", 0, "<built-in method time.sleep>"), "<built-in method time.sleep> ", " C"),
        (Function("/shop/" + "p" * 60 + ".py", 35, "price_with_discount"), "price_with_discount  ppp", "ppp.py:35"),
        (Function("/shop/pricing.py", 35, "p" * 70), "ppp", "ppp…"),
    ],
)
def test_a_line_of_the_table_is_80_columns_wide(function: Function, name: str, place: str) -> None:
    line = demo.function_line(function, Cost(1234, 1234, 1.5, 2.0), share=0.75)
    assert line.startswith(f"    75%    1.500 s    1,234  {name}")
    assert line.endswith(place)
    assert len(line) == 80


def test_the_hottest_functions_are_those_with_most_time_of_their_own() -> None:
    costs = {Function("a.py", line, "f"): Cost(1, 1, self_time, 100.0 - self_time) for line, self_time in [
        (1, 0.5), (2, 4.0), (3, 0.1), (4, 2.0)
    ]}  # fmt: skip
    graph = CallGraph(costs, {})
    assert [function.line for function, _ in demo.hottest(graph)] == [2, 4, 1]
    assert demo.self_time(graph) == pytest.approx(6.6)


def test_a_graph_without_time_can_be_divided_by() -> None:
    assert demo.self_time(CallGraph({Function("a.py", 1, "f"): NO_COST}, {})) > 0


@pytest.mark.parametrize(("count", "expected"), [(12, "0.0 kB"), (1500, "1.5 kB"), (2_400_000, "2.4 MB")])
def test_sizes_are_for_people(count: int, expected: str) -> None:
    assert demo.size(count) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"success": false, "error": "forbidden", "message": "no; ask"}', "no; ask"),
        ("[]", "[]"),
        ("{}", "{}"),
        ("<h1>Not Found</h1>\n", "<h1>Not Found</h1>"),
    ],
)
def test_an_error_answer_is_shown_as_a_sentence_where_it_is_one(body: str, expected: str) -> None:
    assert demo.sentence(body) == expected
