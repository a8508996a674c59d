"""What faults do, seen from outside: the rows that fault tests observe, held against the table that is published."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.integration.servers import PROJECT, Answer

TABLE = PROJECT / "docs" / "explanation" / "failures.json"
# Names the file that a run writes its rows into instead of comparing them: ``make failures``.
REWRITE = "PROFILING_FAILURES"

# Under which heading a fault stands, and in which order.
GROUPS: dict[str, tuple[str, ...]] = {
    "Workers": (
        "a worker is killed (kill -9, out of memory)",
        "a worker ends itself at once (os._exit, a crash in C)",
        "a worker hangs",
        "a worker is killed while no session runs",
        "the worker that starts the session is killed meanwhile",
        "the worker that stops the session is killed meanwhile",
        "workers are replaced in mid-session (gunicorn's max_requests)",
    ),
    "The server": (
        "the reloader restarts the app",
        "the server is told to end (SIGTERM)",
        "the server is told to end (SIGINT)",
        "the whole server is killed (kill -9, power)",
        "two servers share an output directory",
        "nobody stops the session",
        "the port of the DevTools endpoint is taken",
    ),
    "The disk": (
        "the disk is full at the start",
        "the disk is full at the stop",
        "the disk is read-only at the start",
        "the disk becomes read-only in mid-session",
        "the disk is still read-only at the session's deadline",
    ),
    "The output directory": (
        "other users may write to the output directory",
        "the output directory is deleted in mid-session",
        "the output directory is replaced by a link in mid-session",
        "the output directory is replaced by a file in mid-session",
        "the server loses its rights to the output directory in mid-session (chmod 000)",
        "the files in the output directory are overwritten in mid-session",
    ),
    "The clock": (
        "the clock is put back in mid-session (a day, or to 1970)",
        "the clock is put forward in mid-session (a day, or to 2040)",
    ),
    "Redis, where it joins several hosts": (
        "Redis is down when the session starts",
        "Redis refuses the password",
        "Redis is full (maxmemory) when the session starts",
        "Redis is killed in mid-session",
        "Redis hangs in mid-session",
        "Redis is restarted, empty, in mid-session",
        "Redis runs full in mid-session",
        "what Redis holds is overwritten with garbage in mid-session",
    ),
}
_GROUP_OF = {fault: group for group, faults in GROUPS.items() for fault in faults}


@dataclass(frozen=True)
class Row:
    """One fault and its consequences.

    ``group`` is the heading, ``requests`` is how the app's own requests fared from then on, ``answer`` what the one was
    told who started or stopped the session, ``kept`` and ``lost`` what became of the requests that it had recorded.
    """

    group: str
    fault: str
    requests: str
    answer: str
    kept: str
    lost: str


def publish(fault: str, *, requests: list[int] | str, answer: str, kept: str, lost: str) -> None:
    """Hold what was observed against the published row of ``fault``; with the variable set, write the row there."""
    if not isinstance(requests, str):
        fine = sum(status == 200 for status in requests)
        requests = f"{fine} of {len(requests)} answered" if fine < len(requests) else "all answered"
    assert fault in _GROUP_OF, "a new row: say in GROUPS where it stands"
    row = Row(_GROUP_OF[fault], fault, requests, answer, kept, lost)
    path = os.environ.get(REWRITE)
    if path:
        rows = {each.fault: each for each in read(Path(path))} | {fault: row}
        ordered = [asdict(rows[each]) for each in _GROUP_OF if each in rows]
        Path(path).write_text(json.dumps(ordered, indent=2) + "\n", "ascii")
        return
    published = {each.fault: each for each in read(TABLE)}
    assert published.get(fault) == row, "the published table says otherwise; look why, or run: make failures"


def read(path: Path) -> list[Row]:
    """Return the rows of a table."""
    return [Row(**row) for row in json.loads(path.read_bytes())]


def told(answer: Answer) -> str:
    """Return what an answer says, as the table shows it: status, error code, and whether workers are missing."""
    document = answer.json()
    if answer.status != 200:
        return f"{answer.status} {document['error']}"
    return "200, and names the worker that is missing" if document.get("missing") else "200"
