"""Work done in a forked child for an engine: what it returned comes back as JSON, or a sentence that says why nothing
did.

The child sees this process frozen at the moment of the fork, so it can count what the program would change meanwhile;
the parent only waits, and its other threads go on.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence

from ..errors import EngineBusy
from . import _heapchild, _heapfork, _heapthreads

_DEADLINE = 60
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class NotDone(Exception):
    """The child brought nothing back; the message ends a sentence that begins with what is missing."""


def in_child(
    work: Callable[[], object],
    *,
    fork: Callable[[], int] | None,
    shortage: Callable[[], str],
    keep: Sequence[int] = (),
    seconds: int = _DEADLINE,
) -> object:
    """Run ``work`` in a forked child (without ``fork``: here) and return what it returned, as JSON values.

    ``shortage`` tells why there is too little memory, or nothing; ``keep`` are descriptors that the child needs;
    ``seconds`` is the longest it may take. Whatever ``work`` needs must be imported before. Raises NotDone; the child
    is gone in any case.
    """
    try:
        with _heapfork.turn(seconds):
            short = shortage()
            if short:
                raise NotDone(f"there is too little memory ({short})")
            if fork is None:
                return json.loads(_encode(work()))
            code, text = _forked(work, fork, keep, seconds)
    except EngineBusy as error:
        raise NotDone(str(error)) from error
    except OSError as error:
        raise NotDone(error.strerror or type(error).__name__) from error
    try:
        (result,) = json.loads(text)
    except ValueError:
        raise NotDone(_reason(code)) from None
    return result


def _forked(
    work: Callable[[], object], fork: Callable[[], int], keep: Sequence[int], seconds: int
) -> tuple[int | None, bytes]:
    with tempfile.TemporaryFile() as report:
        descriptor = report.fileno()
        kept = _heapthreads.held_by_states()
        pid = _heapfork.spawn(lambda mask: _run(work, descriptor, [descriptor, *keep], seconds, mask), fork)
        kept.clear()
        code = _heapfork.wait(pid, seconds)
        return code, os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _run(work: Callable[[], object], report: int, keep: Sequence[int], seconds: int, mask: Iterable[int]) -> None:
    code = _heapchild.FAILED
    try:
        _heapchild.leave_the_host(keep, seconds, mask)
        text = _encode([work()]).encode()
        while text:
            text = text[os.write(report, text) :]
        code = _heapchild.DONE
    except MemoryError:
        code = _heapchild.NO_MEMORY
    except OSError as error:
        code = _heapchild.code_of(error)
    except BaseException:
        code = _heapchild.FAILED
    finally:
        os._exit(code)


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process that counts was ended by signal {-code} (out of memory or out of time)"
    reasons = {
        None: "the process that counts was lost",
        _heapchild.NO_MEMORY: "there was too little memory",
        _heapchild.NO_SPACE: f"the disk of {tempfile.gettempdir()} is full",
    }
    return reasons.get(code, f"the process that counts ended with code {code}")
