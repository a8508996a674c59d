"""Tests of the tree that is estimated from call graphs, against true call trees."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.formats._tree import Tree, grow
from flask_profiling.model import CallGraph, Cost, Function
from tests.formats.calls import Call, Path, call, call_trees, function, profiled, true_self_times, walk

EVERYTHING = {"budget": 10**6, "smallest": 0.0}


def paths(tree: Tree) -> list[Path]:
    """Return for each node the functions from the route's callee down to it."""
    found: list[Path] = [(), ()]
    for node in range(1, len(tree.parents)):
        parent = tree.parents[node]
        path = () if parent == 0 else (*found[parent], tree.functions[node])
        if node == 1:
            found[1] = path
        else:
            found.append(path)
    return found


def totals(tree: Tree) -> list[float]:
    sums = list(tree.self_times)
    for node in range(len(sums) - 1, 0, -1):
        sums[tree.parents[node]] += sums[node]
    return sums


def names(path: Path) -> str:
    return "".join(item.name for item in path)


def drawn(*calls: Call) -> dict[str, tuple[float, str]]:
    """Return ``{path: (self time, reason)}`` of what is drawn for calls of functions with one-letter names."""
    tree = grow({"GET /": profiled(calls)})
    return {
        names(path): (pytest.approx(time), reason)
        for path, time, reason in zip(paths(tree), tree.self_times, tree.reasons, strict=True)
        if path
    }


def test_a_chain_is_drawn_as_it_was() -> None:
    assert drawn(call("a", 1.0, call("b", 2.0, call("c", 3.0)), call("d", 4.0))) == {
        "a": (1.0, ""),
        "ab": (2.0, ""),
        "abc": (3.0, ""),
        "ad": (4.0, ""),
    }


def test_the_own_time_of_a_shared_function_is_exact_under_each_caller() -> None:
    found = drawn(call("a", 0.0, call("x", 1.0, call("s", 3.0)), call("y", 1.0, call("s", 5.0))))
    assert found["axs"] == (3.0, "")
    assert found["ays"] == (5.0, "")


def test_what_a_shared_function_calls_is_split_and_says_so() -> None:
    found = drawn(call("x", 0.0, call("s", 0.0, call("r", 2.0))), call("y", 0.0, call("s", 0.0, call("d", 2.0))))
    reason = "estimated: split between 2 callers of s"
    assert found["xs"] == (0.0, "")
    assert {path: found[path] for path in ("xsr", "xsd", "ysr", "ysd")} == {
        "xsr": (1.0, reason),
        "xsd": (1.0, reason),
        "ysr": (1.0, reason),
        "ysd": (1.0, reason),
    }


def test_the_split_follows_the_time_below_not_the_calls() -> None:
    found = drawn(
        call("x", 0.0, call("s", 9.0, call("r", 3.0))),
        call("y", 0.0, *(call("s", 0.0, call("r", 0.5)) for _ in range(2))),
    )
    assert found["xsr"][0] == 3.0
    assert found["ysr"][0] == 1.0


def test_without_any_time_the_split_follows_the_calls() -> None:
    tree = grow({"GET /": profiled([
        call("x", 0.0, *(call("s", 0.0, call("r", 0.0)) for _ in range(3))),
        call("y", 0.0, call("s", 0.0, call("r", 0.0))),
    ])}, **EVERYTHING)
    assert {names(path) for path in paths(tree)} >= {"xsr", "ysr"}


def test_a_function_that_never_calls_on_under_one_caller_is_not_given_callees_there() -> None:
    found = drawn(call("x", 0.0, call("s", 1.0)), call("y", 0.0, call("s", 1.0, call("r", 2.0))))
    assert "xsr" not in found
    assert found["ysr"][0] == 2.0


def test_recursion_ends_in_a_leaf_that_keeps_its_time() -> None:
    found = drawn(call("f", 1.0, call("f", 2.0, call("f", 4.0, call("g", 8.0)))))
    assert found == {
        "f": (1.0, ""),
        "ff": (6.0, "estimated: calls from within f, which counts what they call"),
        "fg": (8.0, "estimated: f calls itself, directly or through others"),
    }


def test_mutual_recursion_ends_and_is_marked() -> None:
    found = drawn(call("a", 1.0, call("b", 2.0, call("a", 4.0, call("b", 8.0)))))
    assert found["a"] == (1.0, "")
    assert found["ab"] == (10.0, "estimated: a calls itself, directly or through others")
    assert found["aba"] == (4.0, "estimated: calls from within a, which counts what they call")
    assert len(found) == 3


def test_a_cycle_that_nothing_enters_is_still_drawn() -> None:
    a, b = function("a"), function("b")
    graph = CallGraph(
        {a: Cost(1, 1, 1.0, 3.0), b: Cost(1, 1, 2.0, 3.0)},
        {(a, b): Cost(1, 1, 2.0, 3.0), (b, a): Cost(1, 1, 1.0, 3.0)},
    )
    tree = grow({"GET /": graph})
    assert totals(tree)[0] == pytest.approx(3.0)
    assert {names(path) for path in paths(tree) if path} == {"a", "ab", "aba"}


def test_each_route_has_its_own_tree() -> None:
    tree = grow({
        "GET /x": profiled([call("s", 0.0, call("r", 2.0))]),
        "GET /y": profiled([call("s", 0.0, call("d", 2.0))]),
    })
    roots = [node for node, parent in enumerate(tree.parents) if parent == 0]
    assert [tree.functions[node].name for node in roots] == ["GET /x", "GET /y"]
    assert [totals(tree)[node] for node in roots] == [pytest.approx(2.0)] * 2
    assert not any(tree.reasons)


def self_times(tree: Tree) -> Mapping[Function, float]:
    sums: dict[Function, float] = defaultdict(float)
    for node in range(2, len(tree.functions)):
        sums[tree.functions[node]] += tree.self_times[node]
    return sums


@given(call_trees())
def test_no_time_is_lost_invented_or_moved_between_functions(calls: tuple[Call, ...]) -> None:
    graph = profiled(calls)
    sums = self_times(grow({"GET /": graph}, **EVERYTHING))
    assert {item: sums[item] for item in graph.functions} == {
        item: pytest.approx(cost.self_time, abs=1e-9) for item, cost in graph.functions.items()
    }
    assert sum(sums.values()) == pytest.approx(sum(item.self_time for item in walk(calls)), abs=1e-9)


@given(call_trees())
def test_no_path_uses_a_call_that_did_not_happen(calls: tuple[Call, ...]) -> None:
    graph = profiled(calls)
    tree = grow({"GET /": graph}, **EVERYTHING)
    entered = {item.function for item in calls}
    for path in paths(tree):
        assert all(edge in graph.edges for edge in pairwise(path))
        assert not path or path[0] in entered


@given(call_trees())
def test_a_node_without_a_mark_is_the_truth(calls: tuple[Call, ...]) -> None:
    tree = grow({"GET /": profiled(calls)}, **EVERYTHING)
    truth = true_self_times(calls)
    true_totals: Counter[Path] = Counter()
    for path, time in truth.items():
        for length in range(1, len(path) + 1):
            true_totals[path[:length]] += time
    for path, time, total, reason in zip(paths(tree), tree.self_times, totals(tree), tree.reasons, strict=True):
        if path and not reason:
            assert time == pytest.approx(truth[path], abs=1e-9)
            assert total == pytest.approx(true_totals[path], abs=1e-9, rel=1e-3)


@st.composite
def unique_chains(draw: st.DrawFn) -> tuple[Call, ...]:
    """Draw calls in which every function is called from one place."""
    size = draw(st.integers(1, 12))
    callers = [draw(st.integers(-1, place - 1)) for place in range(size)]
    times = [draw(st.integers(0, 9)) / 8 for _ in range(size)]
    made: dict[int, Call] = {}
    for place in reversed(range(size)):
        below = tuple(made[callee] for callee in range(size) if callers[callee] == place)
        made[place] = Call(Function("/srv/shop/pages.py", place, f"f{place}"), times[place], below)
    return tuple(made[place] for place in range(size) if callers[place] == -1)


@given(unique_chains())
def test_where_every_chain_is_unique_the_tree_is_the_truth(calls: tuple[Call, ...]) -> None:
    tree = grow({"GET /": profiled(calls)}, **EVERYTHING)
    found = {path: time for path, time in zip(paths(tree), tree.self_times, strict=True) if path}
    assert found == {path: pytest.approx(time) for path, time in true_self_times(calls).items()}
    assert not any(tree.reasons)


def dense(size: int) -> CallGraph:
    """Return a graph in which every function calls every later one: 2 ** size paths."""
    functions = [function(f"f{place}") for place in range(size)]
    edges = {
        (functions[caller], functions[callee]): Cost(1, 1, 0.01, 0.01 + 0.01 * (size - callee))
        for callee in range(size)
        for caller in range(callee)
    }
    costs = {
        item: Cost(max(place, 1), max(place, 1), 0.01 * place, 1.0)
        for place, item in enumerate(functions)
    }
    return CallGraph(costs, edges)


def test_a_dense_graph_stays_within_the_budget_and_keeps_its_time() -> None:
    graph = dense(60)
    tree = grow({"GET /": graph}, budget=500)
    assert len(tree.functions) <= 502
    assert totals(tree)[0] == pytest.approx(sum(cost.self_time for cost in graph.functions.values()))
    folds = [item.name for item in tree.functions if item.name.endswith("more functions)")]
    assert tree.folded >= len(folds) > 0
    assert folds[0][1:-len(" more functions)")].isdigit()


@given(call_trees(), st.integers(1, 40))
def test_any_budget_keeps_all_time_and_what_is_drawn_is_not_changed_by_it(calls: tuple[Call, ...], budget: int) -> None:
    graph = profiled(calls)
    whole = grow({"GET /": graph}, **EVERYTHING)
    part = grow({"GET /": graph}, budget=budget, smallest=0.0)
    assert len(part.functions) <= max(budget, 3)
    assert totals(part)[0] == pytest.approx(totals(whole)[0])
    known = dict(zip(paths(whole), totals(whole), strict=True))
    for path, total in zip(paths(part), totals(part), strict=True):
        if path and path[-1].file:
            assert total == pytest.approx(known[path], abs=1e-9)


def test_estimates_below_a_microsecond_are_gathered_per_route() -> None:
    below = call("s", 0.0, call("r", 4e-7))
    tree = grow({"GET /": profiled([call("x", 1.0, below), call("y", 1.0, below)])})
    crumb = next(node for node, item in enumerate(tree.functions) if item.name == "(calls too short to place)")
    assert tree.parents[crumb] == 1
    assert tree.self_times[crumb] == pytest.approx(8e-7)
    assert tree.reasons[crumb].startswith("folded: ")


def test_exact_nodes_are_drawn_however_short() -> None:
    assert drawn(call("a", 1.0, call("b", 1e-9)))["ab"] == (1e-9, "")


def test_many_routes_are_all_there_even_beyond_the_budget() -> None:
    tree = grow({f"GET /{number}": profiled([call("a", 1.0)]) for number in range(20)}, budget=5)
    assert tree.parents.count(0) == 20
    assert totals(tree)[0] == pytest.approx(20.0)


@pytest.mark.parametrize("time", [-1.0, 1e308, -1e308])
def test_times_that_cannot_be_are_cut(time: float) -> None:
    a, b = function("a"), function("b")
    cost = Cost(10**400, 1, time, time)
    tree = grow({"GET /": CallGraph({a: cost, b: cost}, {(a, b): cost, (b, b): cost, (b, a): cost})})
    assert all(0.0 <= item <= 2e9 for item in tree.self_times)


def test_edges_that_explain_more_than_there_is_are_scaled_down() -> None:
    a, b = function("a"), function("b")
    graph = CallGraph({a: Cost(1, 1, 1.0, 2.0), b: Cost(1, 1, 1.0, 1.0)}, {(a, b): Cost(3, 3, 4.0, 4.0)})
    assert totals(grow({"GET /": graph}))[0] == pytest.approx(2.0)


def test_own_time_that_no_edge_explains_is_not_lost() -> None:
    a, b = function("a"), function("b")
    graph = CallGraph({a: Cost(1, 1, 1.0, 2.0), b: Cost(1, 1, 5.0, 5.0)}, {(a, b): Cost(1, 1, 0.0, 0.0)})
    assert totals(grow({"GET /": graph}))[0] == pytest.approx(6.0)


def test_an_exact_node_above_a_cycle_with_two_entries_says_what_it_took_in_all() -> None:
    ping = call("h", 1.0, call("k", 2.0, call("h", 4.0)))
    pong = call("k", 8.0, call("h", 16.0, call("k", 32.0)))
    found = drawn(call("x", 0.0, ping), call("y", 0.0, pong))
    said = "in all, but functions below it call each other in circles"
    assert found["x"] == (0.0, f"estimated below: it took 7000.000 ms {said}")
    assert found["y"] == (0.0, f"estimated below: it took 56000.000 ms {said}")


def test_an_entry_into_a_cycle_whose_total_nobody_knows_says_so() -> None:
    found = drawn(call("b", 1.0), call("a", 2.0, call("b", 4.0, call("a", 8.0))))
    reasons = {reason for path, (_, reason) in found.items() if len(path) == 1}
    assert any("it may have taken more or less in all" in reason for reason in reasons)
