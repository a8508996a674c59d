"""A recording taken apart by thread: each has what it did, and nothing of the others."""

from __future__ import annotations

import pytest

from flask_profiling.errors import Unavailable
from flask_profiling.formats.threads import each_thread
from tests.formats.calls import call, profiled, recording, written
from tests.formats.trees import Request, Thread, recorded, tree_recording


def test_each_thread_has_its_own_calls_and_says_that_it_is_not_all() -> None:
    lived = (
        Thread(1, "a", (Request("GET /", (call("page", 0.002),)),)),
        Thread(1, "b", (Request("GET /b", (call("render", 0.001),)),)),
    )
    whole = tree_recording(recorded(*lived))
    found = each_thread(whole)
    assert len(found) == 2
    assert [written("collapsed", alone) for _, alone in found] == [
        b"GET /;page (shop.pages:423) 2000\n",
        b"GET /b;render (shop.pages:650) 1000\n",
    ]
    assert [alone.notes[0] for _, alone in found] == [f"only {title}" for title, _ in found]
    assert {alone.session for _, alone in found} == {whole.session}


def test_threads_that_followed_each_other_are_one() -> None:
    lived = (
        Thread(1, "a", (Request("GET /", (call("page", 0.002),)),)),
        Thread(1, "b", (Request("GET /", (call("page", 0.001),)),), begin=5000),
    )
    ((_, alone),) = each_thread(tree_recording(recorded(*lived)))
    assert written("collapsed", alone) == b"GET /;page (shop.pages:423) 3000\n"


def test_without_a_timeline_it_says_which_engine_has_one() -> None:
    with pytest.raises(Unavailable, match="cpu=calltree"):
        each_thread(recording({"GET /": profiled([call("page", 0.5)])}))
