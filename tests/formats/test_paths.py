"""The paths that formats write out: those of very deep recursion are cut without losing a call or a microsecond."""

from __future__ import annotations

from collections import Counter

import pytest

from flask_profiling.formats._paths import MOST_FRAMES, of_tree
from flask_profiling.model import CallTree, TreeBuilder
from tests.formats import readers
from tests.formats.calls import function, written
from tests.formats.trees import tree_recording

DEPTH = 5 * MOST_FRAMES
TIMES = {"GET /": 1000, "recurse": 2 * DEPTH, "helper": 3 * DEPTH, "leaf": 5000}


def recursion(depth: int) -> CallTree:
    """A function that calls a helper and itself, and in the end a leaf; each call took whole microseconds."""
    builder = TreeBuilder("app")
    node = builder.root("GET /", calls=1, self_time=0.001)
    for _ in range(depth):
        node = builder.child(node, function("recurse"), calls=1, self_time=2e-6, is_library=False)
        builder.child(node, function("helper"), calls=1, self_time=3e-6, is_library=False)
    builder.child(node, function("leaf"), calls=1, self_time=0.005, is_library=False)
    return builder.tree()


def named(costs: Counter[readers.Place]) -> dict[str, int]:
    names: Counter[str] = Counter()
    for (name, _, _), cost in costs.items():
        names[name.partition(" (")[0]] += cost
    return dict(names)


def test_paths_that_are_short_enough_stay_as_they_are() -> None:
    found = of_tree(recursion(MOST_FRAMES - 3))
    assert found.shallow() is found


def test_deeper_frames_stand_by_function_below_one_that_says_so() -> None:
    cut = of_tree(recursion(6)).shallow(3)
    shown = {
        ";".join(cut.functions[item].name for item in reversed(cut.stack(node))): cut.calls[node]
        for node in cut.in_order()
    }
    deeper = "GET /;recurse;recurse;(frames deeper than 1000)"
    assert shown == {
        "GET /": 1,
        "GET /;recurse": 1,
        "GET /;recurse;helper": 1,
        "GET /;recurse;recurse": 1,
        deeper: 0,
        f"{deeper};helper": 5,
        f"{deeper};recurse": 4,
        f"{deeper};leaf": 1,
    }


@pytest.mark.parametrize("name", ["collapsed", "pprof", "speedscope"])
def test_recursion_of_any_depth_keeps_its_costs_and_takes_bounded_room(name: str) -> None:
    data = written(name, tree_recording(recursion(DEPTH)))
    if name == "collapsed":
        times = readers.collapsed(data).times
        assert max(line.count(b";") for line in data.splitlines()) == MOST_FRAMES + 1
    elif name == "pprof":
        costs = readers.pprof(data).costs()
        times = costs.times
        counted = {name: calls for name, calls in named(costs.calls).items() if calls}
        assert counted == {"GET /": 1, "recurse": DEPTH, "helper": DEPTH, "leaf": 1}
    else:
        times = next(readers.speedscope(data))[1].times
    assert named(times) == TIMES
    assert len(data) < 60e6
