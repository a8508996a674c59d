"""What a conversation asks of its process: a session, a snapshot, a number; no message of DevTools is known here."""

from __future__ import annotations

import gc
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ..engines import Engine
from ..errors import EngineBusy, NotRunning, ProfilingError, Unavailable
from ..model import Artifact, Session, SessionOptions
from ..processes import pid_alive, process_space, process_started
from ..sessions import Started, Status, Stopped
from ..system import PrivateDirectory

_LARGEST_PROFILE = 256 << 20
_COLLECTING_PATIENCE = 60.0
# The files of a snapshot are made and opened within minutes; whoever made older ones (in another container) is gone.
_STALE_AFTER = 3600.0


class Sessions(Protocol):
    """As much of the session machine as a target needs."""

    def start(self, options: SessionOptions) -> Started:
        """Start a session in every worker."""

    def stop(self, *, session_id: str) -> Stopped:
        """Stop this session; raises NotRunning where it is over already."""

    def status(self) -> Status:
        """Tell what goes on."""

    def reports(self) -> tuple[Artifact, ...]:
        """Return the stored artifacts."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a panel records: the choices of a session, the best first, and the type of artifact that it shows."""

    choices: tuple[SessionOptions, ...]
    artifact: str


class Target:
    """One process as DevTools sees it.

    ``wanted`` says by kind (``"cpu"``, ``"allocations"``) what is recorded; ``open_artifact`` opens a stored file by
    name; ``heap_engine`` makes an engine that writes a snapshot to a directory as long as somebody wants it, and
    ``spool`` is where that directory is made.
    """

    def __init__(
        self,
        *,
        title: str,
        sessions: Sessions,
        wanted: dict[str, Wanted],
        open_artifact: Callable[[str], BinaryIO],
        heap_engine: Callable[[Path, Callable[[], bool]], Engine],
        spool: PrivateDirectory,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.title = title
        self._sessions = sessions
        self._wanted = wanted
        self._open_artifact = open_artifact
        self._heap_engine = heap_engine
        self._spool = spool
        self._sleep = sleep
        self._now = now

    def start(self, kind: str) -> str:
        """Start a session of its own for a panel and return its id; raises what a start raises."""
        *better, last = self._wanted[kind].choices
        for options in better:
            with suppress(Unavailable, EngineBusy):
                return self._sessions.start(options).session.id
        return self._sessions.start(last).session.id

    def stop(self, session_id: str) -> tuple[str, ...]:
        """Stop a session that :meth:`start` began and return the sentences that belong to it; raises ProfilingError.

        Where somebody else has stopped it, that is one of them.
        """
        try:
            return self._sessions.stop(session_id=session_id).notes
        except NotRunning:
            return ("It was stopped before, by somebody else or by its deadline.",)

    def profile(self, kind: str, session_id: str) -> str | None:
        """Return the artifact of a stopped session that the panel of ``kind`` shows, or None where there is none.

        Waits while another worker is still writing it.
        """
        for _ in range(round(_COLLECTING_PATIENCE / 0.05)):
            status = self._sessions.status()
            if status.session is None or status.session.id != session_id:
                break
            self._sleep(0.05)
        for artifact in self._sessions.reports():
            if artifact.session_id == session_id and artifact.type == self._wanted[kind].artifact:
                return self._text(artifact)
        return None

    def _text(self, artifact: Artifact) -> str:
        if artifact.size > _LARGEST_PROFILE:
            raise Unavailable(f"{artifact.filename} is too large to be sent; load the file into the panel instead")
        with self._open_artifact(artifact.filename) as file:
            return file.read(artifact.size).decode("ascii").strip()

    def ended(self) -> Session | None:
        """Return the last session, once its artifacts are there."""
        status = self._sessions.status()
        return None if status.collecting else status.last

    @contextmanager
    def snapshot(self, is_wanted: Callable[[], bool]) -> Iterator[BinaryIO]:
        """Take a heap snapshot of this process and open it; the file is gone after the block.

        Raises ProfilingError, and that soon where ``is_wanted`` turns false meanwhile.
        """
        pid = os.getpid()
        name = f"{pid}-{process_started(pid)}-{secrets.token_hex(4)}@{process_space()}"
        directory = self._spool.child(name)
        self.sweep()
        directory.prepare()
        try:
            engine = self._heap_engine(directory.path, is_wanted)
            engine.start()
            recording = engine.stop()
            if not recording.attachments:
                raise Unavailable("; ".join(recording.notes) or "no heap snapshot was written")
            file = directory.open(recording.attachments[0])
            if file is None:
                raise Unavailable("the heap snapshot was deleted before it could be sent; take another")
            with file:
                yield file
        finally:
            with suppress(ProfilingError):
                directory.remove()

    def sweep(self) -> None:
        """Remove what snapshots of dead processes left; never raises."""
        names: list[str] = []
        with suppress(ProfilingError):
            names = self._spool.names()
        for name in names:
            with suppress(ProfilingError, ValueError):
                if self._is_left(name):
                    self._spool.child(name).remove()

    def _is_left(self, name: str) -> bool:
        """Tell whether nobody is there any more who will remove a directory of the spool."""
        pid, _, rest = name.partition("-")
        started = rest.partition("-")[0]
        if not (pid.isdecimal() and started.isdecimal()):
            return False
        if name.endswith(f"@{process_space()}"):
            return not pid_alive(int(pid), int(started))
        status = self._spool.status(name)
        return status is not None and self._now() - status.st_mtime > _STALE_AFTER

    def collect_garbage(self) -> None:
        """Run Python's garbage collector."""
        gc.collect()

    def memory(self) -> int:
        """Return the bytes of memory that the process has in use (its resident set), 0 where that is unknown."""
        try:
            pages = int(Path("/proc/self/statm").read_bytes().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError, AttributeError):
            return 0
