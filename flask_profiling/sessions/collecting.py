"""From parts to artifacts: merge what the workers delivered, write each format, keep what could be written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Protocol

from ..errors import ProfilingError, StorageFailed, Unavailable
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
from .results import Stopped

logger = logging.getLogger("flask_profiling")

IN_FLIGHT_AT_START = "Requests that were already running when the session started are not covered."
OTHER_THREADS = "Threads that the application starts itself are not covered, only requests."


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


def merged(
    session: Session, parts: Sequence[Part], participants: Iterable[WorkerId], environment: Mapping[str, str]
) -> SessionRecording:
    """Merge the parts of a session into one recording."""
    requests: dict[str, RouteTimes] = {}
    for part in parts:
        for route, times in part.requests.items():
            requests[route] = requests[route].merged_with(times) if route in requests else times
    workers = tuple(dict.fromkeys(part.worker for part in parts))
    missing = tuple(worker for worker in dict.fromkeys(participants) if worker not in workers)
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
        yield OTHER_THREADS
    if session.ended_by == "recovered":
        yield "The session was interrupted: its workers ended without stopping it; this is what they had delivered."
    for worker in missing:
        yield (
            f"Worker {worker.pid} took part and delivered nothing (it died, or answered too late); "
            "its requests are missing."
        )
    for recording in recordings:
        yield from recording.notes


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
    notes: list[str] = []
    failures: list[StorageFailed] = []
    artifacts: list[Artifact] = []
    attachments: dict[str, tuple[str, ...]] = {}
    for part, item, type_, filename in _attached(parts, formats):
        alone = sum(1 for other in _attached(parts, formats) if other[2] == type_) == 1
        try:
            artifact = store.adopt(spool / filename, type_, session_id, worker=None if alone else part.worker.pid)
        except StorageFailed as error:
            failures.append(error)
            continue
        artifacts.append(artifact)
        attachments[item.engine] = (*attachments.get(item.engine, ()), artifact.filename)
    recording = replace(
        recording,
        recordings=tuple(replace(item, attachments=attachments.get(item.engine, ())) for item in recording.recordings),
    )
    wanted = {"stop", "auto"} if auto_generate else {"stop"}
    for type_, format in formats.items():
        if format.when not in wanted or not _applies(format, recording):
            continue
        try:
            write = format.writer()
            artifacts.append(store.write(type_, session_id, lambda out, write=write: write(recording, out)))
        except Unavailable as error:
            notes.append(error.message)
        except StorageFailed as error:
            failures.append(error)
        except Exception as error:
            logger.exception("profiling: the format %s failed", type_)
            notes.append(f"The {type_} artifact could not be made ({type(error).__name__}); the log has details.")
    _retain(store, session_id)
    if failures:
        kept = ", ".join(artifact.filename for artifact in artifacts) or "nothing"
        raise type(failures[0])(f"{failures[0].message} (session {session_id} is stopped; kept: {kept})")
    order = list(formats)
    artifacts.sort(key=lambda artifact: order.index(artifact.type))
    return Stopped(
        session=recording.session,
        artifacts=tuple(artifacts),
        workers=recording.workers,
        missing=recording.missing,
        notes=(*recording.notes, *notes),
        recording=recording,
    )


def _attached(parts: Sequence[Part], formats: Mapping[str, Format]) -> list[tuple[Part, Recording, str, str]]:
    suffixes = {format.suffix: type_ for type_, format in formats.items() if format.when == "engine"}
    return [
        (part, recording, suffixes[Path(filename).suffix], Path(filename).name)
        for part in parts
        for recording in part.recordings
        for filename in recording.attachments
        if Path(filename).suffix in suffixes
    ]


def _applies(format: Format, recording: SessionRecording) -> bool:
    return not format.kinds or any(recording.recording(kind) is not None for kind in format.kinds)


def _retain(store: ArtifactStore, session_id: str) -> None:
    try:
        store.retain(keep=session_id)
    except ProfilingError:
        logger.exception("profiling: old sessions could not be deleted")
