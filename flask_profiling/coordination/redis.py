"""Many hosts agree through Redis: what runs, which hosts take part, what each of them stored; never a profile.

::

    {prefix}:order           the running session, with a time to live: a dead-man's switch
    {prefix}:hosts           host -> when it was last seen (Unix seconds, by the server's clock)
    {prefix}:joined:{id}     the hosts that took part
    {prefix}:done:{id}       host -> the names of what it stored

On each host the workers agree through files as always; this only carries the order from host to host. Every call is
bounded in time, and after a failure Redis is left alone for a while, so that a dead one slows nobody down.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import CoordinationFailed, DamagedData, MissingExtra
from ..model import Session, _json
from ._records import dumped, loaded

if TYPE_CHECKING:
    from redis import Redis

PATIENCE = 0.5
REST_AFTER_FAILURE = 3.0
# An order outlives its session by so much, in case nobody is left to withdraw it.
ORDER_GRACE = 30.0
# Who joined and what is stored are kept for so long after the last word: hosts that take part join again and again.
KEPT = 2 * 86_400
HOST_SEEN_WITHIN = 10.0

# Deletes the order only if it is still that of the session: two hosts that stop at once must not end the next one.
_WITHDRAW = """
local order = redis.call('GET', KEYS[1])
local is_read, id = pcall(function() return cjson.decode(order)['session']['id'] end)
if is_read and id == ARGV[1] then
    redis.call('DEL', KEYS[1])
    return 1
end
return 0
"""

# Puts an order where something stands that is none (no text: nothing), unless it was changed meanwhile.
_REPLACE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class RedisRelay:
    """Carries the order between hosts; a :class:`~flask_profiling.coordination.Relay`.

    ``url`` may hold a password and ask for TLS (``rediss://``); it is never logged. ``host`` names this host (and its
    output directory) to the others.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        host: str,
        monotonic: Callable[[], float] = time.monotonic,
        connect: Callable[[str], Redis] | None = None,
    ) -> None:
        self.host = host
        self._url = url
        self._prefix = prefix
        self._monotonic = monotonic
        self._connect = connect or _connected
        self._client: Any = None
        self._resting_until = 0.0

    def running(self) -> tuple[Session, float] | None:
        """Return the published session and the seconds it has left, or None."""
        key = f"{self._prefix}:order"
        return _read(*self._ask(lambda redis: redis.pipeline().get(key).pttl(key).execute()))

    def publish(self, session: Session, *, seconds: float) -> bool:
        """Publish a session that has so many seconds left; False where one is published already.

        What stands there and is no order of ours goes: nobody would ever withdraw it.
        """
        key = f"{self._prefix}:order"
        keep = int((seconds + ORDER_GRACE) * 1000)
        order = dumped({"session": session.to_json()})

        def put(redis: Any) -> bool:
            stands, left = redis.pipeline().get(key).pttl(key).execute()
            return _read(stands, left) is None and bool(redis.eval(_REPLACE, 1, key, stands or b"", order, keep))

        return bool(self._ask(put))

    def ended(self, session_id: str) -> bool:
        """Tell whether somebody ended a published session: its order is gone, and who joined it is still known.

        A Redis that came back empty has ended nothing, and neither has one that holds something else in its place.
        """
        key, joined = f"{self._prefix}:order", f"{self._prefix}:joined:{session_id}"
        stands, left, known = self._ask(lambda redis: redis.pipeline().get(key).pttl(key).exists(joined).execute())
        order = _read(stands, left)
        return bool(known) and (stands is None if order is None else order[0].id != session_id)

    def withdraw(self, session_id: str) -> bool:
        """Take the session back; False where somebody else was first."""
        return bool(self._ask(lambda redis: redis.eval(_WITHDRAW, 1, f"{self._prefix}:order", session_id)))

    def attend(self) -> None:
        """Say that this host lives."""
        self._ask(lambda redis: redis.hset(f"{self._prefix}:hosts", self.host, redis.time()[0]))

    def hosts(self) -> frozenset[str]:
        """Return the hosts that were seen lately."""
        now, seen = self._ask(lambda redis: (redis.time()[0], redis.hgetall(f"{self._prefix}:hosts")))
        return frozenset(
            host.decode("utf-8", "replace")
            for host, when in seen.items()
            if when.isdigit() and abs(now - int(when)) <= HOST_SEEN_WITHIN
        )

    def join(self, session_id: str) -> None:
        """Say that this host takes part."""
        key = f"{self._prefix}:joined:{session_id}"
        self._ask(lambda redis: redis.pipeline(transaction=False).sadd(key, self.host).expire(key, KEPT).execute())

    def joined(self, session_id: str) -> frozenset[str]:
        """Return the hosts that took part."""
        names = self._ask(lambda redis: redis.smembers(f"{self._prefix}:joined:{session_id}"))
        return frozenset(name.decode("utf-8", "replace") for name in names)

    def report(self, session_id: str, names: tuple[str, ...]) -> None:
        """Say what this host stored."""
        key = f"{self._prefix}:done:{session_id}"
        self._ask(
            lambda redis: (
                redis.pipeline(transaction=False).hset(key, self.host, dumped(list(names))).expire(key, KEPT).execute()
            )
        )

    def done(self, session_id: str) -> Mapping[str, tuple[str, ...]]:
        """Return what each host stored, as far as they are done."""
        found: dict[str, tuple[str, ...]] = {}
        for host, names in self._ask(lambda redis: redis.hgetall(f"{self._prefix}:done:{session_id}")).items():
            with suppress(ValueError, DamagedData):
                found[host.decode("utf-8", "replace")] = _json.texts(json.loads(names))
        return found

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone."""
        self._client = None

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        if self._monotonic() < self._resting_until:
            raise CoordinationFailed("Redis did not answer a moment ago; it is tried again shortly")
        try:
            if self._client is None:
                self._client = self._connect(self._url)
            return question(self._client)
        except MissingExtra:
            raise
        except Exception as error:  # whatever a dead, full, slow or lying server makes of its client library
            self._resting_until = self._monotonic() + REST_AFTER_FAILURE
            # The error's own text may hold the address, and with it a password.
            raise CoordinationFailed(
                f"Redis cannot be asked ({type(error).__name__}); sessions cover this host only until it answers"
            ) from None


def _read(order: bytes | None, left: int) -> tuple[Session, float] | None:
    """Return the session of an order and the seconds it has left; an order without an end is none of ours."""
    if order is None or left < 0:
        return None
    try:
        session = Session.from_json(_json.mapping(loaded(order)).get("session"))
    except DamagedData:
        return None
    # The server's clock, by which it keeps the time to live, may have been put back meanwhile.
    return session, min(max(0.0, left / 1000 - ORDER_GRACE), session.options.seconds)


def _connected(url: str) -> Redis:
    try:
        import redis
    except ImportError:
        raise MissingExtra.of("redis", extra="redis", purpose="PROFILING_COORDINATOR") from None
    return redis.Redis.from_url(
        url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry_on_timeout=False, health_check_interval=0
    )
