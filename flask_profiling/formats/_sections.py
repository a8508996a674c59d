"""Tables of the HTML report that are not about calls: one function per kind of data; no HTML is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model import Allocations, Growth, HeapSummary, SessionRecording

_MOST_ROWS = 50

# title, a sentence, ``[heading, "t" or "n"]`` for texts or numbers, and the rows
Section = Mapping[str, object]


def sections(recording: SessionRecording) -> list[Section]:
    """Return a section for each kind of data about memory that was recorded, in the order of the report."""
    found: list[Section] = []
    if (growth := recording.data(Growth)) is not None:
        found.append(_growth(growth))
    if (allocations := recording.data(Allocations)) is not None:
        found.append(_allocations(allocations))
    if (heap := recording.data(HeapSummary)) is not None:
        found.append(_heap(heap))
    return found


def files(named: Sequence[tuple[str, int, str]]) -> Section:
    """Return a section of a session's files: their names, bytes, and what opens them."""
    return {
        "title": "Files of this session",
        "text": "",
        "columns": [["File", "t"], ["Bytes", "n"], ["Opens in", "t"]],
        "rows": [list(row) for row in named],
    }


def _heap(data: HeapSummary) -> Section:
    objects = f"{sum(count for count, _ in data.classes.values()):,} objects"
    size = f"{data.size / 1e6:,.1f} MB in " if data.size else ""
    how = "every object counted" if data.exact else "counted while the program ran on, so not exact"
    columns = [["Class", "t"], ["Objects", "n"], ["Bytes", "n"]]
    if not data.size:  # where no snapshot could be taken, sizes are not known
        columns.pop()
    return {
        "title": "Memory at the stop",
        "text": f"{size}{objects}; {how}",
        "columns": columns,
        "rows": [list(row[: len(columns)]) for row in data.largest(_MOST_ROWS)],
    }


def _allocations(data: Allocations) -> Section:
    total = data.total
    since = "allocated during the session and alive at its end" if data.from_nothing else "alive at the end"
    lines = [
        (f"{frame.name or '(module)'}  {frame.file}:{frame.line}", route or "(no route told)", amount)
        for route in {"": None, **data.by_route()}
        for frame, amount in data.of_route(route).by_line().items()
    ]
    if data.rest_sites:  # of any lines and routes, also of those in other rows
        lines.append((f"({data.rest_sites:,} smaller sites)", "(no route told)", data.rest))
    lines.sort(key=lambda line: (-line[2].size_growth, line[:2]))
    return {
        "title": "Allocation sites",
        "text": f"{total.size / 1e6:,.1f} MB in {total.count:,} blocks, {since}",
        "columns": [["Line", "t"], ["Route", "t"], ["Growth (bytes)", "n"], ["Bytes", "n"], ["Blocks", "n"]],
        "rows": [
            [line, route, amount.size_growth, amount.size, amount.count] for line, route, amount in lines[:_MOST_ROWS]
        ],
    }


def _growth(data: Growth) -> Section:
    before, after = data.total
    return {
        "title": "Memory growth",
        "text": f"{before:,} objects at the start, {after:,} at the stop; those that grew most first",
        "columns": [["Class", "t"], ["Start", "n"], ["Stop", "n"], ["Growth", "n"]],
        "rows": [[name, old, new, new - old] for name, old, new in data.grown()[:_MOST_ROWS]],
    }
