"""Workers of one machine agree through small files in the output directory's ``.state``; the default coordinator.

::

    .state/lock                     held while somebody starts, stops or recovers a session
    .state/session.json             the published order: it stands there exactly while a session runs
    .state/last.json                the last session that ended
    .state/workers/KEY              one file per worker, locked for its life: the kernel lets go of it on any death
    .state/parts/ID/withdrawn.json  the order is moved there: that ends a session, and needs no disk space
    .state/parts/ID/order.json      the order with its end
    .state/parts/ID/collecting      locked by whoever collects
    .state/parts/ID/KEY.joined      this worker took part
    .state/parts/ID/KEY.json        this worker's part
    .state/parts/ID/successor       the last worker left to be replaced by its server

Nothing is mapped into memory: a mapped file that somebody truncates kills the process that reads it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import CoordinationFailed, DamagedData, ProfilingError, StorageFailed
from ..model import Part, Session, WorkerId
from ..processes import process_started
from ..system import PrivateDirectory, System, try_lock, unlock
from . import Order, WorkerState
from ._membership import Membership, close, holds
from ._records import dumped, loaded, worker_of

LOCK_PATIENCE = 10.0
_ORDER_LIMIT = 64 * 1024
_PART_LIMIT = 1 << 30


class FileCoordinator:
    """A :class:`~flask_profiling.coordination.Coordinator` over the directory ``.state`` below ``root``.

    ``root`` is the output directory. Files are locked with ``flock``, which wants a local file system.
    """

    def __init__(
        self,
        root: Path,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        system: System = os,
    ) -> None:
        self._state = PrivateDirectory(root, ".state", system=system)
        self._members = Membership(self._state.child("workers"))
        self._sleep = sleep
        self._monotonic = monotonic
        self._seen: tuple[object, Order | None] = (None, None)
        self._collecting: dict[str, int] = {}
        self._collected: set[str] = set()
        self._unwritten: tuple[object, Session] | None = None

    # -- this worker ---------------------------------------------------------------------------------------------------

    def join(self, worker: WorkerId) -> None:
        """Make this process known; see the protocol."""
        self._members.join(worker)

    def leave(self) -> None:
        """Make this process unknown again; see the protocol."""
        self._members.leave()

    def forget(self) -> None:
        """In a forked child; see the protocol."""
        self._members.forget()
        for session_id in tuple(self._collecting):
            close(self._state, self._collecting.pop(session_id))
        self._seen = (None, None)

    def report(self, session_id: str, state: str) -> None:
        """Say what this worker does; see the protocol."""
        self._members.report(session_id, state)

    def take_part(self, session_id: str) -> None:
        """Note that this worker takes part; see the protocol."""
        self._parts(session_id).write_bytes(f"{self._members.key}.joined", dumped(self._members.worker.to_json()))

    def deliver(self, part: Part) -> None:
        """Hand in this worker's part; see the protocol."""
        directory = self._parts(part.session_id)
        if self._state.child("parts").status(part.session_id) is None:
            raise StorageFailed(
                f"the part of worker {part.worker.pid} came too late for session {part.session_id}; it is dropped"
            )
        directory.write_bytes(f"{self._members.key}.json", dumped(part.to_json()))

    def expect_successor(self, session_id: str) -> None:
        """Say that this worker leaves to be replaced; see the protocol."""
        self._parts(session_id).write_bytes("successor", _server())

    # -- the order -----------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude every other worker; raises CoordinationFailed when that takes too long."""
        deadline = self._monotonic() + LOCK_PATIENCE
        while (descriptor := self._tried_lock()) is None:
            if self._monotonic() > deadline:
                raise CoordinationFailed("another worker holds the lock for too long; try again, or restart the server")
            self._sleep(0.005)
        try:
            yield
        finally:
            unlock(descriptor)
            close(self._state, descriptor)

    def _tried_lock(self) -> int | None:
        descriptor = self._state.open_shared("lock")
        try:
            if try_lock(descriptor) and holds(self._state, "lock", descriptor):
                return descriptor
        except BaseException:
            close(self._state, descriptor)
            raise
        close(self._state, descriptor)
        return None

    def running(self) -> Order | None:
        """Return the published order; see the protocol.

        Raises StorageFailed where it cannot be read: that is not the end of the session.
        """
        signature = _signature(self._state.status("session.json"))
        if signature != self._seen[0]:
            self._seen = (signature, self._read_order(self._state, "session.json"))
        return self._seen[1]

    def publish(self, order: Order) -> None:
        """Publish ``order``; see the protocol."""
        parts = self._parts(order.session.id)
        self._sweep_parts()
        try:
            # Made now, so that ending the session needs no room on the disk.
            close(parts, parts.open_shared("collecting"))
            self._state.write_bytes("session.json", dumped(order.to_json()))
        except StorageFailed:
            with suppress(StorageFailed):
                parts.remove()
            raise

    def withdraw(self, order: Order) -> bool:
        """Take back the order; see the protocol."""
        session_id = order.session.id
        current = self._read_order(self._state, "session.json")
        if current is None or current.session.id != session_id:
            return False
        parts = self._parts(session_id)
        self._claim(session_id)
        with suppress(StorageFailed):  # a full disk: then the end is not known, but it is the end
            parts.write_bytes("order.json", dumped(order.to_json()))
        try:
            self._state.move("session.json", parts, "withdrawn.json")
        except BaseException:
            self._release(session_id)
            raise
        try:
            self._unwritten = None
            self._state.write_bytes("last.json", dumped(order.session.to_json()))
        except StorageFailed:
            with suppress(StorageFailed):
                self._unwritten = (_signature(self._state.status("last.json")), order.session)
        return True

    def ended(self, session_id: str) -> bool:
        """Tell whether the session was withdrawn; see the protocol."""
        last = self.last()
        if last is not None and last.id == session_id:
            return True
        return self._parts(session_id).status("withdrawn.json") is not None

    # -- the others ----------------------------------------------------------------------------------------------------

    def workers(self) -> tuple[WorkerState, ...]:
        """Return the live workers; see the protocol."""
        return self._members.states()

    def successor_expected(self, session_id: str) -> bool:
        """Tell whether a successor of the last worker is to come; see the protocol."""
        with suppress(DamagedData):
            return self._parts(session_id).read("successor", limit=_ORDER_LIMIT) == _server()
        return False

    def participants(self, session_id: str) -> tuple[WorkerId, ...]:
        """Return all workers that ever took part; see the protocol."""
        names = self._parts(session_id).names()
        found = (worker_of(name.removesuffix(".joined")) for name in names if name.endswith(".joined"))
        return tuple(worker for worker in found if worker is not None)

    # -- collecting ----------------------------------------------------------------------------------------------------

    def spool(self, session_id: str) -> Path:
        """Return the directory for large files; see the protocol."""
        return self._parts(session_id).path

    def parts(self, session_id: str, *, own: Part | None = None) -> tuple[Part, ...]:
        """Return the parts that were delivered and are whole, and the caller's own; see the protocol."""
        directory = self._parts(session_id)
        parts = [] if own is None else [own]
        for name in directory.names():
            key = name.removesuffix(".json")
            if worker_of(key) is None or (own is not None and key == self._members.key):
                continue
            with suppress(DamagedData):
                part = Part.from_json(loaded(directory.read(name, limit=_PART_LIMIT)))
                if part.session_id == session_id:
                    parts.append(part)
        return tuple(parts)

    def collecting(self) -> Order | None:
        """Return the withdrawn order whose artifacts are not there yet; see the protocol."""
        for session_id in self._state.child("parts").names():
            with suppress(ProfilingError, ValueError):
                order = self._withdrawn(session_id)
                if order is not None and order.session.ended_by != "recovered":
                    return order
        return None

    def orphans(self) -> tuple[Order, ...]:
        """Return withdrawn orders whose collector died; see the protocol."""
        for session_id in tuple(self._collected):
            with suppress(StorageFailed):
                self._finish(session_id)
        orphans = []
        for session_id in self._state.child("parts").names():
            if session_id in self._collecting:
                continue
            with suppress(ProfilingError, ValueError):
                order = self._withdrawn(session_id)
                if order is None or not self._claim(session_id):
                    continue
                if order.session.ended is None:
                    order = order.ended(at=order.session.started, monotonic=self._monotonic(), by="recovered")
                orphans.append(order)
        return tuple(orphans)

    def release(self, order: Order) -> None:
        """Leave the collecting to whoever comes next; see the protocol."""
        self._release(order.session.id)

    def finish(self, order: Order) -> None:
        """Remove the parts; see the protocol."""
        self._collected.add(order.session.id)
        self._finish(order.session.id)

    def _finish(self, session_id: str) -> None:
        """Remove the parts; until that succeeds the claim is kept, or another worker would collect once more."""
        parts = self._parts(session_id)
        # First: without it the rest is rubbish that the next start sweeps, whatever happens to it now.
        parts.unlink("withdrawn.json")
        self._collected.discard(session_id)
        self._release(session_id)
        parts.remove()

    def last(self) -> Session | None:
        """Return the last session that ended; see the protocol."""
        with suppress(ProfilingError):
            if self._unwritten is not None and self._unwritten[0] == _signature(self._state.status("last.json")):
                return self._unwritten[1]
            return Session.from_json(loaded(self._state.read("last.json", limit=_ORDER_LIMIT)))
        return None

    # -- files ---------------------------------------------------------------------------------------------------------

    def _parts(self, session_id: str) -> PrivateDirectory:
        return self._state.child("parts", session_id)

    def _read_order(self, directory: PrivateDirectory, name: str) -> Order | None:
        with suppress(DamagedData):  # or it is not there
            return Order.from_json(loaded(directory.read(name, limit=_ORDER_LIMIT)))
        return None

    def _withdrawn(self, session_id: str) -> Order | None:
        parts = self._parts(session_id)
        if session_id in self._collected or parts.status("withdrawn.json") is None:
            return None
        order = self._read_order(parts, "order.json") or self._read_order(parts, "withdrawn.json")
        return order if order is not None and order.session.id == session_id else None

    def _sweep_parts(self) -> None:
        """Remove what nobody will collect: of starts that failed, of parts that came too late, of vandals.

        The caller holds the lock and no session runs.
        """
        for session_id in self._state.child("parts").names():
            with suppress(ProfilingError, ValueError):
                if session_id in self._collecting or self._withdrawn(session_id) is not None:
                    continue
                if self._claim(session_id):
                    self._release(session_id)
                    self._parts(session_id).remove()

    def _claim(self, session_id: str) -> bool:
        """Take the collecting of a session; False when a live worker has it."""
        if session_id in self._collecting:
            return True
        parts = self._parts(session_id)
        descriptor = parts.open_shared("collecting")
        if not try_lock(descriptor):
            close(parts, descriptor)
            return False
        self._collecting[session_id] = descriptor
        return True

    def _release(self, session_id: str) -> None:
        descriptor = self._collecting.pop(session_id, None)
        if descriptor is not None:
            unlock(descriptor)
            close(self._state, descriptor)

    def __del__(self) -> None:
        # An app that is dropped (tests make many) takes its lock and descriptors with it.
        with suppress(Exception):
            self.forget()


def _server() -> bytes:
    """Name the server of this worker: it will start a successor where it is the same one, and lives."""
    pid = os.getppid()
    return dumped([socket.gethostname(), pid, process_started(pid)])


def _signature(status: os.stat_result | None) -> object:
    return None if status is None else (status.st_ino, status.st_mtime_ns, status.st_size)
