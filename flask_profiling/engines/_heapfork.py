"""Forking the child that walks the heap, one at a time, waiting for it with a bound, and reaping it; knows nothing of
what the child writes."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ..errors import EngineBusy, Unavailable
from . import always

# Seconds between two looks at the child: short against a walk, long against the cost of a look.
POLL = 0.02
# Seconds a killed child gets to disappear.
_GRACE = 10.0
# Seconds until a child whose number was lost must have told it.
_FIRST_WORDS = 10.0

_ALL_SIGNALS = signal.valid_signals()
_one_at_a_time = threading.Lock()


@contextmanager
def turn(seconds: float, is_wanted: Callable[[], bool] = always) -> Iterator[None]:
    """Wait until no other child of this process looks at its memory; raises EngineBusy, and Unavailable where nobody
    wants to know any more.

    By looking again, since a lock would hold up all greenlets of the thread.
    """
    deadline = time.monotonic() + seconds
    while not _one_at_a_time.acquire(blocking=False):
        _insist(is_wanted)
        if time.monotonic() > deadline:
            raise EngineBusy("another look at this process's memory does not end; try again later")
        time.sleep(POLL)
    try:
        yield
    finally:
        _one_at_a_time.release()


def spawn(child: Callable[[Iterable[int]], None], fork: Callable[[], int]) -> int:
    """Fork; run ``child`` with the signal mask to restore (it must not return) in the new process; return its pid.

    No signal handler of the host runs in the child. From Python 3.12 on, ``fork`` warns in the parent that threads
    exist, after the child was made; where warnings are errors the pid would be lost, so the child tells it.
    """
    reading, writing = os.pipe()
    try:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
        try:
            pid = fork()
            if pid == 0:
                os.write(writing, b"%d\n" % os.getpid())
                child(mask)
                os._exit(1)
            return pid
        except (DeprecationWarning, SystemError):
            return _told_pid(reading)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finally:
        os.close(reading)
        os.close(writing)


def _told_pid(reading: int) -> int:
    if not select.select([reading], [], [], _FIRST_WORDS)[0]:
        raise ChildProcessError("the child never spoke")
    return int(os.read(reading, 32))


def wait(pid: int, seconds: float, *, is_wanted: Callable[[], bool] = always) -> int | None:
    """Wait for the child, at most so long, without holding up other threads (or greenlets); then kill it.

    Returns the exit code (negative: the signal that ended it), or None if someone else reaped it (a host that ignores
    SIGCHLD or waits for any child). Raises Unavailable as soon as nobody wants what the child makes. However this call
    ends, the child is gone.
    """
    deadline = time.monotonic() + seconds
    try:
        while True:
            done, code = _look(pid)
            if done:
                return code
            if time.monotonic() >= deadline:
                return kill(pid)
            _insist(is_wanted)
            time.sleep(POLL)
    except BaseException:
        kill(pid)
        raise


def _insist(is_wanted: Callable[[], bool]) -> None:
    if not is_wanted():
        raise Unavailable("the look at this process's memory was given up, since nobody waits for it; ask again")


def kill(pid: int) -> int | None:
    """End the child and reap it; harmless if it is gone."""
    done, code = _look(pid)
    if done:
        return code
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline:
        done, code = _look(pid)
        if done:
            return code
        time.sleep(POLL)
    return None


def _look(pid: int) -> tuple[bool, int | None]:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True, None
    return found == pid, os.waitstatus_to_exitcode(status) if found == pid else None
