"""The hottest routes and functions: by their own time, shares of the route, and no more than asked for."""

from __future__ import annotations

from flask_profiling.loadtest.hot import hottest, place
from flask_profiling.model import CallGraph, CallGraphs, Cost, Function, RouteTimes

VIEW = Function("/srv/shop/views.py", 3, "view")
QUERY = Function("/srv/shop/models.py", 30, "query")
SORTED = Function("~", 0, "<built-in method builtins.sorted>")


def graphs() -> CallGraphs:
    slow = CallGraph({VIEW: Cost(10, 10, 0.1, 0.9), QUERY: Cost(20, 20, 0.6, 0.8), SORTED: Cost(20, 20, 0.3, 0.3)}, {})
    quick = CallGraph({VIEW: Cost(5, 5, 0.01, 0.01)}, {})
    return CallGraphs({"GET /quick": quick, "GET /slow": slow, "GET /never": CallGraph({}, {})})


def test_routes_and_functions_stand_by_their_own_time() -> None:
    found = hottest(graphs(), {"GET /slow": RouteTimes(10, wall_time=2.0)})
    assert [route.route for route in found] == ["GET /slow", "GET /quick", "GET /never"]
    assert [function for function, _ in found[0].functions] == [QUERY, SORTED, VIEW]


def test_no_more_are_named_than_asked_for_and_shares_are_of_all() -> None:
    (only,) = hottest(graphs(), {}, routes=1, functions=1)
    told = only.to_json()
    assert told["functions"] == [
        {"name": "query", "file": "/srv/shop/models.py", "line": 30, "calls": 20, "selfMs": 600.0, "share": 0.6}
    ]


def test_the_mean_is_of_the_requests_and_unknown_without_any() -> None:
    slow, quick, never = (route.to_json() for route in hottest(graphs(), {"GET /slow": RouteTimes(10, wall_time=2.0)}))
    assert (slow["requests"], slow["meanMs"]) == (10, 200.0)
    assert (quick["requests"], quick["meanMs"]) == (0, None)
    assert never["functions"] == []


def test_a_place_is_short_and_c_has_none() -> None:
    assert place(VIEW) == "shop/views.py:3"
    assert place(Function("C:\\srv\\shop\\views.py", 3, "view")) == "shop/views.py:3"
    assert place(SORTED) == "C"


def test_what_is_called_often_and_takes_little_may_be_mostly_recording() -> None:
    small = Function("/srv/shop/models.py", 40, "small")
    rare = Function("/srv/shop/models.py", 50, "rare")
    graph = CallGraph(
        {VIEW: Cost(1000, 1000, 0.01, 0.1), small: Cost(5000, 5000, 0.01, 0.01), rare: Cost(999, 999, 0.002, 0.002)}, {}
    )
    (found,) = hottest(CallGraphs({"GET /": graph}), {}, has_overhead=True)
    assert [function for function, _ in found.mostly_recorded()] == [small]
    (found,) = hottest(CallGraphs({"GET /": graph}), {})
    assert found.mostly_recorded() == []
    much = {**graph.functions, SORTED: Cost(1, 1, 1.0, 1.0)}
    (found,) = hottest(CallGraphs({"GET /": CallGraph(much, {})}), {}, functions=9, has_overhead=True)
    assert found.mostly_recorded() == []  # not a twentieth of the time
