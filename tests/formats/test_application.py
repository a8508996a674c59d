"""Tests of the tree in which the paths of application code are exact, against true call trees.

Functions with small letters are the application's, those with capitals the library's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import example, given

from flask_profiling.formats._tree import Tree, grow
from flask_profiling.model import ApplicationTree, Function, Recording, SessionRecording, TreeBuilder
from tests.formats.calls import Call, Path, call, call_trees, function, profiled, recording, true_self_times, written

ROUTE = "GET /"
HAPPENED = call_trees(names="abcdXYZ")


def is_application(function: Function) -> bool:
    return function.name.islower()


def true_paths(calls: Iterable[Call], above: Path = ()) -> Iterator[tuple[Path, Call]]:
    """Yield each call with the application's functions on the stack, its own last if it is one."""
    for item in calls:
        path = (*above, item.function) if is_application(item.function) else above
        yield path, item
        yield from true_paths(item.calls, path)


def recorded(*calls: Call, route: str = ROUTE) -> ApplicationTree:
    """Return what the engine makes of these calls: time in the library is that of the application code above."""
    builder = TreeBuilder("app")
    nodes: dict[Path, int] = {(): builder.root(route, calls=1, self_time=0.0)}
    times: Counter[Path] = Counter()
    for path, item in true_paths(calls):
        times[path] += item.self_time
        if is_application(item.function):
            nodes[path] = builder.child(nodes[path[:-1]], path[-1], calls=1, self_time=0.0, is_library=False)
    for path, seconds in times.items():
        if path:
            builder.child(nodes[path[:-1]], path[-1], calls=0, self_time=seconds, is_library=False)
    return ApplicationTree(builder.tree())


def grown(*calls: Call, **bounds: float) -> Tree:
    return grow({ROUTE: profiled(calls)}, recorded(*calls), **{"budget": 10**6, "smallest": 0.0, **bounds})  # type: ignore[arg-type]


def stacks(tree: Tree) -> list[Path]:
    """Return for each node the functions from the route's callee down to it."""
    found: list[Path] = [(), ()]
    for parent, item in list(zip(tree.parents, tree.functions, strict=True))[2:]:
        found.append((*found[parent], item))
    return found


def names(path: Path) -> str:
    return "".join(item.name for item in path)


def drawn(*calls: Call) -> dict[str, tuple[float, str]]:
    """Return ``{path: (self time, reason)}`` of functions with one-letter names."""
    tree = grown(*calls)
    return {
        names(path): (pytest.approx(time), reason)
        for path, time, reason in zip(stacks(tree), tree.self_times, tree.reasons, strict=True)
        if path
    }


def test_a_helper_called_cheaply_here_and_dearly_there_is_told_apart() -> None:
    # edges alone cannot tell that all of the dear h is below y
    def way(name: str, seconds: float) -> Call:
        return call(name, 1.0, call("s", 1.0, call("h", seconds)))

    assert drawn(way("x", 2.0), way("y", 8.0)) == {
        "x": (1.0, ""),
        "xs": (1.0, ""),
        "xsh": (2.0, ""),
        "y": (1.0, ""),
        "ys": (1.0, ""),
        "ysh": (8.0, ""),
    }


def test_only_the_library_below_a_shared_function_is_estimated() -> None:
    found = drawn(
        call("x", 1.0, call("s", 1.0, call("Q", 2.0, call("R", 1.0)))),
        call("y", 1.0, call("s", 1.0, call("Q", 6.0, call("R", 3.0)))),
    )
    why = "estimated: split between 2 paths to s"
    assert found == {
        "x": (1.0, ""),
        "xs": (1.0, ""),
        "xsQ": (2.0, why),
        "xsQR": (1.0, why),
        "y": (1.0, ""),
        "ys": (1.0, ""),
        "ysQ": (6.0, why),
        "ysQR": (3.0, why),
    }


def test_library_functions_above_application_code_stay_where_there_is_one_way() -> None:
    assert drawn(call("W", 1.0, call("D", 2.0, call("v", 3.0, call("Q", 4.0)), call("E", 5.0)))) == {
        "W": (1.0, ""),
        "WD": (2.0, ""),
        "WDv": (3.0, ""),
        "WDvQ": (4.0, ""),
        "WDE": (5.0, ""),
    }


def test_library_functions_above_application_code_are_left_out_where_there_are_two() -> None:
    found = drawn(call("v", 1.0, call("P", 1.0, call("k", 2.0)), call("Q", 1.0, call("k", 2.0))))
    assert found == {"v": (1.0, ""), "vk": (4.0, ""), "vP": (1.0, ""), "vQ": (1.0, "")}


def test_recursion_is_drawn_as_deep_as_it_went() -> None:
    found = drawn(call("f", 1.0, call("f", 2.0, call("f", 4.0))))
    assert found == {"f": (1.0, ""), "ff": (2.0, ""), "fff": (4.0, "")}


def application_only(path: Path) -> Path:
    return tuple(item for item in path if is_application(item))


@given(HAPPENED)
def test_no_path_of_application_code_is_false_and_none_is_missing(calls: tuple[Call, ...]) -> None:
    tree = grown(*calls)
    found = Counter(application_only(path) for path in stacks(tree) if path and is_application(path[-1]))
    truth = {path for path, item in true_paths(calls) if is_application(item.function)}
    assert set(found) == truth
    assert set(found.values()) <= {1}


def way_to(path: Path) -> tuple[Path, Path]:
    """Return what tells the last function's own time apart: the application's path, and in the library its caller."""
    return application_only(path), () if is_application(path[-1]) else path[-2:]


@given(HAPPENED)
@example((call("a", 0.0, call("X", 0.0)), call("Y", 0.0, call("X", 0.0, call("Y", 0.001)))))
def test_a_time_that_is_not_marked_is_true(calls: tuple[Call, ...]) -> None:
    tree = grown(*calls)
    truth: Counter[tuple[Path, Path]] = Counter()
    for path, time in true_self_times(calls).items():
        truth[way_to(path)] += time
    found: Counter[tuple[Path, Path]] = Counter()
    marked = set()
    for path, time, reason in zip(stacks(tree), tree.self_times, tree.reasons, strict=True):
        if path:
            found[way_to(path)] += time
            if reason:
                marked.add(way_to(path))
    for way, time in found.items():
        if way not in marked:
            assert time == pytest.approx(truth[way], abs=1e-9)


@given(HAPPENED)
def test_times_are_those_of_the_call_graph(calls: tuple[Call, ...]) -> None:
    tree = grown(*calls)
    found: Counter[Function] = Counter()
    for item, time in zip(tree.functions, tree.self_times, strict=True):
        found[item] += time
    for item, cost in profiled(calls).functions.items():
        assert found[item] == pytest.approx(cost.self_time, abs=1e-9)
    assert sum(tree.self_times) == pytest.approx(sum(item.total for item in calls))


@given(HAPPENED)
def test_no_library_function_stands_below_one_that_never_called_it(calls: tuple[Call, ...]) -> None:
    tree = grown(*calls)
    edges = set(profiled(calls).edges)
    for path in stacks(tree):
        if len(path) > 1 and not is_application(path[-1]):
            assert path[-2:] in edges


@given(HAPPENED)
def test_bounds_fold_and_lose_no_time(calls: tuple[Call, ...]) -> None:
    tree = grown(*calls, budget=12)
    assert sum(tree.self_times) == pytest.approx(sum(item.total for item in calls))
    assert len(tree.parents) <= 24  # the budget, and one fold per node


def test_functions_that_were_not_followed_are_drawn_as_library_code_is() -> None:
    calls = (
        call("x", 1.0, call("t", 2.0), call("k", 1.0, call("t", 4.0))),
        call("y", 1.0, call("k", 1.0, call("t", 8.0), call("h", 1.0))),
    )
    tree = replace(recorded(*calls), brief=frozenset({function("t")}))
    drawing = grow({ROUTE: profiled(calls)}, tree, budget=10**6, smallest=0.0)
    found = dict(
        zip(
            (names(path) for path in stacks(drawing)),
            zip(drawing.self_times, drawing.reasons, strict=True),
            strict=True,
        )
    )
    why = "estimated: split between 2 paths to k"
    assert found["xt"] == (pytest.approx(2.0), "")
    assert found["xkt"] == (pytest.approx(4.0), why)
    assert found["ykt"] == (pytest.approx(8.0), why)
    assert found["ykh"] == (pytest.approx(1.0), "")
    assert sum(drawing.self_times) == pytest.approx(19.0)


def test_calls_that_the_tree_did_not_see_are_said() -> None:
    calls = (call("x", 1.0, call("h", 2.0)), call("y", 1.0, call("h", 4.0)))
    seen = recorded(calls[0])
    tree = grow({ROUTE: profiled(calls)}, seen, budget=10**6, smallest=0.0)
    reasons = {names(path): reason for path, reason in zip(stacks(tree), tree.reasons, strict=True) if path}
    assert reasons["xh"] == "estimated: the paths of 1 of 2 calls are known"
    assert reasons["x"] == ""
    assert sum(tree.self_times) == pytest.approx(8.0)


def test_a_function_that_was_never_measured_has_no_time() -> None:
    calls = (call("x", 1.0, call("h", 2.0)),)
    tree = grow({ROUTE: profiled((call("x", 1.0),))}, recorded(*calls), budget=10**6, smallest=0.0)
    times = {names(path): time for path, time in zip(stacks(tree), tree.self_times, strict=True) if path}
    assert times == {"x": 1.0, "xh": 0.0}


# in a recording

CALLS = (
    call("W", 1.0, call("x", 1.0, call("s", 1.0, call("h", 2.0)))),
    call("W", 1.0, call("y", 1.0, call("s", 1.0, call("h", 8.0)))),
)


def beside(*calls: Call) -> SessionRecording:
    plain = recording({ROUTE: profiled(calls)})
    tree = Recording("apptree", recorded(*calls))
    return replace(plain, recordings=(tree, *plain.recordings))


def test_the_cpuprofile_has_the_exact_paths() -> None:
    document = json.loads(written("cpuprofile", beside(*CALLS)))
    nodes = {node["id"]: node for node in document["nodes"]}
    above = {child: node["id"] for node in nodes.values() for child in node["children"]}

    def path(node: int) -> str:
        name: str = nodes[node]["callFrame"]["functionName"]
        return name if nodes[node]["callFrame"]["url"] == "" else f"{path(above[node])}{name}"

    times: Counter[str] = Counter()
    for sample, delta in zip(document["samples"], document["timeDeltas"][1:], strict=False):
        times[path(sample)] += round(delta / 1e6)
    assert times["GET /Wxsh"] == 2
    assert times["GET /Wysh"] == 8
    assert not any("deoptReason" in node for node in nodes.values())


@pytest.mark.parametrize("name", ["pstats", "dot", "callgrind"])
def test_what_is_made_of_calls_and_edges_is_not_touched(name: str) -> None:
    assert written(name, beside(*CALLS)) == written(name, recording({ROUTE: profiled(CALLS)}))


def test_collapsed_stacks_have_the_same_paths() -> None:
    lines = [line.rpartition(" ") for line in written("collapsed", beside(*CALLS)).decode().splitlines()]
    found = {"".join(part[0] for part in stack.split(";")[1:]): int(time) for stack, _, time in lines}
    assert (found["Wxsh"], found["Wysh"]) == (2_000_000, 8_000_000)


def test_a_recording_without_the_tree_is_drawn_as_before() -> None:
    plain = recording({ROUTE: profiled(CALLS)})
    nodes = json.loads(written("cpuprofile", plain))["nodes"]
    assert any("deoptReason" in node for node in nodes)
