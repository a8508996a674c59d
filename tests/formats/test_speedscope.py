"""What only speedscope's format promises; the contract of all formats, and their agreement, are tested beside it."""

from __future__ import annotations

import json

from tests.formats.calls import call, profiled, recording, written
from tests.formats.trees import Request, Thread, recorded, tree_recording

LIVED = (
    Thread(1, "a", (Request("GET /", (call("page", 0.002, call("render", 0.004)),)),)),
    Thread(1, "b", (Request("GET /b", (call("page", 0.001),)),)),
)


def test_all_threads_are_one_profile_of_stacks_and_weights() -> None:
    document = json.loads(written("speedscope", tree_recording(recorded(*LIVED))))
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    everything = document["profiles"][document["activeProfileIndex"]]
    stacks = [[frames[place] for place in sample] for sample in everything["samples"]]
    assert dict(zip(map(tuple, stacks), everything["weights"], strict=True)) == {
        ("GET /", "page"): 2000,
        ("GET /", "page", "render"): 4000,
        ("GET /b", "page"): 1000,
    }
    assert everything["endValue"] == 7000


def test_each_lane_has_its_calls_in_true_order_and_closes_what_it_opens() -> None:
    document = json.loads(written("speedscope", tree_recording(recorded(*LIVED))))
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    first, second = document["profiles"][1:]
    told = [(event["type"], frames[event["frame"]]) for event in first["events"]]
    assert told == [
        ("O", "GET /"), ("O", "page"), ("O", "render"), ("C", "render"), ("C", "page"), ("C", "GET /"),
    ]  # fmt: skip
    times = [event["at"] for event in first["events"]]
    assert times == sorted(times)
    assert (first["startValue"], first["endValue"]) == (times[0], times[-1])
    assert second["endValue"] - second["startValue"] == 1000


def test_where_the_order_is_not_known_there_is_the_first_profile_alone() -> None:
    subject = recording({"GET /": profiled([call("page", 0.5)])})
    assert len(json.loads(written("speedscope", subject))["profiles"]) == 1


def test_a_frame_has_its_place_and_a_route_has_none() -> None:
    document = json.loads(written("speedscope", tree_recording(recorded(*LIVED))))
    frames = {frame["name"]: frame for frame in document["shared"]["frames"]}
    assert frames["page"] == {"name": "page", "file": "/srv/shop/pages.py", "line": 423}
    assert frames["GET /"] == {"name": "GET /"}
