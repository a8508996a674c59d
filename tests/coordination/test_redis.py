"""The relay over Redis: what it asks and how it reads the answer, on a client in memory; and a Redis that fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.coordination.redis import RedisRelay
from flask_profiling.errors import CoordinationFailed, MissingExtra
from flask_profiling.model import Session, SessionOptions, WorkerId
from tests.components import requires

SESSION = Session("prof-a-0001", WorkerId("test", 1, 7), 100.0, SessionOptions("cprofile", False, 0, 60.0))


class FakeRedis:
    """As much of a Redis as the relay asks: keys with a time to live; ``broken`` is raised by every call."""

    def __init__(self) -> None:
        self.now = 1000
        self.keys: dict[str, Any] = {}
        self.expires: dict[str, float] = {}
        self.broken: Exception | None = None
        self.calls = 0
        self.meanwhile: Callable[[], object] = lambda: None
        # what another host does between two commands that are not one transaction
        self.in_between: Callable[[], object] | None = None

    def _called(self) -> None:
        self.calls += 1
        if self.broken is not None:
            raise self.broken

    def time(self) -> tuple[int, int]:
        self._called()
        return self.now, 0

    def eval(self, script: str, number: int, key: str, *given: Any) -> int:
        self._called()
        assert number == 1
        if "'SET'" in script:
            stands, order, px = given
            self.meanwhile()
            if self.keys.get(key, b"") != stands:
                return 0
            self.keys[key], self.expires[key] = order, px
            return 1
        assert "'DEL'" in script
        if key not in self.keys or json.loads(self.keys[key])["session"]["id"] != given[0]:
            return 0
        del self.keys[key]
        return 1

    def hset(self, key: str, field: str, value: object) -> None:
        self._called()
        raw = value if isinstance(value, bytes) else str(value).encode()
        self.keys.setdefault(key, {})[field.encode()] = raw

    def hgetall(self, key: str) -> dict[bytes, bytes]:
        self._called()
        return dict(self.keys.get(key, {}))

    def smembers(self, key: str) -> set[bytes]:
        self._called()
        return set(self.keys.get(key, ()))

    def pipeline(self, *, transaction: bool = True) -> Pipeline:
        return Pipeline(self, in_between=None if transaction else self.in_between)


class Pipeline:
    """Commands that are sent at once."""

    def __init__(self, redis: FakeRedis, *, in_between: Callable[[], object] | None) -> None:
        self._redis = redis
        self._in_between = in_between or (lambda: None)
        self._answers: list[Callable[[], object]] = []

    def _then(self, answer: Callable[[], object]) -> Pipeline:
        self._answers.append(answer)
        return self

    def get(self, key: str) -> Pipeline:
        return self._then(lambda: self._redis.keys.get(key))

    def exists(self, key: str) -> Pipeline:
        return self._then(lambda: int(key in self._redis.keys))

    def pttl(self, key: str) -> Pipeline:
        return self._then(lambda: self._redis.expires[key] if key in self._redis.keys else -2)

    def sadd(self, key: str, member: str) -> Pipeline:
        return self._then(lambda: self._redis.keys.setdefault(key, set()).add(member.encode()))

    def hset(self, key: str, field: str, value: bytes) -> Pipeline:
        return self._then(lambda: self._redis.hset(key, field, value))

    def expire(self, key: str, seconds: int) -> Pipeline:
        return self._then(lambda: self._redis.expires.__setitem__(key, seconds))

    def execute(self) -> list[object]:
        self._redis._called()
        answers = []
        for answer in self._answers:
            answers.append(answer())
            self._in_between()
        return answers


class Clock:
    def __init__(self) -> None:
        self.reading = 50.0

    def __call__(self) -> float:
        return self.reading


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


def relay(redis: FakeRedis, host: str = "one", *, clock: Clock | None = None) -> RedisRelay:
    connect: Any = lambda url: redis
    return RedisRelay("redis://:s3cret@db/0", prefix="p", host=host, monotonic=clock or Clock(), connect=connect)


def test_what_one_publishes_the_other_sees_with_the_time_that_is_left(redis: FakeRedis) -> None:
    one, two = relay(redis), relay(redis, "two")
    assert two.running() is None
    assert one.publish(SESSION, seconds=60.0) is True
    assert redis.expires["p:order"] == 90_000  # so long after the session's own end it goes by itself
    assert two.running() == (SESSION, 60.0)
    redis.expires["p:order"] = 31_500
    assert two.running() == (SESSION, 1.5)
    redis.expires["p:order"] = 29_000
    assert two.running() == (SESSION, 0.0)


def test_a_second_session_is_not_published(redis: FakeRedis) -> None:
    relay(redis).publish(SESSION, seconds=60.0)
    assert relay(redis, "two").publish(replace(SESSION, id="prof-b-0001"), seconds=60.0) is False
    running = relay(redis).running()
    assert running is not None
    assert running[0].id == "prof-a-0001"


def test_an_order_is_withdrawn_once_and_never_another_ones(redis: FakeRedis) -> None:
    relay(redis).publish(SESSION, seconds=60.0)
    assert relay(redis).withdraw("prof-b-0001") is False
    assert relay(redis).withdraw("prof-a-0001") is True
    assert relay(redis).withdraw("prof-a-0001") is False
    assert relay(redis).running() is None


@pytest.mark.parametrize("left", [-1, -2])
def test_an_order_without_an_end_is_none(redis: FakeRedis, left: int) -> None:
    relay(redis).publish(SESSION, seconds=60.0)
    redis.expires["p:order"] = left
    assert relay(redis).running() is None


@pytest.mark.parametrize(
    "lie", [b"", b"\xff", b"[" * 9000, b"[]", b"{}", b'{"session": {"id": "../../x"}}'], ids=range(6)
)
def test_an_order_that_is_none_of_ours_is_none(redis: FakeRedis, lie: bytes) -> None:
    relay(redis).publish(SESSION, seconds=60.0)
    redis.keys["p:order"] = lie
    assert relay(redis).running() is None


@pytest.mark.parametrize(
    ("lie", "left"), [(b"", 60_000), (b"[" * 9000, -1), (b"{}", 60_000), (None, -1)], ids=["", "deep", "{}", "endless"]
)
def test_what_stands_in_the_place_of_an_order_is_replaced_by_one(
    redis: FakeRedis, lie: bytes | None, left: int
) -> None:
    one = relay(redis)
    one.publish(SESSION, seconds=60.0)
    redis.keys["p:order"] = redis.keys["p:order"] if lie is None else lie
    redis.expires["p:order"] = left
    assert one.publish(replace(SESSION, id="prof-b-0001"), seconds=12.5) is True
    assert redis.expires["p:order"] == 42_500
    assert one.running() == (replace(SESSION, id="prof-b-0001"), 12.5)


def test_what_another_host_publishes_meanwhile_is_not_replaced(redis: FakeRedis) -> None:
    redis.keys["p:order"], redis.expires["p:order"] = b"garbage", 60_000

    def faster() -> None:
        redis.keys["p:order"] = b"another"

    redis.meanwhile = faster
    assert relay(redis).publish(SESSION, seconds=60.0) is False
    assert redis.keys["p:order"] == b"another"


def test_a_session_is_ended_by_whoever_withdraws_it_and_by_nothing_else(redis: FakeRedis) -> None:
    one, two = relay(redis), relay(redis, "two")
    one.publish(SESSION, seconds=60.0)
    one.join("prof-a-0001")
    assert two.ended("prof-a-0001") is False
    redis.keys["p:order"] = b"garbage"
    assert two.ended("prof-a-0001") is False, "a lie ends nothing"
    one.publish(SESSION, seconds=60.0)
    one.withdraw("prof-a-0001")
    assert two.ended("prof-a-0001") is True
    one.publish(replace(SESSION, id="prof-b-0001"), seconds=60.0)
    assert two.ended("prof-a-0001") is True
    redis.keys.clear()
    assert two.ended("prof-a-0001") is False, "neither does a Redis that comes back empty"


def test_an_order_and_the_time_it_has_left_are_of_one_moment(redis: FakeRedis) -> None:
    one, two = relay(redis), relay(redis, "two")
    one.publish(SESSION, seconds=60.0)
    one.join("prof-a-0001")
    redis.in_between = lambda: one.withdraw("prof-a-0001")
    assert two.running() == (SESSION, 60.0)
    assert two.publish(SESSION, seconds=60.0) is False, "it stands, and is not begun anew"
    assert two.ended("prof-a-0001") is False


@given(st.binary(max_size=300))
def test_no_order_raises(lie: bytes) -> None:
    redis = FakeRedis()
    redis.keys["p:order"], redis.expires["p:order"] = lie, 60_000
    assert relay(redis).running() is None


def test_hosts_are_those_that_were_seen_within_ten_seconds_by_the_servers_clock(redis: FakeRedis) -> None:
    relay(redis).attend()
    redis.now += 10
    relay(redis, "caf\xe9").attend()
    assert relay(redis).hosts() == {"one", "caf\xe9"}
    redis.now += 1
    assert relay(redis).hosts() == {"caf\xe9"}
    redis.keys["p:hosts"].update({b"liar": b"soon", b"\xff": b"1011"})
    assert relay(redis).hosts() == {"caf\xe9", "\ufffd"}


def test_where_the_servers_clock_is_put_back_no_session_is_given_more_time(redis: FakeRedis) -> None:
    relay(redis).publish(SESSION, seconds=60.0)
    redis.expires["p:order"] += 86_400_000
    assert relay(redis).running() == (SESSION, 60.0)


def test_where_the_servers_clock_is_put_back_hosts_that_are_gone_do_not_come_back(redis: FakeRedis) -> None:
    relay(redis, "gone").attend()
    redis.now -= 11
    relay(redis).attend()
    assert relay(redis).hosts() == {"one"}
    redis.now -= 10
    assert relay(redis).hosts() == {"one"}


def test_who_joined_and_what_each_stored_is_kept_by_session_for_two_days(redis: FakeRedis) -> None:
    one, two = relay(redis), relay(redis, "two")
    one.join("prof-a-0001")
    two.join("prof-a-0001")
    assert one.joined("prof-a-0001") == {"one", "two"}
    assert one.joined("prof-b-0001") == frozenset()
    two.report("prof-a-0001", ("profile-prof-a-0001.prof",))
    assert one.done("prof-a-0001") == {"two": ("profile-prof-a-0001.prof",)}
    assert one.done("prof-b-0001") == {}
    assert redis.expires == {"p:joined:prof-a-0001": 172_800, "p:done:prof-a-0001": 172_800}


@pytest.mark.parametrize("lie", [b"\xff", b"{}", b"[1]", b'"text"', b""])
def test_what_a_host_cannot_have_stored_is_left_out(redis: FakeRedis, lie: bytes) -> None:
    relay(redis, "two").report("prof-a-0001", ("a",))
    redis.hset("p:done:prof-a-0001", "liar", lie)
    assert relay(redis).done("prof-a-0001") == {"two": ("a",)}


class Broken(Exception):
    """Something that a client library made up."""


QUESTIONS: dict[str, Callable[[RedisRelay], object]] = {
    "running": RedisRelay.running,
    "publish": lambda relay: relay.publish(SESSION, seconds=60.0),
    "ended": lambda relay: relay.ended("prof-a-0001"),
    "withdraw": lambda relay: relay.withdraw("prof-a-0001"),
    "attend": RedisRelay.attend,
    "hosts": RedisRelay.hosts,
    "join": lambda relay: relay.join("prof-a-0001"),
    "joined": lambda relay: relay.joined("prof-a-0001"),
    "report": lambda relay: relay.report("prof-a-0001", ()),
    "done": lambda relay: relay.done("prof-a-0001"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_failure_is_one_of_ours_says_no_address_and_gives_redis_a_rest(redis: FakeRedis, question: str) -> None:
    clock = Clock()
    asked = relay(redis, clock=clock)
    redis.broken = Broken("Error 111 connecting to redis://:s3cret@db/0")
    with pytest.raises(CoordinationFailed) as caught:
        QUESTIONS[question](asked)
    assert caught.value.message == ("Redis cannot be asked (Broken); sessions cover this host only until it answers")
    assert caught.value.__cause__ is None
    assert redis.calls == 1
    redis.broken = None
    clock.reading += 2.9
    with pytest.raises(CoordinationFailed, match="did not answer a moment ago"):
        QUESTIONS[question](asked)
    assert redis.calls == 1
    clock.reading += 0.1
    QUESTIONS[question](asked)
    assert redis.calls > 1


def test_on_a_machine_that_has_just_booted_redis_needs_no_rest(redis: FakeRedis) -> None:
    clock = Clock()
    clock.reading = 0.0
    assert relay(redis, clock=clock).hosts() == frozenset()


def test_it_connects_once_with_the_address_and_anew_in_a_forked_child(redis: FakeRedis) -> None:
    urls: list[str] = []

    def connect(url: str) -> Any:
        urls.append(url)
        return redis

    asked = RedisRelay("redis://:s3cret@db/0", prefix="p", host="one", connect=connect)
    assert urls == []
    asked.hosts()
    asked.hosts()
    assert urls == ["redis://:s3cret@db/0"]
    asked.forget()
    asked.hosts()
    assert len(urls) == 2


def test_a_missing_package_is_told_every_time_and_needs_no_rest() -> None:
    def connect(url: str) -> Any:
        raise MissingExtra.of("redis", extra="redis", purpose="PROFILING_COORDINATOR")

    asked = RedisRelay("redis://db", prefix="p", host="one", connect=connect)
    for _ in range(2):
        with pytest.raises(MissingExtra, match="redis"):
            asked.hosts()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match=r"flask-profiling-devtools\[redis\]"):
        RedisRelay("redis://db", prefix="p", host="one").hosts()


@requires("redis")
def test_the_real_client_waits_half_a_second_at_most() -> None:
    from flask_profiling.coordination.redis import _connected

    client = _connected("redis://127.0.0.1:1/0")
    settings = client.connection_pool.connection_kwargs
    assert settings["socket_timeout"] == settings["socket_connect_timeout"] == 0.5
    assert settings["retry_on_timeout"] is False
    assert settings["health_check_interval"] == 0
    client.close()
