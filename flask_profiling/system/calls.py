"""The calls about files that this package makes, and the sentences for those that fail; no call is made here."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol, overload

from ..errors import DiskFull, StorageFailed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_NO_WAY = "choose another PROFILING_OUTPUT_DIR"
_ADVICE = {
    errno.EROFS: _NO_WAY,
    errno.EACCES: f"let the server's user write there, or {_NO_WAY}",
    errno.EPERM: f"let the server's user write there, or {_NO_WAY}",
    errno.ENOENT: "it was removed meanwhile; start a new session, which makes it again",
    errno.EEXIST: f"a link or a file stands where a directory should be; remove it, or {_NO_WAY}",
    errno.ENOTDIR: f"a link or a file stands where a directory should be; remove it, or {_NO_WAY}",
    errno.EISDIR: f"a directory stands where a file should be; remove it, or {_NO_WAY}",
    errno.ENOTEMPTY: f"a directory stands where a file should be; remove it, or {_NO_WAY}",
    errno.ELOOP: f"a link stands where there should be none; remove it, or {_NO_WAY}",
}


class System(Protocol):
    """What is asked of the operating system; the :mod:`os` module is one, and a test hands in another."""

    def open(self, path: str, flags: int, mode: int = ..., *, dir_fd: int | None = ...) -> int:
        """As :func:`os.open`."""

    def close(self, fd: int, /) -> None:
        """As :func:`os.close`."""

    def read(self, fd: int, length: int, /) -> bytes:
        """As :func:`os.read`."""

    def write(self, fd: int, data: ReadableBuffer, /) -> int:
        """As :func:`os.write`."""

    def pread(self, fd: int, length: int, offset: int, /) -> bytes:
        """As :func:`os.pread`; asked only of files that processes share."""

    def pwrite(self, fd: int, data: ReadableBuffer, offset: int, /) -> int:
        """As :func:`os.pwrite`; asked only of files that processes share."""

    def fsync(self, fd: int, /) -> None:
        """As :func:`os.fsync`."""

    def fstat(self, fd: int, /) -> os.stat_result:
        """As :func:`os.fstat`."""

    def fchmod(self, fd: int, mode: int, /) -> None:
        """As :func:`os.fchmod`; asked only where files have owners."""

    def stat(self, path: str, /, *, dir_fd: int | None = ..., follow_symlinks: bool = ...) -> os.stat_result:
        """As :func:`os.stat`."""

    @overload
    def listdir(self, path: str, /) -> list[str]:
        """As :func:`os.listdir`."""

    @overload
    def listdir(self, path: int, /) -> list[str]:
        """As :func:`os.listdir`, of a directory held open."""

    def mkdir(self, path: str, mode: int = ..., *, dir_fd: int | None = ...) -> None:
        """As :func:`os.mkdir`."""

    def rmdir(self, path: str, *, dir_fd: int | None = ...) -> None:
        """As :func:`os.rmdir`."""

    def unlink(self, path: str, *, dir_fd: int | None = ...) -> None:
        """As :func:`os.unlink`."""

    def replace(self, src: str, dst: str, *, src_dir_fd: int | None = ..., dst_dir_fd: int | None = ...) -> None:
        """As :func:`os.replace`."""

    def getpid(self) -> int:
        """As :func:`os.getpid`."""

    def geteuid(self) -> int:
        """As :func:`os.geteuid`; missing where files have no owners (Windows)."""

    def urandom(self, size: int, /) -> bytes:
        """As :func:`os.urandom`."""


def has_owners(system: System) -> bool:
    """Tell whether files have owners and modes, and names resolve against a directory's descriptor: all but Windows."""
    return hasattr(system, "geteuid")


def storage_failure(error: OSError, what: str) -> StorageFailed:
    """Return the StorageFailed (or DiskFull) to raise for ``error``; ``what`` begins its sentence.

    The error's own text is left out, for it may hold paths.
    """
    code = error.errno or 0
    reason = os.strerror(code) if code else type(error).__name__
    if code in _NO_ROOM:
        return DiskFull(f"{what}: {reason}; free some room, or run: flask profiling clean")
    return StorageFailed(f"{what}: {reason}; {_ADVICE.get(code, f'check the disk, or {_NO_WAY}')}")
