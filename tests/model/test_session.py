"""Tests of sessions, recordings and parts: JSON there and back, adding up workers, and damage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.errors import DamagedData
from flask_profiling.model import (
    CallGraph,
    CallGraphs,
    CallTree,
    Cost,
    Function,
    Part,
    Recording,
    RouteTimes,
    Session,
    SessionOptions,
    SessionRecording,
    WorkerId,
    merge_recordings,
)
from tests.model.documents import anything, damaged, through_json
from tests.samples import SAMPLES, everything

WORKER = WorkerId("host", 812, 4711)
RUNNING = Session("prof-20231114-1", WORKER, 1_700_000_000.25, SessionOptions("cprofile", True, 5, 60.0))
GRAPHS = CallGraphs({"GET /": CallGraph({Function("/a.py", 1, "f"): Cost(1, 1, 0.5, 0.5)}, {})})
PART = Part(
    WORKER,
    RUNNING.id,
    {"GET /": RouteTimes().with_request(wall=0.5, cpu=0.25, failed=False)},
    (Recording("cprofile", GRAPHS, ("a note",), ("heap.json",)), Recording("heap", None)),
)
MERGED = replace(everything(SAMPLES), missing=(WorkerId("other", 1, 0),), environment={"python": "3.11.7"})

# name -> class that reads it, something of it
DOCUMENTS: dict[str, tuple[Any, Any]] = {
    "options": (SessionOptions, RUNNING.options),
    "worker": (WorkerId, WORKER),
    "running session": (Session, RUNNING),
    "ended session": (Session, replace(RUNNING, ended=1.0, duration=2.0, ended_by="deadline")),
    "recording": (Recording, PART.recordings[0]),
    "recording of files": (Recording, PART.recordings[1]),
    "part": (Part, PART),
    "session recording": (SessionRecording, MERGED),
}
documents = pytest.mark.parametrize(("reader", "subject"), DOCUMENTS.values(), ids=DOCUMENTS)


@documents
def test_it_survives_json(reader: Any, subject: Any) -> None:
    assert reader.from_json(through_json(subject.to_json())) == subject


@documents
@given(data=st.data())
def test_damage_is_read_or_refused_and_nothing_else(reader: Any, subject: Any, data: st.DataObject) -> None:
    document = data.draw(damaged(through_json(subject.to_json())))
    try:
        found = reader.from_json(document)
    except DamagedData as error:
        assert "; " in str(error) or str(error).endswith("newer version?")
        return
    assert reader.from_json(through_json(found.to_json())) == found


@documents
@given(value=anything)
def test_any_value_is_refused(reader: Any, subject: Any, value: object) -> None:
    with pytest.raises(DamagedData):
        reader.from_json(value)


@pytest.mark.parametrize("name", ["", "prof-", "prof-../../x", "prof-ABCD", "prof-1234\n", "prof-" + 61 * "a"])
def test_a_session_id_that_is_no_id_never_becomes_a_path(name: str) -> None:
    with pytest.raises(DamagedData, match="is not the id of a session; delete the damaged file"):
        Session.from_json({**RUNNING.to_json(), "id": name})


def test_options_that_an_older_version_stored_keep_no_slow_requests() -> None:
    document = RUNNING.options.to_json()
    del document["slow"]
    assert SessionOptions.from_json(document).slow == SessionOptions("cprofile", True, 5, 60.0).slow == 0.0


@pytest.mark.parametrize("subject", [PART, MERGED])
@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(subject: Any, version: object) -> None:
    with pytest.raises(DamagedData, match="; use the version that wrote it"):
        type(subject).from_json({**through_json(subject.to_json()), "version": version})


def test_an_unknown_kind_of_data_is_named() -> None:
    with pytest.raises(DamagedData, match="unknown kind of data 'flames'; was it written by a newer version?"):
        Recording.from_json({**PART.recordings[0].to_json(), "kind": "flames"})


def test_a_recording_is_found_by_its_kind() -> None:
    found = MERGED.recording("callgraphs")
    assert found is not None
    assert found.data == SAMPLES["callgraphs"]()
    assert MERGED.recording("flames") is None
    assert replace(MERGED, recordings=(Recording("heap", None),)).recording("callgraphs") is None


def test_call_graphs_are_those_that_were_recorded_or_those_of_the_call_tree() -> None:
    tree = SAMPLES["calltree"]()
    assert isinstance(tree, CallTree)
    of_tree, of_graphs = Recording("calltree", tree), Recording("cprofile", GRAPHS)
    assert replace(MERGED, recordings=(of_tree, of_graphs)).call_graphs() == GRAPHS
    assert replace(MERGED, recordings=(of_tree,)).call_graphs() == tree.graphs()
    assert replace(MERGED, recordings=()).call_graphs() is None


def test_recordings_add_up_by_engine() -> None:
    one = Recording("cprofile", GRAPHS, ("missing threads", "shared"), ("a",))
    other = Recording("cprofile", GRAPHS, ("shared", "cut short"), ("b",))
    heap = Recording("heap", None, (), ("c",))
    assert merge_recordings([one, heap, other]) == (
        Recording("cprofile", GRAPHS.merged_with(GRAPHS), ("missing threads", "shared", "cut short"), ("a", "b")),
        heap,
    )


@pytest.mark.parametrize("first", [None, GRAPHS])
def test_a_worker_without_data_takes_nothing_away(first: CallGraphs | None) -> None:
    second = GRAPHS if first is None else None
    (merged,) = merge_recordings([Recording("cprofile", first), Recording("cprofile", second)])
    assert merged.data == GRAPHS


def test_no_recordings_add_up_to_none() -> None:
    assert merge_recordings([]) == ()


def test_slow_requests_are_found_where_there_are_any() -> None:
    recording = everything(SAMPLES)
    assert recording.slow_requests() == SAMPLES["slowrequests"]()
    assert replace(recording, recordings=()).slow_requests() is None
