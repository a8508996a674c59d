"""Which workers have an endpoint for DevTools: one private file per worker, locked by it for its life; no socket here.

::

    .state/inspectors/PID-STARTED-PORT@SPACE    the worker's entry as JSON; a port means nothing in another container
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from ..errors import DamagedData, ProfilingError, StorageFailed
from ..processes import pid_alive, process_space, process_started
from ..system import CAN_LOCK, PrivateDirectory, try_lock
from .discovery import Entry

_LIMIT = 16 * 1024
_ATTEMPTS = 10


class Registry:
    """The entries of all workers that share an output directory; ``directory`` is private to it."""

    def __init__(self, directory: PrivateDirectory) -> None:
        self._directory = directory
        self._name = ""
        self._descriptor: int | None = None

    def enter(self, entry: Entry) -> None:
        """Make this process's entry known until :meth:`leave`, or the process's death; raises StorageFailed."""
        pid = os.getpid()
        self._name = f"{pid}-{process_started(pid)}-{entry.port}@{process_space()}"
        descriptor = self._locked_file()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(entry.to_json()).encode("ascii"), 0)
        self._descriptor = descriptor

    def leave(self) -> None:
        """Make it unknown again."""
        if self._descriptor is None:
            return
        with suppress(ProfilingError):
            self._directory.unlink(self._name)
        self.forget()

    def forget(self) -> None:
        """In a forked child: let go of the parent's entry, which stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def others(self) -> list[Entry]:
        """Return the entries of the other live workers; those of dead ones are removed on the way."""
        found = []
        with suppress(ProfilingError):
            here = f"@{process_space()}"
            for name in self._directory.names():
                if not name.endswith(here) or (name == self._name and self._descriptor is not None):
                    continue
                with suppress(ProfilingError, OSError, ValueError, RecursionError):
                    entry = self._entry(name)
                    if entry is not None:
                        found.append(entry)
        return found

    def _locked_file(self) -> int:
        """Open and lock this process's file; whoever looks in between takes it for a dead worker's and removes it."""
        for _ in range(_ATTEMPTS):
            descriptor = self._directory.open_shared(self._name)
            if try_lock(descriptor) and self._is_in_place(descriptor):
                return descriptor
            os.close(descriptor)
        raise StorageFailed("its file cannot be locked; let PROFILING_OUTPUT_DIR be on a disk of this machine")

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            there = os.stat(self._directory.path / self._name, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(os.fstat(descriptor), there)

    def _entry(self, name: str) -> Entry | None:
        file = self._directory.open(name)
        if file is None:
            return None
        with file:
            content = file.read(_LIMIT)
            if not _lives(name) or (CAN_LOCK and try_lock(file.fileno())):
                self._directory.unlink(name)
                return None
        try:
            return Entry.from_json(json.loads(content))
        except UnicodeDecodeError as error:
            raise DamagedData("a worker's address for DevTools is damaged; it is ignored") from error


def _lives(name: str) -> bool:
    """Tell whether the process of a file runs: a forked child may hold its lock a little longer."""
    pid, _, rest = name.partition("-")
    started = rest.partition("-")[0]
    return pid.isdecimal() and started.isdecimal() and pid_alive(int(pid), int(started))
