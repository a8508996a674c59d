"""Many hosts over a real Redis: one start and one stop for all, and a Redis that dies, hangs or lies harms nobody."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.components import program, requires
from tests.integration.servers import Server, serve, wait_for
from tests.ports import free_port

pytestmark = requires("redis-server", "redis", "gunicorn")


@dataclass
class RedisServer:
    """A redis-server of our own, on a port of its own."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        redis = program("redis-server")
        assert redis is not None
        self.process = subprocess.Popen(
            [redis, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
        )
        wait_for(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None, "Redis")

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(free_port(), tmp_path)
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.send(signal.SIGCONT)
    server.kill()


@pytest.fixture
def hosts(redis: RedisServer, tmp_path: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        servers = []
        for number in range(2):
            directory = tmp_path / f"host{number}"
            directory.mkdir()
            servers.append(
                stack.enter_context(
                    serve("sync", directory, workers=2, environment={"PROFILING_COORDINATOR": redis.url})
                )
            )
        for server in servers:
            server.worker_pids(at_least=2)
            wait_for(lambda server=server: server.status()["enabled"], "the host")  # type: ignore[misc]
        wait_for(lambda: seen(redis) == 2, "both hosts to be known to each other")
        yield servers


def seen(redis: RedisServer) -> int:
    from redis import Redis

    with Redis(port=redis.port) as client:
        return sum(client.hlen(key) for key in client.scan_iter("flask_profiling:*:hosts"))


def recordings(server: Server) -> list[Any]:
    return [json.loads(path.read_bytes()) for path in sorted(server.output.glob("recording-*.json"))]


def requests_of(server: Server) -> int:
    (recording,) = recordings(server)
    return sum(times["requests"] for route, times in recording["requests"].items() if "[dear_view]" in route)


def test_one_start_and_one_stop_serve_all_hosts(hosts: list[Server]) -> None:
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


def test_no_profile_travels(hosts: list[Server], redis: RedisServer) -> None:
    from redis import Redis

    one, two = hosts
    one.start()
    one.load(["/dear"] * 5)
    two.stop()
    with Redis(port=redis.port) as client:
        stored = b"".join(bytes(client.dump(key) or b"") for key in client.scan_iter("*"))
    assert b"dear" not in stored
    assert b"known_app.py" not in stored
    assert len(stored) < 4096


def test_a_dead_redis_leaves_this_host_and_says_so(hosts: list[Server], redis: RedisServer) -> None:
    one, two = hosts
    redis.kill()
    started = one.start()
    assert started.status == 200
    assert any("covers this host only" in note for note in started.json()["notes"])
    assert set(one.load(["/dear"] * 10)) == {200}
    assert one.stop().status == 200
    assert requests_of(one) == 10
    assert two.status()["active"] is False


def test_a_redis_that_dies_in_mid_session_loses_nothing(hosts: list[Server], redis: RedisServer) -> None:
    one, two = hosts
    assert one.start().status == 200
    one.load(["/dear"] * 5)
    two.load(["/dear"] * 5)
    redis.kill()
    stopped = one.stop().json()
    assert any("other hosts are not in this answer" in note for note in stopped["notes"])
    assert two.status()["active"] is True
    assert two.stop().status == 200
    assert (requests_of(one), requests_of(two)) == (5, 5)


def test_a_redis_that_comes_back_empty_ends_the_session_nowhere_wrongly(
    hosts: list[Server], redis: RedisServer
) -> None:
    one, _ = hosts
    redis.kill()
    assert one.start().status == 200
    redis.start()
    wait_for(lambda: seen(redis) == 2, "both hosts to find Redis again")
    one.load(["/dear"] * 5)
    assert one.status()["active"] is True
    assert one.stop().status == 200
    assert requests_of(one) == 5


def test_a_redis_that_hangs_slows_no_request(hosts: list[Server], redis: RedisServer) -> None:
    one, _ = hosts
    redis.send(signal.SIGSTOP)
    begun = time.monotonic()
    assert set(one.load(["/cheap"] * 40)) == {200}
    assert time.monotonic() - begun < 5
    begun = time.monotonic()
    assert one.start().status == 200
    assert one.stop().status == 200
    assert time.monotonic() - begun < 10


def test_a_redis_that_lies_is_not_believed(hosts: list[Server], redis: RedisServer) -> None:
    from redis import Redis

    one, two = hosts
    with Redis(port=redis.port) as client:
        (key,) = client.scan_iter("flask_profiling:*:hosts")
        order = key.replace(b":hosts", b":order")
        for lie in (b"\xff\x00garbage", b"[" * 5000, b'{"session": {"id": "../../etc"}}', b'{"session": 1e999}'):
            client.set(order, lie, px=60_000)
            time_left = client.pttl(order)
            assert time_left > 0
            assert one.get("/cheap").status == 200
            assert two.status()["active"] is False
        client.delete(order)
        client.lpush(order, b"a list where a text should be")
        assert one.get("/cheap").status == 200
        client.delete(order)
    wait_for(lambda: one.start().status == 200, "a session after the lies")
    assert one.stop().status == 200


def test_a_host_that_is_killed_does_not_hold_up_the_others(hosts: list[Server]) -> None:
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
