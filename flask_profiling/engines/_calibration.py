"""What recording calls takes of the time that it records: measured with the very hooks, and taken off at the end.

Hooks read the clock in their middle. What they take before that lies in the time of the function that was on top, and
what they take afterwards in that of the next: so each call adds something to its own time, and something to its
caller's. Calls are counted, so both can be taken off again, as :meth:`profile.Profile.calibrate` has it. No hook is set
here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from time import perf_counter
from types import CodeType, FunctionType
from typing import NamedTuple, Protocol

from ..model import CallTree
from ._recorder import MOST_FRESH, Budget, Recorder, Segment

# Each round fills a recorder's list of fresh transitions once, so that what it takes to empty it is among the costs.
CALLS = MOST_FRESH // 4
ROUNDS = 5
# What takes longer than so many seconds was no call but a pause: nothing is taken off then.
_MOST = 20e-6
# Of an empty call's time without any hook, the part of the callee itself.
_INNER = 0.3
# Functions that were called so often bound the cost of a call: no function takes less than no time.
_OFTEN = 200

# µs without a transition: other threads have the interpreter lock for 5 ms at least.
_PAUSE = 1000

LIBRARY_FILE = "<calibration>"


class CallCost(NamedTuple):
    """Seconds that recording one call adds: ``inside`` to its own time, ``outside`` to its caller's."""

    inside: float
    outside: float


class CallCosts(NamedTuple):
    """The cost of a call of an application's function, and of a library's."""

    application: CallCost
    library: CallCost


class Hooks(Protocol):
    """What feeds a recorder with the calls of the calling thread."""

    def enter(self, recorder: Recorder) -> bool:
        """Begin; False where that thread cannot be watched."""

    def leave(self) -> None:
        """End."""


def _calls(call: Callable[[], None], times: int) -> None:
    for _ in range(times):
        call()


def _empty() -> None:
    pass


def bare_call(clock: Callable[[], float] = perf_counter) -> float:
    """Return the seconds of an empty call in a loop; to be asked while no hooks are on."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        began = clock()
        _calls(_empty, CALLS)
        rounds.append((clock() - began) / CALLS)
    return min(rounds)


def call_costs(hooks: Hooks, *, bare: float, file: str, everything: bool) -> CallCosts | None:
    """Return what a call costs under ``hooks``, which are on; None where that cannot be told. Takes some 10 ms.

    ``bare`` is what :func:`bare_call` said. ``file`` is a file name that counts as application code; no such file is
    looked for. With ``everything`` hooks make no difference between code of the application and of libraries.
    """
    calls = _in_file(_calls, file)
    application = _call_cost(_recorded_rounds(hooks, calls, _in_file(_empty, file)), bare)
    if application is None or everything:
        return application and CallCosts(application, application)
    library = _call_cost(_recorded_rounds(hooks, calls, _in_file(_empty, LIBRARY_FILE)), bare)
    return library and CallCosts(application, library)


def _in_file(function: Callable[..., None], file: str) -> FunctionType:
    code: CodeType = function.__code__
    return FunctionType(code.replace(co_filename=file), globals())


def _call_cost(rounds: Sequence[tuple[float, float]], bare: float) -> CallCost | None:
    if not rounds:
        return None
    # One of the quick ones: in many another thread or process may have had its turn.
    inside, outside = sorted(rounds, key=sum)[len(rounds) // 4]
    cost = CallCost(max(0.0, inside - _INNER * bare), max(0.0, outside - (1.0 - _INNER) * bare))
    return cost if sum(cost) < _MOST else None


def _recorded_rounds(hooks: Hooks, calls: FunctionType, leaf: FunctionType) -> list[tuple[float, float]]:
    """Return the seconds of one call in each round: in the callee, and in its caller."""
    recorder = Recorder("calibration", Budget())
    recorder.begin()
    if not hooks.enter(recorder):
        return []
    found: list[tuple[float, float]] = []
    try:
        before = 0.0, 0.0
        for _ in range(ROUNDS):
            calls(leaf, CALLS)
            caller = recorder.root.children.get(id(calls.__code__))
            callee = caller and caller.children.get(id(leaf.__code__))
            if caller is None or callee is None or callee.calls % CALLS:
                return []
            after = callee.self_time, caller.self_time
            found.append(((after[0] - before[0]) / CALLS, (after[1] - before[1]) / CALLS))
            before = after
    finally:
        hooks.leave()
        recorder.end()
    return found


def without_recording(tree: CallTree, costs: CallCosts, slowdowns: Sequence[float]) -> CallTree:
    """Return a tree without the time that recording its calls took, which its ``overheads`` have then.

    No more is taken off than functions show by being called often and taking little. Where a function stood still for
    long, so did the recording of its calls; ``slowdowns`` say for each route of the tree how much longer computing took
    there at the most, because other threads computed too.
    """
    expected = _expected(tree, costs)
    taken = zip(tree.self_times, expected, tree.calls, strict=True)
    scale = min((time / cost for time, cost, calls in taken if calls >= _OFTEN and time < cost), default=1.0)
    pauses = _pauses(tree)
    routes: list[int] = []
    overheads: list[float] = []
    for node, parent in enumerate(tree.parents):
        routes.append(tree.labels[node] if parent < 0 else routes[parent])
        time, longest = tree.self_times[node], slowdowns[routes[node]]
        went_on = max(0.0, time - pauses[node])
        slower = min(longest, time / went_on) if went_on > 0.0 else 1.0
        overheads.append(min(scale * expected[node], went_on) * slower)
    times = (time - overhead for time, overhead in zip(tree.self_times, overheads, strict=True))
    return replace(tree, self_times=tuple(times), overheads=tuple(overheads))


def _expected(tree: CallTree, costs: CallCosts) -> list[float]:
    """Return what recording added to each node's own time."""
    expected = [0.0] * len(tree)
    for node, parent in enumerate(tree.parents):
        if parent >= 0:
            cost = costs.library if tree.labels[node] in tree.library else costs.application
            expected[node] += tree.calls[node] * cost.inside
            expected[parent] += tree.calls[node] * cost.outside
    return expected


def _pauses(tree: CallTree) -> list[float]:
    """Return the seconds of each node in which it neither called nor returned for long: it computed, or had to wait."""
    pauses = [0] * len(tree)
    for track in tree.tracks:
        for node, begin, end in zip(track.nodes, track.times, track.times[1:], strict=False):
            if end - begin > _PAUSE and node >= 0:
                pauses[node] += end - begin
    return [pause / 1e6 for pause in pauses]


def crowd_of_machine() -> float:
    """Return how many there are for each processor, by the load of the last minute; 1 where nobody has to wait."""
    try:
        return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    except (AttributeError, OSError):  # not everywhere
        return 1.0


def slowdowns(stretches: Iterable[tuple[str, Segment]], *, crowd: float = 1.0) -> dict[str, float]:
    """Return for each route how much longer it may have taken to compute, because others computed meanwhile.

    ``stretches`` are those of all threads, by route. Of each, its share of CPU time is known. What the others took
    together while it lasted, up to one processor, was taken from it: with three others that compute all the time,
    computing lasts four times as long. A stretch that got all of its time waited for nobody. ``crowd`` is how many
    processes and threads of the machine there are for each processor, if more than one.
    """
    known = [(route, stretch) for route, stretch in stretches if stretch.end > stretch.begin and stretch.cpu > 0.0]
    changes: list[tuple[float, float]] = []
    for _, stretch in known:
        rate = min(1.0, crowd * stretch.cpu / (stretch.end - stretch.begin))
        changes += ((stretch.begin, rate), (stretch.end, -rate))
    changes.sort()
    used: dict[float, float] = {}
    rate = spent = before = 0.0
    for moment, change in changes:
        spent += min(1.0, rate) * (moment - before)
        used[moment], before = spent, moment
        rate += change
    sums: dict[str, list[float]] = {}
    for route, stretch in known:
        lasted = stretch.end - stretch.begin
        took = min(crowd * stretch.cpu, lasted)
        free = 1.0 - max(0.0, used[stretch.end] - used[stretch.begin] - took) / lasted
        amounts = sums.setdefault(route, [0.0, 0.0])
        amounts[0] += stretch.cpu
        amounts[1] += max(stretch.cpu, took / free if took < free * lasted else lasted)
    return {route: longer / cpu for route, (cpu, longer) in sums.items()}
