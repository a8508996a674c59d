"""A pseudo-terminal with one command in it, for tests that are about what people see. No tests."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cli.conftest import PYTHON, Shell

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# makes the pseudo-terminal the controlling one, so that Ctrl-C is what the terminal makes of it
_LAUNCH = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass
class Terminal:
    """A pseudo-terminal of 80 columns with one command in it."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    modes: list[object]
    seen: str = field(default="")

    def read(self, until: Callable[[str], bool], seconds: float = 30) -> str:
        """Collect what is shown until it is what is waited for."""
        deadline = time.monotonic() + seconds
        while not until(self.seen):
            assert time.monotonic() < deadline, f"not shown in time; so far: {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
        return self.seen

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def wait(self, *, insist: str = "") -> int:
        """Read to the end of the command; the slave side is open here too, so there is no end of file.

        ``insist`` is typed once a second until then: Python can miss a Ctrl-C between a prompt and waiting for keys.
        """
        typed = time.monotonic()

        def is_over(_: str) -> bool:
            nonlocal typed
            over = self.process.poll() is not None
            if insist and not over and time.monotonic() > typed + 1:
                typed = time.monotonic()
                self.type(insist)
            return over

        self.read(is_over)
        while select.select([self.master], [], [], 0.1)[0]:
            self.seen += os.read(self.master, 65536).decode(errors="replace")
        return self.process.wait(10)

    @property
    def lines(self) -> list[str]:
        """What stands on the lines in the end, without colours: what was drawn over is gone."""
        return [line.rstrip("\r").rpartition("\r")[2] for line in ESCAPES.sub("", self.seen).split("\n")]


OpenTerminal = Callable[..., Terminal]


@contextmanager
def terminals(shell: Shell) -> Iterator[OpenTerminal]:
    """Open terminals of 80 columns with ``flask profiling ARGS`` in them; all end with the block."""
    opened: list[Terminal] = []

    def start(*args: str, **environ: str) -> Terminal:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = subprocess.Popen(
            [PYTHON, "-c", _LAUNCH, *shell.argv("profiling", *args)],
            cwd=shell.directory,
            env={**shell.environ, **environ},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        opened.append(Terminal(process, master, slave, termios.tcgetattr(slave)))
        return opened[-1]

    try:
        yield start
    finally:
        for terminal in opened:
            if terminal.process.poll() is None:
                terminal.process.kill()
            terminal.process.wait(10)
            os.close(terminal.master)
            os.close(terminal.slave)
