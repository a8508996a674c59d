"""P4, P16: one session over all workers; any worker starts, stops and answers, and all are profiled."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.components import requires
from tests.integration.servers import OWN_APP, own_app, serve
from tests.promises.failures import publish, told
from tests.promises.recordings import recordings, requests_of

FORKING = """
import os
from tests.integration.known_app import create_app as known
def create_app():
    app = known()
    @app.get("/fork")
    def fork_view():
        pid = os.fork()
        if pid == 0:
            sum(range(1000))
            os._exit(0)
        return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return app
"""


class TestP04OneSessionOverAllWorkers:
    """One session at a time, whichever worker is asked, and names of their own."""

    @requires("gunicorn")
    def test_fifty_concurrent_starts_give_one_session(self, tmp_path: Path) -> None:
        with serve("gthread", tmp_path, workers=2) as server:
            server.worker_pids(at_least=2)
            with ThreadPoolExecutor(50) as pool:
                answers = list(pool.map(lambda _: server.start(), range(50)))
            assert Counter(answer.status for answer in answers) == {200: 1, 409: 49}
            assert {answer.json()["error"] for answer in answers if answer.status == 409} == {"already_running"}
            assert server.stop().status == 200

    def test_no_two_sessions_have_the_same_name(self, tmp_path: Path) -> None:
        with serve("sync", tmp_path, workers=2) as server:
            names = []
            for _ in range(4):
                names.append(server.start().json()["sessionId"])
                assert server.stop().status == 200
        assert len(set(names)) == 4
        parts = {name.rpartition("-")[2] for name in names}
        assert len(parts) == 4, "the same second does not make the same name"


class TestP16AnyWorkerStopsAllAreProfiled:
    """Any worker may stop, all are profiled, views agree; recycling, forks and sharing are safe.

    That counts are exact on every server is shown in tests/integration/test_known_truth.py.
    """

    @requires("gunicorn")
    @pytest.mark.parametrize("workers", [1, 2])
    def test_recycled_workers_lose_no_request(self, workers: int, tmp_path: Path) -> None:
        arguments = ("--max-requests", "15")
        with serve("sync", tmp_path, workers=workers, arguments=arguments) as server:
            assert server.start().status == 200
            codes = Counter(server.load(["/dear"] * 100, threads=2))
            assert codes == {200: 100}
            stopped = server.stop()
            assert stopped.status == 200
            (recording,) = recordings(server)
            assert requests_of(recording, "dear_view") == 100
            assert len(stopped.json()["workers"]) > workers
            publish(
                "workers are replaced in mid-session (gunicorn's max_requests)",
                requests=[200] * 100,
                answer=told(stopped),
                kept="everything",
                lost="nothing",
            )

    @requires("gunicorn")
    def test_all_workers_agree_on_the_status(self, tmp_path: Path) -> None:
        with serve("sync", tmp_path, workers=3) as server:
            server.worker_pids(at_least=3)
            session_id = server.start().json()["sessionId"]
            seen = [server.status() for _ in range(12)]
            assert {status["session"]["id"] for status in seen} == {session_id}
            assert {len(status["workers"]) for status in seen} == {3}
            server.stop()
            seen = [server.status() for _ in range(12)]
            assert {(status["active"], status["lastSession"]["id"]) for status in seen} == {(False, session_id)}

    def test_requests_under_way_at_start_and_stop_are_said_and_survive(self, tmp_path: Path) -> None:
        with serve("werkzeug", tmp_path) as server, ThreadPoolExecutor(2) as pool:
            before = pool.submit(server.get, "/wait")
            assert server.start().status == 200
            during = pool.submit(server.get, "/wait")
            server.load(["/cheap"] * 5)
            stopped = server.stop().json()
            assert any("already running when the session started" in note for note in stopped["notes"])
            assert any("still running" in note for note in stopped["notes"])
            server.request("POST", "/release")
            server.request("POST", "/release")
            assert before.result(20).body == during.result(20).body == b"True"
            assert server.start().status == 200
            server.load(["/cheap"] * 5)
            server.stop()
            assert requests_of(recordings(server)[-1], "cheap_view") == 5

    def test_two_servers_that_share_a_directory_share_the_session(self, tmp_path: Path) -> None:
        with serve("werkzeug", tmp_path) as one, serve("werkzeug", tmp_path) as two:
            pids = {int(one.get("/pid").body), int(two.get("/pid").body)}
            assert one.start().status == 200
            assert two.start().status == 409
            one.load(["/dear"] * 7)
            two.load(["/dear"] * 5)
            stopped = two.stop()
            assert stopped.status == 200
            assert {worker["pid"] for worker in stopped.json()["workers"]} == pids
            document = json.loads(one.artifact(stopped, ".json").read_bytes())
            assert sum(t["requests"] for route, t in document["requests"].items() if "dear_view" in route) == 12
            assert one.status()["lastSession"] == two.status()["lastSession"]
            publish(
                "two servers share an output directory",
                requests=[200] * 12,
                answer=told(stopped),
                kept="everything, of both servers",
                lost="nothing",
            )

    def test_a_child_that_the_host_forks_is_no_worker_and_harms_none(self, tmp_path: Path) -> None:
        with serve("sync", tmp_path, workers=2, app=OWN_APP, environment=own_app(tmp_path, FORKING)) as server:
            pids = server.worker_pids(at_least=2)
            assert server.start().status == 200
            assert {server.get("/fork").body for _ in range(4)} == {b"0"}
            assert server.load(["/dear"] * 10) == [200] * 10
            stopped = server.stop()
            assert stopped.status == 200
            assert {worker["pid"] for worker in stopped.json()["workers"]} == pids
            assert stopped.json()["missing"] == []
            assert requests_of(recordings(server)[0], "dear_view") == 10
            assert requests_of(recordings(server)[0], "fork_view") == 4
