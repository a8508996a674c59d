"""Behind ASGI servers, through asgiref: calls and edges are exact, of async views on the server's own loop as well."""

from __future__ import annotations

import json
import marshal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.components import requires
from tests.integration.servers import NEEDS, serve
from tests.integration.test_known_truth import CALLS, PATHS, ROUNDS, TRUE_EDGES, in_known_app

APP = "tests.integration.asgi_app:app"
# a coroutine counts one call each time it is resumed
TWICE_CALLS = {"twice_view": 2, "cheap": 1, "dear": 1, "shared": 2, "leaf": 11}
TWICE_EDGES = {
    ("twice_view", "cheap"): 1,
    ("twice_view", "dear"): 1,
    ("cheap", "shared"): 1,
    ("dear", "shared"): 1,
    ("shared", "leaf"): 11,
}


def times_rounds(*counts: Mapping[Any, int]) -> dict[Any, int]:
    sums: Counter[Any] = Counter()
    for count in counts:
        sums.update(count)
    return {key: number * ROUNDS for key, number in sums.items()}


@pytest.mark.parametrize(
    ("kind", "cpu"),
    [
        pytest.param("hypercorn", "cprofile", marks=requires(*NEEDS["hypercorn"])),
        pytest.param("uvicorn", "calltree", marks=requires(*NEEDS["uvicorn"])),
    ],
)
def test_calls_and_edges_are_exact_and_async_views_are_followed_step_by_step(
    kind: str, cpu: str, tmp_path: Path
) -> None:
    with serve(kind, tmp_path, app=APP, workers=2) as server:
        server.worker_pids(at_least=2)
        assert server.start(cpu=cpu).status == 200
        codes = server.load([*PATHS, *["/async", "/twice"] * ROUNDS])
        answer = server.stop()
        statistics = marshal.loads(server.artifact(answer, ".prof").read_bytes())
        (name,) = [name for name in answer.json()["artifacts"] if "recording-" in name]
        recording = json.loads((tmp_path / name).read_bytes())
    assert sorted(set(codes)) == [200, 500]
    ours = {key: values for key, values in statistics.items() if in_known_app(key) or key[2] == "twice_view"}
    calls = times_rounds(CALLS, TWICE_CALLS)
    assert {name: count for (_, _, name), (_, count, *_) in ours.items() if name in calls} == calls
    edges = {
        (caller[2], key[2]): count
        for key, (*_, callers) in ours.items()
        for caller, (count, *_) in callers.items()
        if caller in ours
    }
    assert edges == times_rounds(TRUE_EDGES, TWICE_EDGES)
    assert recording["requests"]["GET /twice [twice_view]"]["requests"] == ROUNDS
    assert answer.json()["missing"] == []
