"""Stored recordings, found by what people type: the id of a session, how it begins, ``last``, or a file; read only.

Nothing but our own JSON is ever read: a ``.prof`` is marshal, and a damaged or planted one can crash the interpreter.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from .errors import BadRequest, DamagedData
from .formats import FORMATS, filenames
from .formats.recording import read
from .formats.slow import NONE_KEPT
from .model import Artifact, SessionRecording, SlowRequests
from .store import Store

LAST = "last"
# in memory a recording takes some ten times its size
LARGEST_RECORDING = 256 * 1024 * 1024
_TRACE_ID = re.compile("[0-9a-f]{32}")
_SUFFIX = FORMATS["recording"].suffix
_MOST_NAMED = 5


def recordings(directory: Path) -> tuple[Artifact, ...]:
    """Return the stored recordings of an output directory, newest first."""
    return _of_type("recording", directory)


def snapshots(directory: Path) -> tuple[Artifact, ...]:
    """Return the stored heap snapshots of an output directory, newest first."""
    return _of_type("heapsnapshot", directory)


def artifacts(session_id: str, directory: Path) -> tuple[Artifact, ...]:
    """Return everything that is stored of a session, by name."""
    found = [item for item in _store(directory).artifacts() if item.session_id == session_id]
    return tuple(sorted(found, key=lambda item: item.filename))


def files_of_each(directory: Path) -> Counter[str]:
    """Return how many files are stored of each session, by its id."""
    return Counter(item.session_id for item in _store(directory).artifacts())


def of_session(found: Sequence[Artifact], name: str) -> Sequence[Artifact]:
    """Return those of ``found``, which are newest first, that belong to the session that ``name`` stands for: ``last``,
    its id or how that begins. Empty where there is none; raises BadRequest where there are several."""
    wanted = found[0].session_id if found and name == LAST else name
    chosen = [item for item in found if item.session_id == wanted]
    chosen = chosen or [item for item in found if wanted and item.session_id.startswith(wanted)]
    if len({item.session_id for item in chosen}) > 1:
        raise BadRequest(f"{name[:80]!r} is the beginning of several sessions: {_named(chosen)}; give one more letters")
    return chosen


def load(name: str, directory: Path) -> SessionRecording:
    """Read the recording that ``name`` stands for: ``last``, the id of a session or how it begins, a file's path, or a
    trace id that one holds (of each route the slowest requests have theirs kept).

    Raises BadRequest where there is none or more than one, and DamagedData for what is no recording of ours.
    """
    path = Path(name)
    if path.suffix or path.parent != Path() or path.is_file():
        return load_file(path)
    found = recordings(directory)
    if not found:
        raise BadRequest(f"there are no recordings in {directory}; profile a session first, or name a recording's file")
    chosen = of_session(found, name)
    if not chosen and _TRACE_ID.fullmatch(name):
        chosen = [item for item in found if _holds(item, name, directory)][:1]
        if not chosen:
            raise BadRequest(
                f"no recording in {directory} holds the trace {name}; a session keeps those of each route's slowest "
                f"requests, and there are {_named(found)}"
            )
    if not chosen:
        raise BadRequest(f"no recording in {directory} is called {name[:80]!r}; there are {_named(found)}")
    with _store(directory).open(chosen[0].filename) as file:
        return _read(file, chosen[0].filename)


def load_file(path: Path) -> SessionRecording:
    """Read a recording's file; raises as :func:`load`."""
    if path.suffix != _SUFFIX:
        raise BadRequest(f"{path.name!r} is no recording; give the session's recording-….json")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadRequest(f"{path} is not a regular file; give the session's recording-….json")
        with path.open("rb") as file:
            return _read(file, path.name)
    except OSError as error:
        raise BadRequest(
            f"{path} cannot be read ({error.strerror}); list those there are: flask profiling reports"
        ) from None


def _of_type(type_: str, directory: Path) -> tuple[Artifact, ...]:
    return tuple(artifact for artifact in _store(directory).artifacts() if artifact.type == type_)


def _holds(artifact: Artifact, trace_id: str, directory: Path) -> bool:
    with _store(directory).open(artifact.filename) as file:
        return f'"{trace_id}"'.encode() in file.read(LARGEST_RECORDING)


def _read(file: BinaryIO, name: str) -> SessionRecording:
    data = file.read(LARGEST_RECORDING + 1)
    if len(data) > LARGEST_RECORDING:
        raise DamagedData(
            f"{name} is larger than {LARGEST_RECORDING >> 20} MiB; it is not read, profile a shorter session"
        )
    try:
        return read(data)
    except DamagedData as error:
        raise DamagedData(f"{name}: {error.message}") from None


def _store(directory: Path) -> Store:
    return Store(directory, types=filenames(), max_sessions=1, max_bytes=1)


def _named(found: Sequence[Artifact]) -> str:
    names = list(dict.fromkeys(item.session_id for item in found))
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def slow(recording: SessionRecording) -> SlowRequests:
    """Return the slow requests of a recording; raises BadRequest where the session was not asked to keep any."""
    found = recording.slow_requests()
    if found is None:
        raise BadRequest(NONE_KEPT)
    return found
