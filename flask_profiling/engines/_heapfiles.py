"""The files of one snapshot in the spool: private, and gone at the end, except for the artifact when it is whole."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import NamedTuple

_BUFFER = 1 << 20


class Files(NamedTuple):
    """Open files: the artifact under its temporary name, room for the format, and where the child leaves its report."""

    temporary: Path
    out: BufferedRandom
    scratch: BufferedRandom
    report: BufferedRandom

    def keep(self, name: str) -> None:
        """Give the artifact its name."""
        os.rename(self.temporary, self.temporary.with_name(name))

    def told(self) -> dict[str, object]:
        """Return what the child reported, empty if it did not come so far."""
        descriptor = self.report.fileno()
        try:
            report = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        except ValueError:
            return {}
        return report if isinstance(report, dict) else {}


@contextmanager
def opened(spool: Path) -> Iterator[Files]:
    """Open the files of a snapshot; raises OSError where the directory cannot be used.

    All but a kept artifact is removed at the end.
    """
    temporary = spool / f".heap-{os.getpid()}-{secrets.token_hex(8)}.tmp"
    with ExitStack() as stack:
        out = stack.enter_context(_created(temporary))
        stack.callback(temporary.unlink, missing_ok=True)
        files = Files(temporary, out, _nameless(stack, temporary, ".scratch"), _nameless(stack, temporary, ".report"))
        yield files


def _nameless(stack: ExitStack, temporary: Path, suffix: str) -> BufferedRandom:
    path = temporary.with_suffix(suffix)
    file = stack.enter_context(_created(path))
    path.unlink()
    return file


def _created(path: Path) -> BufferedRandom:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    file = os.fdopen(os.open(path, flags, 0o600), "w+b", buffering=_BUFFER)
    assert isinstance(file, BufferedRandom)
    return file
