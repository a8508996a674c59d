"""The sampling engine: true shares from outside, and a sentence where that is not to be had."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from flask_profiling.engines import EngineOptions, create
from flask_profiling.engines.sampling import ROUTE, SamplingEngine, _tree
from flask_profiling.errors import MissingExtra, Unavailable
from flask_profiling.model import CallTree, Recording
from tests.components import requires
from tests.pythons import PYTHON

OPTIONS = EngineOptions("prof-test", app_paths=(str(Path(__file__).parent),))


def spin(until: float) -> None:
    while time.perf_counter() < until:
        pass


def computing(seconds: float) -> None:
    """Computes for 99 parts and writes to a file for one: a sampler inside the process would see only the writing."""
    spin(time.perf_counter() + seconds * 0.99)


def writing(descriptor: int, seconds: float) -> None:
    end = time.perf_counter() + seconds * 0.01
    while time.perf_counter() < end:
        os.write(descriptor, b"x")


def mixed(seconds: float, truth: list[float]) -> None:
    """Add to ``truth`` the CPU time of the computing and of the writing."""
    with Path(os.devnull).open("wb") as sink:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            marks = [time.thread_time()]
            computing(0.02)
            marks.append(time.thread_time())
            writing(sink.fileno(), 0.02)
            marks.append(time.thread_time())
            truth[0] += marks[1] - marks[0]
            truth[1] += marks[2] - marks[1]


def shares(recording: Recording) -> dict[str, float]:
    assert isinstance(recording.data, CallTree)
    tree = recording.data
    totals = tree.total_times()
    whole = totals[next(tree.roots())]
    found: dict[str, float] = {}
    for node in range(len(tree)):
        found[tree.name(node)] = found.get(tree.name(node), 0.0) + totals[node] / whole
    return found


def measured() -> tuple[float, float, float]:
    """Return the share of the workload, and of its computing as sampled and as measured."""
    engine = create("sampling", OPTIONS)
    engine.start()
    truths = [[0.0, 0.0], [0.0, 0.0]]
    threads = [threading.Thread(target=mixed, args=(2.0, truth)) for truth in truths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = shares(engine.stop())
    computed, wrote = (sum(truth[place] for truth in truths) for place in (0, 1))
    return found["mixed"], found["computing"] / found["mixed"], computed / (computed + wrote)


@requires("py-spy")
@pytest.mark.skipif(sys.version_info >= (3, 15), reason="no py-spy knows 3.15 yet")
def test_the_shares_are_those_of_the_work() -> None:
    for _ in range(4):  # on a machine with other work to do, py-spy gets too few turns to be judged
        whole, sampled, truth = measured()
        if whole > 0.9 and abs(sampled - truth) < 0.05:
            return
    pytest.fail(f"sampled {sampled:.3f} instead of {truth:.3f}, and {whole:.3f} of all time in the workload")


@requires("py-spy")
@pytest.mark.skipif(sys.version_info >= (3, 15), reason="no py-spy knows 3.15 yet")
def test_nothing_of_it_is_left() -> None:
    before = threading.active_count()
    engine = SamplingEngine(OPTIONS)
    engine.start()
    child = engine._child
    assert child is not None
    engine.stop()
    assert child.poll() is not None
    assert threading.active_count() == before


def fake(tmp_path: Path, script: str) -> tuple[str, ...]:
    program = tmp_path / "fake.py"
    program.write_text(script)
    return (PYTHON, str(program))


@pytest.mark.parametrize(
    ("said", "way_out"),
    [
        ("Error: Permission Denied: try sudo", "SYS_PTRACE"),
        ("unknown version 9.9", "upgrade py-spy"),
        ("?", "py-spy dump"),
    ],
)
def test_a_py_spy_that_cannot_is_unavailable_with_the_way_out(said: str, way_out: str, tmp_path: Path) -> None:
    engine = SamplingEngine(OPTIONS, command=fake(tmp_path, f"print({said!r}); raise SystemExit(1)"))
    with pytest.raises(Unavailable, match=way_out):
        engine.start()


def test_no_py_spy_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"flask-profiling-devtools\[sampling\]"):
        SamplingEngine(OPTIONS, python=str(tmp_path / "python")).start()


def test_stacks_become_a_tree() -> None:
    lines = [
        "py-spy> Sampling process 200 times a second",
        "view (/app/shop.py:3);helper (/app/my (odd);name.py:9) 30",
        "view (/app/shop.py:3);helper (/app/x.py:9) 30",
        "view (/app/shop.py:3) 10",
        "<genexpr> (/usr/lib/python3/json.py:1) 2",
        "nonsense 7",
    ]
    tree, samples = _tree(lines, lambda file: file.startswith("/app"))
    assert samples == 42
    assert tree.routes == (ROUTE,)
    assert [tree.name(node) for node in range(len(tree))] == [ROUTE, "view", "helper", "<genexpr>"]
    assert tree.total_times()[0] == pytest.approx(42 / 200)
    assert {tree.functions[index].name for index in tree.library} == {"<genexpr>"}
