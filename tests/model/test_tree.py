"""Call trees: paths add up by themselves, edges and recursion come out of them right, and damage is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from flask_profiling.errors import DamagedData
from flask_profiling.model import ROOT, ApplicationTree, CallTree, Cost, Function, Track, TreeBuilder, inclusive
from tests.formats.calls import Call, call_trees
from tests.formats.trees import Request, Thread, recorded
from tests.model.documents import through_json

VIEW = Function("/srv/shop/views.py", 3, "view")
LOOP = Function("/srv/shop/models.py", 30, "loop")


def small(*, origin: int = 0, extra: bool = False) -> CallTree:
    """A view that calls a function which calls itself."""
    builder = TreeBuilder("all")
    if extra:
        builder.root("GET /other", calls=1, self_time=0.0)
    root = builder.root("GET /", calls=2, self_time=0.25)
    view = builder.child(root, VIEW, calls=2, self_time=0.5, is_library=False)
    outer = builder.child(view, LOOP, calls=4, self_time=1.0, is_library=True)
    inner = builder.child(outer, LOOP, calls=8, self_time=2.0, is_library=True)
    track = Track(812, "MainThread", (10, 20, 30), (view, inner, -1), ((builder.route("GET /"), 5, 30),))
    return builder.tree(tracks=[track], origin=origin)


def test_equal_paths_are_one_node_and_their_costs_add_up() -> None:
    builder = TreeBuilder("all")
    root = builder.root("GET /", calls=1, self_time=0.5)
    first = builder.child(root, VIEW, calls=1, self_time=0.25, is_library=False)
    assert builder.child(root, VIEW, calls=2, self_time=0.5, is_library=False) == first
    assert builder.root("GET /", calls=1, self_time=0.0) == root
    tree = builder.tree()
    assert (len(tree), tree.calls, tree.self_times) == (2, (2, 3), (0.5, 0.75))


def test_time_below_a_node_is_that_of_all_its_children() -> None:
    tree = small()
    assert tree.total_times() == [3.75, 3.5, 3.0, 2.0]
    assert tree.children() == [[1], [2], [3], []]
    assert list(tree.roots()) == [0]
    assert [tree.name(node) for node in range(4)] == ["GET /", "view", "loop", "loop"]


def test_the_total_of_a_node_is_its_own_and_that_of_all_below() -> None:
    assert inclusive([ROOT, 0, 1, 0, ROOT], [1, 2, 4, 8, 16]) == [15, 6, 4, 8, 16]


def test_a_function_below_itself_is_not_counted_twice_in_its_graph() -> None:
    graph = small().graphs().routes["GET /"]
    assert graph.functions[LOOP] == Cost(12, 4, 3.0, 3.0)
    assert graph.edges == {(VIEW, LOOP): Cost(4, 4, 1.0, 3.0), (LOOP, LOOP): Cost(8, 8, 2.0, 2.0)}


def test_a_function_below_itself_through_another_is_not_counted_twice_either() -> None:
    builder = TreeBuilder("all")
    node = builder.root("GET /", calls=1, self_time=0.0)
    for function in (VIEW, LOOP, VIEW, LOOP):
        node = builder.child(node, function, calls=1, self_time=1.0, is_library=False)
    graph = builder.tree().graphs().routes["GET /"]
    assert graph.functions == {VIEW: Cost(2, 1, 2.0, 4.0), LOOP: Cost(2, 1, 2.0, 3.0)}
    assert graph.edges == {(VIEW, LOOP): Cost(2, 1, 2.0, 3.0), (LOOP, VIEW): Cost(1, 1, 1.0, 2.0)}


@given(call_trees())
def test_no_own_time_is_lost_on_the_way_to_a_graph(calls: tuple[Call, ...]) -> None:
    tree = recorded(Thread(1, "a", (Request("GET /", calls),)))
    (graph,) = tree.graphs().routes.values()
    below = sum(time for time, parent in zip(tree.self_times, tree.parents, strict=True) if parent != -1)
    assert sum(cost.self_time for cost in graph.functions.values()) == pytest.approx(below)


def test_two_workers_add_up_and_their_tracks_share_the_earlier_origin() -> None:
    merged = small(origin=1000).merged_with(small(origin=400, extra=True))
    assert (merged.origin, len(merged)) == (400, 5)
    assert merged.calls[:4] == (4, 4, 8, 16)
    first, second = merged.tracks
    assert first.times == (610, 620, 630)
    assert second.times == (10, 20, 30)
    assert [merged.name(node) for node in first.nodes[:2]] == [merged.name(node) for node in second.nodes[:2]]
    assert [track.nodes[2] for track in merged.tracks] == [ROOT, ROOT]
    assert {merged.functions[label] for label in merged.library} == {LOOP}
    assert small(origin=400).merged_with(small(origin=1000)).origin == 400
    assert [merged.routes[track.requests[0][0]] for track in merged.tracks] == ["GET /", "GET /"]


def test_transitions_that_were_dropped_add_up() -> None:
    assert replace(small(), dropped=2).merged_with(replace(small(), dropped=3)).dropped == 5


def test_an_empty_tree_begins_at_zero_and_has_dropped_nothing() -> None:
    tree = TreeBuilder("all").tree()
    assert tree == CallTree("all", (), (), frozenset(), (), (), (), ())
    assert (tree.dropped, tree.origin) == (0, 0)


def test_functions_that_one_worker_did_not_follow_are_brief_in_the_sum() -> None:
    one, other = ApplicationTree(small(), frozenset({VIEW})), ApplicationTree(small(), frozenset({LOOP}))
    assert one.merged_with(other).brief == {VIEW, LOOP}


def test_time_that_recording_took_whole_leaves_no_share() -> None:
    tree = replace(small(), self_times=(0.0, -1.0, -1.0, 1.0), overheads=(0.0, 1.0, 2.0, 0.0))
    assert tree.own_shares() == [1.0, 0.0, 0.0, 1.0]


def test_what_recording_took_adds_up_and_travels() -> None:
    tree = replace(small(), overheads=(0.0, 0.5, 1.0, 6.0))
    assert tree.own_shares() == [1.0, 0.5, 0.5, 0.25]
    assert small().own_shares() == [1.0] * 4
    merged = tree.merged_with(tree).merged_with(small())
    assert merged.overheads == (0.0, 1.0, 2.0, 12.0)
    assert CallTree.from_json(merged.to_json()) == merged
    assert "overheadSeconds" not in small().to_json()
    with pytest.raises(DamagedData, match="differ in length"):
        CallTree.from_json({**tree.to_json(), "overheadSeconds": [1.0]})


def test_times_travel_as_differences_and_come_back() -> None:
    document = small().to_json()
    assert document["tracks"] == [
        {"worker": 812, "thread": "MainThread", "steps": [10, 10, 10], "nodes": [1, 3, -1], "requests": [[0, 5, 30]]}
    ]
    assert CallTree.from_json(through_json(document)) == small()


def test_the_longest_step_is_read() -> None:
    tracks = [{"worker": 1, "thread": "a", "steps": [2**53], "nodes": [1], "requests": []}]
    assert CallTree.from_json(small().to_json() | {"tracks": tracks}).tracks[0].times == (2**53,)


@pytest.mark.parametrize(
    "damage",
    [
        {"parents": [-1, 0, 1]},
        {"parents": [-1, 0, 3, 2]},
        {"labels": [0, 0, 1, 2]},
        {"labels": [1, 0, 1, 1]},
        {"library": [2]},
        {"calls": [2, 2, 4, -8]},
        {"tracks": [{"worker": 1, "thread": "a", "steps": [10], "nodes": [4], "requests": []}]},
        {"tracks": [{"worker": 1, "thread": "a", "steps": [-1], "nodes": [1], "requests": []}]},
        {"tracks": [{"worker": 1, "thread": "a", "steps": [2**53 + 1], "nodes": [1], "requests": []}]},
        {"tracks": [{"worker": 1, "thread": "a", "steps": [1.5], "nodes": [1], "requests": []}]},
        {"tracks": [{"worker": 1, "thread": "a", "steps": [1], "nodes": [1], "requests": [[1, 0, 1]]}]},
    ],
)
def test_a_tree_that_cannot_be_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(DamagedData):
        CallTree.from_json(small().to_json() | damage)
