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


@dataclass(frozen=True)
class Row:
    """One fault and its consequences.

    ``requests`` is how the app's own requests fared from then on, ``answer`` what the one was told who started or
    stopped the session, ``kept`` and ``lost`` what became of the requests that it had recorded.
    """

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
    row = Row(fault, requests, answer, kept, lost)
    path = os.environ.get(REWRITE)
    if path:
        rows = {each.fault: each for each in read(Path(path))}  # each row keeps its place; a new one is the last
        rows[fault] = row
        Path(path).write_text(json.dumps([asdict(each) for each in rows.values()], indent=2) + "\n", "ascii")
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
