"""P14: a Redis between two real hosts that is killed, hangs, comes back empty, is full, lies or refuses us: each host
goes on by itself, what it says about the other is true, and no request of the app waits for it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components import requires
from tests.integration.hosts import NEEDS, RedisServer, running_redis, two_hosts
from tests.integration.servers import Answer, Server, wait_for
from tests.promises.failures import publish, told
from tests.promises.recordings import requests_of, temporary_files

pytestmark = requires(*NEEDS)
Hosts = tuple[Server, Server]
ALONE = "200, and says that it covers this host only"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, Hosts]]:
    """One Redis and two hosts for all: what one test leaves must not hurt the next, which is what is promised."""
    directory = tmp_path_factory.mktemp("hosts")
    with running_redis(directory) as redis, two_hosts(redis.url, directory) as hosts:
        yield redis, hosts


@pytest.fixture
def redis(shared: tuple[RedisServer, Hosts]) -> Iterator[RedisServer]:
    redis, hosts = shared
    wait_for(lambda: redis.knows(hosts=2, workers=4), "both hosts to be known to each other")
    yield redis
    for host in hosts:  # where the test failed
        host.stop()
    redis.kill()
    redis.start()


@pytest.fixture
def hosts(shared: tuple[RedisServer, Hosts]) -> Hosts:
    return shared[1]


def load(hosts: Hosts) -> list[int]:
    """Send twenty requests to each host; none of them may wait for Redis, which would take it half a second each."""
    before = time.monotonic()
    statuses = [status for host in hosts for status in host.load(["/dear"] * 20)]
    assert time.monotonic() - before < 8
    return statuses


def running(hosts: Hosts) -> list[str]:
    """Return which session runs on each host."""
    return [(host.status().get("session") or {}).get("id", "") for host in hosts]


def told_alone(answer: Answer) -> str:
    """Return what an answer says, as the table shows it; it must speak of the other host."""
    notes = answer.json()["notes"]
    alone = any("this host only" in note or "other hosts are not in this answer" in note for note in notes)
    return ALONE if answer.status == 200 and alone else told(answer)


def counted(answer: Answer, *hosts: Server) -> list[int]:
    """Return how many requests of a stopped session each host has stored."""
    name = f"recording-{answer.json()['sessionId']}.json"
    return [requests_of(json.loads((host.output / name).read_bytes()), "dear_view") for host in hosts]


def begun(hosts: Hosts) -> str:
    """Start a session on the first host that both take part in; returns its id.

    Not at once: a worker that met a failing Redis leaves it alone for three seconds.
    """

    def started() -> bool:
        answer = hosts[0].start()
        if answer.status == 200 and not answer.json()["notes"] and len(set(running(hosts))) == 1:
            return True
        for host in hosts:
            host.stop()
        return False

    wait_for(started, "a session of both hosts", seconds=45)
    return running(hosts)[0]


def assert_the_next_session_is_of_both(hosts: Hosts) -> None:
    """A start and a stop, asked of different hosts, that both take part in; and nothing is left of the last."""

    def went_well() -> bool:
        session_id = begun(hosts)
        assert load(hosts) == [200] * 40
        stopped = hosts[1].stop()
        assert stopped.status == 200
        wait_for(lambda: session_id not in running(hosts), "the end on both hosts")
        return len(stopped.json().get("hosts", ())) == 2 and counted(stopped, *hosts) == [20, 20]

    wait_for(went_well, "a session of both hosts that is stopped by the second", seconds=60)
    assert [temporary_files(host) for host in hosts] == [[], []]


class TestP14ARedisThatFails:
    """Whatever becomes of Redis, a session costs at most the other hosts' part in it, and says so."""

    def test_without_redis_a_session_is_of_this_host_only(self, redis: RedisServer, hosts: Hosts) -> None:
        one, _ = hosts
        redis.kill()
        started = one.start()
        answered = load(hosts)
        stopped = one.stop()
        assert told_alone(stopped) == ALONE
        assert counted(stopped, one) == [20]
        assert running(hosts) == ["", ""]
        redis.start()
        assert_the_next_session_is_of_both(hosts)
        publish(
            "Redis is down when the session starts",
            requests=answered,
            answer=told_alone(started),
            kept="everything that this host served",
            lost="what the other hosts served was never recorded",
        )

    def test_a_redis_that_dies_in_mid_session_loses_nothing(self, redis: RedisServer, hosts: Hosts) -> None:
        one, two = hosts
        begun(hosts)
        redis.kill()
        answered = load(hosts)
        stopped = one.stop()
        assert running(hosts)[1]
        assert told_alone(two.stop()) == ALONE
        assert counted(stopped, *hosts) == [20, 20]
        redis.start()
        assert_the_next_session_is_of_both(hosts)
        publish(
            "Redis is killed in mid-session",
            requests=answered,
            answer=f"{told_alone(stopped)}; a stop on each other host ends it there",
            kept="everything",
            lost="nothing",
        )

    def test_a_redis_that_hangs_holds_nobody_up_and_hears_of_the_end_later(
        self, redis: RedisServer, hosts: Hosts
    ) -> None:
        one, _ = hosts
        begun(hosts)
        redis.send(signal.SIGSTOP)
        answered = load(hosts)
        before = time.monotonic()
        stopped = one.stop()
        assert time.monotonic() - before < 10
        assert one.start().status == one.stop().status == 200
        redis.send(signal.SIGCONT)
        wait_for(lambda: not running(hosts)[1], "the end on the other host")
        assert counted(stopped, *hosts) == [20, 20]
        assert_the_next_session_is_of_both(hosts)
        publish(
            "Redis hangs in mid-session",
            requests=answered,
            answer=f"{told_alone(stopped)}; the other hosts end when Redis answers again",
            kept="everything",
            lost="nothing",
        )

    def test_a_redis_that_comes_back_empty_is_told_again(self, redis: RedisServer, hosts: Hosts) -> None:
        _, two = hosts
        session_id = begun(hosts)
        redis.kill()
        answered = load(hosts)
        redis.start()
        wait_for(lambda: redis.knows(hosts=2, workers=4), "both hosts to find Redis again")
        assert running(hosts) == [session_id] * 2
        answered += load(hosts)
        stopped = two.stop()
        assert len(stopped.json()["hosts"]) == 2
        wait_for(lambda: not any(running(hosts)), "the end on both hosts")
        assert counted(stopped, *hosts) == [40, 40]
        assert_the_next_session_is_of_both(hosts)
        publish(
            "Redis is restarted, empty, in mid-session",
            requests=answered,
            answer=told(stopped),
            kept="everything, of all hosts",
            lost="nothing",
        )

    def test_a_redis_without_memory_takes_no_session(self, redis: RedisServer, hosts: Hosts) -> None:
        one, _ = hosts
        with redis.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            started = one.start()
            answered = load(hosts)
            stopped = one.stop()
            assert told_alone(stopped) == ALONE
            assert counted(stopped, one) == [20]
            client.config_set("maxmemory", 0)
        assert_the_next_session_is_of_both(hosts)
        publish(
            "Redis is full (maxmemory) when the session starts",
            requests=answered,
            answer=told_alone(started),
            kept="everything that this host served",
            lost="what the other hosts served was never recorded",
        )

    def test_a_redis_that_runs_out_of_memory_in_mid_session_loses_nothing(
        self, redis: RedisServer, hosts: Hosts
    ) -> None:
        one, _ = hosts
        begun(hosts)
        with redis.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            answered = load(hosts)
            stopped = one.stop()
            client.config_set("maxmemory", 0)
        wait_for(lambda: not running(hosts)[1], "the end on the other host")
        assert counted(stopped, *hosts) == [20, 20]
        assert_the_next_session_is_of_both(hosts)
        publish(
            "Redis runs full in mid-session",
            requests=answered,
            answer=f"{told_alone(stopped)}; the other hosts end by themselves",
            kept="everything",
            lost="nothing",
        )

    def test_a_redis_that_lies_in_mid_session_is_not_believed(self, redis: RedisServer, hosts: Hosts) -> None:
        _, two = hosts
        session_id = begun(hosts)
        answered = []
        with redis.client() as client:
            lies = (b"\xff\x00garbage", b"[" * 5000, b'{"session": {"id": "../../etc"}}', b'{"session": 1e999}')
            for lie in lies:
                for key in client.scan_iter("flask_profiling:*:order"):
                    client.set(key, lie)
                wait_for(lambda: redis_order(redis) not in lies, "the truth to be told again")
                assert running(hosts) == [session_id] * 2
            answered += load(hosts)
            stopped = two.stop()
            assert len(stopped.json()["hosts"]) == 2
            wait_for(lambda: not any(running(hosts)), "the end on both hosts")
            assert counted(stopped, *hosts) == [20, 20]
            (key,) = client.scan_iter("flask_profiling:*:hosts")
            client.set(key.replace(b":hosts", b":order"), b"garbage that nobody withdraws")
        assert_the_next_session_is_of_both(hosts)
        publish(
            "what Redis holds is overwritten with garbage in mid-session",
            requests=answered,
            answer=told(stopped),
            kept="everything, of all hosts",
            lost="nothing",
        )

    def test_a_wrong_password_leaves_each_host_alone_and_is_not_repeated(self, tmp_path: Path) -> None:
        with running_redis(tmp_path, "--requirepass", "right") as redis:
            url = redis.url.replace("//", "//:wrong-4711@")
            with two_hosts(url, tmp_path) as hosts:
                for host in hosts:
                    host.worker_pids(at_least=2)
                wait_for(lambda: all(refused(host) == 2 for host in hosts), "each worker to be refused")
                started = hosts[0].start()
                answered = load(hosts)
                stopped = hosts[0].stop()
                assert told_alone(stopped) == ALONE
                assert counted(stopped, hosts[0]) == [20]
                assert hosts[1].start().status == hosts[1].stop().status == 200
                said = [started.body, stopped.body, *(host.log.read_bytes() for host in hosts)]
                assert [text for text in said if b"4711" in text] == []
        publish(
            "Redis refuses the password",
            requests=answered,
            answer=told_alone(started),
            kept="everything that this host served",
            lost="what the other hosts served was never recorded",
        )


def refused(host: Server) -> int:
    """Return how many workers Redis has refused; each says it once."""
    return host.log.read_text().count("AuthenticationError")


def redis_order(redis: RedisServer) -> bytes | None:
    with redis.client() as client:
        (key,) = client.scan_iter("flask_profiling:*:hosts")
        found = client.get(key.replace(b":hosts", b":order"))
    assert found is None or isinstance(found, bytes)
    return found
