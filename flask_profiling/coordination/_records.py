"""What stands in the files of coordination: workers' names and states, JSON; no path is known here."""

from __future__ import annotations

import json
import socket

from ..errors import DamagedData
from ..model import WorkerId
from ..processes import process_started
from . import IDLE, PROFILING, WRITING, WorkerState

_STATES = frozenset({PROFILING, WRITING, IDLE})


def dumped(document: object) -> bytes:
    """Write JSON as ASCII."""
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def loaded(data: bytes | None) -> object:
    """Read JSON, null where there is nothing; raises DamagedData."""
    try:
        return json.loads(data or b"null")
    except (ValueError, RecursionError) as error:
        raise DamagedData("a state file is not JSON; it was damaged, and is ignored") from error


def worker_of(key: str) -> WorkerId | None:
    """Read the name of a worker's file: ``PID-STARTED-NUMBER@HOST``."""
    identity, _, host = key.partition("@")
    pid, _, rest = identity.partition("-")
    started, _, number = rest.partition("-")
    if not (pid.isdecimal() and started.isdecimal() and number.isdecimal() and host):
        return None
    return WorkerId(host, int(pid), int(started))


def state_of(worker: WorkerId, content: bytes) -> WorkerState:
    """Read the content of a worker's file: its state and the session."""
    state, _, session_id = content.decode("ascii", "replace").strip().partition(" ")
    return WorkerState(worker, session_id.strip(), state if state in _STATES else IDLE)


def may_live(worker: WorkerId) -> bool:
    """False when the worker was of this machine and its process is gone: a forked child may still hold its lock."""
    if worker.host != socket.gethostname() or not worker.started:
        return True
    return process_started(worker.pid) == worker.started
