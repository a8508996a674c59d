"""What recording calls takes of the time that it records: measured with the very hooks, and taken off at the end.

Hooks read the clock as they begin and as they end, and leave out what lies between. What the interpreter takes to call
them and to go on lies in the time of functions: so each call adds something to its own time, and something to its
caller's. Calls are counted, so both can be taken off again, as :meth:`profile.Profile.calibrate` has it. No hook is set
here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from types import CodeType, FunctionType
from typing import NamedTuple, Protocol

from ..model import CallTree
from ._recorder import MOST_FRESH, Budget, Recorder

# Each round fills a recorder's list of fresh transitions once, so that what it takes to empty it is among the costs.
CALLS = MOST_FRESH // 4
# In the first ones hooks may still have more to do.
ROUNDS = 6
# What takes longer than so many seconds was no call but a pause: nothing is taken off then.
_MOST = 20e-6
# Of an empty call's time without any hook, the part of the callee itself.
_INNER = 0.3
LIBRARY_FILE = "<calibration>"


class CallCost(NamedTuple):
    """Seconds that recording one call adds: ``inside`` to its own time, ``outside`` to its caller's.

    ``hooks`` is what the hooks' own clock saw of it, which is in neither.
    """

    inside: float
    outside: float
    hooks: float


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
    application = _call_cost(_recorded_rounds(hooks, _in_file(_calls, file), _in_file(_empty, file)), bare)
    if application is None or everything:
        return application and CallCosts(application, application)
    # by other code, for hooks may have learnt by now what the first calls
    library = _call_cost(_recorded_rounds(hooks, _in_file(_calls, file), _in_file(_empty, LIBRARY_FILE)), bare)
    return library and CallCosts(application, library)


def _in_file(function: Callable[..., None], file: str) -> FunctionType:
    code: CodeType = function.__code__
    return FunctionType(code.replace(co_filename=file), globals())


def _call_cost(rounds: Sequence[CallCost], bare: float) -> CallCost | None:
    if not rounds:
        return None
    # One of the quick ones: in many another thread or process may have had its turn.
    inside, outside, hooks = sorted(rounds, key=sum)[len(rounds) // 4]
    cost = CallCost(max(0.0, inside - _INNER * bare), max(0.0, outside - (1.0 - _INNER) * bare), hooks)
    return cost if hooks > 0.0 and sum(cost) < _MOST else None


def _recorded_rounds(hooks: Hooks, calls: FunctionType, leaf: FunctionType) -> list[CallCost]:
    """Return the seconds of one call in each round, with those of the call itself."""
    recorder = Recorder("calibration", Budget())
    recorder.begin()
    if not hooks.enter(recorder):
        return []
    found: list[CallCost] = []
    try:
        before = CallCost(0.0, 0.0, 0.0)
        for _ in range(ROUNDS):
            calls(leaf, CALLS)
            caller = recorder.root.children.get(id(calls.__code__))
            callee = caller and caller.children.get(id(leaf.__code__))
            if caller is None or callee is None or callee.calls % CALLS:
                return []
            after = CallCost(callee.self_time, caller.self_time, callee.overhead + caller.overhead)
            found.append(CallCost(*((now - then) / CALLS for now, then in zip(after, before, strict=True))))
            before = after
    finally:
        hooks.leave()
        recorder.end()
    return found


def without_recording(tree: CallTree, costs: CallCosts) -> CallTree:
    """Return a tree without the time that recording its calls took, which its ``overheads`` have then.

    Those of ``tree`` are what the hooks' own clock saw. As much longer as that is in a route than it would have been
    when ``costs`` were measured, so much longer is what the clock did not see: where threads wait for each other, they
    do so in both.
    """
    kinds = [costs.library if label in tree.library else costs.application for label in tree.labels]
    missed = [0.0] * len(tree)
    routes: list[int] = []
    expected, seen = [0.0] * len(tree.routes), [0.0] * len(tree.routes)
    overheads = tree.overheads or missed
    for node, parent in enumerate(tree.parents):
        routes.append(tree.labels[node] if parent < 0 else routes[parent])
        seen[routes[node]] += overheads[node]
        if parent >= 0:
            calls, cost = tree.calls[node], kinds[node]
            missed[node] += calls * cost.inside
            missed[parent] += calls * cost.outside
            expected[routes[node]] += calls * cost.hooks
    slower = [found / known if known else 1.0 for found, known in zip(seen, expected, strict=True)]
    taken = [min(slower[route] * more, time) for route, more, time in zip(routes, missed, tree.self_times, strict=True)]
    return replace(
        tree,
        self_times=tuple(time - more for time, more in zip(tree.self_times, taken, strict=True)),
        overheads=tuple(known + more for known, more in zip(overheads, taken, strict=True)),
    )
