"""Hosts for tests that agree through a real Redis: the Redis, and servers with an output directory each. No tests."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.components import program
from tests.integration.servers import Server, serve, wait_for
from tests.ports import free_port

if TYPE_CHECKING:
    from redis import Redis

NEEDS = ("redis-server", "redis", "gunicorn")


@dataclass
class RedisServer:
    """A redis-server of our own, on a port of its own; ``arguments`` are for its every start."""

    port: int
    directory: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """Return a client, to be used in a ``with``."""
        from redis import Redis

        return Redis(port=self.port)

    def start(self) -> None:
        """Start it, empty; also again."""
        redis = program("redis-server")
        assert redis is not None
        own = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self.process = subprocess.Popen(
            [redis, *own, *self.arguments], cwd=self.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None, "Redis")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP makes it hang, SIGCONT lets it go on."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, even where it hangs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def knows(self, *, hosts: int, workers: int) -> bool:
        """Tell whether so many hosts have said that they live, and so many of their workers are connected."""
        with self.client() as client:
            found: list[Any] = list(client.scan_iter("flask_profiling:*:hosts"))
            known = sum(len(client.hkeys(key)) for key in found)
            return known == hosts and len(client.client_list()) > workers  # and this one


@contextmanager
def running_redis(directory: Path, *arguments: str) -> Iterator[RedisServer]:
    """Run a Redis until the block ends."""
    redis = RedisServer(free_port(), directory, arguments)
    redis.start()
    try:
        yield redis
    finally:
        redis.kill()


@contextmanager
def two_hosts(url: str, directory: Path) -> Iterator[tuple[Server, Server]]:
    """Run two servers with two workers each that are hosts to each other, though they may not know it yet."""
    with ExitStack() as stack:
        servers = []
        for number in range(2):
            place = directory / f"host{number}"
            place.mkdir()
            servers.append(
                stack.enter_context(serve("sync", place, workers=2, environment={"PROFILING_COORDINATOR": url}))
            )
        for server in servers:
            server.worker_pids(at_least=2)
        yield servers[0], servers[1]
