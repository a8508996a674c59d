"""The ``sampling`` engine: true shares of time from outside the process, by py-spy as our own child; no hook in here.

A thread in this process that samples the others gets the interpreter lock exactly when they give it up, and so sees
what waits instead of what works. py-spy looks from outside, and counts only threads that hold the lock (``--gil``).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import MissingExtra, Unavailable
from ..model import CallTree, Function, Recording, TreeBuilder
from . import EngineOptions
from ._appcode import application_files

RATE = 200
ROUTE = "(sampled)"
START_PATIENCE = 10.0
STOP_PATIENCE = 20.0
_PR_SET_PTRACER = 0x59616D61  # prctl(2), where the Yama security module restricts ptrace
_STARTED = b"Sampling process"
_FRAME = re.compile(r"(?P<name>.*) \((?P<file>.*):(?P<line>\d+)\)")
_NOTES = (
    (
        f"Sampled {RATE} times a second from outside, only threads that held the interpreter lock: shares of computing "
        "time are true, waiting is not seen, and the calls shown are samples."
    ),
    "Samples are of all threads of the worker; they cannot be told apart by route.",
)


class SamplingEngine:
    """Runs py-spy on this process while the session lasts.

    ``command`` is how py-spy is called; without one it is looked for beside ``python``, the interpreter, and on PATH.
    """

    def __init__(
        self, options: EngineOptions, *, command: tuple[str, ...] | None = None, python: str = sys.executable
    ) -> None:
        self.options = options
        self._command = command
        self._python = python
        self._child: subprocess.Popen[bytes] | None = None
        self._output: list[bytes] = []
        self._reader: threading.Thread | None = None
        self._started = threading.Event()
        self._begun = 0.0

    def start(self) -> None:
        """Start py-spy, and wait until it samples.

        Raises MissingExtra without py-spy, Unavailable where it may not or cannot look into this process.
        """
        command = self._command or _found(self._python)
        child = subprocess.Popen(
            [
                *command, "record", "--pid", str(os.getpid()), "--gil", "--function", "--full-filenames",
                "--format", "raw", "--rate", str(RATE), "--output", "/dev/stdout",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the server's terminal is for the server
        )  # fmt: skip
        _allow(child.pid)
        self._child = child
        self._reader = threading.Thread(target=self._read, args=(child,), name="flask-profiling-spy", daemon=True)
        self._reader.start()
        deadline = time.monotonic() + START_PATIENCE
        while not self._started.wait(0.01):
            if child.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(self._failure())
        self._begun = time.monotonic()

    def stop(self) -> Recording:
        """Ask py-spy for what it saw and return it as a tree."""
        child = self._child
        if child is None:
            return Recording("sampling", None, _NOTES)
        lasted = time.monotonic() - self._begun
        self._end(child, signal.SIGINT)
        lines = b"".join(self._output).decode("utf-8", "surrogateescape").splitlines()
        tree, samples = _tree(lines, application_files(self.options.app_paths))
        notes: tuple[str, ...] = _NOTES
        if not samples:
            notes += (
                f"No sample was taken in {lasted:.1f} s: nothing computed, or py-spy could not read the process.",
            )
        return Recording("sampling", tree, notes)

    def abandon(self) -> None:
        """In a forked child: the py-spy of the parent is the parent's."""
        self._child = None

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self._output.append(line)
            if _STARTED in line:
                self._started.set()

    def _end(self, child: subprocess.Popen[bytes], number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)
        try:
            child.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if self._reader is not None:
            self._reader.join(STOP_PATIENCE)
        if child.stdout is not None:
            child.stdout.close()

    def _failure(self) -> str:
        child = self._child
        assert child is not None
        self._end(child, signal.SIGKILL)
        said = b" ".join(self._output).decode("utf-8", "replace").lower()
        if "permission" in said or "ptrace" in said or "not permitted" in said:
            return (
                "py-spy may not look into this process (ptrace is forbidden here); run the server with the capability "
                "SYS_PTRACE, or choose PROFILING_CPU=calltree"
            )
        if "version" in said:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            return f"this py-spy does not know Python {version}; upgrade py-spy, or choose PROFILING_CPU=calltree"
        return (
            "py-spy did not start to sample; run 'py-spy dump --pid PID' to see why, or choose PROFILING_CPU=calltree"
        )


def _found(python: str) -> tuple[str, ...]:
    path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which("py-spy", path=path)
    if program is None:
        raise MissingExtra.of("py-spy", extra="sampling", purpose="the sampling engine")
    return (program,)


def _allow(pid: int) -> None:
    """Let our own child look into us, and nobody else, where the kernel asks for that."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(pid), 0, 0, 0)


def _tree(lines: Iterable[str], is_application: Callable[[str], bool]) -> tuple[CallTree, int]:
    """Read collapsed stacks (``outer (file:line);inner (file:line) samples``); returns the tree and the samples."""
    builder = TreeBuilder("sampled")
    samples = 0
    root = builder.root(ROUTE, calls=0, self_time=0.0)
    for line in lines:
        stack, _, number = line.rpartition(" ")
        frames = [_FRAME.fullmatch(frame) for frame in stack.split(";")]
        if not number.isdecimal() or not all(frames):
            continue
        seen = int(number)
        samples += seen
        node = root
        for place, frame in enumerate(frames):
            assert frame is not None
            innermost = place == len(frames) - 1
            function = Function(frame["file"], int(frame["line"]), frame["name"])
            node = builder.child(
                node,
                function,
                calls=seen,
                self_time=seen / RATE if innermost else 0.0,
                is_library=not is_application(function.file),
            )
    return builder.tree(), samples
