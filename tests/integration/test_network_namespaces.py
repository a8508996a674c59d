"""Two hosts that really are two: each has a network, an address and a name of its own, and only a Redis between them.

::

    host-a (10.203.1.2) ---- 10.203.1.1  Redis  10.203.2.1 ---- host-b (10.203.2.2)

Each is a network namespace that is made here and removed again; nothing is added to the machine's own network.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.components import program, requires
from tests.integration.servers import KNOWN_APP, PREFIX, PROJECT, PYTHON, wait_for

pytestmark = [requires("curl", "gunicorn", "ip", "redis", "redis-server"), pytest.mark.timeout(240)]
PORT = 8000


def ip(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = program("ip")
    assert command is not None
    return subprocess.run([command, *arguments], capture_output=True, check=False, timeout=60)


@dataclass
class Network:
    """Three namespaces: one for Redis in the middle, and one for each host."""

    middle: str
    hosts: tuple[str, str]

    def cut(self, host: str) -> None:
        """Take the link to a host down, as a pulled plug does."""
        assert ip("-n", self.middle, "link", "set", f"to-{self.hosts.index(host)}", "down").returncode == 0

    def mend(self, host: str) -> None:
        assert ip("-n", self.middle, "link", "set", f"to-{self.hosts.index(host)}", "up").returncode == 0


@dataclass
class Host:
    """A server in a namespace; it listens on the namespace's own loopback."""

    namespace: str
    directory: Path

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer, asked from within."""
        data = () if body is None else ("-H", "Content-Type: application/json", "-d", json.dumps(body))
        command = [
            *inside(self.namespace),
            *(program("curl") or "", "--silent", "--noproxy", "*", "--max-time", "60", "-X", method, *data),
            *("--write-out", "\n%{http_code}", f"http://127.0.0.1:{PORT}{path}"),
        ]
        answered = subprocess.run(command, capture_output=True, check=False, timeout=90, text=True)
        text, _, status = answered.stdout.rpartition("\n")
        if answered.returncode != 0:
            raise OSError(f"curl: {answered.returncode}")
        return int(status), json.loads(text) if text.startswith("{") else text

    def status(self) -> Any:
        return self.ask("GET", f"{PREFIX}/status")[1]

    def requests(self, number: int) -> None:
        assert [self.ask("GET", "/dear")[0] for _ in range(number)] == [200] * number

    def recorded(self, session_id: str) -> tuple[int, str]:
        """Return how many requests this host stored for a session, and what ended it."""
        document = json.loads((self.directory / "profiling" / f"recording-{session_id}.json").read_bytes())
        counted = sum(times["requests"] for route, times in document["requests"].items() if "[dear_view]" in route)
        return counted, document["session"]["endedBy"]


def inside(namespace: str) -> tuple[str, ...]:
    return program("ip") or "", "netns", "exec", namespace


@pytest.fixture
def network() -> Iterator[Network]:
    tag = f"profiling-{secrets.token_hex(4)}"
    made = Network(f"{tag}-m", (f"{tag}-a", f"{tag}-b"))
    namespaces = [made.middle, *made.hosts]
    try:
        refused = ip("netns", "add", made.middle)
        if refused.returncode != 0:
            pytest.skip(f"network namespaces may not be made here: {refused.stderr.decode().strip()}")
        for host in made.hosts:
            assert ip("netns", "add", host).returncode == 0
        for number, host in enumerate(made.hosts):
            there, here = f"10.203.{number + 1}.2/24", f"10.203.{number + 1}.1/24"
            steps = [
                ("-n", made.middle, "link", "add", f"to-{number}", "type", "veth", "peer", "out", "netns", host),
                ("-n", made.middle, "address", "add", here, "dev", f"to-{number}"),
                ("-n", made.middle, "link", "set", f"to-{number}", "up"),
                ("-n", host, "address", "add", there, "dev", "out"),
                ("-n", host, "link", "set", "out", "up"),
                ("-n", host, "link", "set", "lo", "up"),
            ]
            for step in steps:
                done = ip(*step)
                assert done.returncode == 0, done.stderr
        yield made
    finally:
        for namespace in namespaces:
            ip("netns", "delete", namespace)


@contextmanager
def running(command: list[str], directory: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):  # its own group: workers that outlived it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


@pytest.fixture
def hosts(network: Network, tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    with ExitStack() as stack:
        (tmp_path / "redis").mkdir()
        redis = [
            *(program("redis-server") or "", "--bind", "10.203.1.1", "10.203.2.1", "--protected-mode", "no"),
            *("--save", "", "--appendonly", "no"),
        ]
        stack.enter_context(running([*inside(network.middle), *redis], tmp_path / "redis", PATH=os.defpath))
        made = []
        for number, namespace in enumerate(network.hosts):
            directory = tmp_path / f"host{number}"
            directory.mkdir()
            named = f'hostname host-{"ab"[number]} && exec "$@"'
            command = [
                *(*inside(namespace), "unshare", "--uts", "sh", "-c", named, "sh", PYTHON, "-m", "gunicorn"),
                *("--no-control-socket", "--log-level", "warning", "--bind", f"127.0.0.1:{PORT}", "--workers", "2"),
                KNOWN_APP,
            ]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PROFILING_")}
            environment |= {
                "FLASK_ENV": "development",
                "PROFILING_ENABLED": "true",
                "PROFILING_HEAP": "false",
                "PROFILING_COORDINATOR": f"redis://10.203.{number + 1}.1:6379/0",
                "PYTHONPATH": os.pathsep.join([str(PROJECT), environment.get("PYTHONPATH", "")]),
            }
            stack.enter_context(running(command, directory, **environment))
            made.append(Host(namespace, directory))
        for host in made:
            wait_for(lambda host=host: host.status()["enabled"], f"{host.namespace} to answer", seconds=60)  # type: ignore[misc]
        yield made[0], made[1]


def start(host: Host, others: int, **options: object) -> Any:
    """Start a session in which ``others`` take part too, once they know of each other."""

    def started() -> bool:
        nonlocal answer
        code, answer = host.ask("POST", f"{PREFIX}/start", options)
        assert code == 200, answer
        if not answer["notes"]:
            return True
        host.ask("POST", f"{PREFIX}/stop")
        return False

    answer: Any = None
    wait_for(started, f"a session on {others + 1} hosts", seconds=60)
    return answer


def test_one_session_covers_both_hosts_and_a_cut_link_costs_neither_its_own(
    network: Network, hosts: tuple[Host, Host]
) -> None:
    one, two = hosts
    wait_for(lambda: both_join(one, two), "both hosts to know of each other", seconds=60)

    session = start(one, 1)["sessionId"]
    assert two.status()["session"]["id"] == session
    one.requests(3)
    two.requests(5)
    code, stopped = two.ask("POST", f"{PREFIX}/stop")
    assert code == 200
    names = sorted(stopped["hosts"])
    assert [name.rpartition("-")[0] for name in names] == ["host-a", "host-b"]
    wait_for(lambda: not one.status()["active"], "the end on the other host")
    assert (one.recorded(session)[0], two.recorded(session)[0]) == (3, 5)

    session = start(one, 1, seconds=25)["sessionId"]
    wait_for(lambda: two.status()["active"], "the other host to take part")
    two.requests(4)
    network.cut(two.namespace)
    one.requests(2)
    two.requests(2)
    code, stopped = one.ask("POST", f"{PREFIX}/stop")
    assert code == 200
    assert list(stopped["hosts"]) == names[:1]
    assert f"host {names[1]} took part and did not answer the stop in time" in stopped["notes"]
    assert one.recorded(session) == (2, "stop")
    assert not (two.directory / "profiling" / f"recording-{session}.json").exists()

    # Nobody can tell the other host; it ends by itself at its time, with all that it saw.
    assert two.status()["session"]["id"] == session
    wait_for(lambda: not two.status()["active"], "the other host to end by itself", seconds=60)
    assert two.recorded(session) == (6, "deadline")

    code, alone = two.ask("POST", f"{PREFIX}/start", {})
    assert code == 200
    assert any("covers this host only" in note for note in alone["notes"])
    assert one.status()["active"] is False
    assert two.ask("POST", f"{PREFIX}/stop")[0] == 200

    network.mend(two.namespace)
    wait_for(lambda: both_join(one, two), "both hosts to find each other again", seconds=60)


def both_join(one: Host, two: Host) -> bool:
    """Run a session of the one, and tell whether the other stored its share of it."""
    code, started = one.ask("POST", f"{PREFIX}/start", {})
    if code != 200:
        return False
    _, stopped = one.ask("POST", f"{PREFIX}/stop")
    return len(stopped.get("hosts", ())) == 2 and not started["notes"] and not two.status()["active"]
