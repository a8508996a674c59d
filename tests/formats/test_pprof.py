"""What only pprof's format promises; the contract of all formats, and their agreement, are tested beside it."""

from __future__ import annotations

import gzip

from tests.formats import readers
from tests.formats.calls import call, profiled, recording, written
from tests.formats.trees import Request, Thread, recorded, tree_recording


def test_it_counts_calls_only_where_they_are_known() -> None:
    by_tree = readers.pprof(written("pprof", tree_recording(recorded(Thread(1, "a", (Request("GET /", ()),))))))
    assert by_tree.types == [("calls", "count"), ("wall", "nanoseconds")]
    by_graph = readers.pprof(written("pprof", recording({"GET /": profiled([call("page", 0.5)])})))
    assert by_graph.types == [("wall", "nanoseconds")]


def test_samples_are_labelled_with_their_route_and_carries_the_notes() -> None:
    lived = Thread(1, "a", (Request("GET /", (call("page", 0.5, call("render", 0.25)),)),))
    profile = readers.pprof(written("pprof", tree_recording(recorded(lived), notes=("It is only a test.",))))
    stack, _, labels = profile.samples[-1]
    assert [name for name, _, _ in stack] == ["render", "page", "GET /"]
    assert labels == {"route": "GET /"}
    assert profile.comments == ["It is only a test."]


def test_numbers_may_be_of_any_size() -> None:
    long = Thread(1, "a", (Request("GET /", (call("page", 3_000_000.0),)),))
    costs = readers.pprof(written("pprof", tree_recording(recorded(long)))).costs()
    assert max(costs.times.values()) == 3_000_000_000_000


def test_it_is_a_gzip_without_a_moment() -> None:
    data = written("pprof", tree_recording(recorded(Thread(1, "a", (Request("GET /", ()),)))))
    assert data[4:8] == b"\x00\x00\x00\x00"
    assert gzip.decompress(data)
