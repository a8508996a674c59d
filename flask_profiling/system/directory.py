"""Private directories and the whole files in them; what the files mean is not known here.

Names are resolved against the descriptor of a directory that was opened without following links and checked, so that a
directory which is replaced while we work never leads us outside. Nothing stays open between two operations.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import DamagedData, StorageFailed
from ..processes import pid_alive, process_space, process_started
from ._held import CHANGE, CREATE, PIECE, READ, Held, Sink, Source, plain
from .calls import System, has_owners, storage_failure
from .locks import try_lock

_TEMPORARY = re.compile(r"\.tmp-([0-9a-f]{8})-([0-9]{1,10})-([0-9]{1,20})-[0-9a-f]{16}")
# A write that has not touched its file for an hour is over, whatever its pid says (it may mean another container's):
# unless somebody holds the file, for an hour is soon over where the clock is set.
_STALE_AFTER = 3600.0
# What people keep in a directory that is empty otherwise.
_PLACEHOLDERS = frozenset({".gitignore", ".gitkeep"})


class PrivateDirectory:
    """A directory of our own (0700) at or under a configured root, with whole files (0600) in it.

    ``below`` are the names of directories under ``root``, all ours; ``shown`` is what people are told instead of the
    root's path (where it is None: as given, an absolute one by its last name alone). Each method opens the way from the
    root anew. Names must be plain (no separator, not ``..``), else ValueError. What the operating system refuses is
    raised as StorageFailed or DiskFull.
    """

    def __init__(self, root: Path, *below: str, shown: str | None = None, system: System = os) -> None:
        # An answer may hold no path of the machine.
        self.shown = shown or (root.name if root.is_absolute() else root.as_posix())
        self.below = tuple(plain(name) for name in below)
        self.system = system
        with self._failures("cannot be found"):
            self.root = _usable(root.absolute())

    @property
    def path(self) -> Path:
        """The absolute path, for code that can only be given a path."""
        return self.root.joinpath(*self.below)

    def child(self, *names: str) -> PrivateDirectory:
        """Return the directory ``names`` deeper; nothing is made."""
        return PrivateDirectory(self.root, *self.below, *names, shown=self.shown, system=self.system)

    def prepare(self) -> None:
        """Make the directory, parents too, where it is missing.

        Refuses a link, a file, another user's directory, and a root that others may write to, unless it is empty: then
        it is tightened to 0700. A root that others may only read is left as it is when there is something in it.
        """
        with self._failures("cannot be used"), self._opened(make=True):
            pass

    def write(self, name: str, write: Callable[[BinaryIO], None]) -> os.stat_result:
        """Store what ``write`` writes as ``name``, whole or not at all; makes the directory where it is missing.

        Returns the new file's status. When anything is raised, what ``name`` held before is still there. An exception
        of ``write`` passes through, but for OSError; the file that it is given cannot seek.
        """
        with self._failures(f"could not take {name}"), self._opened(make=True) as held:
            temporary = self._temporary_name()
            descriptor = held.open(temporary, CREATE)
            try_lock(descriptor)  # until it is closed; see sweep()
            try:
                status = self._fill(descriptor, write)
                try:
                    held.replace(temporary, held, plain(name))
                except IsADirectoryError:
                    if not self.below:
                        raise
                    held.rmdir(name)  # in a directory that is ours alone an empty one is nobody's
                    held.replace(temporary, held, name)
            except BaseException:
                with suppress(OSError):
                    held.unlink(temporary)
                raise
            held.sync()
            return status

    def write_bytes(self, name: str, data: bytes) -> os.stat_result:
        """Store ``data`` as ``name``; as :meth:`write`."""

        def write(out: BinaryIO) -> None:
            out.write(data)

        return self.write(name, write)

    def open(self, name: str) -> BinaryIO | None:
        """Open a file for reading, or return None where it (or the directory) is missing.

        Raises DamagedData where something else than a regular file stands there.
        """
        with self._failures(f"could not give {name}"):
            try:
                return io.BufferedReader(Source(self.system, self._descriptor(name, READ)))
            except FileNotFoundError:
                return None

    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return a file's content, or None where it is missing; raises DamagedData over ``limit`` bytes."""
        with self._failures(f"could not give {name}"):
            file = self.open(name)
            if file is None:
                return None
            pieces: list[bytes] = []
            with file:
                # Not read to learn that: so much may be more than there is memory.
                left = 0 if self.system.fstat(file.fileno()).st_size > limit else limit + 1
                while left and (piece := file.read(min(left, PIECE))):
                    pieces.append(piece)
                    left -= len(piece)
        if not left:
            raise DamagedData(f"{name} in {self.shown!r} is over the {limit} bytes that it may have; delete it")
        return b"".join(pieces)

    def open_shared(self, name: str) -> int:
        """Open a file that processes share (to lock or to map) for reading and writing, made empty where it is missing.

        Returns its descriptor, which the caller closes. Makes the directory where it is missing. Where something else
        than a regular file stands there, it is removed if the directory is ours alone (a link itself, an empty
        directory); raises DamagedData in the root, and for a directory with something in it.
        """
        with self._failures(f"could not give {name}"):
            try:
                return self._descriptor(name, CHANGE | os.O_CREAT, make=True)
            except DamagedData:
                if not self.below or not self._cleared(name):
                    raise
                return self._descriptor(name, CHANGE | os.O_CREAT, make=True)

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of a name (of a link, its own), or None where it is missing.

        One call, by the path: cheap, and no word about who owns the way there.
        """
        with self._failures(f"could not give {name}"):
            try:
                return self.system.stat(str(self.path / plain(name)), follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def unlink(self, name: str) -> bool:
        """Remove a file (of a link, the link itself); returns whether it was there."""
        with self._failures(f"could not lose {name}"):
            try:
                with self._opened() as held:
                    held.unlink(plain(name))
            except FileNotFoundError:
                return False
            return True

    def names(self) -> list[str]:
        """Return all names in the directory, sorted; none where it is missing."""
        with self._failures("cannot be listed"):
            try:
                with self._opened() as held:
                    return sorted(held.names())
            except FileNotFoundError:
                return []

    def files(self, wanted: Callable[[str], bool]) -> list[tuple[str, os.stat_result]]:
        """Return the regular files (a link is none) whose names are ``wanted``, by name, each with its status."""
        found: list[tuple[str, os.stat_result]] = []
        with self._failures("cannot be listed"), suppress(FileNotFoundError), self._opened() as held:
            for name in sorted(filter(wanted, held.names())):
                with suppress(FileNotFoundError):
                    found.append((name, held.stat(name)))
        return [(name, status) for name, status in found if stat.S_ISREG(status.st_mode)]

    def move(self, name: str, target: PrivateDirectory, new_name: str) -> os.stat_result:
        """Move a finished file to ``target``, whole or not at all; returns its status.

        Raises DamagedData where ``name`` is missing, or is no regular file of this user with one name.
        """
        with self._failures(f"could not give {name}"):
            try:
                descriptor = self._descriptor(name, CHANGE)
            except FileNotFoundError as error:
                raise DamagedData(f"{name} in {self.shown!r} is missing; start a new session") from error
            try:
                status = self.system.fstat(descriptor)
                if status.st_nlink != 1 or (has_owners(self.system) and status.st_uid != self.system.geteuid()):
                    raise DamagedData(f"{name} in {self.shown!r} is not ours alone; remove it")
                status = self._settle(descriptor)
            finally:
                self.system.close(descriptor)
            with self._opened() as held, target._opened(make=True) as other:
                held.replace(plain(name), other, plain(new_name))
                other.sync()
            return status

    def remove(self) -> bool:
        """Remove the directory with the files in it; returns whether it was there.

        One that holds directories is refused, and the root itself is never removed (ValueError).
        """
        if not self.below:
            raise ValueError("the root is not ours to remove")
        parent = PrivateDirectory(self.root, *self.below[:-1], shown=self.shown, system=self.system)
        with self._failures("cannot be removed"):
            try:
                with self._opened() as held:
                    for name in held.names():
                        with suppress(FileNotFoundError):
                            held.unlink(name)
                with parent._opened() as held:
                    held.rmdir(self.below[-1])
            except FileNotFoundError:
                return False
            return True

    def sweep(self, *, now: float) -> int:
        """Remove temporary files whose writer died, or that nobody touched for an hour before ``now`` (Unix seconds).

        Returns how many; a file that is being written stays, whatever the clock says.
        """
        swept = 0
        with self._failures("cannot be swept"), suppress(FileNotFoundError), self._opened() as held:
            for temporary in filter(None, map(_TEMPORARY.fullmatch, held.names())):
                with suppress(FileNotFoundError):
                    status = held.stat(temporary[0])
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    is_old = now - status.st_mtime > _STALE_AFTER
                    if _writer_died(temporary) or (is_old and not _is_held(held, temporary[0])):
                        held.unlink(temporary[0])
                        swept += 1
        return swept

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_failure(error, f"the output directory {self.shown!r} {what}") from error

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[Held]:
        """Hold the directory open; every step from the root on is opened without following links, and checked."""
        held = Held.root(self.system, str(self.root), make=make)
        try:
            self._check(held, tighten=lambda root: make and _is_empty(root))
            for name in self.below:
                outer, held = held, held.inner(name, make=make)
                outer.close()
                self._check(held, tighten=lambda _: make)
            yield held
        finally:
            held.close()

    def _check(self, held: Held, *, tighten: Callable[[Held], bool]) -> None:
        """Refuse a directory that another user owns or may change; close it to others where ``tighten`` allows."""
        if held.descriptor is None:
            return
        status = self.system.fstat(held.descriptor)
        if status.st_uid != self.system.geteuid():
            raise StorageFailed(
                f"the output directory {self.shown!r} belongs to another user; "
                "choose another PROFILING_OUTPUT_DIR, or run the server as its owner"
            )
        if status.st_mode & 0o077 and not status.st_mode & stat.S_ISVTX:
            if tighten(held):
                self.system.fchmod(held.descriptor, 0o700)
            # Asked again: another worker may have been faster, and some file systems keep no modes.
            status = self.system.fstat(held.descriptor)
        if status.st_mode & 0o022:
            raise StorageFailed(
                f"other users may write to the output directory {self.shown!r}; "
                "take that right away (chmod 700), or choose another PROFILING_OUTPUT_DIR"
            )

    def _descriptor(self, name: str, flags: int, *, make: bool = False) -> int:
        """Open a file and return its descriptor; raises DamagedData where it is not a regular one."""
        with self._opened(make=make) as held:
            try:
                descriptor = held.open(plain(name), flags)
            except OSError as error:
                # A link, a directory, or a socket.
                if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                    raise self._damaged(name) from error
                raise
        try:
            if not stat.S_ISREG(self.system.fstat(descriptor).st_mode):
                raise self._damaged(name)
        except BaseException:
            with suppress(OSError):
                self.system.close(descriptor)
            raise
        return descriptor

    def _cleared(self, name: str) -> bool:
        """Remove what stands in the place of a file, unless it is one by now; returns whether that went well."""
        with self._opened() as held:
            try:
                mode = held.stat(name).st_mode
                if stat.S_ISDIR(mode):
                    held.rmdir(name)
                elif not stat.S_ISREG(mode):
                    held.unlink(name)
            except OSError as error:
                return error.errno == errno.ENOENT
        return True

    def _damaged(self, name: str) -> DamagedData:
        place = "/".join((*self.below, name))
        return DamagedData(f"{place} in {self.shown!r} is not a regular file; remove it")

    def _fill(self, descriptor: int, write: Callable[[BinaryIO], None]) -> os.stat_result:
        """Let ``write`` fill a new file, see it on the disk, close it, and return its status."""
        sink = Sink(self.system, descriptor)
        out = io.BufferedWriter(sink, 1 << 16)
        try:
            write(out)
            # A text wrapper that was thrown away has closed it, and flushed by that.
            if not out.closed:
                out.flush()
            return self._settle(descriptor)
        finally:
            # What is still buffered after a failure goes nowhere, least of all into a descriptor that is used anew.
            sink.drop()
            out.close()
            self.system.close(descriptor)

    def _settle(self, descriptor: int) -> os.stat_result:
        """Make a file private and see it on the disk; returns its status."""
        if has_owners(self.system):
            # An odd umask may have taken our own rights, or its maker given some to others.
            self.system.fchmod(descriptor, 0o600)
        self.system.fsync(descriptor)
        return self.system.fstat(descriptor)

    def _temporary_name(self) -> str:
        pid = self.system.getpid()
        return f".tmp-{process_space()}-{pid}-{process_started(pid)}-{self.system.urandom(8).hex()}"


def _usable(path: Path) -> Path:
    """Return a path that the operating system can be asked about, else raise OSError."""
    try:
        if b"\0" not in os.fsencode(path):
            return path
    except UnicodeEncodeError:
        pass
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _is_empty(held: Held) -> bool:
    return _PLACEHOLDERS.issuperset(held.names())


def _is_held(held: Held, temporary: str) -> bool:
    """Tell whether the writer of a temporary file still has it open; also where that cannot be known."""
    try:
        descriptor = held.open(temporary, READ)
    except OSError:
        return True
    try:
        return not try_lock(descriptor)
    finally:
        with suppress(OSError):
            held.system.close(descriptor)


def _writer_died(temporary: re.Match[str]) -> bool:
    """Tell whether the process that a temporary name stands for is gone; one in another pid space may live."""
    space, pid, started = temporary.groups()
    return space == process_space() and not pid_alive(int(pid), int(started))
