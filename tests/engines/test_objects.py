"""The objects engine: growth by class is true, no code of the host runs, nothing is counted in the serving process."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import objgraph

from flask_profiling.engines import EngineOptions
from flask_profiling.engines.objects import ObjectsEngine, count
from flask_profiling.model import Growth, Recording

CALLS: list[str] = []


class Leaked:
    pass


class Nosy(type):
    def __getattribute__(cls, name: str) -> object:
        CALLS.append(name)
        return super().__getattribute__(name)


class Watched(metaclass=Nosy):
    pass


class Secretive:
    __module__ = property(lambda self: "sk-live-secret")  # type: ignore[assignment]


class Collected:
    def __init__(self) -> None:
        self.ring = self

    def __del__(self) -> None:
        CALLS.append("__del__")


def engine(tmp_path: Path, **options: object) -> ObjectsEngine:
    return ObjectsEngine(EngineOptions("prof-test", tmp_path), **options)  # type: ignore[arg-type]


def growth(recording: Recording) -> Growth:
    assert isinstance(recording.data, Growth), recording.notes
    return recording.data


def test_a_class_that_grew_is_told_with_both_counts(tmp_path: Path) -> None:
    kept = [Leaked() for _ in range(3)]
    engine_ = engine(tmp_path)
    engine_.start()
    kept += [Leaked() for _ in range(40)]
    recording = engine_.stop()
    found = growth(recording)
    name = f"{__name__}.Leaked"
    assert found.classes[name] == (3, 43)
    assert (name, 3, 43) in found.grown()
    assert Recording.from_json(json.loads(json.dumps(recording.to_json()))) == recording


def test_a_class_that_shrank_is_no_suspect(tmp_path: Path) -> None:
    kept = [Leaked() for _ in range(30)]
    engine_ = engine(tmp_path)
    engine_.start()
    del kept[:20]
    found = growth(engine_.stop())
    assert found.classes[f"{__name__}.Leaked"] == (30, 10)
    assert f"{__name__}.Leaked" not in [name for name, _, _ in found.grown()]


def test_no_code_of_the_host_runs_and_no_value_is_shown() -> None:
    kept = [Watched(), Secretive(), Collected()]
    kept[2] = Collected()
    CALLS.clear()
    for counted in (count(objgraph), count(None)):
        assert CALLS == []
        assert counted[f"{__name__}.Watched"] == 1
        assert counted["Secretive"] == 1
        assert not [name for name in counted if "sk-live" in name]
    gc.collect()
    assert CALLS == ["__del__"]
    CALLS.clear()


def test_objgraph_and_our_own_count_agree() -> None:
    kept = [Leaked() for _ in range(7)]
    first, second = count(objgraph), count(None)
    assert first[f"{__name__}.Leaked"] == second[f"{__name__}.Leaked"] == len(kept)
    assert first["dict"] >= 1000
    assert abs(first["dict"] - second["dict"]) < 50


def test_where_there_is_no_fork_nothing_is_counted(tmp_path: Path) -> None:
    engine_ = engine(tmp_path, fork=None)
    engine_.start()
    recording = engine_.stop()
    assert recording.data is None
    assert "cannot fork" in recording.notes[0]


def test_a_child_that_dies_at_stop_costs_the_data_and_nothing_else(tmp_path: Path) -> None:
    forks = []

    def dying_the_second_time() -> int:
        forks.append(1)
        pid = os.fork()
        if pid == 0 and len(forks) == 2:
            os._exit(7)
        return pid

    engine_ = engine(tmp_path, fork=dying_the_second_time)
    engine_.start()
    recording = engine_.stop()
    assert recording.data is None
    assert "ended with code 7" in recording.notes[0]


def test_too_little_memory_is_told(tmp_path: Path) -> None:
    engine_ = engine(tmp_path, shortage=lambda: "the machine leaves 1 MB")
    engine_.start()
    assert "leaves 1 MB" in engine_.stop().notes[0]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    engine_ = engine(tmp_path)
    engine_.start()
    engine_.abandon()
    engine_.stop()
    assert os.listdir(tmp_path) == []
