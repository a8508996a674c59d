"""Work in a forked child: what it returns comes back, and whatever goes wrong there is a sentence here."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_profiling.engines import _forkedwork, _heapfork
from flask_profiling.errors import EngineBusy

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a child needs fork")


def done(work: Callable[[], object], *, shortage: str = "", seconds: int = 30) -> object:
    return _forkedwork.in_child(work, fork=os.fork, shortage=lambda: shortage, seconds=seconds)


def refused(work: Callable[[], object], *, shortage: str = "", seconds: int = 30) -> str:
    """Return the sentence of work that must fail, and see that no child is left."""
    with pytest.raises(_forkedwork.NotDone) as caught:
        done(work, shortage=shortage, seconds=seconds)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return str(caught.value)


def test_what_the_child_returns_comes_back() -> None:
    assert done(lambda: {"pid": os.getpid(), "name": "\udc80"}) != {"pid": os.getpid(), "name": "\udc80"}
    assert done(lambda: ["\udc80", 1, None]) == ["\udc80", 1, None]


def test_where_there_is_no_fork_it_is_done_here() -> None:
    assert _forkedwork.in_child(os.getpid, fork=None, shortage=str) == os.getpid()


class Connection:
    """What a thread keeps for itself; when it goes it tells the pid of the process that ended it."""

    def __init__(self, ended: Path) -> None:
        self._ended = ended

    def __del__(self) -> None:
        self._ended.write_text(str(os.getpid()))


def test_what_other_threads_keep_for_themselves_is_not_ended_in_the_child(tmp_path: Path) -> None:
    local, ready, done_with = threading.local(), threading.Event(), threading.Event()

    def work() -> None:
        local.connection = Connection(tmp_path / "ended")
        ready.set()
        done_with.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(60)
    try:
        assert done((tmp_path / "ended").exists) is False
    finally:
        done_with.set()
        thread.join()
    assert (tmp_path / "ended").read_text() == str(os.getpid()), "it was kept longer than its thread"


def killed() -> object:
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def without_memory() -> object:
    raise MemoryError


def wrong() -> object:
    raise LookupError("hunter2")


def on_a_full_disk() -> object:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        (killed, "the process that counts was ended by signal 9 (out of memory or out of time)"),
        (without_memory, "there was too little memory"),
        (wrong, "the process that counts ended with code 41"),
        (on_a_full_disk, f"the disk of {tempfile.gettempdir()} is full"),
        (object, "the process that counts ended with code 41"),
    ],
)
def test_a_child_that_fails_leaves_a_sentence(work: Callable[[], object], sentence: str) -> None:
    assert refused(work) == sentence


def test_a_child_that_takes_too_long_is_ended() -> None:
    assert "was ended by signal" in refused(lambda: time.sleep(60), seconds=1)


def test_nothing_is_forked_where_memory_is_short() -> None:
    told = refused(lambda: 1, shortage="the machine leaves 1 MB")
    assert told == "there is too little memory (the machine leaves 1 MB)"


def test_children_take_turns_and_do_not_wait_for_ever() -> None:
    with _heapfork.turn(1):
        assert "try again later" in refused(lambda: 1, seconds=0)
        with pytest.raises(EngineBusy), _heapfork.turn(0):
            raise AssertionError
    assert done(lambda: 1) == 1
