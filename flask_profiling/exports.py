"""Exports: what can be made of stored recordings, as bytes or as one more artifact; no server and no command line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .compare import Verdict, paired
from .errors import BadRequest
from .formats import FORMATS, dot, filenames, html, svg
from .formats.slow import one_request
from .formats.threads import each_thread
from .model import Artifact, SessionRecording
from .store import Store

REPORT = "html"

# What a stored recording can be turned into; heaps and the like were only there while the process was.
TYPES: tuple[str, ...] = (
    "collapsed",
    "speedscope",
    "pprof",
    "callgrind",
    "cpuprofile",
    "trace",
    "pstats",
    "dot",
    "svg",
    REPORT,
)
_NOT_PER_THREAD = frozenset({REPORT})


@dataclass(frozen=True, slots=True)
class Export:
    """The bytes of one file: ``type`` is the name of its format, ``title`` the thread (empty: all of them), ``number``
    counts threads from 1 (0: all of them), ``request`` is the number of a slow request (0: all there were)."""

    session_id: str
    type: str
    data: bytes
    title: str = ""
    number: int = 0
    request: int = 0

    @property
    def suffix(self) -> str:
        """What the file's name should end in."""
        return FORMATS[self.type].suffix


def export(
    recording: SessionRecording, type: str, *, per_thread: bool = False, request: str | None = None
) -> tuple[Export, ...]:
    """Write a recording in the format ``type``, once or once per thread; or one slow ``request`` of it, named by its
    number (1 is the slowest), or by its trace id or how that begins.

    Raises BadRequest for a format that is not in :data:`TYPES` and for a request that is not there, and Unavailable
    where the recording has nothing for it or a renderer is missing.
    """
    if type not in TYPES:
        raise BadRequest(f"a recording cannot be written as {type[:40]!r}; there are {', '.join(TYPES)}")
    session_id = recording.session.id
    if request is not None:
        if per_thread:
            raise BadRequest("a request runs in one thread; leave out --per-thread")
        number, alone = one_request(recording, request)
        return (Export(session_id, type, _written(alone, type), request=number),)
    if not per_thread:
        return (Export(session_id, type, _written(recording, type)),)
    if type in _NOT_PER_THREAD:
        raise BadRequest("the report has a choice of threads in it; leave out --per-thread")
    threads = enumerate(each_thread(recording), 1)
    return tuple(Export(session_id, type, _written(part, type), title, number) for number, (title, part) in threads)


def keep(exported: Export, directory: Path) -> Artifact:
    """Store an export as an artifact of its session in an output directory; raises StorageFailed (DiskFull)."""
    store = Store(directory, types=filenames(), max_sessions=1, max_bytes=1)
    store.prepare()
    part = f"r{exported.request}" if exported.request else exported.number or None

    def write(out: BinaryIO) -> None:
        out.write(exported.data)

    return store.write(exported.type, exported.session_id, write, worker=part)


def picture(dot_source: bytes) -> bytes:
    """Return a graph in the DOT language as SVG; raises Unavailable where there is no renderer."""
    # Nobody's server runs in this process, so a renderer written in C may.
    return svg.render(dot_source, allow_pygraphviz=True)


def _written(recording: SessionRecording, type: str) -> bytes:
    out = io.BytesIO()
    if type == "svg":
        dot.write(recording, out)
        return picture(out.getvalue())
    FORMATS[type].writer()(recording, out)
    return out.getvalue()


def report_with_files(recording: SessionRecording, named: Sequence[tuple[str, int, str]]) -> bytes:
    """Return the HTML report with a list of the session's files: name, bytes, and what opens each."""
    out = io.BytesIO()
    html.write_with_files(recording, out, named=named)
    return out.getvalue()


def difference(base: SessionRecording, new: SessionRecording, verdict: Verdict) -> bytes:
    """Return the HTML page of what changed between two recordings, of which ``verdict`` tells the numbers."""
    pairing = paired(base, new)
    said = verdict.to_json()
    if pairing.unsure:
        text = "functions share their name with others in their file, and nobody knows which is which now"
        said["notes"] = [*verdict.notes, f"{pairing.unsure} {text}; they stand apart."]
    out = io.BytesIO()
    html.write_difference(base, new, out, verdict=said, same=pairing.same, names=pairing.names)
    return out.getvalue()
