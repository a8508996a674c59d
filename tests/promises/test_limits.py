"""P8: start, stop and cleanup may be called so often and no more; the host's own limiter counts as if we were not
there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.servers import OWN_APP, PREFIX, kinds, own_app, serve

LIMITED = """
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from tests.integration.known_app import create_app as known
def create_app():
    app = known()
    Limiter(get_remote_address, app=app, default_limits=["5 per hour"], storage_uri="memory://")
    return app
"""


class TestP08CallsAreLimited:
    """429 with Retry-After; nobody evades it by a header, and the host's limits are its own.

    Windows, storages and threads are in tests/test_ratelimit.py.
    """

    @pytest.mark.parametrize(("kind", "workers"), [kinds("werkzeug")[0], kinds("waitress")[0]])
    def test_a_caller_that_asks_too_often_is_told_when_to_come_again(
        self, kind: str, workers: int, tmp_path: Path
    ) -> None:
        limit = {"PROFILING_RATE_LIMIT": "3 per hour"}
        with serve(kind, tmp_path, workers=workers, environment=limit) as server:
            answers = [server.request("POST", f"{PREFIX}/stop") for _ in range(3)]
            assert {answer.status for answer in answers} == {409}
            for forwarded in ("10.0.0.1", "10.0.0.2"):
                refused = server.request("POST", f"{PREFIX}/stop", headers={"X-Forwarded-For": forwarded})
                assert refused.status == 429
                assert refused.json()["error"] == "too_many_requests"
                assert 0 < int(refused.headers["Retry-After"]) <= 3601
            for name in ("status", "reports"):
                assert {server.get(f"{PREFIX}/{name}").status for _ in range(5)} == {200}
            assert server.start().status == 200, "each endpoint is counted by itself"

    def test_the_hosts_own_limits_count_the_hosts_requests_only(self, tmp_path: Path) -> None:
        with serve("werkzeug", tmp_path, app=OWN_APP, environment=own_app(tmp_path, LIMITED)) as server:
            for _ in range(4):
                assert server.start().status == 200
                assert server.stop().status == 200
                assert server.get(f"{PREFIX}/status").status == 200
            assert [server.get("/dear").status for _ in range(6)] == [200] * 5 + [429]
            assert server.get(f"{PREFIX}/status").status == 200
