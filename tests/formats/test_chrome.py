"""Tests of the JSON of CPU profiles, whatever tree and samples they are made of."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.formats._chrome import Profile, families, url_of, write_profile
from flask_profiling.model import Function

ROOT = Function("", 0, "(root)")


def document(profile: Profile) -> dict[str, Any]:
    out = io.BytesIO()
    write_profile(profile, out)
    loaded: dict[str, Any] = json.loads(out.getvalue())
    return loaded


def flat(*functions: Function, times: list[int] | None = None) -> Profile:
    """Return a profile in which the root calls each function once, for ten microseconds."""
    samples = list(range(1, len(functions) + 1))
    moments = [10 * place for place in range(len(functions) + 1)] if times is None else times
    return Profile([ROOT, *functions], [-1] + [0] * len(functions), [""] * (len(functions) + 1), samples, moments)


def frames(*functions: Function) -> list[dict[str, Any]]:
    return [node["callFrame"] for node in document(flat(*functions))["nodes"][1:]]


def test_the_bytes_of_a_small_profile_are_these() -> None:
    shop = Function("/srv/shop/pages.py", 12, "checkout")
    sleep = Function("~", 0, "<built-in method time.sleep>")
    profile = Profile([ROOT, shop, sleep], [-1, 0, 1], ["", "", "estimated: é"], [1, 2, 1], [0, 4, 13, 17], ["a note"])
    out = io.BytesIO()
    write_profile(profile, out)
    assert out.getvalue() == (
        b'{"nodes":[{"id":1,"callFrame":{"functionName":"(root)","scriptId":"1","url":"","lineNumber":-1,'
        b'"columnNumber":-1},"hitCount":1,"children":[2]},'
        b'{"id":2,"callFrame":{"functionName":"checkout","scriptId":"2","url":"file:///srv/shop/pages.py","lineNumber":11,'
        b'"columnNumber":0},"hitCount":2,"children":[3]},'
        b'{"id":3,"callFrame":{"functionName":"<built-in method time.sleep>","scriptId":"3","url":"","lineNumber":-1,'
        b'"columnNumber":-1},"hitCount":1,"children":[],"deoptReason":"estimated: \\u00e9"}],'
        b'"startTime":1099511627776,"endTime":1099511627794,"samples":[2,3,2,1],"timeDeltas":[0,4,9,4],'
        b'"notes":["a note"]}\n'
    )


def test_many_nodes_are_one_list() -> None:
    assert len(document(flat(*(Function("/a.py", line, f"f{line}") for line in range(1, 5000))))["nodes"]) == 5000


def test_every_sample_is_a_known_node_and_has_a_delta() -> None:
    made = document(flat(*(Function("/a.py", line, f"f{line}") for line in range(1, 50))))
    assert len(made["samples"]) == len(made["timeDeltas"])
    assert set(made["samples"]) <= {node["id"] for node in made["nodes"]}
    assert made["startTime"] > 0
    assert made["endTime"] > made["startTime"] + sum(made["timeDeltas"])


def test_a_profile_without_samples_is_whole() -> None:
    made = document(Profile([ROOT], [-1], [""], [], [0]))
    assert (made["samples"], made["timeDeltas"]) == ([1], [0])


def test_a_function_without_a_file_has_no_place() -> None:
    assert frames(Function("~", 0, "<method 'get' of 'dict' objects>"), Function("", 0, "GET /")) == [
        {"functionName": name, "scriptId": script, "url": "", "lineNumber": -1, "columnNumber": -1}
        for name, script in (("<method 'get' of 'dict' objects>", "2"), ("GET /", "1"))
    ]


@pytest.mark.parametrize("line", [-5, 0, 1])
def test_lines_count_from_zero_and_never_fall_below(line: int) -> None:
    assert frames(Function("/a.py", line, "f"))[0]["lineNumber"] == 0


def test_two_functions_of_one_name_in_one_file_are_kept_apart() -> None:
    one, two, other = frames(Function("/a.py", 1, "get"), Function("/a.py", 9, "get"), Function("/a.py", 20, "put"))
    assert one["scriptId"] != two["scriptId"]
    assert one["scriptId"] == other["scriptId"]
    assert one["url"] == two["url"]


def test_equal_functions_share_a_frame() -> None:
    one, two = frames(Function("/a.py", 1, "get"), Function("/a.py", 1, str(b"get", "ascii")))
    assert one == two


@pytest.mark.parametrize(
    ("file", "url"),
    [
        ("~", ""),
        ("", ""),
        ("/srv/shop/pages.py", "file:///srv/shop/pages.py"),
        ("/srv/a b/100%/é#?.py", "file:///srv/a%20b/100%25/%C3%A9%23%3F.py"),
        ("/srv/caf\udce9 \udcff.py", "file:///srv/caf%E9%20%FF.py"),
        ("/srv/\udcff\ud800.py", "file:///srv/%ED%B3%BF%ED%A0%80.py"),
        ("C:\\shop\\pages.py", "file:///C:/shop/pages.py"),
        ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"),
        ("pages.py", "pages.py"),
    ],
)
def test_a_path_becomes_a_file_url_and_any_other_name_stays(file: str, url: str) -> None:
    assert url_of(file) == url


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_survives(file: str, name: str) -> None:
    made = document(flat(Function(file, 1, name)))
    assert made["nodes"][1]["callFrame"]["functionName"] == name


@given(st.lists(st.integers(0, 500)), st.integers(0, 10**11))
def test_moments_are_right_to_a_microsecond_however_many_there_are(steps: list[int], late: int) -> None:
    times = [0]
    for step in steps:
        times.append(times[-1] + step)
    times[-1] += late
    functions = [Function("/a.py", line, f"f{line}") for line in range(1, len(times))]
    made = document(flat(*functions, times=times))
    clock = 0
    for delta, time in zip(made["timeDeltas"], times, strict=True):
        assert delta >= 0
        clock += delta
        assert abs(clock - time) <= 1


def devtools_begin(moment: int) -> float:
    """Return what DevTools makes of the begin of a call, through milliseconds and back."""
    return (moment / 1000) * 1000


def devtools_end(begin: int, end: int) -> float:
    """Return when DevTools thinks that a call ended, by its begin and its duration."""
    return devtools_begin(begin) + (end / 1000 - begin / 1000) * 1000


def moments(times: list[int]) -> list[int]:
    made = document(flat(*(Function("/a.py", line, f"f{line}") for line in range(1, len(times))), times=times))
    clock, found = made["startTime"], []
    for delta in made["timeDeltas"]:
        clock += delta
        found.append(clock)
    return found


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=30))
def test_calls_end_where_their_siblings_begin_in_the_arithmetic_of_devtools(times: list[int]) -> None:
    found = moments([0, *sorted(times)])
    for place, end in enumerate(found):
        for begin in found[:place]:
            assert devtools_end(begin, end) == devtools_begin(end) == end


def test_without_care_they_would_not() -> None:
    begins = range(2**40, 2**40 + 100)
    pairs = [(begin, end) for end in begins for begin in range(2**40, end)]
    wrong = sum(devtools_end(begin, end) > devtools_begin(end) for begin, end in pairs)
    assert wrong > 100


@given(st.lists(st.integers(0, 100), max_size=50))
def test_the_eldest_and_its_younger_siblings_are_all_children_in_order(picks: list[int]) -> None:
    parents = [-1, *(pick % (place + 1) for place, pick in enumerate(picks))]
    eldest, younger = families(parents)
    for node in range(len(parents)):
        children = []
        child = eldest[node]
        while child:
            children.append(child)
            child = younger[child]
        assert children == [place for place, parent in enumerate(parents) if parent == node and place]


def test_deltas_are_whole_numbers() -> None:
    made = document(flat(Function("/a.py", 1, "f"), times=[3, 1000]))
    assert all(type(delta) is int for delta in made["timeDeltas"])
    assert sum(after - before for before, after in pairwise(moments([3, 1000]))) in range(995, 1000)
