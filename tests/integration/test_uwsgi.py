"""uWSGI: every call of every worker is counted, with the app loaded before and after the fork, and with threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.components import requires
from tests.integration.servers import serve, wait_for
from tests.integration.test_known_truth import ASYNC_PATHS, CALLS, PATHS, ROUNDS, TRUE_EDGES, in_known_app, stats_of
from tests.promises.recordings import recordings, requests_of

pytestmark = requires("uwsgi", "asgiref")


@pytest.mark.parametrize("kind", ["uwsgi", "uwsgi-lazy"])
def test_every_call_of_every_worker_is_counted(kind: str, tmp_path: Path) -> None:
    with serve(kind, tmp_path, workers=2) as server:
        pids = server.worker_pids(at_least=2)
        assert server.start().status == 200
        assert set(server.load(PATHS + ASYNC_PATHS)) == {200, 500}
        answer = server.stop()
        assert {worker["pid"] for worker in answer.json()["workers"]} == pids
        assert answer.json()["missing"] == []
        stats = {function: values for function, values in stats_of(server, answer).items() if in_known_app(function)}
    counts = {function[2]: values[1] for function, values in stats.items()}
    assert {name: counts.get(name) for name in CALLS} == {name: calls * ROUNDS for name, calls in CALLS.items()}
    edges = {
        (caller[2], function[2]): times[0]
        for function, values in stats.items()
        for caller, times in values[4].items()
        if in_known_app(caller)
    }
    assert {edge: edges.get(edge) for edge in TRUE_EDGES} == {edge: n * ROUNDS for edge, n in TRUE_EDGES.items()}


def test_workers_that_are_replaced_in_mid_session_hand_in_their_share(tmp_path: Path) -> None:
    """Where all of them leave at the same moment, the session is over and stored."""
    arguments = ("--max-requests", "10", "--min-worker-lifetime", "0")
    with serve("uwsgi-lazy", tmp_path, workers=2, arguments=arguments) as server:
        assert server.start().status == 200
        assert set(server.load(["/dear"] * 60, threads=2)) == {200}
        assert server.stop().status in (200, 409)
        wait_for(lambda: recordings(server), "the recording")
        assert 0 < requests_of(recordings(server)[0], "dear_view") <= 60
