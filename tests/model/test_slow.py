"""Slow requests: the slowest are kept, fairly among routes; each says where its time went."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_profiling.errors import DamagedData
from flask_profiling.model import Function, SlowRequest, SlowRequests, TreeBuilder
from flask_profiling.model.slow import slowest
from tests.model.documents import through_json

VIEW = Function("/srv/shop/views.py", 3, "view")
QUERY = Function("/srv/shop/models.py", 30, "query")


def request(wall_time: float, route: str = "GET /", started: float = 0.0) -> SlowRequest:
    return SlowRequest(route, "0" * 32, started, wall_time, 0.25, 200, 812, "MainThread")


def test_the_slowest_stand_first_and_the_earlier_of_equals() -> None:
    assert slowest([request(1.0), request(3.0, started=2.0), request(3.0, started=1.0)]) == [
        request(3.0, started=1.0), request(3.0, started=2.0), request(1.0),
    ]  # fmt: skip


def test_no_route_takes_the_place_of_all_others() -> None:
    many = [request(9.0, started=float(number)) for number in range(50)]
    others = [request(1.0, f"GET /{number}") for number in range(50)]
    kept = slowest([*many, *others])
    assert len(kept) == 20
    assert [item.route for item in kept].count("GET /") == 5
    assert slowest(many, most=3) == many[:3]


def test_it_names_the_function_that_took_most_by_itself_over_all_its_paths() -> None:
    builder = TreeBuilder("all")
    root = builder.root("GET /", calls=1, self_time=0.1)
    view = builder.child(root, VIEW, calls=1, self_time=0.15, is_library=False)
    builder.child(root, QUERY, calls=1, self_time=0.1, is_library=True)
    builder.child(view, QUERY, calls=1, self_time=0.15, is_library=True)
    slow = replace(request(0.5), tree=builder.tree())
    assert slow.mostly() == (QUERY, pytest.approx(0.5))
    assert SlowRequest.from_json(through_json(slow.to_json())) == slow


@pytest.mark.parametrize(("route", "view", "share"), [(-0.5, 1.5, 1.0), (2.0, -0.5, 0.0)])
def test_a_share_is_never_below_nothing_or_above_the_whole(route: float, view: float, share: float) -> None:
    builder = TreeBuilder("all")
    builder.child(builder.root("GET /", calls=1, self_time=route), VIEW, calls=1, self_time=view, is_library=False)
    assert replace(request(1.5), tree=builder.tree()).mostly() == (VIEW, share)


@pytest.mark.parametrize(
    ("seen", "kept", "said"),
    [
        (0, 0, "No request took 0.5 s or longer."),
        (1, 1, "One request took 0.5 s or longer."),
        (2, 2, "2 requests took 0.5 s or longer."),
        (1234, 2, "1,234 requests took 0.5 s or longer; the 2 slowest are kept."),
    ],
)
def test_it_is_said_how_many_were_slow_and_how_many_of_them_are_kept(seen: int, kept: int, said: str) -> None:
    assert SlowRequests(0.5, seen, (request(1.0),) * kept).summary() == said


def test_a_request_is_kept_as_one_that_has_ended_unless_it_is_said_to_run() -> None:
    assert request(1.0).to_json()["isRunning"] is False


def test_where_no_function_is_known_none_is_named() -> None:
    alone, still = TreeBuilder("all"), TreeBuilder("all")
    alone.root("GET /", calls=1, self_time=1.0)
    still.child(still.root("GET /", calls=1, self_time=0.0), VIEW, calls=1, self_time=0.0, is_library=False)
    assert [replace(request(1.0), tree=tree).mostly() for tree in (None, alone.tree(), still.tree())] == [None] * 3


def test_workers_add_up_what_they_saw_and_keep_the_slowest_of_both() -> None:
    one = SlowRequests(0.5, 30, tuple(request(float(number), f"GET /{number}") for number in range(20, 5, -1)))
    other = SlowRequests(0.5, 2, (request(30.0, "GET /a"), request(0.75, "GET /b")))
    both = one.merged_with(other)
    assert (both.threshold, both.seen, len(both.requests)) == (0.5, 32, 17)
    assert both == other.merged_with(one)
    assert replace(one, threshold=2.0).merged_with(other) == other.merged_with(replace(one, threshold=2.0))
    assert (both.requests[0].wall_time, both.requests[-1].wall_time) == (30.0, 0.75)


@pytest.mark.parametrize("damage", [{"wallSeconds": "long"}, {"status": -1}, {"route": 3}, {"tree": []}])
def test_a_request_that_cannot_be_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(DamagedData):
        SlowRequest.from_json(request(1.0).to_json() | damage)
