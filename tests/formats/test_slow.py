"""One slow request as a recording of its own: found by number or trace, in every format, and told by a table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flask_profiling.errors import BadRequest, Unavailable
from flask_profiling.exports import TYPES, export
from flask_profiling.formats import _report
from flask_profiling.formats.slow import one_request
from flask_profiling.model import CallTree, Recording, SessionRecording, SlowRequest, SlowRequests
from tests.formats.calls import call, written
from tests.formats.trees import Request, Thread, recorded, tree_recording

TRACES = ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7" * 2)
PAGE = call("page", 0.002, call("render", 0.004))
EMPTY = call("page", 0.001)


def tree(*views: object) -> CallTree:
    return recorded(Thread(812, "Thread-1", (Request("GET /", views, own=1000),)))  # type: ignore[arg-type]


def slow(number: int, **changes: object) -> SlowRequest:
    plain = SlowRequest("GET /", TRACES[number], 1.7e9, 3.0 - number, 0.5, 200, 812, "Thread-1", tree=tree(PAGE))
    return replace(plain, **changes)  # type: ignore[arg-type]


def session(*requests: SlowRequest, seen: int = 0) -> SessionRecording:
    """Return a session that had both pages, and kept these requests."""
    whole = tree_recording(tree(PAGE, EMPTY), notes=("Only threads.", "3 requests were still running."))
    kept = Recording("slowrequests", SlowRequests(0.5, seen or len(requests), requests))
    return replace(whole, recordings=(*whole.recordings, kept))


SESSION = session(slow(0), slow(1), slow(2, tree=tree(EMPTY), status=503, is_running=True, cpu_time=None), seen=1200)


@pytest.mark.parametrize("name", ["3", "00f067aa", TRACES[2]])
def test_a_request_is_found_by_its_number_or_its_trace(name: str) -> None:
    number, alone = one_request(SESSION, name)
    assert number == 3
    assert [item.data for item in alone.recordings] == [SESSION.recordings[-1].data.requests[2].tree]  # type: ignore[union-attr]
    assert alone.session == SESSION.session
    (times,) = alone.requests.values()
    assert (times.requests, times.errors, times.wall_time, times.cpu_time) == (1, 1, 1.0, 0.0)
    assert alone.notes == (f"Only one request: GET /, 1.000 s, still running at the stop, trace {TRACES[2]}.",)
    assert alone.recordings[0].notes == ("Only threads.",)  # and none that counts in the whole session


@pytest.mark.parametrize("name", ["0", "4", "-1", "", "x", "²", "9" * 40, TRACES[2].upper()])
def test_a_name_that_is_none_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(BadRequest, match=r"no slow request is called .*; give a number from 1 to 3 .*1: GET /"):
        one_request(SESSION, name)


def test_requests_of_one_trace_are_told_apart_by_number() -> None:
    with pytest.raises(BadRequest, match="several requests; give one of the numbers 1, 2"):
        one_request(SESSION, "4bf9")
    assert one_request(SESSION, "2")[0] == 2


@pytest.mark.parametrize("subject", [tree_recording(tree(PAGE)), session()])
def test_where_none_was_kept_it_says_how_to_keep_some(subject: SessionRecording) -> None:
    with pytest.raises(Unavailable, match="PROFILING_SLOW_REQUEST"):
        one_request(subject, "1")


def test_a_request_whose_calls_are_not_known_alone_has_no_file() -> None:
    with pytest.raises(Unavailable, match="cpu=calltree"):
        one_request(session(slow(0, tree=None)), "1")


@pytest.mark.parametrize("type_", [name for name in TYPES if name != "svg"])
def test_every_format_writes_one_request_alone(type_: str) -> None:
    (exported,) = export(SESSION, type_, request="3")
    assert (exported.request, exported.number) == (3, 0)
    if type_ != "pstats":  # marshal notes which objects are one and the same
        assert exported.data == written(type_, one_request(SESSION, "3")[1])
    (whole,) = export(SESSION, type_)
    assert whole.data != exported.data


def test_a_profile_of_one_request_has_its_functions_and_no_others() -> None:
    (exported,) = export(SESSION, "cpuprofile", request="3")
    names = {node["callFrame"]["functionName"] for node in json.loads(exported.data)["nodes"]}
    assert "page" in names
    assert "render" not in names


def test_one_request_is_not_written_per_thread() -> None:
    with pytest.raises(BadRequest, match="--per-thread"):
        export(SESSION, "cpuprofile", request="1", per_thread=True)


def test_the_report_has_a_table_of_them() -> None:
    section: Any = _report.report(SESSION)["slow"]
    assert section["title"] == "Slow requests"
    assert section["text"].startswith("1,200 requests took 0.5 s or longer; the 3 slowest are kept. Press a route ")
    first, _, last = section["rows"]
    began = "22:13:20.000 UTC"
    assert first == [1, "GET /", 3000.0, 500.0, "200", "render (57%)", began, TRACES[0], "812, Thread-1"]
    assert last == [3, "GET / (still running)", 1000.0, "", "503", "page (50%)", began, TRACES[2], "812, Thread-1"]


def test_the_report_has_the_calls_of_each_behind_those_of_the_session() -> None:
    found: Any = _report.report(session(slow(0), slow(1, tree=None), slow(2, tree=tree(EMPTY))))
    names = [found["functions"][label][2] for label in found["nodes"]["fn"]]
    assert found["requests"] == [[1, 3], [3, 2]]
    assert names == ["GET /", "page", "render", "GET /", "page", "render", "GET /", "page"]
    assert found["nodes"]["us"][3:] == [1000, 2000, 4000, 1000, 1000]
    assert found["nodes"]["up"] == [0, 1, 1, 0, 1, 1, 0, 1]


def test_a_report_bounds_the_calls_of_all_requests_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_report, "MOST_NODES_OF_REQUESTS", 80)
    wide = tree(*(call(f"f{number}", 0.001) for number in range(100)))
    found: Any = _report.report(session(slow(0, tree=wide), slow(1, tree=wide)))
    sizes = [size for _, size in found["requests"]]
    assert max(sizes) <= 40
    assert sum(found["nodes"]["us"][-sizes[1] :]) == 101_000  # what is left out keeps its time
    assert sum(found["nodes"]["us"][: -sum(sizes)]) == 8_000
    folded = 2 * (1 + 100 - 40 // 2)  # the route and its functions, but those that are kept
    assert f"{folded} small paths of slow requests are drawn together as (more functions)" in found["notes"][-1]


@pytest.mark.parametrize("kept", [None, SlowRequests(0.5, 0, ())])
def test_a_report_without_slow_requests_offers_none(kept: SlowRequests | None) -> None:
    plain = tree_recording(tree(PAGE))
    several = plain.recordings if kept is None else (*plain.recordings, Recording("slowrequests", kept))
    found: Any = _report.report(replace(plain, recordings=several))
    assert found["requests"] == []
    assert found["slow"] is None or "Press" not in found["slow"]["text"]


@pytest.mark.parametrize(
    ("seen", "kept", "sentence"),
    [
        (0, 0, "No request took 0.5 s or longer."),
        (1, 1, "One request took 0.5 s or longer."),
        (2, 2, "2 requests took 0.5 s or longer."),
        (3, 2, "3 requests took 0.5 s or longer; the 2 slowest are kept."),
    ],
)
def test_the_summary_says_how_many_there_were_and_how_many_are_kept(seen: int, kept: int, sentence: str) -> None:
    assert SlowRequests(0.5, seen, tuple(slow(number) for number in range(kept))).summary() == sentence
