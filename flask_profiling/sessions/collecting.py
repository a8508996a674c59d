"""From parts to artifacts: merge what the workers delivered, write each format, keep what could be written."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from ..errors import DamagedData, ProfilingError, StorageFailed, Unavailable
from ..formats import FORMATS, Format
from ..model import (
    Artifact,
    Part,
    Recording,
    RouteTimes,
    Session,
    SessionRecording,
    WorkerId,
    merge_recordings,
)
from ..telemetry import span
from .results import Stopped

logger = logging.getLogger("flask_profiling")

IN_FLIGHT_AT_START = "Requests that were already running when the session started are not covered."


class _Writer(Protocol):
    def __call__(self, out: BinaryIO, /) -> None: ...


class ArtifactStore(Protocol):
    """As much of the store as collecting needs."""

    def write(self, type: str, session_id: str, write: _Writer, *, worker: int | None = None) -> Artifact:
        """Write one artifact, whole or not at all."""

    def adopt(self, path: Path, type: str, session_id: str, *, worker: int | None = None) -> Artifact:
        """Make a finished file from the spool an artifact."""

    def retain(self, *, keep: str | None) -> int:
        """Delete the oldest sessions beyond the bounds."""


@span("merge", {})
def merged(
    session: Session, parts: Sequence[Part], participants: Iterable[WorkerId], environment: Mapping[str, str]
) -> SessionRecording:
    """Merge the parts of a session into one recording."""
    requests: dict[str, RouteTimes] = {}
    for part in parts:
        for route, times in part.requests.items():
            requests[route] = requests[route].merged_with(times) if route in requests else times
    workers = tuple(dict.fromkeys(part.worker for part in parts))
    # The owner takes part from the first moment on, even if it died before it could note that.
    missing = tuple(worker for worker in dict.fromkeys((session.owner, *participants)) if worker not in workers)
    recordings = merge_recordings(recording for part in parts for recording in part.recordings)
    return SessionRecording(
        session=session,
        workers=workers,
        missing=missing,
        requests=requests,
        recordings=tuple(recording for recording in recordings if recording.engine != "worker"),
        environment=environment,
        notes=tuple(_notes(session, recordings, missing)),
    )


def _notes(session: Session, recordings: Iterable[Recording], missing: Sequence[WorkerId]) -> Iterable[str]:
    if session.options.cpu != "off":
        yield IN_FLIGHT_AT_START
    if session.ended_by == "recovered":
        yield "The session was interrupted: its workers ended without stopping it; this is what they had delivered."
    for worker in missing:
        yield (
            f"Worker {worker.pid} took part and delivered nothing (it died, or answered too late); "
            "its requests are missing."
        )
    for recording in recordings:
        yield from recording.notes


@span("write", {})
def write_artifacts(
    recording: SessionRecording,
    parts: Sequence[Part],
    *,
    store: ArtifactStore,
    spool: Path,
    auto_generate: bool,
    formats: Mapping[str, Format] = FORMATS,
) -> Stopped:
    """Write every artifact that this recording has, and answer with their names.

    Raises StorageFailed (DiskFull) when one could not be stored; those that could are kept, and named in the message.
    """
    session_id = recording.session.id
    outcome = _Outcome()
    attachments = _adopt(parts, formats, store, spool, outcome)
    recording = replace(
        recording,
        recordings=tuple(replace(item, attachments=attachments.get(item.engine, ())) for item in recording.recordings),
    )
    wanted = {"stop", "auto"} if auto_generate else {"stop"}
    for type_, format in formats.items():
        if format.when in wanted and _applies(format, recording):
            _write(recording, type_, format, store, outcome)
    _retain(store, session_id)
    if outcome.failures:
        kept = ", ".join(artifact.filename for artifact in outcome.artifacts) or "nothing"
        first = outcome.failures[0]
        raise type(first)(f"{first.message} (session {session_id} is stopped; kept: {kept})")
    order = list(formats)
    return Stopped(
        session=recording.session,
        artifacts=tuple(sorted(outcome.artifacts, key=lambda artifact: order.index(artifact.type))),
        workers=recording.workers,
        missing=recording.missing,
        notes=(*recording.notes, *outcome.notes),
        recording=recording,
    )


@dataclass
class _Outcome:
    """What came of the artifacts so far."""

    artifacts: list[Artifact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[StorageFailed] = field(default_factory=list)


def _adopt(
    parts: Sequence[Part], formats: Mapping[str, Format], store: ArtifactStore, spool: Path, outcome: _Outcome
) -> dict[str, tuple[str, ...]]:
    """Make artifacts of the files that engines wrote; returns their names by engine."""
    types = {format.suffix: type_ for type_, format in formats.items() if format.when == "engine"}
    found = [
        (part, recording.engine, Path(filename).name, types[Path(filename).suffix])
        for part in parts
        for recording in part.recordings
        for filename in recording.attachments
        if Path(filename).suffix in types
    ]
    several = Counter(type_ for _, _, _, type_ in found)
    names: dict[str, tuple[str, ...]] = {}
    for part, engine, filename, type_ in found:
        worker = part.worker.pid if several[type_] > 1 else None
        try:
            artifact = store.adopt(spool / filename, type_, part.session_id, worker=worker)
        except StorageFailed as error:
            outcome.failures.append(error)
        except DamagedData as error:
            outcome.notes.append(error.message)
        else:
            outcome.artifacts.append(artifact)
            names[engine] = (*names.get(engine, ()), artifact.filename)
    return names


def _write(recording: SessionRecording, type_: str, format: Format, store: ArtifactStore, outcome: _Outcome) -> None:
    try:
        write = format.writer()
        outcome.artifacts.append(store.write(type_, recording.session.id, lambda out: write(recording, out)))
    except Unavailable as error:
        outcome.notes.append(error.message)
    except StorageFailed as error:
        outcome.failures.append(error)
    except Exception as error:
        logger.exception("profiling: the format %s failed", type_)
        outcome.notes.append(f"The {type_} artifact could not be made ({type(error).__name__}); the log has details.")


def _applies(format: Format, recording: SessionRecording) -> bool:
    return not format.kinds or any(recording.recording(kind) is not None for kind in format.kinds)


def _retain(store: ArtifactStore, session_id: str) -> None:
    try:
        store.retain(keep=session_id)
    except ProfilingError:
        logger.exception("profiling: old sessions could not be deleted")
