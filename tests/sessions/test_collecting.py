"""From parts to artifacts: what is merged and said, which formats are written, what one failure leaves of the rest."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from flask_profiling.errors import DamagedData, DiskFull, StorageFailed, Unavailable
from flask_profiling.formats import Format
from flask_profiling.model import (
    Artifact,
    CallGraph,
    CallGraphs,
    Cost,
    Function,
    Part,
    Recording,
    RouteTimes,
    Session,
    SessionOptions,
    SessionRecording,
    WorkerId,
)
from flask_profiling.sessions import Stopped
from flask_profiling.sessions.collecting import IN_FLIGHT_AT_START, ArtifactStore, merged, write_artifacts

ONE, TWO, THREE = (WorkerId("test", pid, 7) for pid in (1, 2, 3))
OPTIONS = SessionOptions(cpu="cprofile", heap=False, allocations=0, seconds=60.0)
SESSION = Session("prof-test-0001", ONE, 100.0, OPTIONS, ended=105.0, duration=5.0, ended_by="stop")
ONCE = RouteTimes(0, 0, 0.0, 0.0, {}).with_request(wall=0.5, cpu=0.25, failed=False)


def part(worker: WorkerId, *recordings: Recording, **requests: RouteTimes) -> Part:
    return Part(worker, SESSION.id, requests, recordings)


def graphs(calls: int = 1) -> Recording:
    view = Function("app.py", 1, "view")
    return Recording(
        "cprofile", CallGraphs({"/": CallGraph({view: Cost(calls, calls, 0.5, 0.5)}, {})}), ("from cprofile",)
    )


def heap(*attachments: str) -> Recording:
    return Recording("heap", None, (), attachments)


# -- merging -----------------------------------------------------------------------------------------------------------


def test_the_requests_of_all_workers_are_added_up_by_route() -> None:
    recording = merged(SESSION, [part(ONE, a=ONCE), part(TWO, a=ONCE, b=ONCE)], [ONE, TWO], {"python": "3"})
    assert {route: times.requests for route, times in recording.requests.items()} == {"a": 2, "b": 1}
    assert recording.workers == (ONE, TWO)
    assert recording.environment == {"python": "3"}


def test_who_took_part_and_delivered_nothing_is_missing_and_named() -> None:
    recording = merged(SESSION, [part(ONE)], [ONE, TWO, THREE, TWO], {})
    assert recording.missing == (TWO, THREE)
    said = [note for note in recording.notes if "delivered nothing" in note]
    assert [note.partition(" took")[0] for note in said] == ["Worker 2", "Worker 3"]


def test_the_owner_is_missing_though_it_never_noted_that_it_takes_part() -> None:
    assert merged(SESSION, [part(TWO)], [TWO], {}).missing == (ONE,)


def test_a_worker_that_delivered_twice_is_one_worker() -> None:
    assert merged(SESSION, [part(ONE, a=ONCE), part(ONE, a=ONCE)], [], {}).workers == (ONE,)


def test_what_engines_and_workers_say_is_among_the_notes_and_workers_are_no_engine() -> None:
    recording = merged(SESSION, [part(ONE, graphs(), Recording("worker", None, ("worker 1: busy",)))], [], {})
    assert [item.engine for item in recording.recordings] == ["cprofile"]
    assert recording.notes == (IN_FLIGHT_AT_START, "from cprofile", "worker 1: busy")


@pytest.mark.parametrize(("cpu", "said"), [("cprofile", True), ("off", False)])
def test_requests_in_flight_are_a_matter_of_the_cpu_alone(cpu: str, said: bool) -> None:
    session = replace(SESSION, options=replace(OPTIONS, cpu=cpu))
    assert (IN_FLIGHT_AT_START in merged(session, [part(ONE)], [], {}).notes) is said


@pytest.mark.parametrize(("by", "said"), [("recovered", True), ("stop", False), ("deadline", False)])
def test_a_recovered_session_is_called_interrupted(by: str, said: bool) -> None:
    notes = merged(replace(SESSION, ended_by=by), [part(ONE)], [], {}).notes
    assert any("was interrupted" in note for note in notes) is said


# -- writing -----------------------------------------------------------------------------------------------------------


def write_well(recording: SessionRecording, out: BinaryIO) -> None:
    out.write(recording.session.id.encode())


def write_nothing(recording: SessionRecording, out: BinaryIO) -> None:
    raise Unavailable("there is nothing to draw; install graphviz")


def write_badly(recording: SessionRecording, out: BinaryIO) -> None:
    raise ZeroDivisionError("a fault of ours")


def entry(writer: Callable[..., None]) -> str:
    return f"tests.sessions.test_collecting:{writer.__name__}"


def formats(**entries: tuple[str, Callable[..., None]]) -> dict[str, Format]:
    """Formats by type: when they are written, and by what."""
    return {name: Format(name, f".{name}", (), when, entry(writer)) for name, (when, writer) in entries.items()}


class Shelf:
    """A store in memory; ``failures`` raises for a type, ``retained`` says what was to be kept."""

    def __init__(self, **failures: Exception) -> None:
        self.failures = failures
        self.contents: dict[str, bytes] = {}
        self.retained: list[str | None] = []

    def write(
        self, type: str, session_id: str, write: Callable[[BinaryIO], None], *, worker: int | None = None
    ) -> Artifact:
        out = io.BytesIO()
        write(out)
        return self._kept(type, session_id, worker, out.getvalue())

    def adopt(self, path: Path, type: str, session_id: str, *, worker: int | None = None) -> Artifact:
        return self._kept(type, session_id, worker, str(path).encode())

    def _kept(self, type: str, session_id: str, worker: int | None, content: bytes) -> Artifact:
        if type in self.failures:
            raise self.failures[type]
        name = f"{type}-{session_id}" + (f".{worker}" if worker else "")
        self.contents[name] = content
        return Artifact(session_id, type, name, len(content), 0.0)

    def retain(self, *, keep: str | None) -> int:
        self.retained.append(keep)
        if "retain" in self.failures:
            raise self.failures["retain"]
        return 0


def stored(
    table: dict[str, Format], shelf: ArtifactStore, *parts: Part, auto_generate: bool = False, by: str = "stop"
) -> Stopped:
    recording = merged(replace(SESSION, ended_by=by), parts, [], {})
    return write_artifacts(
        recording, parts, store=shelf, spool=Path("spool"), auto_generate=auto_generate, formats=table
    )


def test_the_formats_of_a_stop_are_written_in_the_order_of_the_table_and_the_old_ones_go() -> None:
    table = formats(
        b=("stop", write_well), a=("stop", write_well), later=("auto", write_well), more=("export", write_well)
    )
    shelf = Shelf()
    stopped = stored(table, shelf, part(ONE, graphs()))
    assert [artifact.type for artifact in stopped.artifacts] == ["b", "a"]
    assert shelf.contents == {"b-prof-test-0001": b"prof-test-0001", "a-prof-test-0001": b"prof-test-0001"}
    assert shelf.retained == [SESSION.id]
    assert stopped.workers == (ONE,)
    assert stopped.missing == ()
    assert stopped.recording.recording("callgraphs") is not None


def test_the_report_is_written_too_where_that_is_asked_for() -> None:
    table = formats(a=("stop", write_well), later=("auto", write_well), more=("export", write_well))
    stopped = stored(table, Shelf(), part(ONE), auto_generate=True)
    assert [artifact.type for artifact in stopped.artifacts] == ["a", "later"]


@pytest.mark.parametrize(
    ("kinds", "written"), [(("callgraphs",), True), (("growth",), False), (("growth", "callgraphs"), True)]
)
def test_a_format_is_written_where_something_of_its_kind_was_recorded(kinds: tuple[str, ...], written: bool) -> None:
    table = {"a": Format("a", ".a", kinds, "stop", entry(write_well))}
    assert bool(stored(table, Shelf(), part(ONE, graphs())).artifacts) is written


def test_a_format_that_cannot_or_fails_is_a_note_and_the_others_are_written(caplog: pytest.LogCaptureFixture) -> None:
    table = formats(a=("stop", write_nothing), b=("stop", write_badly), c=("stop", write_well))
    with caplog.at_level(logging.ERROR):
        stopped = stored(table, Shelf(), part(ONE))
    assert [artifact.type for artifact in stopped.artifacts] == ["c"]
    assert stopped.notes[-2:] == (
        "there is nothing to draw; install graphviz",
        "The b artifact could not be made (ZeroDivisionError); the log has details.",
    )
    assert [record.getMessage() for record in caplog.records] == ["profiling: the format b failed"]


@pytest.mark.parametrize("error", [DiskFull, StorageFailed])
def test_what_cannot_be_stored_fails_the_stop_at_its_end_and_names_what_was_kept(error: type[StorageFailed]) -> None:
    table = formats(a=("stop", write_well), b=("stop", write_well), c=("stop", write_well), d=("stop", write_well))
    shelf = Shelf(b=error("no room for b"), c=StorageFailed("no room for c"))
    with pytest.raises(error) as caught:
        stored(table, shelf, part(ONE))
    assert type(caught.value) is error
    assert caught.value.message == (
        "no room for b (session prof-test-0001 is stopped; kept: a-prof-test-0001, d-prof-test-0001)"
    )
    assert shelf.retained == [SESSION.id]


def test_where_nothing_could_be_stored_nothing_was_kept() -> None:
    with pytest.raises(DiskFull, match=r"no room \(session prof-test-0001 is stopped; kept: nothing\)"):
        stored(formats(a=("stop", write_well)), Shelf(a=DiskFull("no room")), part(ONE))


def test_old_sessions_that_cannot_be_deleted_fail_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        stopped = stored(formats(a=("stop", write_well)), Shelf(retain=StorageFailed("busy")), part(ONE))
    assert len(stopped.artifacts) == 1
    assert [record.getMessage() for record in caplog.records] == ["profiling: old sessions could not be deleted"]


# -- what engines wrote themselves -------------------------------------------------------------------------------------

HEAPS = formats(snap=("engine", write_well), a=("stop", write_well))


def test_the_file_of_an_engine_is_adopted_under_the_sessions_name_and_the_recording_names_it() -> None:
    shelf = Shelf()
    stopped = stored(HEAPS, shelf, part(ONE, heap("812.snap"), graphs()))
    assert shelf.contents["snap-prof-test-0001"] == str(Path("spool/812.snap")).encode()
    assert [artifact.type for artifact in stopped.artifacts] == ["snap", "a"]
    attached = {recording.engine: recording.attachments for recording in stopped.recording.recordings}
    assert attached == {"heap": ("snap-prof-test-0001",), "cprofile": ()}


def test_files_of_several_workers_carry_their_pids() -> None:
    shelf = Shelf()
    stopped = stored(HEAPS, shelf, part(ONE, heap("a.snap")), part(TWO, heap("b.snap")))
    assert {name for name in shelf.contents if name.startswith("snap")} == {
        "snap-prof-test-0001.1",
        "snap-prof-test-0001.2",
    }
    (recording,) = stopped.recording.recordings
    assert recording.attachments == ("snap-prof-test-0001.1", "snap-prof-test-0001.2")


def test_no_path_and_no_other_kind_of_file_is_adopted() -> None:
    shelf = Shelf()
    stopped = stored(HEAPS, shelf, part(ONE, heap("../../etc/812.snap", "x.a", "x.exe", "snap")))
    assert [artifact.type for artifact in stopped.artifacts] == ["snap", "a"]
    assert shelf.contents["snap-prof-test-0001"] == str(Path("spool/812.snap")).encode()
    assert len(shelf.contents) == 2


def test_a_file_that_is_damaged_is_a_note_and_one_that_cannot_be_stored_fails_the_stop() -> None:
    damaged = Shelf(snap=DamagedData("812.snap is not ours alone; remove it"))
    stopped = stored(HEAPS, damaged, part(ONE, heap("812.snap")))
    assert stopped.notes[-1] == "812.snap is not ours alone; remove it"
    assert [artifact.type for artifact in stopped.artifacts] == ["a"]
    with pytest.raises(DiskFull, match=r"no room \(session prof-test-0001 is stopped; kept: a-prof-test-0001\)"):
        stored(HEAPS, Shelf(snap=DiskFull("no room")), part(ONE, heap("812.snap")))
