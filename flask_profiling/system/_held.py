"""One directory held open for one operation, and streams over a descriptor; no policy (what is private or whole)."""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .calls import System, has_owners

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_EXTRA = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _EXTRA
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _EXTRA
# Without O_NONBLOCK a planted FIFO would hold the thread that opens it for ever.
READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _EXTRA
CHANGE = os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | _EXTRA

# The operating system's read takes the memory that it is asked for, however small the file is: 1 GiB for a limit of
# 1 GiB, which a process under ``ulimit -v`` does not have.
PIECE = 1 << 20


def plain(name: str) -> str:
    """Return ``name`` when it can only mean something directly in a directory, else raise ValueError."""
    if name in ("", ".", "..") or "\0" in name or "/" in name or os.sep in name:
        raise ValueError(f"{name[:100]!r} is not the name of a file")
    return name


class Held:
    """A directory that is held open: what is done in it is done there, wherever its path leads meanwhile.

    Where names cannot be resolved against a descriptor (Windows), ``descriptor`` is None and the path is used.
    Raises OSError.
    """

    def __init__(self, system: System, path: str, descriptor: int | None) -> None:
        self.system = system
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def root(cls, system: System, path: str, *, make: bool) -> Held:
        """Open the directory ``path``, with ``make`` after making it and its parents (0700) where they are missing."""
        try:
            return cls._open(system, path, path, None)
        except FileNotFoundError:
            if not make:
                raise
        _make(system, path)
        return cls._open(system, path, path, None)

    def inner(self, name: str, *, make: bool) -> Held:
        """Open a directory inside this one, with ``make`` after making it (0700) where it is missing."""
        path = str(Path(self.path) / name)
        try:
            return self._open(self.system, self._at(name), path, self.descriptor)
        except FileNotFoundError:
            if not make:
                raise
        with suppress(FileExistsError):
            self.system.mkdir(self._at(name), 0o700, dir_fd=self.descriptor)
        return self._open(self.system, self._at(name), path, self.descriptor)

    @classmethod
    def _open(cls, system: System, name: str, path: str, parent: int | None) -> Held:
        if has_owners(system):
            return cls(system, path, system.open(name, _DIRECTORY, dir_fd=parent))
        if not stat.S_ISDIR(system.stat(name, follow_symlinks=False).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return cls(system, path, None)

    def close(self) -> None:
        """Let go of the directory; nothing was written through it, so a failure means nothing."""
        if self.descriptor is not None:
            with suppress(OSError):
                self.system.close(self.descriptor)

    def names(self) -> list[str]:
        """Return the names in the directory."""
        return self.system.listdir(self.path if self.descriptor is None else self.descriptor)

    def stat(self, name: str) -> os.stat_result:
        """Return the status of a name; a link is not followed."""
        return self.system.stat(self._at(name), dir_fd=self.descriptor, follow_symlinks=False)

    def open(self, name: str, flags: int) -> int:
        """Open a file, new ones with mode 0600."""
        return self.system.open(self._at(name), flags, 0o600, dir_fd=self.descriptor)

    def replace(self, name: str, target: Held, new_name: str) -> None:
        """Rename a file, over what stands in its new place."""
        self.system.replace(
            self._at(name), target._at(new_name), src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor
        )

    def unlink(self, name: str) -> None:
        """Remove a file."""
        self.system.unlink(self._at(name), dir_fd=self.descriptor)

    def rmdir(self, name: str) -> None:
        """Remove an empty directory."""
        self.system.rmdir(self._at(name), dir_fd=self.descriptor)

    def sync(self) -> None:
        """Make renames last through a power cut where the file system can; they are done and visible either way."""
        if self.descriptor is not None:
            with suppress(OSError):
                self.system.fsync(self.descriptor)

    def _at(self, name: str) -> str:
        return str(Path(self.path) / name) if self.descriptor is None else name


class Source(io.RawIOBase):
    """Raw bytes from a descriptor through the system's read; closes it."""

    def __init__(self, system: System, descriptor: int) -> None:
        super().__init__()
        self._system = system
        self._descriptor = descriptor

    def readable(self) -> bool:
        """Answer yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read at most what ``buffer`` holds; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self._system.read(self._descriptor, min(len(view), PIECE))
        view[: len(data)] = data
        return len(data)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor, once."""
        if not self.closed:
            super().close()
            self._system.close(self._descriptor)


class Sink(io.RawIOBase):
    """Raw bytes to a descriptor through the system's write; the descriptor stays its maker's to close."""

    def __init__(self, system: System, descriptor: int) -> None:
        super().__init__()
        self._system = system
        self._descriptor: int | None = descriptor

    def writable(self) -> bool:
        """Answer yes."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of ``data`` and return how much."""
        return memoryview(data).nbytes if self._descriptor is None else self._system.write(self._descriptor, data)

    def drop(self) -> None:
        """Swallow what is written from now on."""
        self._descriptor = None


def _make(system: System, path: str) -> None:
    """Make a directory and the parents that are missing, all 0700; the check that follows sees what is in the way."""
    missing: list[Path] = []
    for step in (Path(path), *Path(path).parents):
        try:
            system.mkdir(str(step), 0o700)
        except FileNotFoundError:
            missing.append(step)
            continue
        except FileExistsError:
            pass
        break
    for step in reversed(missing):
        with suppress(FileExistsError):
            system.mkdir(str(step), 0o700)
