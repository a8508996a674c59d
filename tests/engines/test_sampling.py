"""The sampling engine: true shares from outside, and a sentence where that is not to be had."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_profiling.engines import EngineOptions
from flask_profiling.engines.sampling import ROUTE, Sampler, SamplingEngine, _installed, _pace, _tree
from flask_profiling.errors import MissingExtra, Unavailable
from flask_profiling.model import CallTree, Function, Recording
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


by_python = pytest.mark.skipif(sys.version_info < (3, 15), reason="Python looks from outside itself from 3.15 on")
SAMPLERS = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "py-spy",
            marks=[
                requires("py-spy"),
                pytest.mark.skipif(sys.version_info >= (3, 15), reason="no py-spy knows 3.15 yet"),
            ],
        ),
        pytest.param("profiling.sampling", marks=by_python),
    ],
)


def measured(name: str) -> tuple[float, float, float]:
    """Return the share of the workload, and of its computing as sampled and as measured."""
    engine = SamplingEngine(OPTIONS, python=PYTHON)
    engine.start()
    truths = [[0.0, 0.0], [0.0, 0.0]]
    threads = [threading.Thread(target=mixed, args=(2.0, truth)) for truth in truths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recording = engine.stop()
    assert f"by {name}," in recording.notes[0]
    found = shares(recording)
    computed, wrote = (sum(truth[place] for truth in truths) for place in (0, 1))
    return found["mixed"], found["computing"] / found["mixed"], computed / (computed + wrote)


@SAMPLERS
def test_the_shares_are_those_of_the_work(name: str) -> None:
    for _ in range(4):  # on a machine with other work to do, the sampler gets too few turns to be judged
        whole, sampled, truth = measured(name)
        if whole > 0.9 and abs(sampled - truth) < 0.05:
            return
    pytest.fail(f"sampled {sampled:.3f} instead of {truth:.3f}, and {whole:.3f} of all time in the workload")


@SAMPLERS
def test_nothing_of_it_is_left(name: str) -> None:
    before = threading.active_count()
    engine = SamplingEngine(OPTIONS, python=PYTHON)
    engine.start()
    child = engine._child
    assert child is not None
    assert name in engine.stop().notes[0]
    assert child.poll() is not None
    assert threading.active_count() == before


def double(number: int) -> int:
    return number * 2


def through(step: Callable[[int], int], number: int) -> int:
    for _ in range(3):
        number = step(number)
    return number


def doubling(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        through(double, 1)


def halving(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        through(lambda number: number // 2, 1)


@SAMPLERS
def test_who_called_whom_and_where_it_is_defined_is_true(name: str) -> None:
    engine = SamplingEngine(OPTIONS, python=PYTHON)
    engine.start()
    for work in (doubling, halving) * 10:
        work(0.1)
    recording = engine.stop()
    assert f"by {name}," in recording.notes[0]
    tree = recording.data
    assert isinstance(tree, CallTree)
    paths: list[tuple[str, ...]] = []
    for node, parent in enumerate(tree.parents):
        paths.append((*(paths[parent] if parent >= 0 else ()), tree.name(node)))
    below = {path[place:] for path in paths for place, name in enumerate(path) if name in ("doubling", "halving")}
    assert ("doubling", "through", "double") in below
    assert ("halving", "through", "<lambda>") in below
    assert not [path for path in below if set(path) & {"doubling", "double"} and set(path) & {"halving", "<lambda>"}]
    lines = {function.name: function.line for function in tree.functions if function.file == __file__}
    assert lines["through"] == through.__code__.co_firstlineno
    assert lines["<lambda>"] == halving.__code__.co_firstlineno + 3


def fake(tmp_path: Path, script: str, name: str = "py-spy") -> Sampler:
    program = tmp_path / f"{name}.py"
    program.write_text(script)
    return Sampler(name, (PYTHON, str(program)), f"{name} dump PID")


@pytest.mark.parametrize(
    ("said", "way_out"),
    [
        ("Error: Permission Denied: try sudo", "SYS_PTRACE"),
        ("unknown version 9.9", "upgrade py-spy"),
        ("?", "py-spy dump"),
    ],
)
def test_a_sampler_that_cannot_is_unavailable_with_the_way_out(said: str, way_out: str, tmp_path: Path) -> None:
    engine = SamplingEngine(OPTIONS, samplers=(fake(tmp_path, f"print({said!r}); raise SystemExit(1)"),))
    with pytest.raises(Unavailable, match=way_out):
        engine.start()


# ends as py-spy does, by SIGINT, and tells what it saw
SEES = """
import time
try:
    print("Sampling process", flush=True)
    while True:  # a signal just before one long sleep would be seen after it
        time.sleep(0.01)
except KeyboardInterrupt:
    print("view (/app/shop.py:3) 10", flush=True)
"""


def test_where_one_sampler_cannot_the_next_one_looks_and_is_named(tmp_path: Path) -> None:
    refusing = fake(tmp_path, "print('unknown version 9.9'); raise SystemExit(1)")
    engine = SamplingEngine(OPTIONS, samplers=(refusing, fake(tmp_path, SEES, "other")))
    engine.start()
    recording = engine.stop()
    assert "by other," in recording.notes[0]
    assert isinstance(recording.data, CallTree)
    assert recording.data.functions == (Function("/app/shop.py", 3, "view"),)


def test_a_sampler_that_is_killed_leaves_a_recording_that_says_so(tmp_path: Path) -> None:
    engine = SamplingEngine(OPTIONS, samplers=(fake(tmp_path, SEES),))
    engine.start()
    assert engine._child is not None
    engine._child.kill()
    assert "No sample was taken" in engine.stop().notes[-1]


def test_the_pace_of_looks_and_looks_in_vain_are_told() -> None:
    assert _pace(["py-spy> Sampling process 200 times a second"]) == (1 / 200, ())
    assert _pace(["Sampling process", "0 looks in 0.001 s, 0 unread"]) == (1 / 200, ())
    assert _pace(["Sampling process", "100 looks in 2.0 s, 0 unread"]) == (0.02, ())
    each, (note,) = _pace(["Sampling process", "100 looks in 2.0 s, 7 unread"])
    assert (each, note[:12]) == (0.02, "7 of 100 loo")


@by_python
def test_a_server_with_python_inside_starts_the_python_of_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for name in (version, "uwsgi"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o755)
    for python in (str(tmp_path / "uwsgi"), ""):
        (sampler,) = _installed(python)
        assert sampler.command[0] == str(tmp_path / version)


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="nothing needs to be installed from 3.15 on")
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
    tree, samples = _tree(lines, lambda file: file.startswith("/app"), 1 / 200)
    assert samples == 42
    assert tree.routes == (ROUTE,)
    assert [tree.name(node) for node in range(len(tree))] == [ROUTE, "view", "helper", "<genexpr>"]
    assert tree.total_times()[0] == pytest.approx(42 / 200)
    assert {tree.functions[index].name for index in tree.library} == {"<genexpr>"}
