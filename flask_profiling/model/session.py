"""A session and what came out of it: options, workers, recordings, parts and artifacts; no behaviour beyond reading and
merging."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ..errors import DamagedData
from . import _json
from .graph import CallGraphs
from .heap import HeapSummary
from .memory import Allocations, Growth
from .requests import RouteTimes
from .slow import SlowRequests
from .tree import ApplicationTree, CallTree

# Bumped when a part or a stored recording changes in a way that older code cannot read.
RECORDING_VERSION = 1

_Data = TypeVar("_Data")
# An id becomes part of paths.
SESSION_ID = re.compile(r"prof-[0-9a-z-]{4,60}")


class Data(Protocol):
    """What an engine collected: frozen, mergeable over workers, and plain enough for JSON."""

    @property
    def kind(self) -> str:
        """The name under which this class stands in :data:`DATA_KINDS`."""

    def to_json(self) -> Mapping[str, object]:
        """Return the data as JSON values."""


# kind -> class with from_json() and merged_with()
DATA_KINDS: dict[
    str, type[Allocations | ApplicationTree | CallGraphs | CallTree | Growth | HeapSummary | SlowRequests]
] = {
    "allocations": Allocations,
    "apptree": ApplicationTree,
    "callgraphs": CallGraphs,
    "calltree": CallTree,
    "growth": Growth,
    "heapsummary": HeapSummary,
    "slowrequests": SlowRequests,
}


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What one session collects: ``cpu`` engine name or ``"off"``, ``heap`` snapshot at stop, ``allocations`` in
    tracemalloc frames (0 is off), ``seconds`` until it stops by itself, and which requests it keeps one by one: those
    that take ``slow`` seconds or longer (0: none)."""

    cpu: str
    heap: bool
    allocations: int
    seconds: float
    slow: float = 0.0

    def to_json(self) -> dict[str, object]:
        """Return the fields by name."""
        return {
            "cpu": self.cpu,
            "heap": self.heap,
            "allocations": self.allocations,
            "seconds": self.seconds,
            "slow": self.slow,
        }

    @classmethod
    def from_json(cls, value: object) -> SessionOptions:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        return cls(
            _json.text(document.get("cpu")),
            _json.flag(document.get("heap")),
            _json.count(document.get("allocations")),
            _json.real(document.get("seconds")),
            _json.real(document.get("slow", 0.0)),
        )


@dataclass(frozen=True, slots=True, order=True)
class WorkerId:
    """A process serving the app; ``started`` (clock ticks after boot, 0 where unknown) tells a recycled pid apart."""

    host: str
    pid: int
    started: int

    def to_json(self) -> list[object]:
        """Return ``[host, pid, started]``."""
        return [self.host, self.pid, self.started]

    @classmethod
    def from_json(cls, value: object) -> WorkerId:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        host, pid, started = _json.row(value, 3)
        return cls(_json.text(host), _json.count(pid), _json.count(started))


@dataclass(frozen=True, slots=True)
class Session:
    """One run from start to stop.

    ``started`` and ``ended`` are Unix seconds; ``duration`` is measured by a monotonic clock; ``ended_by`` is
    ``"stop"``, ``"deadline"``, ``"shutdown"`` or ``"recovered"`` (its workers died), and empty while the session
    runs.
    """

    id: str
    owner: WorkerId
    started: float
    options: SessionOptions
    ended: float | None = None
    duration: float | None = None
    ended_by: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the fields by name."""
        return {
            "id": self.id,
            "owner": self.owner.to_json(),
            "started": self.started,
            "options": self.options.to_json(),
            "ended": self.ended,
            "duration": self.duration,
            "endedBy": self.ended_by,
        }

    @classmethod
    def from_json(cls, value: object) -> Session:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        return cls(
            id=_session_id(document.get("id")),
            owner=WorkerId.from_json(document.get("owner")),
            started=_json.real(document.get("started")),
            options=SessionOptions.from_json(document.get("options")),
            ended=_json.optional_real(document.get("ended")),
            duration=_json.optional_real(document.get("duration")),
            ended_by=_json.text(document.get("endedBy")),
        )


@dataclass(frozen=True, slots=True)
class Recording:
    """What one engine collected.

    ``data`` is None when the engine only wrote files; ``attachments`` are names of finished files in the session's
    spool directory (a heap snapshot is streamed there, not carried); ``notes`` are sentences about what is missing or
    approximate.
    """

    engine: str
    data: Data | None
    notes: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the fields by name, the data with its kind."""
        return {
            "engine": self.engine,
            "kind": None if self.data is None else self.data.kind,
            "data": None if self.data is None else self.data.to_json(),
            "notes": list(self.notes),
            "attachments": list(self.attachments),
        }

    @classmethod
    def from_json(cls, value: object) -> Recording:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        kind = document.get("kind")
        data = None
        if kind is not None:
            reader = DATA_KINDS.get(_json.text(kind))
            if reader is None:
                raise DamagedData(f"unknown kind of data {kind!r}; was it written by a newer version?")
            data = reader.from_json(document.get("data"))
        return cls(
            _json.text(document.get("engine")),
            data,
            _json.texts(document.get("notes")),
            _json.texts(document.get("attachments")),
        )


def merge_recordings(recordings: Iterable[Recording]) -> tuple[Recording, ...]:
    """Add up recordings of several workers: one result per engine, its notes without repeats."""
    merged: dict[str, Recording] = {}
    for recording in recordings:
        known = merged.get(recording.engine)
        if known is None:
            merged[recording.engine] = recording
            continue
        data = recording.data
        if known.data is not None:
            data = known.data if data is None else known.data.merged_with(data)  # type: ignore[attr-defined]
        notes = tuple(dict.fromkeys(known.notes + recording.notes))
        merged[recording.engine] = Recording(recording.engine, data, notes, known.attachments + recording.attachments)
    return tuple(merged.values())


@dataclass(frozen=True, slots=True)
class Part:
    """What one worker brings to a session: its requests by route label, and its recordings."""

    worker: WorkerId
    session_id: str
    requests: Mapping[str, RouteTimes]
    recordings: tuple[Recording, ...]

    def to_json(self) -> dict[str, object]:
        """Return the fields by name, with the version of the shape."""
        return {
            "version": RECORDING_VERSION,
            "worker": self.worker.to_json(),
            "sessionId": self.session_id,
            "requests": {route: times.to_json() for route, times in self.requests.items()},
            "recordings": [recording.to_json() for recording in self.recordings],
        }

    @classmethod
    def from_json(cls, value: object) -> Part:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _versioned(value)
        return cls(
            WorkerId.from_json(document.get("worker")),
            _json.text(document.get("sessionId")),
            _requests(document),
            tuple(Recording.from_json(item) for item in _json.sequence(document.get("recordings"))),
        )


@dataclass(frozen=True, slots=True)
class SessionRecording:
    """All parts of a session merged: what the formats write.

    ``workers`` delivered a part; ``missing`` are workers that took part and did not deliver. ``environment`` names
    the Python, Flask and package versions, so that two recordings can be compared honestly. ``notes`` are sentences
    about what the whole session did not see.
    """

    session: Session
    workers: tuple[WorkerId, ...]
    missing: tuple[WorkerId, ...]
    requests: Mapping[str, RouteTimes]
    recordings: tuple[Recording, ...]
    environment: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def recording(self, kind: str) -> Recording | None:
        """Return the recording whose data is of ``kind``, or None."""
        return next((item for item in self.recordings if item.data is not None and item.data.kind == kind), None)

    def data(self, of: type[_Data]) -> _Data | None:
        """Return what was recorded as an instance of this class, such as CallGraphs, or None."""
        return next((item.data for item in self.recordings if isinstance(item.data, of)), None)

    def call_graphs(self) -> CallGraphs | None:
        """Return the call graphs by route, else those of the call tree; None where no calls were recorded.

        Where both were recorded the graphs know more functions, the tree more of their order.
        """
        graphs, tree = self.data(CallGraphs), self.data(CallTree)
        return tree.graphs() if graphs is None and tree is not None else graphs

    def slow_requests(self) -> SlowRequests | None:
        """Return the slow requests, or None where the session was not asked to keep any."""
        return self.data(SlowRequests)

    def to_json(self) -> dict[str, object]:
        """Return the fields by name, with the version of the shape."""
        return {
            "version": RECORDING_VERSION,
            "session": self.session.to_json(),
            "workers": [worker.to_json() for worker in self.workers],
            "missing": [worker.to_json() for worker in self.missing],
            "requests": {route: times.to_json() for route, times in self.requests.items()},
            "recordings": [recording.to_json() for recording in self.recordings],
            "environment": dict(self.environment),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, value: object) -> SessionRecording:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _versioned(value)
        environment = _json.mapping(document.get("environment"))
        return cls(
            session=Session.from_json(document.get("session")),
            workers=tuple(WorkerId.from_json(item) for item in _json.sequence(document.get("workers"))),
            missing=tuple(WorkerId.from_json(item) for item in _json.sequence(document.get("missing"))),
            requests=_requests(document),
            recordings=tuple(Recording.from_json(item) for item in _json.sequence(document.get("recordings"))),
            environment={name: _json.text(version) for name, version in environment.items()},
            notes=_json.texts(document.get("notes")),
        )


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored file: ``filename`` inside the output directory, ``type`` (the name of its format), ``size`` in bytes and
    ``created`` in Unix seconds."""

    session_id: str
    type: str
    filename: str
    size: int
    created: float


def _session_id(value: object) -> str:
    name = _json.text(value)
    if SESSION_ID.fullmatch(name):
        return name
    raise DamagedData(f"{name[:40]!r} is not the id of a session; delete the damaged file")


def _versioned(value: object) -> Mapping[str, object]:
    document = _json.mapping(value)
    if document.get("version") == RECORDING_VERSION:
        return document
    raise DamagedData(
        f"recording version {document.get('version')!r} is not {RECORDING_VERSION}; use the version that wrote it"
    )


def _requests(document: Mapping[str, object]) -> dict[str, RouteTimes]:
    rows = _json.mapping(document.get("requests"))
    return {route: RouteTimes.from_json(times) for route, times in rows.items()}
