"""Output directories that fail under real servers: disks to fill, to make read-only, to lose; and what must hold after.

No tests live here.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration.servers import PREFIX, Server, serve, wait_for
from tests.promises.failures import told
from tests.promises.recordings import requests_of

_MOUNTED = 'mount -t tmpfs -o size=1m,mode=700 tmpfs "$0" && exec "$@"'
# Files that are open for writing keep the file system itself from becoming read-only; a second way to it may be.
_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
_WRITABLE = 'umount "$0"'


@dataclass(frozen=True)
class Disk:
    """A server whose output directory is a file system of one MiB, which only the server sees and which ends with it.

    ``server`` has its ``output`` where the test can read it, ``mounted`` is the name that the server knows.
    """

    server: Server
    mounted: Path

    def fill(self) -> None:
        """Write until there is no room for another byte."""
        with (self.server.output / "filler").open("ab", buffering=0) as file, pytest.raises(OSError) as refused:
            while True:
                file.write(b"f" * 512)
        assert refused.value.errno == errno.ENOSPC

    def empty(self) -> None:
        """Make room again."""
        (self.server.output / "filler").unlink()

    def refuse(self) -> None:
        """Make the file system read-only for the server."""
        self._run(_READ_ONLY)

    def accept(self) -> None:
        """Let the server write again."""
        self._run(_WRITABLE)

    def _run(self, command: str) -> None:
        entered = ("nsenter", "--target", f"{self.server.process.pid}", "--mount", "--user", "--preserve-credentials")
        subprocess.run([*entered, "sh", "-c", command, str(self.mounted)], check=True, timeout=60)


@contextmanager
def serve_on_a_disk(kind: str, directory: Path, *, workers: int) -> Iterator[Disk]:
    """Run a server on a disk of its own; needs ``requires("mount")``."""
    mounted = directory.resolve() / "profiling"
    mounted.mkdir(mode=0o700)
    prefix = ("unshare", "--mount", "--map-root-user", "sh", "-c", _MOUNTED, str(mounted))
    with serve(kind, directory, workers=workers, prefix=prefix) as server:
        server.worker_pids(at_least=workers)
        seen = Path(f"/proc/{server.process.pid}/root{directory.resolve()}")
        yield Disk(replace(server, directory=seen), mounted)


def bound_by_modes() -> tuple[str, ...]:
    """Return the program that starts a server which may read and write only what modes allow, though we may be root."""
    return () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def answers(server: Server) -> dict[str, str]:
    """Ask every endpoint, the stop last, and the app after each; returns what each answered, as the table shows it."""
    seen = {}
    methods = {"status": "GET", "reports": "GET", "cleanup": "DELETE", "start": "POST", "stop": "POST"}
    for name, method in methods.items():
        answer = server.start() if name == "start" else server.request(method, f"{PREFIX}/{name}", timeout=60)
        assert answer.headers["Content-Type"] == "application/json"
        assert server.directory.name not in answer.body.decode()
        assert server.load(["/dear"] * 2) == [200] * 2
        seen[name] = told(answer)
    return seen


def assert_the_next_session_works(server: Server, *, workers: int = 2) -> None:
    """A session of all workers, once they have found the directory again, and one that counts."""

    def started() -> bool:
        answer = server.start()
        if answer.status == 200 and len(answer.json()["workers"]) < workers:
            server.stop()
        return answer.status == 200 and len(answer.json()["workers"]) == workers

    wait_for(started, "a session of all workers")
    assert server.load(["/dear"] * 4) == [200] * 4
    stopped = server.stop()
    assert stopped.status == 200
    assert requests_of(json.loads(server.artifact(stopped, ".json").read_bytes()), "dear_view") == 4


def assert_all_is_well_again(server: Server, *, workers: int = 2) -> None:
    """The next session works, and nothing lies in the output directory that should not: half-written files, or parts
    that nobody will collect."""
    assert_the_next_session_works(server, workers=workers)
    parts = server.output / ".state" / "parts"
    halves = [path for path in server.output.rglob("*") if "tmp" in path.name]
    assert [path.relative_to(server.output).as_posix() for path in [*halves, *parts.glob("*")]] == []
