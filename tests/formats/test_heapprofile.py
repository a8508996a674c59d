"""The ``.heapprofile``: golden bytes, and totals that agree with the recording."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.model import Allocations, Amount, Frame, Recording, SessionRecording
from tests.formats.calls import recording, written


def recorded(data: Allocations) -> SessionRecording:
    plain = recording({})
    return SessionRecording(plain.session, plain.workers, (), {}, (Recording("allocations", data, ("a note",)),), {})


def profile(data: Allocations) -> Any:
    return json.loads(written("heapprofile", recorded(data)))


def total(node: Any) -> int:
    return int(node["selfSize"]) + sum(total(child) for child in node["children"])


VIEW = Frame("/srv/shop/pages.py", 98, "pixel")


def test_the_bytes_of_a_small_recording_are_these() -> None:
    sites = {
        (VIEW, Frame("/srv/shop/visits.py", 30, "remember")): Amount(900, 9, 800, 8),
        (VIEW,): Amount(70, 1, 70, 1),
    }
    assert written("heapprofile", recorded(Allocations(2, False, sites, Amount(5, 5, 5, 5), 3))) == (
        b'{"head":{"callFrame":{"functionName":"(root)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},'
        b'"selfSize":0,"id":1,"children":['
        b'{"callFrame":{"functionName":"pixel","scriptId":"1","url":"file:///srv/shop/pages.py","lineNumber":97,'
        b'"columnNumber":0},"selfSize":70,"id":2,"children":['
        b'{"callFrame":{"functionName":"remember","scriptId":"2","url":"file:///srv/shop/visits.py","lineNumber":29,'
        b'"columnNumber":0},"selfSize":800,"id":3,"children":[]}]},'
        b'{"callFrame":{"functionName":"(3 smaller sites)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},'
        b'"selfSize":5,"id":4,"children":[]}]},'
        b'"samples":[{"size":70,"nodeId":2,"ordinal":1},{"size":800,"nodeId":3,"ordinal":2},'
        b'{"size":5,"nodeId":4,"ordinal":3}],"notes":["a note"]}\n'
    )


def test_routes_are_the_first_level_where_they_are_told() -> None:
    keep, index = Frame("/srv/shop/visits.py", 30, "remember"), Frame("/srv/shop/pages.py", 7, "index")
    sites = {(VIEW, keep): Amount(9, 1, 9, 1), (VIEW,): Amount(7, 1, 7, 1), (index,): Amount(5, 1, 5, 1)}
    told = {(VIEW, keep): "/pixel [pixel]", (VIEW,): "/pixel [pixel]"}
    head = profile(Allocations(2, True, sites, routes=told))["head"]
    assert [(node["callFrame"]["functionName"], total(node)) for node in head["children"]] == [
        ("/pixel [pixel]", 16),
        ("(no route told)", 5),
    ]
    (view,) = head["children"][0]["children"]
    assert (view["callFrame"]["functionName"], view["selfSize"], total(view)) == ("pixel", 7, 16)


def test_a_line_without_a_function_is_called_by_its_place() -> None:
    (child,) = profile(Allocations(1, True, {(Frame("C:\\shop\\a.py", 7, ""),): Amount(1, 1, 1, 1)}))["head"][
        "children"
    ]
    assert child["callFrame"]["functionName"] == "(a.py:7)"


def test_a_function_on_the_stack_again_has_another_name_each_time() -> None:
    walk, leaf = Frame("/srv/shop/tree.py", 10, "walk"), Frame("/srv/shop/tree.py", 30, "leaf")
    sites = {(walk, leaf, walk, leaf, walk): Amount(4, 1, 4, 1), (walk, leaf): Amount(2, 1, 2, 1)}
    names, node = [], profile(Allocations(4, True, sites))["head"]
    while node["children"]:
        (node,) = node["children"]
        names.append(node["callFrame"]["functionName"])
    assert names == ["walk", "leaf", "walk (recursion 1)", "leaf (recursion 1)", "walk (recursion 2)"]
    assert node["selfSize"] == 4


def test_frames_of_one_line_in_a_row_are_one() -> None:
    """tracemalloc tells a generator expression from the function around it by the line alone."""
    sites = {(VIEW, VIEW): Amount(4, 1, 4, 1), (VIEW,): Amount(2, 1, 2, 1)}
    (node,) = profile(Allocations(4, True, sites))["head"]["children"]
    assert (node["callFrame"]["functionName"], node["selfSize"], node["children"]) == (VIEW.name, 6, [])


def test_what_shrank_shows_as_nothing() -> None:
    found = profile(Allocations(1, False, {(VIEW,): Amount(10, 1, -500, -3)}))
    assert found["samples"] == []
    assert total(found["head"]) == 0


frames = st.builds(Frame, st.sampled_from(["/a.py", "/b.py"]), st.integers(1, 3), st.sampled_from(["", "f", "g"]))
amounts = st.builds(Amount, st.integers(0, 10**6), st.integers(0, 99), st.integers(-(10**6), 10**6), st.integers(-9, 9))


def below_each(node: Any) -> Counter[str]:
    """Return the bytes below each call frame as DevTools adds them up: all nodes of one, wherever they are."""
    key = json.dumps(node["callFrame"])
    found = Counter({key: total(node)})
    for child in node["children"]:
        found += below_each(child)
    return found


@given(st.dictionaries(st.lists(frames, max_size=4).map(tuple), amounts, max_size=20), amounts, st.integers(0, 3))
def test_no_byte_of_growth_is_lost_or_made_up(
    sites: dict[tuple[Frame, ...], Amount], rest: Amount, rest_sites: int
) -> None:
    found = profile(Allocations(4, False, sites, rest, rest_sites))
    grown = sum(max(0, amount.size_growth) for amount in sites.values())
    grown += max(0, rest.size_growth) if rest_sites else 0
    assert max(below_each(found["head"]).values(), default=0) <= grown, "no line of DevTools is above 100 %"
    assert total(found["head"]) == sum(sample["size"] for sample in found["samples"]) == grown
