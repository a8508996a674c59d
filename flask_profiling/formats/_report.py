"""What the HTML report shows, as plain JSON values: compact columns of a recording; no HTML is written here."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Unavailable
from ..model import MORE, ROOT, CallGraphs, CallTree, Function, SessionRecording, SlowRequests, inclusive, utc
from . import slow
from ._collected import call_tree, notes, plausible
from ._fold import largest
from ._labels import is_library_file
from ._paths import Paths, of_tree, paths
from ._sections import sections
from ._timeline import lane_times, lanes, untold

# More than a screen can show and than a file that is sent around should carry; the largest are kept.
MOST_NODES = 12_000
MOST_NODES_OF_REQUESTS = 8_000
MOST_ESTIMATED = 5_000
MOST_LANES = 24
_MOST_LANE_ITEMS = 12_000

# Kinds of functions, as the script knows them.
_APPLICATION, _LIBRARY, _ROUTE, _FOLDED = range(4)


def report(recording: SessionRecording) -> dict[str, object]:
    """Return everything that the report's script draws."""
    said = notes(recording)
    try:
        found = paths(recording, budget=MOST_ESTIMATED)
    except Unavailable:
        found = Paths((), (), (), (), (), ())
    tree = call_tree(recording)
    known = FunctionTable()
    threads: list[list[object]] = []
    requests: list[tuple[int, Paths]] = []
    if tree is not None:
        lanes_shown, remarks = _threads(tree)
        requests = _requests(recording.slow_requests())
        found, places = _largest(found, MOST_NODES)
        threads = [_moved(title, times, places) for title, times in lanes_shown]
        said += remarks
        said += [
            f"{number:,} small paths{whose} are drawn together as {MORE.name}; exports have all of them."
            for number, whose in ((found.folded, ""), (sum(each.folded for _, each in requests), " of slow requests"))
            if number
        ]
    elif any(found.reasons):
        said.append("Hatched frames are estimated: call graphs know each function and each call, not whole paths.")
    return {
        "session": session_facts(recording),
        "workers": [worker.pid for worker in recording.workers],
        "missing": [worker.pid for worker in recording.missing],
        "routes": _routes(recording),
        "environment": dict(recording.environment),
        "notes": said,
        "counted": any(found.calls),
        "nodes": _nodes([found, *(each for _, each in requests)], known),
        "requests": [[number, len(each.parents)] for number, each in requests],
        "costs": _costs(recording, known) if tree is None else None,
        "threads": threads,
        "slow": slow.section(recording.slow_requests()),
        "sections": sections(recording),
        "files": list(known.files),
        "functions": known.rows,
        "reasons": list(known.reasons),
    }


class FunctionTable:
    """The tables of functions, files and reasons, filled as they are used."""

    def __init__(self) -> None:
        self.files: dict[str, int] = {}
        self.reasons: dict[str, int] = {}
        self.rows: list[list[object]] = []
        self.functions: list[Function] = []
        self._known: dict[tuple[Function, int], int] = {}

    def of(self, function: Function, *, is_route: bool, is_library: bool) -> int:
        """Return the number of a function; what has no file and is no route stands for several."""
        kind = _ROUTE if is_route else _LIBRARY if is_library else _APPLICATION if function.file else _FOLDED
        number = self._known.setdefault((function, kind), len(self.rows))
        if number == len(self.rows):
            file = self.files.setdefault(function.file, len(self.files)) if function.file else -1
            self.rows.append([file, function.line, function.name, kind])
            self.functions.append(function)
        return number

    def reason(self, text: str) -> int:
        """Return the number of a reason."""
        return self.reasons.setdefault(text, len(self.reasons))


def session_facts(recording: SessionRecording) -> dict[str, object]:
    """Return what the head of a page says of a session."""
    session = recording.session
    started = utc(session.started)
    return {
        "id": session.id,
        "started": started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "duration": plausible(session.duration or 0.0),
        "cpu": session.options.cpu,
    }


def _routes(recording: SessionRecording) -> list[list[object]]:
    return [
        [
            route,
            times.requests,
            times.errors,
            round(times.quantile(0.5), 6),
            round(times.quantile(0.95), 6),
            round(times.wall_time, 6),
            round(times.cpu_time, 6),
            round(times.gc_time, 6),
        ]
        for route, times in recording.requests.items()
    ]


def _requests(slow_requests: SlowRequests | None) -> list[tuple[int, Paths]]:
    """Return the slow requests whose own calls are known: the number of each (1 is the slowest), and its paths."""
    kept = () if slow_requests is None else slow_requests.requests
    found = [(number, of_tree(request.tree)) for number, request in enumerate(kept, 1) if request.tree is not None]
    return [(number, _largest(each, MOST_NODES_OF_REQUESTS // len(found))[0]) for number, each in found]


def _nodes(several: Sequence[Paths], known: FunctionTable) -> dict[str, object]:
    """Return columns, of all of them in turn; a parent is given by its distance, which is short, and 0 where there is
    none."""
    return {
        "up": [
            0 if parent == ROOT else node - parent for found in several for node, parent in enumerate(found.parents)
        ],
        "fn": [
            known.of(function, is_route=parent == ROOT, is_library=is_library)
            for found in several
            for function, parent, is_library in zip(found.functions, found.parents, found.library, strict=True)
        ],
        "calls": [calls for found in several for calls in found.calls],
        "us": [round(seconds * 1e6) for found in several for seconds in found.self_times],
        "why": reasons_column([reason for found in several for reason in found.reasons], known),
    }


def reasons_column(reasons: Sequence[str], known: FunctionTable) -> list[int]:
    """Return the number of each node's reason, from 1 on, and 0 where it has none; empty where no node has one."""
    return [known.reason(reason) + 1 if reason else 0 for reason in reasons] if any(reasons) else []


def _costs(recording: SessionRecording, known: FunctionTable) -> dict[str, object] | None:
    """Return the exact functions and calls of call graphs, from which an estimated tree cannot be read back; functions
    that are too small to be drawn are among them."""
    graphs = recording.data(CallGraphs)
    if graphs is None:
        return None
    graph = graphs.total()
    numbers = {(known.rows[number][0], *known.rows[number][1:3]): number for number in range(len(known.rows))}

    def number_of(function: Function) -> int:
        drawn = numbers.get((known.files.get(function.file, -1), function.line, function.name))
        return known.of(function, is_route=False, is_library=is_library_file(function.file)) if drawn is None else drawn

    places = {function: number_of(function) for function in graph.functions}
    return {
        "functions": [
            [places[function], cost.calls, _us(cost.self_time), _us(cost.total_time)]
            for function, cost in graph.functions.items()
        ],
        "edges": [
            [places[caller], places[callee], cost.calls, _us(cost.total_time)]
            for (caller, callee), cost in graph.edges.items()
        ],
    }


def _us(seconds: float) -> int:
    return round(plausible(seconds) * 1e6)


def _threads(tree: CallTree) -> tuple[list[tuple[str, dict[int, int]]], list[str]]:
    """Return the title and the µs by node of the busiest lanes, and what to say of the others."""
    shown = lanes(tree)
    found = [(lane.title, lane_times(lane)) for lane in shown]
    found.sort(key=lambda item: -sum(item[1].values()))
    room = _MOST_LANE_ITEMS
    kept: list[tuple[str, dict[int, int]]] = []
    for title, times in found[:MOST_LANES]:
        room -= len(times)
        if room >= 0:
            kept.append((title, times))
    remarks = []
    if len(kept) < len(found):
        remarks.append(f"{len(found) - len(kept)} threads cannot be chosen alone here; their time is in all threads.")
    if any(untold(tree, shown)):
        remarks.append(
            "The log of the order of calls was full: what came later is in all threads, and in no single one."
        )
    return kept, remarks


def _moved(title: str, times: dict[int, int], places: Sequence[int]) -> list[object]:
    """Return ``[title, steps from node to node, µs]``, the nodes as they are numbered now."""
    now: dict[int, int] = {}
    for node, time in times.items():
        if time:
            now[places[node]] = now.get(places[node], 0) + time
    nodes = sorted(now)
    steps = [node - before for before, node in zip([0, *nodes], nodes, strict=False)]
    return [title, steps, [now[node] for node in nodes]]


def _largest(found: Paths, most: int) -> tuple[Paths, Sequence[int]]:
    """Return the paths with the most time, at most ``most``, and where each node's time is now; the others add up below
    their caller."""
    kept = largest(found.parents, inclusive(found.parents, found.self_times), most)
    if not kept.folded:
        return found, kept.places
    times = [0.0] * len(kept.rows)
    for place, seconds in zip(kept.places, found.self_times, strict=True):
        times[place] += seconds
    drawn = Paths(
        functions=[MORE if node is None else found.functions[node] for node in kept.rows],
        parents=kept.parents,
        calls=[0 if node is None else found.calls[node] for node in kept.rows],
        self_times=times,
        reasons=[""] * len(kept.rows),
        library=[node is not None and found.library[node] for node in kept.rows],
        folded=kept.folded,
    )
    return drawn, kept.places
