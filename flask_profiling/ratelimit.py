"""How often start, stop and cleanup may be called: Flask-Limiter, kept apart from the app's own; no endpoint is here.

A second Limiter on the app would count the app's default limits again, hook into each of its requests and write into
its configuration. Ours is made on a Flask object of its own that serves nothing, and is asked by our views alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from flask import Flask, current_app, request
from flask_limiter import Limiter, RateLimitExceeded
from limits import parse_many

from .config import Config
from .errors import TooManyRequests

logger = logging.getLogger("flask_profiling")

# A storage that does not answer must not hold up a stop: what each client library calls a bound of one second.
_PATIENCE: dict[str, dict[str, int]] = {
    "redis": {"socket_connect_timeout": 1, "socket_timeout": 1},
    "rediss": {"socket_connect_timeout": 1, "socket_timeout": 1},
    "valkey": {"socket_connect_timeout": 1, "socket_timeout": 1},
    "valkeys": {"socket_connect_timeout": 1, "socket_timeout": 1},
    "memcached": {"connect_timeout": 1, "timeout": 1},
    "mongodb": {"serverSelectionTimeoutMS": 1000, "connectTimeoutMS": 1000, "socketTimeoutMS": 1000},
}


def check_rate_limit(text: str) -> None:
    """Raise ValueError for a ``PROFILING_RATE_LIMIT`` that Flask-Limiter would not understand, or that forbids all."""
    if any(limit.amount < 1 for limit in parse_many(text)):
        raise ValueError("a limit of nothing")


CHECKS: dict[str, Callable[[str], None]] = {"PROFILING_RATE_LIMIT": check_rate_limit}


def peer(environ: Mapping[str, object]) -> str:
    """Return the address of the connection's other end as the server saw it, whatever a proxy claims."""
    before_proxy_fix = environ.get("werkzeug.proxy_fix.orig")
    seen = before_proxy_fix if isinstance(before_proxy_fix, Mapping) else environ
    # A Unix socket has no address, and a limit for an empty name would be no limit.
    return str(seen.get("REMOTE_ADDR") or "unknown")


class RateLimit:
    """The limit of one app, per address and endpoint.

    ``RATELIMIT_STORAGE_URI`` and ``RATELIMIT_STORAGE_OPTIONS`` of ``app.config`` are Flask-Limiter's own settings and
    name a storage that workers share; without them each worker counts in its own memory. ``now`` is Unix time.
    """

    def __init__(self, app: Flask, config: Config, *, now: Callable[[], float] = time.time) -> None:
        self._text = config.rate_limit
        self._ask_host = config.limiter == "host"
        self._enabled = bool(app.config.get("RATELIMIT_ENABLED", True))
        self._storage_uri = str(app.config.get("RATELIMIT_STORAGE_URI") or "memory://")
        self._storage_options = dict(app.config.get("RATELIMIT_STORAGE_OPTIONS") or {})
        self._key_prefix = f"flask_profiling:{app.import_name}"
        self._now = now
        self._own: Limiter | None = None
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def check(self) -> None:
        """Count the current request; raises TooManyRequests. A fault of the storage lets the request pass."""
        if not self._enabled:
            return
        for limiter in self._limiters():
            try:
                with limiter.limit(self._text, key_func=_current_peer):
                    continue
            except RateLimitExceeded:
                if limiter is self._own and self._forgotten(limiter):
                    continue
                raise self._refusal(limiter) from None
            except Exception as error:
                self._say_once(f"the rate limit cannot be counted ({type(error).__name__}); requests pass uncounted")

    def _limiters(self) -> Iterable[Limiter]:
        if self._ask_host:
            hosts: set[Limiter] = current_app.extensions.get("limiter") or set()
            if hosts:
                return tuple(hosts)
            self._say_once("PROFILING_LIMITER is host, and the app has no Flask-Limiter; a limiter of our own counts")
        # Made when first used: the in-memory storage starts a thread, which a process about to fork must not have.
        with self._lock:
            try:
                self._own = self._own or self._made()
            except RuntimeError:
                self._say_once("the rate limit cannot be counted (no thread can be started); requests pass uncounted")
                return ()
        return (self._own,)

    def _made(self) -> Limiter:
        try:
            scheme = self._storage_uri.partition(":")[0].partition("+")[0]
            return self._isolated(self._storage_uri, {**_PATIENCE.get(scheme, {}), **self._storage_options})
        except Exception as error:  # an unknown scheme, a client library that is not installed, a wrong option
            # Neither the address nor the error's text is logged: both may hold a password.
            self._say_once(f"RATELIMIT_STORAGE_URI cannot be used ({type(error).__name__}); this worker counts alone")
            return self._isolated("memory://", {})

    def _isolated(self, storage_uri: str, storage_options: dict[str, str | int]) -> Limiter:
        return Limiter(
            _current_peer,
            app=Flask("flask_profiling", static_folder=None),
            storage_uri=storage_uri,
            storage_options=storage_options,
            strategy="fixed-window",
            key_prefix=self._key_prefix,
            headers_enabled=False,
            swallow_errors=True,
            in_memory_fallback_enabled=True,
        )

    def _forgotten(self, limiter: Limiter) -> bool:
        """Forget the window that was used up if it ends later than one that begins now, and say whether it does: the
        clock was put back, and nobody is to wait until then. All other windows stay: a shared storage has the app's."""
        try:
            reached = limiter.current_limit
            # one more for storages of whole seconds
            if reached is None or reached.reset_at - self._now() <= reached.limit.get_expiry() + 1:
                return False
            limiter.limiter.storage.clear(reached.key)
            return True
        except Exception:  # the storage failed after counting
            return False

    def _refusal(self, limiter: Limiter) -> TooManyRequests:
        try:
            wait = 1
            reached = limiter.current_limit
            if reached is not None:
                # A storage of whole seconds may name an end one second beyond the window.
                wait = max(1, min(round(reached.reset_at - self._now()), reached.limit.get_expiry()))
        except Exception:  # the storage failed between counting and asking for the time
            wait = 60
        return TooManyRequests(
            f"more than {self._text} from one address; wait {wait} s, or raise PROFILING_RATE_LIMIT", retry_after=wait
        )

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning(message)


def _current_peer() -> str:
    return peer(request.environ)
