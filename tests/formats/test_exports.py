"""Tests of what each exported format owes its readers beyond the numbers."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from flask_profiling.errors import Unavailable
from flask_profiling.model import Function
from tests.formats import readers
from tests.formats.calls import Call, call, profiled, recording, written
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


def test_pprof_counts_calls_only_where_they_are_known() -> None:
    by_tree = readers.pprof(written("pprof", tree_recording(recorded(Thread(1, "a", (Request("GET /", ()),))))))
    assert by_tree.types == [("calls", "count"), ("wall", "nanoseconds")]
    by_graph = readers.pprof(written("pprof", recording({"GET /": profiled([call("page", 0.5)])})))
    assert by_graph.types == [("wall", "nanoseconds")]


def test_pprof_labels_samples_with_their_route_and_carries_the_notes() -> None:
    lived = Thread(1, "a", (Request("GET /", (call("page", 0.5, call("render", 0.25)),)),))
    profile = readers.pprof(written("pprof", tree_recording(recorded(lived), notes=("It is only a test.",))))
    stack, _, labels = profile.samples[-1]
    assert [name for name, _, _ in stack] == ["render", "page", "GET /"]
    assert labels == {"route": "GET /"}
    assert profile.comments == ["It is only a test."]


def test_pprof_needs_numbers_of_any_size() -> None:
    long = Thread(1, "a", (Request("GET /", (call("page", 3_000_000.0),)),))
    costs = readers.pprof(written("pprof", tree_recording(recorded(long)))).costs()
    assert max(costs.times.values()) == 3_000_000_000_000


def test_pprof_is_a_gzip_without_a_moment() -> None:
    data = written("pprof", tree_recording(recorded(Thread(1, "a", (Request("GET /", ()),)))))
    assert data[4:8] == b"\x00\x00\x00\x00"
    assert gzip.decompress(data)


def test_callgrind_has_the_time_below_each_call() -> None:
    lived = Thread(1, "a", (Request("GET /", (call("page", 0.002, call("render", 0.004)),), own=1000),))
    lines = written("callgrind", tree_recording(recorded(lived))).decode().splitlines()
    assert "summary: 7000000" in lines
    place = lines.index("calls=1 423")
    assert lines[place + 1] == "0 6000000"
    assert lines.count("calls=1 650") == 1


def test_an_estimated_tree_keeps_routes_apart() -> None:
    subject = recording({"GET /": profiled([call("page", 0.5)]), "GET /b": profiled([call("page", 0.25)])})
    assert written("collapsed", subject).decode().splitlines() == [
        "GET /;page (shop.pages:423) 500000",
        "GET /b;page (shop.pages:423) 250000",
    ]


def test_samples_are_not_called_calls() -> None:
    tree = recorded(Thread(1, "a", (Request("GET /", (call("page", 0.5),)),)))
    sampled = tree_recording(replace(tree, scope="sampled", tracks=()))
    profile = readers.pprof(written("pprof", sampled))
    assert profile.types == [("wall", "nanoseconds")]
    assert profile.samples[-1][1] == [500_000_000]
    assert "calls=0 423" in written("callgrind", sampled).decode()
    assert b'"counted":false' in written("html", sampled)
