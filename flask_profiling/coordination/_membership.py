"""Who lives: one file per worker, locked for its life, with what the worker does in it; no order and no part here."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count

from ..errors import CoordinationFailed, DamagedData, StorageFailed
from ..model import WorkerId
from ..system import PrivateDirectory, storage_failure, try_lock
from . import WorkerState
from ._records import may_live, state_of, worker_of

_RECORD_SIZE = 128
_ATTEMPTS = 10
_numbers = count()


class Membership:
    """This worker's file among those of the others in ``directory``."""

    def __init__(self, directory: PrivateDirectory) -> None:
        self._directory = directory
        self._system = directory.system
        self._number = next(_numbers)
        self._worker: WorkerId | None = None
        self._descriptor: int | None = None
        self._content = b""
        self._written: bytes | None = None

    @property
    def worker(self) -> WorkerId:
        """This worker; raises CoordinationFailed before it has joined."""
        if self._worker is None:
            raise CoordinationFailed("this worker could not join the others; check the output directory")
        return self._worker

    @property
    def key(self) -> str:
        """The name of this worker's file; the number keeps apart two apps in one process that share the directory."""
        worker = self.worker
        return f"{worker.pid}-{worker.started}-{self._number}@{worker.host}"

    def join(self, worker: WorkerId) -> None:
        """Make this process known as a live worker; again is harmless, and heals what was deleted or not written."""
        if self._descriptor is None or worker != self._worker or not holds(self._directory, self.key, self._descriptor):
            self._worker = worker
            descriptor = self._locked_file()
            self._close()
            self._descriptor, self._written = descriptor, None
        if self._written != self._content:
            self._write(self._descriptor)

    def leave(self) -> None:
        """Make this process unknown again."""
        if self._descriptor is None:
            return
        with suppress(StorageFailed):
            self._directory.unlink(self.key)
        self.forget()

    def forget(self) -> None:
        """Let go of the file; in a forked child that does not unlock it: the parent still holds the same open file."""
        self._close()
        self._content = b""

    def report(self, session_id: str, state: str) -> None:
        """Say what this worker does; where that cannot be written, the next :meth:`join` tries again."""
        self._content = f"{state} {session_id}".encode("ascii")
        if self._descriptor is None:
            raise CoordinationFailed("this worker could not join the others; check the output directory")
        self._write(self._descriptor)

    def states(self) -> tuple[WorkerState, ...]:
        """Return the live workers; the files of the dead are removed on the way.

        Raises StorageFailed where a file cannot be read: a worker that cannot be seen is not dead.
        """
        states = []
        for name in self._directory.names():
            worker = worker_of(name)
            if worker is None:
                continue
            is_own = self._descriptor is not None and name == self.key
            state = state_of(worker, self._content) if is_own else self._state_of_other(name, worker)
            if state is not None:
                states.append(state)
        return tuple(states)

    def _locked_file(self) -> int:
        """Open and lock this worker's file; another worker may lock it first, for a file without a lock is a dead
        worker's, and remove it."""
        for _ in range(_ATTEMPTS):
            descriptor = self._directory.open_shared(self.key)
            try:
                if try_lock(descriptor) and holds(self._directory, self.key, descriptor):
                    return descriptor
            except BaseException:
                close(self._directory, descriptor)
                raise
            close(self._directory, descriptor)
        raise CoordinationFailed("this worker's file is held by another process; restart the server")

    def _write(self, descriptor: int) -> None:
        try:
            self._system.pwrite(descriptor, self._content.ljust(_RECORD_SIZE), 0)
        except OSError as error:
            raise storage_failure(error, "a worker's state could not be written") from None
        self._written = self._content

    def _state_of_other(self, name: str, worker: WorkerId) -> WorkerState | None:
        try:
            file = self._directory.open(name)
        except DamagedData:  # no worker makes a link or a directory
            return None
        if file is None:
            return None
        descriptor = file.fileno()
        try:
            content = self._system.pread(descriptor, _RECORD_SIZE, 0)
            if not try_lock(descriptor) and may_live(worker):
                return state_of(worker, content)
            with suppress(StorageFailed):  # while it is locked, so that nobody joins with it
                self._directory.unlink(name)
        except OSError as error:
            raise storage_failure(error, "a worker's state could not be read") from None
        finally:
            with suppress(OSError):
                file.close()
        return None

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            close(self._directory, descriptor)


def holds(directory: PrivateDirectory, name: str, descriptor: int) -> bool:
    """Tell whether ``name`` still stands for the file that is open."""
    status = directory.status(name)
    try:
        return status is not None and os.path.samestat(directory.system.fstat(descriptor), status)
    except OSError as error:
        raise storage_failure(error, f"{name} could not be read") from None


def close(directory: PrivateDirectory, descriptor: int) -> None:
    """Close a descriptor; nothing was written that a failure could lose."""
    with suppress(OSError):
        directory.system.close(descriptor)
