"""The program that looks into another Python of its version from outside, by that Python's own means (3.15 and later).

A bare interpreter runs this file as our child, so it imports nothing but the standard library, and nothing imports it.
The host is never paused: pausing as ``_remote_debugging`` does it (CPython 3.15.2) loses a signal now and then. So a
look may meet a stack that changes, and what does not read like a stack is read again at once, and never shown. Looks
come at random, because a thread that has company gives up the interpreter lock 200 times a second too.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any, NamedTuple

TRIES = 10
_PATIENCE = 2.0  # for the host to allow its child to look
_CALL_OF_INIT = "__init__"  # the "file" of a frame of the interpreter's own, between a class and its __init__
_MODE_GIL = 2  # profiling.sampling.constants.PROFILING_MODE_GIL, whose import takes a quarter of a second


class Frame(NamedTuple):
    """Where a function was when it was met; ``name`` is its qualified name."""

    file: str
    line: int
    name: str


Stack = tuple[Frame, ...]
Look = Callable[[], Iterable[Stack]]


def is_plausible(frame: Frame) -> bool:
    """Tell a function's name and file from memory that held something else while it was read."""
    file = frame.file
    known = file.endswith(".py") or (file[:1], file[-1:]) == ("<", ">") or os.path.isfile(file)
    return known and file != "<unknown file>" and file.isprintable() and frame.name.isprintable()


def frames_of(inner_first: Sequence[Any]) -> Iterator[Frame]:
    """Yield the frames of functions, the outermost first, from what ``_remote_debugging`` returns."""
    for frame in reversed(inner_first):
        if frame.filename != _CALL_OF_INIT:
            yield Frame(frame.filename, frame.location.lineno if frame.location else 0, frame.funcname)


def read(look: Look) -> list[Stack] | None:
    """Look until all that is seen is plausible; returns None where it never was."""
    for _ in range(TRIES):
        try:
            stacks = list(look())
        except Exception:  # whatever is raised for memory that changed while it was read
            continue
        if all(is_plausible(frame) for stack in stacks for frame in stack):
            return stacks
    return None


def first_lines(frames: Iterable[Frame]) -> dict[Frame, Frame]:
    """Map each frame to its function, which is a frame in the line where that begins.

    The source is loaded for that, not run. Without it (a template, ``exec``) it is the first of the lines met.
    """
    found: dict[Frame, Frame] = {}
    earliest: dict[tuple[str, str], int] = {}
    codes: dict[str, list[CodeType]] = {}
    for frame in sorted(frames):
        line = earliest.setdefault((frame.file, frame.name), frame.line)
        if frame.file not in codes:
            codes[frame.file] = list(_codes(frame.file))
        for code in codes[frame.file]:
            name = getattr(code, "co_qualname", code.co_name)
            if name == frame.name and frame.line in {line for *_, line in code.co_lines()}:
                line = code.co_firstlineno
                break
        found[frame] = frame._replace(line=line)
    return found


def report(seen: Counter[Stack]) -> Iterator[str]:
    """Yield lines of collapsed stacks, as py-spy writes them (``outer (file:line);inner (file:line) samples``)."""
    functions = first_lines({frame for stack in seen for frame in stack})
    merged: Counter[Stack] = Counter()
    for stack, samples in seen.items():
        merged[tuple(functions[frame] for frame in stack)] += samples
    for stack, samples in merged.items():
        yield ";".join(f"{name} ({file}:{line})" for file, line, name in stack) + f" {samples}\n"


def main(pid: int, rate: float) -> None:
    """Look at our parent ``pid``, ``rate`` times a second, until SIGINT; then print what was seen."""
    look = _looker(pid)
    seen: Counter[Stack] = Counter()
    looks = unread = 0
    began = time.monotonic()
    try:
        sys.stdout.write("Sampling process\n")
        sys.stdout.flush()
        while os.getppid() == pid:
            time.sleep(random.expovariate(rate))
            stacks = read(look)
            looks += 1
            unread += stacks is None
            seen.update(stacks or ())
    except KeyboardInterrupt:
        sys.stdout.write(f"{looks} looks in {time.monotonic() - began} s, {unread} unread\n")
        sys.stdout.writelines(report(seen))


def _looker(pid: int) -> Look:
    """Return what looks at each thread that holds the lock; raises what the first look raised in the end."""
    unwinder_of: Callable[..., Any] = importlib.import_module("_remote_debugging").RemoteUnwinder
    interned: dict[Frame, Frame] = {}

    def look() -> Iterator[Stack]:
        for interpreter in unwinder.get_stack_trace():
            for thread in interpreter.threads:
                yield tuple(interned.setdefault(frame, frame) for frame in frames_of(thread.frame_info))

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            unwinder = unwinder_of(pid, all_threads=True, mode=_MODE_GIL)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return look


def _codes(file: str) -> Iterator[CodeType]:
    """Yield every code object of a source file, none where it cannot be loaded."""
    try:
        waiting = [SourceFileLoader("sampled", file).get_code("sampled")]
    except Exception:  # not there, not Python, not of this version: all the same
        return
    while waiting:
        code = waiting.pop()
        if code is not None:
            yield code
            waiting.extend(const for const in code.co_consts if isinstance(const, CodeType))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
