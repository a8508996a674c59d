"""Requests that are recorded each for itself, and afterwards added to the tree of their route; no hook is set here."""

from __future__ import annotations

from array import array

from ._recorder import IDLE, Budget, Node, Recorder, Recorders

# Bounds of one request, some 12 MB at the most. Its timeline may be as long as what is left of the session's, but for
# these: a request that is looked at alone has one, also where the session's has ended.
_MOST_NODES = 20_000
_LEAST_TRANSITIONS = 50_000
_MOST_TRANSITIONS = 400_000


class RequestRecorder(Recorder):
    """The tree of one request, whichever threads walk it one after the other."""

    __slots__ = ("budget",)

    def __init__(self, route: str, session: Budget) -> None:
        room = min(max(session.transitions, _LEAST_TRANSITIONS), _MOST_TRANSITIONS)
        self.budget = Budget(nodes=_MOST_NODES, transitions=room, stretches=room)
        super().__init__(route, self.budget)

    def weight(self) -> int:
        """Return about how many bytes it holds."""
        return 300 * len(self.nodes) + 8 * len(self.log) + 200 * len(self.segments)


def add(request: RequestRecorder, recorders: Recorders) -> None:
    """Add a finished request to its route, as if it had been recorded there; it keeps its own tree."""
    base = recorders.take(request.route)
    try:
        places = _added_nodes(request, base, recorders.budget)
        _add_log(request, base, places, recorders.budget)
    finally:
        recorders.give_back(base)


def _added_nodes(request: RequestRecorder, base: Recorder, budget: Budget) -> list[Node]:
    """Add the nodes of a request; returns where the time of each is now."""
    places: list[Node] = []
    lost: set[int] = set()
    budget.dropped_calls += request.budget.dropped_calls
    for node in request.nodes:
        if node.parent is None or node.code is None:
            place: Node | None = base.root
            above = base.root
        else:
            above = places[node.parent.index]
            budget.dropped_calls += node.parent.index in lost
            place = None if node.parent.index in lost else base.child(node.code, above)
        if place is None:
            lost.add(node.index)
            budget.dropped_calls += node.calls - 1
        else:
            place.calls += node.calls
        above = place or above
        above.self_time += node.self_time
        above.overhead += node.overhead
        places.append(above)
    return places


def _add_log(request: RequestRecorder, base: Recorder, places: list[Node], budget: Budget) -> None:
    """Append what a request did in its order; where it finds no room, the timeline of the session ends for good."""
    transitions = len(request.log) // 2 - 2 * len(request.segments)
    dropped = request.budget.dropped_transitions
    if dropped or transitions > budget.transitions or len(request.segments) > budget.stretches:
        budget.dropped_transitions += max(1, dropped or transitions)
        budget.transitions = 0
        return
    budget.transitions -= transitions
    budget.stretches -= len(request.segments)
    offset = len(base.log) // 2
    log = request.log[:]
    log[1::2] = array("d", (IDLE if top == IDLE else places[int(top)].index for top in log[1::2]))
    base.log.extend(log)
    base.segments += (segment.moved(offset) for segment in request.segments)
