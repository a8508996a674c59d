"""Tests of what each exported format owes its readers beyond the numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flask_profiling.errors import Unavailable
from flask_profiling.model import Function
from tests.formats import readers
from tests.formats.calls import Call, call, written
from tests.formats.trees import Request, Thread, recorded, tree_recording

EXPORTS = ("collapsed", "speedscope", "pprof", "callgrind")
HOSTILE = "</script>\n; \x00\x1b[31m\u202e\udc80 (7) fn="


def hostile() -> object:
    odd = Call(Function(HOSTILE, -5, HOSTILE), 0.001, (Call(Function("", 0, ""), 0.002),))
    return tree_recording(recorded(Thread(812, HOSTILE, (Request(HOSTILE, (odd,)),))), notes=(HOSTILE,))


@pytest.mark.parametrize("name", (*EXPORTS, "trace", "cpuprofile", "pstats"))
def test_hostile_names_are_harmless(name: str) -> None:
    data = written(name, hostile())  # type: ignore[arg-type]
    if name == "collapsed":
        assert sorted(line.rpartition(" ")[2] for line in data.decode().splitlines()) == ["1000", "2000"]
    elif name == "callgrind":
        assert sum(readers.callgrind(data).times.values()) == 3000
    elif name == "pprof":
        assert sum(readers.pprof(data).costs().times.values()) == 3000
    elif name == "pstats":
        assert sum(readers.prof(data).times.values()) == 3000
    else:
        assert json.loads(data)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_recording_without_calls_is_refused_with_a_reason(name: str) -> None:
    empty = tree_recording(recorded())
    without = empty.__class__(**{field: getattr(empty, field) for field in empty.__slots__} | {"recordings": ()})
    with pytest.raises(Unavailable, match="recorded no calls"):
        written(name, without)


@pytest.mark.parametrize("name", EXPORTS)
def test_equal_recordings_make_equal_files(name: str) -> None:
    lived = Thread(812, "MainThread", (Request("GET /", (call("page", 0.5),)),))
    assert written(name, tree_recording(recorded(lived))) == written(name, tree_recording(recorded(lived)))


def test_samples_are_not_called_calls() -> None:
    tree = recorded(Thread(1, "a", (Request("GET /", (call("page", 0.5),)),)))
    sampled = tree_recording(replace(tree, scope="sampled", tracks=()))
    profile = readers.pprof(written("pprof", sampled))
    assert profile.types == [("wall", "nanoseconds")]
    assert profile.samples[-1][1] == [500_000_000]
    assert "calls=0 423" in written("callgrind", sampled).decode()
    assert b'"counted":false' in written("html", sampled)
