"""Many hosts over a real Redis: one start and one stop for all, and a host that dies holds up nobody.

A Redis that dies, hangs, forgets, is full or lies: tests/promises/test_redis.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components import requires
from tests.integration.hosts import NEEDS, RedisServer, running_redis, two_hosts
from tests.integration.servers import Server, wait_for
from tests.promises.recordings import recordings
from tests.promises.recordings import requests_of as recorded

pytestmark = requires(*NEEDS)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
def hosts(redis: RedisServer, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    with two_hosts(redis.url, tmp_path) as servers:
        wait_for(lambda: redis.knows(hosts=2, workers=4), "both hosts to be known to each other")
        yield servers


def requests_of(server: Server) -> int:
    (recording,) = recordings(server)
    return recorded(recording, "dear_view")


def test_one_start_and_one_stop_serve_all_hosts(hosts: tuple[Server, Server]) -> None:
    one, two = hosts
    started = one.start().json()
    assert started["notes"] == []
    assert two.status()["session"]["id"] == started["sessionId"]
    assert two.start().status == 409
    assert set(one.load(["/dear"] * 10) + two.load(["/dear"] * 20)) == {200}
    stopped = two.stop()
    assert stopped.status == 200
    answer = stopped.json()
    assert len(answer["hosts"]) == 2
    assert all(any(name.endswith(".cpuprofile") for name in names) for names in answer["hosts"].values())
    assert (requests_of(one), requests_of(two)) == (10, 20)
    assert [recording["session"]["id"] for server in hosts for recording in recordings(server)] == [
        started["sessionId"]
    ] * 2
    wait_for(lambda: not one.status()["active"], "the end on the other host")
    assert one.start().status == 200
    assert one.stop().status == 200


def test_no_profile_travels(hosts: tuple[Server, Server], redis: RedisServer) -> None:
    one, two = hosts
    one.start()
    one.load(["/dear"] * 5)
    two.stop()
    with redis.client() as client:
        stored = b"".join(bytes(client.dump(key) or b"") for key in client.scan_iter("*"))
    assert b"dear" not in stored
    assert b"known_app.py" not in stored
    assert len(stored) < 4096


def test_a_host_that_is_killed_does_not_hold_up_the_others(hosts: tuple[Server, Server]) -> None:
    one, two = hosts
    assert one.start().status == 200
    for pid in {one.process.pid, *one.worker_pids(at_least=2)}:
        os.kill(pid, signal.SIGKILL)
    one.end(signal.SIGKILL)
    two.load(["/dear"] * 5)
    stopped = two.stop()
    assert stopped.status == 200
    assert any("took part and did not answer" in note for note in stopped.json()["notes"])
    assert requests_of(two) == 5
