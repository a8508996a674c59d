"""An app that is not ours: httpbin under gunicorn, with the extension added in two lines, as the how-to has it."""

from __future__ import annotations

import json
import marshal
import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.components import requires
from tests.integration.servers import NEEDS, serve, wait_for

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto" / "any-app.rst"
ROUNDS = 10
# path -> the view of httpbin/core.py that answers it, and the route's label
VIEWS = {
    "/get?a=1": ("view_get", "GET /get [view_get]"),
    "/anything/x": ("view_anything", "GET /anything/<path:anything> [view_anything]"),
    "/status/418": ("view_status_code", "GET /status/<codes> [view_status_code]"),
    "/gzip": ("view_gzip_encoded_content", "GET /gzip [view_gzip_encoded_content]"),
    "/stream/3": ("stream_n_messages", "GET /stream/<int:n> [stream_n_messages]"),
    "/json": ("a_json_endpoint", "GET /json [a_json_endpoint]"),
}

pytestmark = [
    requires("httpbin", *NEEDS["sync"]),
    pytest.mark.skipif(sys.version_info < (3, 12), reason="httpbin wants a greenlet that is too old for gevent here"),
]


def two_lines() -> str:
    found, *_ = re.findall(r"^    # profiled\.py\n((?:    .*\n|\n)+)", HOWTO.read_text("utf-8"), re.MULTILINE)
    return textwrap.dedent(found)


def test_httpbin_is_profiled_by_two_lines(tmp_path: Path) -> None:
    (tmp_path / "profiled.py").write_text(two_lines(), "utf-8")
    with serve("sync", tmp_path, app="profiled:app", workers=2) as server:
        assert server.start(cpu="cprofile").status == 200
        wait_for(lambda: server.get("/uuid").status and len(server.status()["workers"]) == 2, "both workers to join")
        codes = server.load([*VIEWS] * ROUNDS)
        answer = server.stop()
        statistics = marshal.loads(server.artifact(answer, ".prof").read_bytes())
        profile = json.loads(server.artifact(answer, ".cpuprofile").read_bytes())
    assert {code: codes.count(code) for code in codes} == {200: 5 * ROUNDS, 418: ROUNDS}
    assert answer.json()["missing"] == []
    views = {name: calls for (file, _, name), (_, calls, *_) in statistics.items() if file.endswith("httpbin/core.py")}
    assert {name: views.get(name) for name, _ in VIEWS.values()} == {name: ROUNDS for name, _ in VIEWS.values()}
    nodes = {node["id"]: node for node in profile["nodes"]}
    routes = {nodes[child]["callFrame"]["functionName"]: child for child in profile["nodes"][0]["children"]}
    for view, route in VIEWS.values():
        below, found = [routes[route]], set()
        while below:
            node = nodes[below.pop()]
            found.add((node["callFrame"]["functionName"], node["callFrame"]["url"].rpartition("/")[2]))
            below += node.get("children", ())
        assert (view, "core.py") in found
    assert sum(profile["timeDeltas"]) <= profile["endTime"] - profile["startTime"]
    assert set(profile["samples"]) <= nodes.keys()
