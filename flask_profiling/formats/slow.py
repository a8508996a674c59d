"""One slow request of a session as a recording of its own, so that every format can be written of it alone; and the
table of all of them for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import BadRequest, Unavailable
from ..model import CallTree, Recording, RouteTimes, SessionRecording, SlowRequest, SlowRequests, utc
from ._collected import plausible, readable

_MOST_NAMED = 5
# letters of a trace id
_SHORTEST = 4
NONE_KEPT = (
    "this session kept no slow requests; set PROFILING_SLOW_REQUEST, or start one with slow=0.5 and cpu=calltree"
)


def one_request(recording: SessionRecording, name: str) -> tuple[int, SessionRecording]:
    """Return the number of a slow request (1 is the slowest) and what it did, alone.

    ``name`` is its number, or its trace id or how that begins. Raises BadRequest where there is none or more than one,
    and Unavailable where none was kept, or not with its calls.
    """
    kept = recording.slow_requests()
    if kept is None or not kept.requests:
        raise Unavailable(NONE_KEPT)
    number, request = _named(kept.requests, name)
    if request.tree is None:
        raise Unavailable(
            f"the calls of request {number} were not recorded for themselves; start a session with cpu=calltree"
        )
    return number, _alone(recording, request, request.tree)


def section(kept: SlowRequests | None) -> Mapping[str, object] | None:
    """Return the table of a report; None where a session was not to keep any."""
    if kept is None:
        return None
    alone = next((number for number, request in enumerate(kept.requests, 1) if request.tree is not None), None)
    ways = f" Press a route to see that request alone; flask profiling report --request {alone} makes a file of it."
    return {
        "title": "Slow requests",
        "text": f"{kept.summary()}{ways if alone else ''}",
        "columns": [
            ["Request", "n"], ["Route", "t"], ["Wall (ms)", "n"], ["CPU (ms)", "n"], ["Status", "n"],
            ["Mostly in", "t"], ["Began", "t"], ["Trace", "t"], ["Worker, thread", "t"],
        ],
        "rows": [_row(number, request) for number, request in enumerate(kept.requests, 1)],
    }  # fmt: skip


def _row(number: int, request: SlowRequest) -> list[object]:
    began = utc(request.started)
    return [
        number,
        f"{request.route}{' (still running)' if request.is_running else ''}",
        round(plausible(request.wall_time) * 1000, 1),
        "" if request.cpu_time is None else round(plausible(request.cpu_time) * 1000, 1),
        str(request.status or ""),
        _mostly(request),
        f"{began:%H:%M:%S}.{began.microsecond // 1000:03} UTC",
        request.trace_id,
        f"{request.worker}, {request.thread}",
    ]


def _mostly(request: SlowRequest) -> str:
    found = request.mostly()
    return "" if found is None else f"{readable(found[0].name)} ({found[1]:.0%})"


def _named(requests: tuple[SlowRequest, ...], name: str) -> tuple[int, SlowRequest]:
    if name.isdecimal() and len(name) < 9 and 1 <= int(name) <= len(requests):
        return int(name), requests[int(name) - 1]
    found = [
        (number, each)
        for number, each in enumerate(requests, 1)
        if len(name) >= _SHORTEST and each.trace_id.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = ", ".join(str(number) for number, _ in found)
        raise BadRequest(f"the trace {name[:32]!r} is that of several requests; give one of the numbers {numbers}")
    few = "; ".join(f"{number}: {each.route}" for number, each in enumerate(requests[:_MOST_NAMED], 1))
    raise BadRequest(
        f"no slow request is called {name[:40]!r}; give a number from 1 to {len(requests)} or a trace id ({few})"
    )


def _alone(recording: SessionRecording, request: SlowRequest, tree: CallTree) -> SessionRecording:
    engine = recording.recording(CallTree.kind)
    # what begins with a number counts something in the whole session
    notes = () if engine is None else tuple(note for note in engine.notes if not note[:1].isdigit())
    so_far = ", still running at the stop" if request.is_running else ""
    times = RouteTimes().with_request(
        wall=request.wall_time, cpu=request.cpu_time or 0.0, failed=request.status >= 500
    )
    return replace(
        recording,
        requests={request.route: times},
        recordings=(Recording(CallTree.kind, tree, notes),),
        notes=(f"Only one request: {request.route}, {request.wall_time:.3f} s{so_far}, trace {request.trace_id}.",),
    )
