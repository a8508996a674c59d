"""P16, P17 over time: sessions start and stop again and again on busy workers; counts add up, nothing fails, nothing
grows."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.components import requires
from tests.integration.servers import NEEDS, Server, serve, wait_for

MIX = {"/cheap": 200, "/dear": 200, "/stream": 200, "/error": 500, "/items/7": 200, "/nowhere": 404}
VIEWS = {"/cheap": "cheap_view", "/dear": "dear_view", "/stream": "stream_view", "/error": "error_view"}
MEGABYTE = 2**20


@dataclass
class Traffic:
    """Clients that ask for the mix until they are told to rest; what was answered is counted."""

    server: Server
    seed: int
    answered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    resting: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        choice = random.Random(self.seed)
        while not self.resting.is_set():
            path = choice.choice(list(MIX))
            status = self.server.get(path).status
            if status != MIX[path]:
                self.wrong.append(f"{path}: {status}")
            self.answered[path] += 1
            if choice.random() < 0.05:
                self.hang_up()

    def hang_up(self) -> None:
        """Ask, and go before the answer comes."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.server.port), 20) as connection:
            connection.sendall(b"GET /items/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")


@dataclass(frozen=True)
class Usage:
    """What all workers hold together."""

    threads: int
    descriptors: int
    memory: int

    @classmethod
    def of(cls, pids: set[int]) -> Usage:
        statuses = [Path(f"/proc/{pid}/status").read_text("ascii") for pid in pids]
        return cls(
            sum(int(re.findall(r"Threads:\s+(\d+)", status)[0]) for status in statuses),
            sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
            sum(int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024 for status in statuses),
        )


def counted(server: Server, stopped: dict[str, object]) -> Counter[str]:
    """Return the requests of a session by path."""
    names = [str(name) for name in stopped["artifacts"] if "recording-" in str(name)]  # type: ignore[attr-defined]
    (name,) = names
    requests = json.loads((server.directory / name).read_bytes())["requests"]
    found: Counter[str] = Counter()
    for path, view in VIEWS.items():
        found[path] = sum(times["requests"] for route, times in requests.items() if f"[{view}]" in route)
    return found


def cycle(server: Server, seed: int, *, seconds: float) -> None:
    """One session under traffic: what the clients were answered is what was counted."""
    started = server.start(cpu=("cprofile", "calltree")[seed % 2])
    assert started.status == 200, started.body
    clients = [Traffic(server, seed * 100 + number) for number in range(4)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    threads[0].join(seconds)
    for client in clients:
        client.resting.set()
    for thread in threads:
        thread.join(30)
    stopped = server.stop()
    assert stopped.status == 200, stopped.body
    assert stopped.json()["missing"] == []
    assert [wrong for client in clients for wrong in client.wrong] == []
    answered = sum((client.answered for client in clients), Counter())
    counts = counted(server, stopped.json())
    assert counts == Counter({path: answered[path] for path in VIEWS}), (started.json(), stopped.json())


def soak(directory: Path, *, seconds: float, cycle_seconds: float, at_least: int) -> None:
    """Run cycles for so long, and at least so many."""
    limits = {"PROFILING_MAX_SESSIONS": "3"}
    with serve("gthread", directory, workers=4, environment=limits) as server:
        pids = server.worker_pids(at_least=4)
        for seed in range(2):  # what each worker makes once and keeps
            cycle(server, seed, seconds=cycle_seconds)
        before = Usage.of(pids)
        begun, cycles = time.monotonic(), 0
        while cycles < at_least or time.monotonic() < begun + seconds:
            cycle(server, cycles + 2, seconds=cycle_seconds)
            cycles += 1
        assert server.worker_pids(at_least=4) == pids, "a worker was lost"
        # A gthread worker keeps up to 4 threads for requests, which it makes when they are needed first.
        wait_for(lambda: Usage.of(pids).threads <= before.threads + 16, "threads to end")
        wait_for(lambda: Usage.of(pids).descriptors <= before.descriptors + 4, "descriptors to be let go")
        assert Usage.of(pids).memory < before.memory + 4 * 16 * MEGABYTE
        assert len({path.name for path in server.output.glob("recording-*")}) <= 3
        assert list((server.output / ".state" / "parts").iterdir()) == []
        assert "profiling:" not in server.log.read_text("utf-8", "replace"), "something of ours failed"


class TestP16OverTime:
    """Counts add up, nothing fails, nothing grows."""

    @requires(*NEEDS["gthread"])
    def test_sessions_on_busy_workers_count_exactly_and_leave_nothing(self, tmp_path: Path) -> None:
        soak(tmp_path, seconds=5, cycle_seconds=0.5, at_least=6)

    @pytest.mark.long
    @pytest.mark.timeout(900)
    @requires(*NEEDS["gthread"])
    def test_hundreds_of_sessions_on_busy_workers_count_exactly_and_leave_nothing(self, tmp_path: Path) -> None:
        soak(tmp_path, seconds=480, cycle_seconds=0.5, at_least=100)
