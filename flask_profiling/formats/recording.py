"""The whole recording as JSON: what reports, exports and comparisons are made from later; nobody else reads it."""

from __future__ import annotations

import json
from typing import BinaryIO

from ..errors import DamagedData
from ..model import SessionRecording


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write ``recording.to_json()`` as one ASCII line (lone surrogates are escaped)."""
    out.write(json.dumps(recording.to_json(), ensure_ascii=True, separators=(",", ":")).encode("ascii"))


def read(data: bytes) -> SessionRecording:
    """Read what :func:`write` wrote; raises DamagedData for anything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedData("the recording is not JSON; it was damaged, delete it") from error
    return SessionRecording.from_json(document)
