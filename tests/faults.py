"""Operating systems to hand in where :class:`flask_profiling.system.System` is wanted, failing or odd ones. No tests.

As SQLite tests itself: an operation is repeated with its 1st, 2nd, ... nth call failing, and what it leaves is checked
each time, until it gets through without meeting the fault::

    for system in failing_systems():
        try:
            operation(system)
        except StorageFailed:
            ...
        check what is left
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CODES = (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES)
FALLIBLE = frozenset(
    {
        "open",
        "close",
        "read",
        "write",
        "pread",
        "pwrite",
        "fsync",
        "fstat",
        "fchmod",
        "stat",
        "listdir",
        "mkdir",
        "rmdir",
        "unlink",
        "replace",
    }
)


class FailingSystem:
    """The real operating system, but its ``nth`` fallible call (from 1) fails with ``code`` and does nothing.

    With ``lasting``, all calls from the nth on fail: the disk is left as by a process that was killed there. ``calls``
    are the names of all fallible calls, ``failures`` of those that failed. A failing ``close`` closes, as on Linux.
    """

    def __init__(self, *, nth: int, code: int, lasting: bool = False) -> None:
        self.nth = nth
        self.code = code
        self.lasting = lasting
        self.calls: list[str] = []
        self.failures: list[str] = []

    def __repr__(self) -> str:
        return f"<{errno.errorcode[self.code]} at call {self.nth}{' and after' * self.lasting}: {self.failures}>"

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._fallible(name, real) if name in FALLIBLE else real

    def _fallible(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls.append(name)
            number = len(self.calls)
            if number != self.nth and not (self.lasting and number > self.nth):
                return real(*arguments, **keywords)
            self.failures.append(name)
            if name == "close":
                real(*arguments, **keywords)
            raise OSError(self.code, os.strerror(self.code), "/secret/path")

        return call


def failing_systems(codes: tuple[int, ...] = CODES) -> Iterator[FailingSystem]:
    """Yield a system for every call that an operation makes, once and lastingly failing, with each of ``codes``.

    The operation must be run on each system before the next is taken: the first that met no fault ends a row.
    """
    for code, lasting in itertools.product(codes, (False, True)):
        for nth in itertools.count(1):
            system = FailingSystem(nth=nth, code=code, lasting=lasting)
            yield system
            if not system.failures:
                assert nth > 1, "the operation made no call at all"
                break


class OtherSystem:
    """The real operating system, with the calls in ``instead`` in place of its own; a None takes a call away."""

    def __init__(self, **instead: Callable[..., Any] | None) -> None:
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        call = self._instead.get(name, getattr(os, name))
        if call is None:
            raise AttributeError(name)
        return call


def without_descriptors() -> OtherSystem:
    """Return a system like Windows: no owners, no modes, no directory opened, nothing resolved against a descriptor."""

    def open(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        assert dir_fd is None
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return os.open(path, flags, mode)

    def replace(src: str, dst: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        assert src_dir_fd is None and dst_dir_fd is None
        os.replace(src, dst)

    def listdir(path: str) -> list[str]:
        assert isinstance(path, str)
        return os.listdir(path)

    def resolved(name: str) -> Callable[..., Any]:
        def call(path: str, *arguments: Any, dir_fd: int | None = None, **keywords: Any) -> Any:
            assert dir_fd is None
            return getattr(os, name)(path, *arguments, **keywords)

        return call

    return OtherSystem(
        open=open,
        replace=replace,
        listdir=listdir,
        geteuid=None,
        fchmod=None,
        **{name: resolved(name) for name in ("stat", "mkdir", "rmdir", "unlink")},
    )


def open_descriptors() -> set[str]:
    """Return the descriptors that this process holds, for a check that none is left behind (Linux)."""
    return set(os.listdir("/proc/self/fd"))


def tree(directory: Path) -> dict[str, bytes | str]:
    """Return everything below ``directory``: files with their content, links with their target, the others by kind."""
    found: dict[str, bytes | str] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = "directory" if path.is_dir() else "special"
    return found
