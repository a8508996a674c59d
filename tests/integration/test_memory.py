"""Memory through HTTP, under real servers: the leaking line and its bytes, what grew and what holds it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_profiling.heapfile import load, retained
from flask_profiling.model import Allocations
from tests.components import requires
from tests.integration.servers import KNOWN_APP, NEEDS, PROJECT, PYTHON, Answer, Server, serve
from tests.pythons import run_alone

TRACED_APP = "tests.integration.traced_app:create_app()"
BLOCK = 50_000
TIMES = 40
FLASK = "import sys; from flask_profiling.cli import profiling; profiling(sys.argv[1:], prog_name='flask profiling')"

KINDS = pytest.mark.parametrize(
    ("kind", "workers"),
    [
        pytest.param(kind, workers, marks=requires(*NEEDS[kind]), id=f"{kind}-{workers}")
        for kind, workers in [("werkzeug", 1), ("sync", 2)]
    ],
)


@pytest.fixture
def server(tmp_path: Path, kind: str, workers: int) -> Iterator[Server]:
    with serve(kind, tmp_path, workers=workers) as server:
        server.worker_pids(at_least=workers)
        yield server


def data(server: Server, answer: Answer, kind: str) -> dict[str, Any]:
    """Return one kind of data out of the recording that a stop wrote."""
    recording = json.loads(server.artifact(answer, "recording-" + answer.json()["sessionId"] + ".json").read_bytes())
    (found,) = [item["data"] for item in recording["recordings"] if item["kind"] == kind]
    assert isinstance(found, dict)
    return found


def flattened(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from flattened(child)


def leaked(server: Server, answer: Answer) -> tuple[int, int]:
    """Return the bytes that the leaking line has in the heap profile, and the bytes of the whole."""
    profile = json.loads(server.artifact(answer, ".heapprofile").read_bytes())
    nodes = list(flattened(profile["head"]))
    assert sum(sample["size"] for sample in profile["samples"]) == sum(node["selfSize"] for node in nodes)
    frames = [
        node
        for node in nodes
        if node["callFrame"]["functionName"] == "keep_view" and node["callFrame"]["url"].endswith("/known_app.py")
    ]
    text = (PROJECT / "tests/integration/known_app.py").read_text("utf-8").splitlines()
    assert {text[node["callFrame"]["lineNumber"]].strip() for node in frames} == {"BLOCKS.append(bytearray(size))"}
    return sum(node["selfSize"] for node in frames), sum(node["selfSize"] for node in nodes)


def keep(server: Server) -> None:
    assert set(server.load([f"/keep/{BLOCK}"] * TIMES)) == {200}


def command(server: Server, *arguments: str) -> Any:
    """Run a command of the group as JSON, in the server's directory."""
    done = subprocess.run(
        [PYTHON, "-c", FLASK, *arguments, "--json"],
        cwd=server.directory,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PROFILING_URL": server.url},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@KINDS
def test_allocations_name_the_leaking_line_and_its_bytes(server: Server, kind: str, workers: int) -> None:
    assert server.start(cpu="off", allocations=5).status == 200
    keep(server)
    answer = server.stop()
    size, whole = leaked(server, answer)
    assert BLOCK * TIMES <= size <= BLOCK * TIMES * 1.01
    assert whole < BLOCK * TIMES * 1.5
    assert data(server, answer, "allocations")["fromNothing"] is True
    assert any("its view function in the stack" in note for note in answer.json()["notes"])


@KINDS
def test_what_grew_is_told_by_route(server: Server, kind: str, workers: int) -> None:
    assert server.start(cpu="off", allocations=5).status == 200
    keep(server)
    assert set(server.load(["/leak"] * TIMES)) == {200}
    answer = server.stop()
    routes = Allocations.from_json(data(server, answer, "allocations")).by_route()
    assert BLOCK * TIMES <= routes["/keep/<int:size> [keep_view]"].size_growth <= BLOCK * TIMES * 1.01
    assert 0 < routes["/leak [leak_view]"].size_growth < BLOCK
    profile = json.loads(server.artifact(answer, ".heapprofile").read_bytes())
    shown = {
        node["callFrame"]["functionName"]: sum(found["selfSize"] for found in flattened(node))
        for node in profile["head"]["children"]
    }
    assert shown["/keep/<int:size> [keep_view]"] == routes["/keep/<int:size> [keep_view]"].size_growth
    assert "(no route told)" in shown


@KINDS
def test_the_class_that_grew_is_counted(server: Server, kind: str, workers: int) -> None:
    assert server.start(cpu="off", allocations=1).status == 200
    assert set(server.load(["/leak"] * TIMES)) == {200}
    rows = data(server, server.stop(), "growth")["classes"]
    (kept,) = [(before, after) for name, before, after in rows if name.endswith("known_app.Kept")]
    assert kept == (0, TIMES)


@KINDS
def test_allocations_a_cpu_engine_and_a_snapshot_go_together(server: Server, kind: str, workers: int) -> None:
    assert server.start(cpu="calltree", allocations=10, heap=True).status == 200
    keep(server)
    answer = server.stop()
    assert answer.status == 200
    size, _ = leaked(server, answer)
    assert BLOCK * TIMES <= size <= BLOCK * TIMES * 1.01
    snapshots = [name for name in answer.json()["artifacts"] if name.endswith(".heapsnapshot")]
    assert len(snapshots) == workers


def test_the_default_of_a_start_comes_from_the_environment(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path, environment={"PROFILING_ALLOCATIONS": "3"}) as server:
        assert server.start(cpu="off").status == 200
        keep(server)
        answer = server.stop()
        assert data(server, answer, "allocations")["frames"] == 3
        assert leaked(server, answer)[0] >= BLOCK * TIMES


def test_a_host_that_traces_its_own_memory_is_left_alone(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path, app=TRACED_APP) as server:
        keep(server)
        assert server.start(cpu="off", allocations=2).status == 200
        keep(server)
        answer = server.stop()
        assert server.get("/tracing").json() == {"on": True, "frames": 7, "traced": True}
        found = data(server, answer, "allocations")
        assert (found["frames"], found["fromNothing"]) == (7, False)
        assert BLOCK * TIMES <= leaked(server, answer)[0] <= BLOCK * TIMES * 1.01


@KINDS
def test_two_snapshots_differ_by_what_leaked_and_name_what_holds_it(server: Server, kind: str, workers: int) -> None:
    first = command(server, "heap")["artifacts"]
    assert set(server.load(["/leak"] * TIMES)) == {200}
    second = command(server, "heap")["artifacts"]
    assert len(first) == len(second) == workers + 1  # and the recording
    grown = 0
    for before, after in zip(sorted(first), sorted(second), strict=True):
        if not before.endswith(".heapsnapshot"):
            continue
        found = command(server, "heap-diff", before, after, "--class", "tests.integration.known_app.Kept")
        assert found["shared"] > 0.9
        if not found["classes"]:
            continue
        (change,) = found["classes"]
        assert change["before"] == 0
        assert change["added"] == change["growth"]
        grown += change["growth"]
        (retained,) = found["retained"]
        assert [(way["path"], way["count"]) for way in retained["paths"]] == [
            ("tests.integration.known_app.KEPT[*]", change["growth"])
        ]
        assert "tests.integration.known_app.KEPT" in [holder["path"] for holder in found["holders"]]
    assert grown == TIMES


def test_what_holds_a_class_is_drawn(tmp_path: Path) -> None:
    with serve("werkzeug", tmp_path, app=KNOWN_APP) as server:
        assert set(server.load(["/leak"] * 5)) == {200}
        (snapshot,) = [name for name in command(server, "heap")["artifacts"] if name.endswith(".heapsnapshot")]
        found = command(server, "heap-paths", snapshot, "tests.integration.known_app.Kept", "--dot", "kept.dot")
        assert found["count"] == 5
        drawn = (tmp_path / "kept.dot").read_text("utf-8")
        assert drawn.startswith('digraph "retainers"')
        assert '"tests.integration.known_app.Kept"' in drawn


OWN_CODE = """
from flask import Flask
from flask_profiling import Profiling
from flask_profiling.errors import AlreadyRunning
app = Flask("shop")
app.config.update(FLASK_ENV="development", PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR="profiling")
profiling = Profiling(app)
taken = profiling.heap_snapshot()
print(*[artifact.filename for artifact in taken.artifacts if artifact.type == "heapsnapshot"])
with profiling.session(cpu="off", heap=False, allocations=1):
    try:
        profiling.heap_snapshot()
    except AlreadyRunning:
        print("refused")
"""


def test_code_takes_a_snapshot_too(tmp_path: Path) -> None:
    done = run_alone(OWN_CODE, tmp_path)  # whose heap is small; that of the tests takes half a minute
    assert done.returncode == 0, done.stderr
    snapshot, refused = done.stdout.splitlines()
    assert refused == "refused"
    heap = load(tmp_path / "profiling" / snapshot, edges=True)
    assert retained(heap, "flask_profiling.extension.Profiling") is not None


@requires("sqlalchemy")
def test_the_leak_of_the_example_shop_is_found(tmp_path: Path) -> None:
    environment = {"SHOP_DATABASE": f"sqlite:///{tmp_path}/shop.sqlite"}
    with serve("werkzeug", tmp_path, app="examples.shop:create_app()", environment=environment) as server:
        (before,) = snapshots(server)
        assert set(server.load(["/pixel/1.gif"] * TIMES)) == {200}
        (after,) = snapshots(server)
        found = command(server, "heap-diff", before, after, "--class", "examples.shop.visits.Visit")
        assert [change["growth"] for change in found["classes"]] == [TIMES]
        ways = [(way["path"], way["count"]) for item in found["retained"] for way in item["paths"]]
        assert ways == [("examples.shop.visits.VISITS[*]", TIMES)]
        assert found["holders"][0]["path"] == "examples.shop.visits.VISITS"


def snapshots(server: Server) -> list[str]:
    return sorted(name for name in command(server, "heap")["artifacts"] if name.endswith(".heapsnapshot"))
