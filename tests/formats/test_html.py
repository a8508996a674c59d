"""Tests of the HTML report as a file: self-contained, small, strict and harmless; the browser's view is elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings

from flask_profiling.formats import _report
from flask_profiling.model import (
    DATA_KINDS,
    CallTree,
    Function,
    Recording,
    RouteTimes,
    SessionRecording,
    TreeBuilder,
    bucket_of,
)
from flask_profiling.model.heap import HeapSummary
from flask_profiling.model.memory import Allocations, Amount, Frame, Growth
from tests.formats.calls import call, profiled, recording, written
from tests.formats.trees import Request, Thread, recorded, threads, tree_recording, true_costs

HOSTILE = "</script><script>alert(1)</script><!-- ' \" & \u2028 \u202e\udc80 {{data}} {{script}}"
PAGE = call("page", 0.002, call("render", 0.004))


class Reader(HTMLParser):
    """Collects elements, and the text inside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag if tag in ("script", "style", "title") else ""

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within:
            self.texts.append((self._within, data))


def page(subject: SessionRecording) -> Reader:
    reader = Reader()
    reader.feed(written("html", subject).decode())
    reader.close()
    return reader


def data_of(subject: SessionRecording) -> dict[str, Any]:
    (text, _) = (text for kind, text in page(subject).texts if kind == "script")
    found: dict[str, Any] = json.loads(text)
    return found


def shop() -> SessionRecording:
    one = Thread(812, "Thread-1", (Request("GET /", (PAGE,), own=1000),))
    two = Thread(812, "Thread-2", (Request("POST /checkout", (PAGE,), own=500),), begin=2000)
    return tree_recording(recorded(one, two), notes=("It is only a test.",))


def hostile() -> SessionRecording:
    odd = replace(PAGE, function=Function(HOSTILE, 3, HOSTILE))
    return tree_recording(recorded(Thread(812, HOSTILE, (Request(HOSTILE, (odd,)),))), notes=(HOSTILE,))


@pytest.mark.parametrize("subject", [shop(), hostile()])
def test_script_and_style_are_allowed_by_hash_and_nothing_else_is(subject: SessionRecording) -> None:
    checked_policy(page(subject))


def checked_policy(reader: Reader) -> None:
    """Check that the page allows its own script and style, by their hashes, and nothing else."""
    (policy,) = (
        attributes["content"]
        for tag, attributes in reader.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = {name: rest for name, _, rest in (rule.strip().partition(" ") for rule in policy.split(";"))}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    scripts = [text for kind, text in reader.texts if kind == "script"]
    (style,) = (text for kind, text in reader.texts if kind == "style")
    for rule, text in (("script-src", scripts[1]), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert len(scripts) == 2


@pytest.mark.parametrize("subject", [shop(), hostile()])
def test_the_page_refers_to_nothing_outside_itself(subject: SessionRecording) -> None:
    checked_to_refer_to_nothing(page(subject))


def checked_to_refer_to_nothing(reader: Reader) -> None:
    """Check that neither elements nor script nor style name anything outside the page."""
    for tag, attributes in reader.elements:
        assert tag not in ("link", "img", "iframe", "base", "object", "form")
        assert not {"src", "href", "style"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    (_, script) = (text for kind, text in reader.texts if kind == "script")
    assert not re.search(
        r"https?:|fetch\(|XMLHttp|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|localStorage", script
    )
    style = next(text for kind, text in reader.texts if kind == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_names_stay_data() -> None:
    tags = [tag for tag, _ in page(hostile()).elements]
    assert tags == [tag for tag, _ in page(shop()).elements]
    data = data_of(hostile())
    assert data["routes"][0][0] == data["functions"][0][2] == data["notes"][0] == data["files"][0] == HOSTILE


def unpacked(data: Mapping[str, Any], weights: Sequence[int]) -> dict[tuple[str, ...], int]:
    """Return the µs of each path, as the script reads them."""
    paths: list[tuple[str, ...]] = []
    times: dict[tuple[str, ...], int] = {}
    for node, (up, label) in enumerate(zip(data["nodes"]["up"], data["nodes"]["fn"], strict=True)):
        path = (*(paths[node - up] if up else ()), data["functions"][label][2])
        paths.append(path)
        times[path] = times.get(path, 0) + weights[node]
    return times


def thread_weights(data: Mapping[str, Any], thread: Sequence[Any]) -> list[int]:
    weights, node = [0] * len(data["nodes"]["fn"]), 0
    for step, time in zip(thread[1], thread[2], strict=True):
        node += step
        weights[node] = time
    return weights


@settings(max_examples=30)
@given(threads())
def test_the_data_holds_what_was_recorded(lived: Sequence[Thread]) -> None:
    data = data_of(tree_recording(recorded(*lived)))
    _, times = true_costs(lived)
    whole = unpacked(data, data["nodes"]["us"])
    sums: dict[str, int] = {}
    for path, time in whole.items():
        sums[path[-1]] = sums.get(path[-1], 0) + time
    expected: dict[str, int] = {}
    for function, time in times.items():
        expected[function.name] = expected.get(function.name, 0) + time
    assert sums == expected
    by_thread = [unpacked(data, thread_weights(data, thread)) for thread in data["threads"]]
    for path, time in whole.items():
        assert sum(part[path] for part in by_thread) == time


def test_routes_have_their_times() -> None:
    times = RouteTimes(4, 1, 0.5, 0.2, {bucket_of(0.1): 3, bucket_of(0.2): 1}, gc_time=0.05)
    data = data_of(replace(shop(), requests={"GET /": times}))
    route, requests, errors, p50, p95, wall, cpu, collecting = data["routes"][0]
    assert (route, requests, errors, wall, cpu, collecting) == ("GET /", 4, 1, 0.5, 0.2, 0.05)
    assert p50 == pytest.approx(0.1, rel=0.09)
    assert p95 == pytest.approx(0.2, rel=0.09)


def test_estimated_frames_are_marked_and_exact_calls_kept() -> None:
    shared = call("load", 0.001, call("query", 0.002))
    subject = recording({"GET /": profiled([call("a", 0.0, shared), call("b", 0.0, shared)])})
    data = data_of(subject)
    assert data["counted"] is False
    marked = {data["functions"][data["nodes"]["fn"][node]][2] for node, why in enumerate(data["nodes"]["why"]) if why}
    assert marked == {"query"}
    assert any("Hatched" in note for note in data["notes"])
    names = [row[2] for row in data["functions"]]
    edges = {(names[a], names[b]): count for a, b, count, _ in data["costs"]["edges"]}
    assert edges == {("a", "load"): 1, ("b", "load"): 1, ("load", "query"): 2}


def test_functions_that_are_too_small_to_be_drawn_are_counted() -> None:
    shared = call("load", 0.001, call("tiny", 1e-8))
    subject = recording({"GET /": profiled([call("a", 0.0, shared), call("b", 0.0, shared)])})
    data = data_of(subject)
    assert "tiny" not in {data["functions"][number][2] for number in data["nodes"]["fn"]}
    counted = {tuple(data["functions"][number][2:]): calls for number, calls, _, _ in data["costs"]["functions"]}
    assert counted == {("a", 0): 1, ("b", 0): 1, ("load", 0): 2, ("tiny", 0): 2}
    edges = {tuple(data["functions"][number][2] for number in edge[:2]): edge[2] for edge in data["costs"]["edges"]}
    assert edges["load", "tiny"] == 2


def test_a_function_keeps_all_its_callers_however_short_the_calls() -> None:
    shared = call("shared", 1e-6)
    subject = recording({"GET /": profiled([call(f"caller_{number}", 1e-6, shared) for number in range(5000)])})
    data = data_of(subject)
    names = [row[2] for row in data["functions"]]
    callers = {names[caller] for caller, callee, _, _ in data["costs"]["edges"] if names[callee] == "shared"}
    assert callers == {f"caller_{number}" for number in range(5000)}


def test_a_session_without_calls_has_a_report_too() -> None:
    data = data_of(replace(shop(), recordings=()))
    assert data["nodes"]["fn"] == []
    assert [row[0] for row in data["routes"]] == ["GET /", "POST /checkout"]


def big(nodes: int) -> CallTree:
    """Return a tree of 2,000 functions in 250 files."""
    builder = TreeBuilder("all")
    made = [builder.root(f"GET /page/{number}", calls=10, self_time=0.001) for number in range(10)]
    for number in range(nodes - len(made)):
        which = number % 2000
        file = f"/srv/shop/application/part_{which % 25}/module_{which % 250}.py"
        function = Function(file, which % 977, f"function_number_{which}")
        parent = made[number * 7919 % len(made)]
        made.append(builder.child(parent, function, calls=number % 13 + 1, self_time=number * 1e-6, is_library=False))
    return builder.tree()


def test_five_thousand_nodes_fit_into_300_kilobytes() -> None:
    assert len(written("html", tree_recording(big(5000)))) < 300_000


def test_more_than_can_be_drawn_is_folded_and_keeps_its_time() -> None:
    tree = big(3 * _report.MOST_NODES)
    data = data_of(tree_recording(tree))
    assert len(data["nodes"]["fn"]) <= _report.MOST_NODES
    assert sum(data["nodes"]["us"]) == pytest.approx(sum(tree.self_times) * 1e6, rel=1e-6)
    assert any("(more functions)" in note for note in data["notes"])


ADD = (Frame("/srv/shop/cart.py", 7, "add"),)
MEMORY = {
    "heapsummary": HeapSummary(10, 20, True, {"shop.Item": (3, 1200)}),
    "growth": Growth({"shop.Item": (3, 10), "shop.Gone": (5, 1)}),
    "allocations": Allocations(5, True, {ADD: Amount(4096, 2, 4096, 2)}, routes={ADD: "/cart [cart]"}),
}
EXPECTED_ROWS = {
    "heapsummary": [["shop.Item", 3, 1200]],
    "growth": [["shop.Item", 3, 10, 7]],
    "allocations": [["add  /srv/shop/cart.py:7", "/cart [cart]", 4096, 4096, 2]],
}


@pytest.mark.parametrize("kind", MEMORY)
def test_each_kind_of_memory_has_a_section(kind: str) -> None:
    subject = shop()
    data = data_of(replace(subject, recordings=(*subject.recordings, Recording("memory", MEMORY[kind]))))
    (section,) = data["sections"]
    assert section["rows"] == EXPECTED_ROWS[kind]
    assert all(len(row) == len(section["columns"]) for row in section["rows"])


def test_the_smaller_allocation_sites_are_a_row_so_that_the_rows_add_up() -> None:
    sites = {(Frame("/srv/a.py", line, "f"),): Amount(size, 1, size, 1) for line, size in ((1, 10), (2, 30), (3, 20))}
    kept = Recording("allocations", Allocations(1, True, sites).bounded(1))
    (section,) = data_of(replace(shop(), recordings=(kept,)))["sections"]
    assert section["rows"] == [
        ["(2 smaller sites)", "(no route told)", 30, 30, 2],
        ["f  /srv/a.py:2", "(no route told)", 30, 30, 1],
    ]


def test_objects_that_were_only_counted_have_no_sizes() -> None:
    counted = Recording("heap", HeapSummary(1200, 0, False, {"shop.Item": (1200, 0)}))
    (section,) = data_of(replace(shop(), recordings=(counted,)))["sections"]
    assert section["text"] == "1,200 objects; counted while the program ran on, so not exact"
    assert section["columns"] == [["Class", "t"], ["Objects", "n"]]
    assert section["rows"] == [["shop.Item", 1200]]


def test_no_kind_of_data_is_forgotten() -> None:
    assert set(DATA_KINDS) == {"apptree", "callgraphs", "calltree", "slowrequests"} | set(MEMORY)
