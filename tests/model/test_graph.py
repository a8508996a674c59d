"""Tests of call graphs: adding them up, and reading back what was written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given

from flask_profiling.errors import DamagedData
from flask_profiling.model import MORE, NO_COST, CallGraph, CallGraphs, Cost, Function
from tests.formats.calls import Call, call_trees, profiled
from tests.model.documents import through_json

PAGE = Function("/srv/shop/pages.py", 12, "page")
SLEEP = Function("~", 0, "<built-in method time.sleep>")
ONE = CallGraph({PAGE: Cost(1, 1, 0.25, 1.0), SLEEP: Cost(3, 3, 0.75, 0.75)}, {(PAGE, SLEEP): Cost(3, 3, 0.75, 0.75)})


def test_costs_add_up_field_by_field() -> None:
    assert Cost(1, 2, 3.0, 4.0) + Cost(10, 20, 30.0, 40.0) == Cost(11, 22, 33.0, 44.0)
    assert Cost(1, 2, 3.0, 4.0) + NO_COST == Cost(1, 2, 3.0, 4.0)


def test_graphs_add_up_by_function_and_edge() -> None:
    other = CallGraph({SLEEP: Cost(1, 1, 0.5, 0.5)}, {})
    assert CallGraph.merge([ONE, other, CallGraph({}, {})]) == CallGraph(
        {PAGE: Cost(1, 1, 0.25, 1.0), SLEEP: Cost(4, 4, 1.25, 1.25)}, {(PAGE, SLEEP): Cost(3, 3, 0.75, 0.75)}
    )
    assert ONE.functions[SLEEP] == Cost(3, 3, 0.75, 0.75)


def test_each_number_of_a_cost_adds_up_on_its_own() -> None:
    one, other = CallGraph({PAGE: Cost(5, 3, 2.0, 7.0)}, {}), CallGraph({PAGE: Cost(10, 20, 30.0, 40.0)}, {})
    assert CallGraph.merge([one, other]).functions == {PAGE: Cost(15, 23, 32.0, 47.0)}


def test_several_functions_together_stand_in_no_file() -> None:
    assert (MORE.file, MORE.line) == ("", 0)


def test_calls_that_no_edge_leads_to_are_the_routes_own() -> None:
    graph = CallGraph({PAGE: Cost(2, 2, 0.0, 0.0), SLEEP: Cost(5, 5, 0.0, 0.0)}, {(PAGE, SLEEP): Cost(3, 3, 0.0, 0.0)})
    assert graph.unexplained() == {PAGE: 2, SLEEP: 2}
    assert ONE.unexplained() == {PAGE: 1}


def test_no_graphs_add_up_to_an_empty_one() -> None:
    assert CallGraph.merge([]) == CallGraph({}, {})


def test_functions_differ_by_file_line_and_name() -> None:
    assert Function("a", 1, "x") < Function("a", 2, "x") < Function("b", 1, "x") < Function("b", 1, "y")


def test_the_shape_in_json() -> None:
    assert CallGraphs({"GET /": ONE}).to_json() == {
        "routes": {
            "GET /": {
                "functions": [
                    ["/srv/shop/pages.py", 12, "page", 1, 1, 0.25, 1.0],
                    ["~", 0, "<built-in method time.sleep>", 3, 3, 0.75, 0.75],
                ],
                "edges": [[0, 1, 3, 3, 0.75, 0.75]],
            }
        }
    }


@pytest.mark.parametrize("edge", [[0, 2, 1, 1, 0.0, 0.0], [-1, 0, 1, 1, 0.0, 0.0], [0, 0, 1], [0, 0, -1, 1, 0.0, 0.0]])
def test_an_edge_between_functions_that_are_not_there_is_refused(edge: list[float]) -> None:
    document = ONE.to_json()
    document["edges"] = [edge]
    with pytest.raises(DamagedData):
        CallGraph.from_json(document)


@pytest.mark.parametrize(
    "cost",
    [
        [-1, 1, 0.0, 0.0],
        [1, -1, 0.0, 0.0],
        [True, 1, 0.0, 0.0],
        [1.0, 1, 0.0, 0.0],
        [2**256, 1, 0.0, 0.0],
        [1, 2**256, 0.0, 0.0],
        [1, 1, math.inf, 0.0],
        [1, 1, 0.0, math.nan],
    ],
)
def test_a_cost_that_cannot_be_is_refused(cost: list[float]) -> None:
    with pytest.raises(DamagedData):
        CallGraph.from_json({"functions": [[*PAGE, *cost]], "edges": []})
    with pytest.raises(DamagedData):
        CallGraph.from_json({"functions": [[*PAGE, 1, 1, 0.0, 0.0]], "edges": [[0, 0, *cost]]})


def test_times_without_a_fraction_are_read_as_seconds() -> None:
    graph = CallGraph.from_json({"functions": [[*PAGE, 1, 1, 2, 3]], "edges": []})
    assert graph.functions == {PAGE: Cost(1, 1, 2.0, 3.0)}


def test_routes_of_two_workers_add_up() -> None:
    merged = CallGraphs({"GET /": ONE}).merged_with(CallGraphs({"GET /": ONE, "POST /": ONE}))
    assert merged == CallGraphs({"GET /": CallGraph.merge([ONE, ONE]), "POST /": ONE})


def test_the_total_is_over_all_routes() -> None:
    assert CallGraphs({"GET /": ONE, "POST /": ONE}).total() == CallGraph.merge([ONE, ONE])
    assert CallGraphs({}).total() == CallGraph({}, {})


@given(call_trees(), call_trees())
def test_two_recordings_added_up_are_one_of_both(one: tuple[Call, ...], other: tuple[Call, ...]) -> None:
    merged = CallGraph.merge([profiled(one), profiled(other)])
    both = profiled((*one, *other))
    assert merged.functions.keys() == both.functions.keys()
    assert merged.edges.keys() == both.edges.keys()
    for key, cost in both.edges.items():
        assert merged.edges[key].calls == cost.calls
        assert merged.edges[key].self_time == pytest.approx(cost.self_time)


@given(call_trees())
def test_it_survives_json(calls: tuple[Call, ...]) -> None:
    graph = profiled(calls)
    assert CallGraph.from_json(through_json(graph.to_json())) == graph
