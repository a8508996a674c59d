"""Tests of the stored recording: what is written is what is read, and anything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.errors import DamagedData
from flask_profiling.formats.recording import read
from flask_profiling.model import CallGraph, Cost, Function, RouteTimes, SessionRecording, WorkerId
from tests.formats.calls import Call, call, call_trees, profiled, recording, written


@given(st.dictionaries(st.text(st.characters(), max_size=8), call_trees(), max_size=2))
def test_what_is_written_is_what_is_read(routes: dict[str, tuple[Call, ...]]) -> None:
    subject = recording({route: profiled(calls) for route, calls in routes.items()}, notes=("\udcff",))
    assert read(written("recording", subject)) == subject


def test_workers_requests_and_notes_are_kept() -> None:
    plain = recording({})
    subject = SessionRecording(
        plain.session,
        plain.workers,
        (WorkerId("other", 1, 2),),
        {"GET /": RouteTimes().with_request(wall=0.25, cpu=0.125, failed=True)},
        plain.recordings,
        {"python": "3.11.7", "flask": "3.1.0"},
        ("one worker did not answer",),
    )
    assert read(written("recording", subject)) == subject


def test_it_is_one_line_of_ascii() -> None:
    name = Function("/srv/\udcff/é.py", 1, "節\n\0")
    data = written("recording", recording({"GET /\ud800": CallGraph({name: Cost(1, 1, 1.0, 1.0)}, {})}))
    assert data.isascii()
    assert b"\n" not in data


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{", b"null", b"[" * 100_000, b'{"version": 1}', b'{"version": 1e999}', b"NaN", b"1" * 5000]
)
def test_anything_else_is_refused_with_advice(data: bytes) -> None:
    with pytest.raises(DamagedData) as caught:
        read(data)
    assert "; " in str(caught.value) or "?" in str(caught.value)


def test_a_newer_version_is_refused() -> None:
    document = json.loads(written("recording", recording({"GET /": profiled([call("page", 1.0)])})))
    document["version"] += 1
    with pytest.raises(DamagedData, match="recording version 2 is not 1; use the version that wrote it"):
        read(json.dumps(document).encode())


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(DamagedData):
        read(data)
