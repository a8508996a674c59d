"""Artifacts on disk: named, written whole, listed, retained, cleaned; what is in them is not known here.

Artifacts are named ``{prefix}-{session id}{suffix}``, or ``{prefix}-{session id}.{pid}{suffix}`` where each worker has
its own, or ``{prefix}-{session id}.r{number}{suffix}`` for one request of it (a session id may end in digits behind a
hyphen, so a hyphen would not tell the pid apart). Every other file in the output directory belongs to somebody else: it
is neither listed nor counted nor touched.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import BadRequest, DamagedData, StorageFailed
from .model import SESSION_ID, Artifact, _json
from .system import PrivateDirectory, System

# Where the coordinator keeps what the workers of a session hand in, below the output directory.
_STATE, _PARTS = ".state", "parts"
# The ids of the sessions in the order in which they began: the times of files lie when the clock is set.
_SEQUENCE = "sequence.json"
_NOTE_LIMIT = 1 << 23
_LIST_THEM = "list those there are with: flask profiling reports"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was deleted: the number of ``reports`` (files) and of ``sessions`` of which nothing is left."""

    reports: int
    sessions: int


class Store:
    """The artifacts in one output directory, which several processes may use at a time.

    ``types`` maps each type of artifact to its prefix and suffix; ``max_sessions`` and ``max_bytes`` bound what
    :meth:`retain` leaves; ``now`` returns Unix seconds. Every method raises StorageFailed (DiskFull) with a sentence
    that shows the directory as it was configured. Nothing is kept in memory between two calls.
    """

    def __init__(
        self,
        directory: Path,
        *,
        types: Mapping[str, tuple[str, str]],
        max_sessions: int,
        max_bytes: int,
        now: Callable[[], float] = time.time,
        system: System = os,
    ) -> None:
        self._directory = PrivateDirectory(directory, system=system)
        self._types = dict(types)
        self._type_of = {name: type for type, name in types.items()}
        prefixes, suffixes = (
            "|".join(map(re.escape, dict.fromkeys(part))) for part in zip(*types.values(), strict=True)
        )
        self._pattern = re.compile(rf"({prefixes})-({SESSION_ID.pattern})(?:\.r?[1-9][0-9]{{0,9}})?({suffixes})")
        self._max_sessions = max_sessions
        self._max_bytes = max_bytes
        self._now = now

    def prepare(self) -> None:
        """Make the output directory (0700), parents too, or say why it cannot be used."""
        self._directory.prepare()

    def write(
        self, type: str, session_id: str, write: Callable[[BinaryIO], None], *, worker: int | str | None = None
    ) -> Artifact:
        """Store what ``write`` writes as an artifact, whole or not at all; ``worker`` is a pid where each has its own,
        and ``r1`` and so on for single requests.

        An exception of ``write`` passes through, but for OSError. Raises BadRequest for what is no session id, and
        KeyError for a type that is not in the table.
        """
        filename = self._filename(type, session_id, worker)
        return _artifact(type, session_id, filename, self._directory.write(filename, write))

    def adopt(self, path: Path, type: str, session_id: str, *, worker: int | None = None) -> Artifact:
        """Make a finished file from the session's spool an artifact, without copying it.

        Raises StorageFailed where ``path`` is not a regular file of ours right in the spool; else as :meth:`write`.
        """
        filename = self._filename(type, session_id, worker)
        spool = self._directory.child(_STATE, _PARTS, session_id)
        if path.absolute().parent != spool.path:
            raise StorageFailed(f"{filename} is not made of a file from another place; start a new session")
        try:
            status = spool.move(path.name, self._directory, filename)
        except DamagedData as error:
            raise StorageFailed(f"{filename} could not be stored: {error.message}") from error
        return _artifact(type, session_id, filename, status)

    def begin(self, session_id: str) -> None:
        """Note that a session begins after all that are stored, whatever the clock says; the caller sees to it that no
        other one begins meanwhile. Raises BadRequest for what is no session id."""
        if not SESSION_ID.fullmatch(session_id):
            raise _no_session_id(session_id)
        artifacts, state = self._found(), self._directory.child(_STATE)
        # What is still being collected has no artifacts yet.
        kept = {artifact.session_id for artifact in artifacts}.union(state.child(_PARTS).names()) - {session_id}
        begun = [name for name in _oldest_first(artifacts, self._noted()) if name in kept]
        state.write_bytes(_SEQUENCE, json.dumps([*begun, session_id]).encode("ascii"))

    def artifacts(self) -> tuple[Artifact, ...]:
        """Return what is stored, the files of the newest session first, and of each session the newest file first;
        empty where the directory is missing."""
        artifacts = self._found()
        noted: Sequence[str] = ()
        with suppress(StorageFailed):  # what is stored is listed nevertheless
            noted = self._noted()
        begun = {name: number for number, name in enumerate(_oldest_first(artifacts, noted))}
        artifacts.sort(key=lambda item: (begun[item.session_id], item.created, item.filename), reverse=True)
        return tuple(artifacts)

    def open(self, filename: str) -> BinaryIO:
        """Open an artifact for reading; raises BadRequest where there is none of that name, DamagedData for a link."""
        file = None if self._identity(filename) is None else self._directory.open(filename)
        if file is None:
            raise BadRequest(f"there is no report {filename[:100]!r}; {_LIST_THEM}")
        return file

    def retain(self, *, keep: str | None) -> int:
        """Delete whole sessions, the oldest first, until the bounds hold; returns how many files were deleted.

        The session ``keep`` and the newest one with artifacts always stay.
        """
        artifacts = self.artifacts()
        doomed = _beyond(artifacts, keep=keep, max_sessions=self._max_sessions, max_bytes=self._max_bytes)
        return self._delete(artifact for artifact in artifacts if artifact.session_id in doomed).reports

    def clean(self, *, keep: str | None) -> Cleaned:
        """Delete all artifacts but those of the session ``keep``.

        What can be deleted is, whatever else fails; then StorageFailed is raised, with the true count in its sentence.
        """
        return self._delete(artifact for artifact in self.artifacts() if artifact.session_id != keep)

    def sweep(self) -> None:
        """Remove temporary files that a dead process left, in the output directory and where workers hand in."""
        now = self._now()
        parts = self._directory.child(_STATE, _PARTS)
        self._directory.sweep(now=now)
        self._directory.child(_STATE).sweep(now=now)
        for session_id in filter(SESSION_ID.fullmatch, parts.names()):
            # What cannot be swept (a file in place of a directory, another user's) is the coordinator's to report.
            with suppress(StorageFailed):
                parts.child(session_id).sweep(now=now)

    def _filename(self, type: str, session_id: str, worker: int | str | None) -> str:
        prefix, suffix = self._types[type]
        filename = f"{prefix}-{session_id}{suffix}" if worker is None else f"{prefix}-{session_id}.{worker}{suffix}"
        if self._identity(filename) != (type, session_id):
            raise _no_session_id(session_id)
        return filename

    def _found(self) -> list[Artifact]:
        """Return what is stored, by name."""
        found = self._directory.files(lambda filename: self._identity(filename) is not None)
        return [
            _artifact(*identity, filename, status)
            for filename, status in found
            if (identity := self._identity(filename)) is not None
        ]

    def _noted(self) -> Sequence[str]:
        """Return the ids of sessions in the order in which they began; none where the note is missing or damaged."""
        try:
            return _json.texts(json.loads(self._directory.child(_STATE).read(_SEQUENCE, limit=_NOTE_LIMIT) or b"[]"))
        except (DamagedData, ValueError, RecursionError):
            return ()

    def _identity(self, filename: str) -> tuple[str, str] | None:
        """Return the type and the session id that a name stands for, or None where it is no artifact's."""
        match = self._pattern.fullmatch(filename)
        if match is None:
            return None
        type = self._type_of.get((match[1], match[3]))
        return None if type is None else (type, match[2])

    def _delete(self, doomed: Iterable[Artifact]) -> Cleaned:
        deleted = 0
        sessions = set()
        failure: StorageFailed | None = None
        for artifact in doomed:
            try:
                if self._directory.unlink(artifact.filename):
                    deleted += 1
                    sessions.add(artifact.session_id)
            except StorageFailed as error:
                failure = error
        if failure is not None:
            sentence = f"{deleted} reports were deleted, others were not: {failure.message}"
            raise failure.__class__(sentence) from failure
        return Cleaned(deleted, len(sessions))


def _artifact(type: str, session_id: str, filename: str, status: os.stat_result) -> Artifact:
    return Artifact(session_id, type, filename, status.st_size, status.st_mtime)


def _no_session_id(session_id: str) -> BadRequest:
    return BadRequest(f"{session_id[:100]!r} is no session id; {_LIST_THEM}")


def _oldest_first(artifacts: Iterable[Artifact], noted: Sequence[str]) -> list[str]:
    """Return the ids of the sessions in the order in which they began, as far as that was ``noted``.

    Any other one (its files were copied here) is as old as its first artifact: one that is exported again later stays
    as old as it is. It follows the last of the noted ones that are no younger.
    """
    begun: dict[str, float] = {}
    for artifact in artifacts:
        begun[artifact.session_id] = min(artifact.created, begun.get(artifact.session_id, artifact.created))
    numbers = {name: number for number, name in enumerate(noted)}
    dated = [(number, begun[name]) for name, number in numbers.items() if name in begun]

    def place(name: str) -> tuple[float, float, str]:
        first = float("-inf")
        if name in numbers:
            return numbers[name], first, name
        return max((number for number, when in dated if when <= begun[name]), default=first), begun[name], name

    return sorted(numbers.keys() | begun.keys(), key=place)


def _beyond(artifacts: Iterable[Artifact], *, keep: str | None, max_sessions: int, max_bytes: int) -> Collection[str]:
    """Return the ids of the oldest sessions that must go so that the bounds hold; ``artifacts`` are newest first."""
    sizes: dict[str, int] = {}
    for artifact in artifacts:
        sizes[artifact.session_id] = sizes.get(artifact.session_id, 0) + artifact.size
    doomed: set[str] = set()
    for session_id in [*reversed(sizes)][:-1]:
        if len(sizes) - len(doomed) <= max_sessions and sum(sizes.values()) <= max_bytes:
            break
        if session_id != keep:
            doomed.add(session_id)
            sizes[session_id] = 0
    return doomed
