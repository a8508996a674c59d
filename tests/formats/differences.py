"""Two sessions of a shop whose difference is known, and the page that shows it. No tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flask_profiling.compare import Rules, compare, summarise
from flask_profiling.exports import difference
from flask_profiling.model import Function, RouteTimes, SessionRecording
from tests.formats.calls import Call, call, profiled, recording
from tests.formats.trees import Request, Thread, recorded, tree_recording

BASE_ID, NEW_ID = "prof-20261122-080000-feedc0de", "prof-20261123-101112-0123abcd"
LIBRARY = Function("/usr/lib/python3.11/site-packages/jinja2/environment.py", 1200, "render")

# A page asks for one price and for something old; later for three prices, 20 lines further down, and something new.
OLD_PAGE = call("page", 0.002, call("price", 0.004), call("legacy", 0.010), Call(LIBRARY, 0.001))
NEW_PAGE = call("page", 0.002, *[call("price", 0.004)] * 3, call("fresh", 0.006), Call(LIBRARY, 0.001))
HELP = call("help", 0.003)


def moved(item: Call, lines: int) -> Call:
    """Return a call with the shop's functions further down in their files."""
    function = item.function
    if function.file.startswith("/srv"):
        function = Function(function.file, function.line + lines, function.name)
    return replace(item, function=function, calls=tuple(moved(one, lines) for one in item.calls))


def _session(page: Call, requests: int, session_id: str, *, of_tree: bool, shared: Sequence[Call]) -> SessionRecording:
    if of_tree:
        served = tuple(Request("GET /", (page,), own=1000) for _ in range(requests))
        help_ = tuple(Request("GET /help", (one,), own=1000) for one in shared)
        subject = tree_recording(recorded(Thread(812, "Thread-1", (*served, *help_))))
    else:
        plain = recording({"GET /": profiled([page] * requests), "GET /help": profiled(shared)})
        times = {
            "GET /": RouteTimes(requests, 0, page.total * requests, 0.0, {}),
            "GET /help": RouteTimes(4, 0, 0.1, 0, {}),
        }
        subject = replace(plain, requests=times)
    return replace(subject, session=replace(subject.session, id=session_id))


def sessions(*, of_tree: bool) -> tuple[SessionRecording, SessionRecording]:
    """Return the base with 10 requests, and the new session with 20; 4 of another route did not change."""
    base = _session(OLD_PAGE, 10, BASE_ID, of_tree=of_tree, shared=[HELP] * 4)
    return base, _session(moved(NEW_PAGE, 20), 20, NEW_ID, of_tree=of_tree, shared=[moved(HELP, 20)] * 4)


def page_of(base: SessionRecording, new: SessionRecording) -> bytes:
    """Return the page for two sessions, as ``flask profiling compare --html`` writes it."""
    verdict = compare([summarise(base)], summarise(new), Rules.default(), across_versions=True)
    return difference(base, new, verdict)
