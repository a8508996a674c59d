"""The ``sampling`` engine: true shares of time from outside the process, by a child of ours; no hook in here.

A thread in this process that samples the others gets the interpreter lock exactly when they give it up, and so sees
what waits instead of what works. py-spy looks from outside, and counts only threads that hold the lock (``--gil``).
Where it is not installed or does not know this Python, and Python can look from outside itself (3.15 and later), that
does the same: ``_sampler.py``.
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
from typing import NamedTuple

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
_FRAME = re.compile(r"(?:(?:\w+|<locals>)\.)*(?P<name>.*) \((?P<file>.*):(?P<line>\d+)\)")  # of a qualified name
_PACE = re.compile(r"(?P<looks>\d+) looks in (?P<seconds>[\d.e-]+) s, (?P<unread>\d+) unread")
_ALL_THREADS = "Samples are of all threads of the worker; they cannot be told apart by route."


class Sampler(NamedTuple):
    """A program that looks into this process: its name in sentences, how it is called, how to see why it cannot."""

    name: str
    command: tuple[str, ...]
    trial: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds of each recording of it."""
        return (
            (
                f"Sampled {RATE} times a second from outside by {self.name}, only threads that held the interpreter "
                "lock: shares of computing time are true, waiting is not seen, and the calls shown are samples."
            ),
            _ALL_THREADS,
        )


class SamplingEngine:
    """Runs the first of the ``samplers`` that can look into this process, while the session lasts.

    Without any given they are those that are installed, found beside ``python``, the interpreter, and on PATH.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        samplers: tuple[Sampler, ...] | None = None,
        python: str | None = sys.executable,
    ) -> None:
        self.options = options
        self._samplers = samplers
        self._python = python or ""
        self._sampler: Sampler | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._output: list[bytes] = []
        self._reader: threading.Thread | None = None
        self._started = threading.Event()
        self._begun = 0.0

    def start(self) -> None:
        """Start the sampler, and wait until it samples.

        Raises MissingExtra where there is none, Unavailable where none may or can look into this process.
        """
        samplers = self._samplers or _installed(self._python)
        for sampler in samplers:
            try:
                self._begin(sampler)
            except Unavailable:
                if sampler is samplers[-1]:
                    raise
            else:
                return

    def stop(self) -> Recording:
        """Ask the sampler for what it saw and return it as a tree."""
        child, sampler = self._child, self._sampler
        if child is None or sampler is None:
            return Recording("sampling", None, (_ALL_THREADS,))
        lasted = time.monotonic() - self._begun
        self._end(child, signal.SIGINT)
        lines = b"".join(self._output).decode("utf-8", "surrogateescape").splitlines()
        each, unread = _pace(lines)
        tree, samples = _tree(lines, application_files(self.options.app_paths), each)
        notes = sampler.notes + unread
        if not samples:
            why = f"nothing computed, or {sampler.name} could not read the process"
            notes += (f"No sample was taken in {lasted:.1f} s: {why}.",)
        return Recording("sampling", tree, notes)

    def abandon(self) -> None:
        """In a forked child: the sampler of the parent is the parent's."""
        self._child = None

    def _begin(self, sampler: Sampler) -> None:
        self._output.clear()
        child = subprocess.Popen(
            sampler.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the server's terminal is for the server
        )
        _allow(child.pid)
        self._child, self._sampler = child, sampler
        self._reader = threading.Thread(target=self._read, args=(child,), name="flask-profiling-spy", daemon=True)
        self._reader.start()
        deadline = time.monotonic() + START_PATIENCE
        while not self._started.wait(0.01):
            if child.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(self._failure(child, sampler))
        self._begun = time.monotonic()

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

    def _failure(self, child: subprocess.Popen[bytes], sampler: Sampler) -> str:
        self._end(child, signal.SIGKILL)
        self._child = None
        said = b" ".join(self._output).decode("utf-8", "replace").lower()
        if "permission" in said or "ptrace" in said or "not permitted" in said:
            return (
                f"{sampler.name} may not look into this process (ptrace is forbidden here); run the server with the "
                "capability SYS_PTRACE, or choose PROFILING_CPU=calltree"
            )
        if "version" in said:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            return (
                f"this {sampler.name} does not know Python {version}; upgrade {sampler.name}, or choose "
                "PROFILING_CPU=calltree"
            )
        return (
            f"{sampler.name} did not start to sample; run '{sampler.trial}' to see why, or choose "
            "PROFILING_CPU=calltree"
        )


def _installed(python: str) -> tuple[Sampler, ...]:
    """Return the samplers that can be called: py-spy, and from Python 3.15 on Python itself."""
    path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)])
    found = []
    if (program := shutil.which("py-spy", path=path)) is not None:
        record = (
            "record", "--pid", str(os.getpid()), "--gil", "--function", "--full-filenames",
            "--format", "raw", "--rate", str(RATE), "--output", "/dev/stdout",
        )  # fmt: skip
        found.append(Sampler("py-spy", (program, *record), "py-spy dump --pid PID"))
    if (interpreter := _interpreter(python, path)) is not None:
        script = str(Path(__file__).with_name("_sampler.py"))
        bare = ("-I", "-S", "-B", "-X", "utf8", script, str(os.getpid()), str(RATE))
        found.append(Sampler("profiling.sampling", (interpreter, *bare), "python -m profiling.sampling dump PID"))
    if not found:
        raise MissingExtra.of("py-spy", extra="sampling", purpose="the sampling engine")
    return tuple(found)


def _interpreter(python: str, path: str) -> str | None:
    """Return a Python of this version that can look into another; ``python`` may be a server with Python inside."""
    if sys.version_info < (3, 15):
        return None
    if Path(python).name.startswith("python") and (found := shutil.which(python)) is not None:
        return found
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return shutil.which(f"python{version}", path=os.pathsep.join([path, os.path.join(sys.base_exec_prefix, "bin")]))


def _allow(pid: int) -> None:
    """Let our own child look into us, and nobody else, where the kernel asks for that."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(pid), 0, 0, 0)


def _pace(lines: Iterable[str]) -> tuple[float, tuple[str, ...]]:
    """Return the seconds that a sample stands for, and what to say of looks in vain: ``_sampler.py`` tells of both."""
    pace = next(filter(None, map(_PACE.fullmatch, lines)), None)
    if pace is None or pace["looks"] == "0":
        return 1 / RATE, ()
    each = float(pace["seconds"]) / int(pace["looks"])
    if pace["unread"] == "0":
        return each, ()
    missing = f"{pace['unread']} of {pace['looks']} looks met a stack that could not be read, and are missing"
    return each, (f"{missing}: it kept changing, was too deep, or freed what a function had held.",)


def _tree(lines: Iterable[str], is_application: Callable[[str], bool], each: float) -> tuple[CallTree, int]:
    """Read collapsed stacks (``outer (file:line);inner (file:line) samples``), where a sample stands for ``each``
    seconds; returns the tree and the samples."""
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
                self_time=seen * each if innermost else 0.0,
                is_library=not is_application(function.file),
            )
    return builder.tree(), samples
