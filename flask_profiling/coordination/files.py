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

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from ..errors import CoordinationFailed, DamagedData, ProfilingError, StorageFailed
from ..model import Part, Session, WorkerId
from ..processes import process_started
from ..system import PrivateDirectory, System
from . import Order, WorkerState
from ._records import dumped, loaded, may_live, state_of, try_lock, worker_of

LOCK_PATIENCE = 10.0
_ORDER_LIMIT = 64 * 1024
_PART_LIMIT = 1 << 30
_RECORD_SIZE = 128
_numbers = count()


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
        self._system = system
        self._state = PrivateDirectory(root, ".state", system=system)
        self._workers = self._state.child("workers")
        self._sleep = sleep
        self._monotonic = monotonic
        self._number = next(_numbers)
        self._worker: WorkerId | None = None
        self._record: int | None = None
        self._seen: tuple[object, Order | None] = (None, None)
        self._collecting: dict[str, int] = {}
        self._last: Session | None = None

    # -- this worker ---------------------------------------------------------------------------------------------------

    def join(self, worker: WorkerId) -> None:
        """Make this process known; see the protocol."""
        if self._record is not None and worker == self._worker and self._record_is_in_place():
            return
        content = b""
        if self._record is not None:
            content = os.pread(self._record, _RECORD_SIZE, 0)
            self._close_record()
        self._worker = worker
        # Names without a number would collide where two apps in one process share the directory.
        record = self._workers.open_shared(self._key(worker))
        try_lock(record)
        os.pwrite(record, content or b" " * _RECORD_SIZE, 0)
        self._record = record

    def leave(self) -> None:
        """Make this process unknown again; see the protocol."""
        if self._record is None or self._worker is None:
            return
        with suppress(StorageFailed):
            self._workers.unlink(self._key(self._worker))
        self._close_record()

    def forget(self) -> None:
        """In a forked child; see the protocol.

        Closing does not unlock: the parent still holds the same open file.
        """
        self._close_record()
        for descriptor in self._collecting.values():
            os.close(descriptor)
        self._collecting.clear()
        self._seen = (None, None)

    def report(self, session_id: str, state: str) -> None:
        """Say what this worker does; see the protocol."""
        if self._record is None:
            raise CoordinationFailed("this worker could not join the others; check the output directory")
        try:
            os.pwrite(self._record, f"{state} {session_id}".ljust(_RECORD_SIZE).encode("ascii"), 0)
        except OSError as error:
            raise CoordinationFailed(
                f"a worker's state cannot be written ({os.strerror(error.errno or 0)}); check the disk"
            ) from None

    def take_part(self, session_id: str) -> None:
        """Note that this worker takes part; see the protocol."""
        self._parts(session_id).write_bytes(f"{self._own_key()}.joined", self._own_identity())

    def deliver(self, part: Part) -> None:
        """Hand in this worker's part; see the protocol."""
        directory = self._parts(part.session_id)
        if not self._exists(directory):
            raise StorageFailed(
                f"the part of worker {part.worker.pid} came too late for session {part.session_id}; it is dropped"
            )
        data = json.dumps(part.to_json(), ensure_ascii=True, separators=(",", ":")).encode("ascii")
        directory.write_bytes(f"{self._own_key()}.json", data)

    def expect_successor(self, session_id: str) -> None:
        """Say that this worker leaves to be replaced; see the protocol."""
        server = os.getppid()
        content = json.dumps([socket.gethostname(), server, process_started(server)]).encode("ascii")
        self._parts(session_id).write_bytes("successor", content)

    # -- the order -----------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude every other worker; raises CoordinationFailed when that takes too long."""
        deadline = self._monotonic() + LOCK_PATIENCE
        while True:
            descriptor = self._state.open_shared("lock")
            if try_lock(descriptor) and self._is_in_place(descriptor, self._state.path / "lock"):
                break
            os.close(descriptor)
            if self._monotonic() > deadline:
                raise CoordinationFailed("another worker holds the lock for too long; try again, or restart the server")
            self._sleep(0.005)
        try:
            yield
        finally:
            os.close(descriptor)

    def running(self) -> Order | None:
        """Return the published order; see the protocol."""
        try:
            status = os.stat(self._state.path / "session.json", follow_symlinks=False)
        except OSError:
            return None
        signature = (status.st_ino, status.st_mtime_ns, status.st_size)
        if signature != self._seen[0]:
            self._seen = (signature, self._read_order(self._state, "session.json"))
        return self._seen[1]

    def publish(self, order: Order) -> None:
        """Publish ``order``; see the protocol."""
        parts = self._parts(order.session.id)
        try:
            # Made now, so that ending the session needs no room on the disk.
            os.close(parts.open_shared("collecting"))
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
        parts.prepare()
        self._claim(session_id)
        with suppress(StorageFailed):  # a full disk: then the end is not known, but it is the end
            parts.write_bytes("order.json", dumped(order.to_json()))
        self._state.move("session.json", parts, "withdrawn.json")
        self._last = order.session
        with suppress(StorageFailed):
            self._state.write_bytes("last.json", dumped(order.session.to_json()))
        return True

    def ended(self, session_id: str) -> bool:
        """Tell whether the session was withdrawn; see the protocol."""
        last = self.last()
        return self._exists(self._parts(session_id), "withdrawn.json") or (last is not None and last.id == session_id)

    # -- the others ----------------------------------------------------------------------------------------------------

    def workers(self) -> tuple[WorkerState, ...]:
        """Return the live workers; see the protocol.

        Records of the dead are removed on the way.
        """
        states = []
        for name in self._workers.names():
            worker = worker_of(name)
            if worker is None:
                continue
            if worker == self._worker and name == self._own_key():
                record = self._record
                content = os.pread(record, _RECORD_SIZE, 0) if record is not None else b""
                states.append(state_of(worker, content))
                continue
            state = self._state_of_other(name, worker)
            if state is not None:
                states.append(state)
        return tuple(states)

    def successor_expected(self, session_id: str) -> bool:
        """Tell whether a successor of the last worker is to come; see the protocol."""
        try:
            host, server, started = json.loads(self._parts(session_id).read("successor", limit=_ORDER_LIMIT) or b"null")
        except (ValueError, TypeError, DamagedData):
            return False
        if host != socket.gethostname() or server != os.getppid():
            return False
        return bool(process_started(server) == started)

    def participants(self, session_id: str) -> tuple[WorkerId, ...]:
        """Return all workers that ever took part; see the protocol."""
        names = self._parts(session_id).names()
        found = (worker_of(name.removesuffix(".joined")) for name in names if name.endswith(".joined"))
        return tuple(worker for worker in found if worker is not None)

    # -- collecting ----------------------------------------------------------------------------------------------------

    def spool(self, session_id: str) -> Path:
        """Return the directory for large files; see the protocol."""
        return self._parts(session_id).path

    def parts(self, session_id: str) -> tuple[Part, ...]:
        """Return the parts that were delivered and are whole; see the protocol."""
        directory = self._parts(session_id)
        parts = []
        for name in directory.names():
            if worker_of(name.removesuffix(".json")) is None:
                continue
            with suppress(DamagedData):
                part = Part.from_json(loaded(directory.read(name, limit=_PART_LIMIT)))
                if part.session_id == session_id:
                    parts.append(part)
        return tuple(parts)

    def collecting(self) -> Order | None:
        """Return the withdrawn order whose artifacts are not there yet; see the protocol."""
        for session_id in self._state.child("parts").names():
            with suppress(ValueError):
                order = self._withdrawn(session_id)
                if order is not None and order.session.ended_by != "recovered":
                    return order
        return None

    def orphans(self) -> tuple[Order, ...]:
        """Return withdrawn orders whose collector died; see the protocol."""
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

    def _withdrawn(self, session_id: str) -> Order | None:
        parts = self._parts(session_id)
        if not self._exists(parts, "withdrawn.json"):
            return None
        order = self._read_order(parts, "order.json") or self._read_order(parts, "withdrawn.json")
        return order if order is not None and order.session.id == session_id else None

    def finish(self, order: Order) -> None:
        """Remove the parts; see the protocol."""
        session_id = order.session.id
        try:
            self._parts(session_id).remove()
        finally:
            descriptor = self._collecting.pop(session_id, None)
            if descriptor is not None:
                os.close(descriptor)

    def last(self) -> Session | None:
        """Return the last session that ended; see the protocol."""
        known = self._last
        with suppress(ProfilingError):
            stored = Session.from_json(loaded(self._state.read("last.json", limit=_ORDER_LIMIT)))
            if known is None or stored.started >= known.started:
                return stored
        return known

    # -- files ---------------------------------------------------------------------------------------------------------

    def _parts(self, session_id: str) -> PrivateDirectory:
        return self._state.child("parts", session_id)

    def _key(self, worker: WorkerId) -> str:
        return f"{worker.pid}-{worker.started}-{self._number}@{worker.host}"

    def _own_key(self) -> str:
        if self._worker is None:
            raise CoordinationFailed("this worker could not join the others; check the output directory")
        return self._key(self._worker)

    def _own_identity(self) -> bytes:
        return dumped(None if self._worker is None else self._worker.to_json())

    def _read_order(self, directory: PrivateDirectory, name: str) -> Order | None:
        try:
            data = directory.read(name, limit=_ORDER_LIMIT)
            return None if data is None else Order.from_json(loaded(data))
        except (DamagedData, StorageFailed):
            return None

    def _claim(self, session_id: str) -> bool:
        """Take the collecting of a session; False when a live worker has it."""
        descriptor = self._parts(session_id).open_shared("collecting")
        if not try_lock(descriptor):
            os.close(descriptor)
            return False
        self._collecting[session_id] = descriptor
        return True

    def _exists(self, directory: PrivateDirectory, name: str = "") -> bool:
        return os.path.lexists(directory.path / name)

    def _record_is_in_place(self) -> bool:
        record, worker = self._record, self._worker
        return (
            record is not None
            and worker is not None
            and self._is_in_place(record, self._workers.path / self._key(worker))
        )

    def _is_in_place(self, descriptor: int, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
        except OSError:
            return False

    def __del__(self) -> None:
        # An app that is dropped (tests make many) takes its lock and descriptors with it.
        with suppress(Exception):
            self.forget()

    def _close_record(self) -> None:
        record, self._record = self._record, None
        if record is not None:
            os.close(record)

    def _state_of_other(self, name: str, worker: WorkerId) -> WorkerState | None:
        try:
            with self._opened(name) as descriptor:
                content = os.pread(descriptor, _RECORD_SIZE, 0)
                if try_lock(descriptor) or not may_live(worker):
                    self._workers.unlink(name)
                    return None
                return state_of(worker, content)
        except (ProfilingError, OSError):
            return None

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        file = self._workers.open(name)
        if file is None:
            raise FileNotFoundError(name)
        with file:
            yield file.fileno()
