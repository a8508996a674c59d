"""A folder with the recordings of a shop, as a server leaves it. No tests."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from flask_profiling.model import SessionRecording
from tests.formats.calls import call, profiled, recording, written
from tests.formats.trees import SESSION, Request, Thread, recorded, tree_recording

OLDER = "prof-20261122-080000-feedc0de"
PAGE = call("page", 0.002, call("render", 0.004))


def shop() -> SessionRecording:
    """Return what two threads of one worker did."""
    one = Thread(812, "Thread-1", (Request("GET /", (PAGE,), own=1000),))
    two = Thread(812, "Thread-2", (Request("POST /checkout", (PAGE,), own=500),), begin=2000)
    return tree_recording(recorded(one, two), notes=("It is only a test.",))


def graphs() -> SessionRecording:
    """Return a session of the cprofile engine."""
    plain = recording({"GET /": profiled([PAGE])})
    return replace(plain, session=replace(plain.session, id=OLDER))


def archive(folder: Path) -> Path:
    """Make an output directory with two sessions, the shop's the newer one; returns it."""
    directory = folder / "profiling"
    directory.mkdir(mode=0o700)
    for age, subject in enumerate([graphs(), shop()]):
        path = directory / f"recording-{subject.session.id}.json"
        path.write_bytes(written("recording", subject))
        path.chmod(0o600)
        os.utime(path, (1_700_000_000 + age, 1_700_000_000 + age))
    return directory


__all__ = ["OLDER", "SESSION", "archive", "graphs", "shop"]
