"""Formats write: the table of the formats there are; each lives in its own module as a function of a recording and a
file.

``write(recording, out)`` is pure: no clock, no network, no name of a file. It raises Unavailable where the recording
has nothing for this format or a renderer is missing; a caller then leaves the artifact out and says why.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from ..model import SessionRecording

Writer = Callable[[SessionRecording, BinaryIO], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One format: artifacts are named ``{prefix}-{session id}{suffix}``.

    ``kinds`` are the kinds of data it can write, of which one must be recorded (empty: any recording will do);
    ``when`` is ``"stop"`` (always written at stop), ``"auto"`` (at stop with ``PROFILING_AUTO_GENERATE``, or on
    request), ``"export"`` (on request only) or ``"engine"`` (an engine streams it to the spool itself).
    """

    prefix: str
    suffix: str
    kinds: tuple[str, ...]
    when: str
    entry: str

    def filename(self, session_id: str) -> str:
        """Return the artifact's name for a session."""
        return f"{self.prefix}-{session_id}{self.suffix}"

    def writer(self) -> Writer:
        """Import the module and return its write function."""
        module, _, function = self.entry.partition(":")
        write: Writer = getattr(importlib.import_module(module), function)
        return write


# type of artifact -> how it is named and written; the order is the order of the artifacts in an answer
FORMATS: dict[str, Format] = {
    "cpuprofile": Format("profile", ".cpuprofile", ("callgraphs",), "stop", "flask_profiling.formats.cpuprofile:write"),
    "pstats": Format("profile", ".prof", ("callgraphs",), "stop", "flask_profiling.formats.pstats:write"),
    "dot": Format("callgraph", ".dot", ("callgraphs",), "stop", "flask_profiling.formats.dot:write"),
    "svg": Format("callgraph", ".svg", ("callgraphs",), "auto", "flask_profiling.formats.svg:write"),
    "heapsnapshot": Format("heap", ".heapsnapshot", (), "engine", "flask_profiling.formats.heapsnapshot:write_heap"),
    "recording": Format("recording", ".json", (), "stop", "flask_profiling.formats.recording:write"),
}
