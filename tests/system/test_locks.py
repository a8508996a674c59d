"""Locks on open files: one holder, gone with it, and not kept by a child that the host forked meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_profiling.system import CAN_LOCK, try_lock, unlock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no locks")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The same file, opened twice, as by two workers."""
    descriptors = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield descriptors[0], descriptors[1]
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_lock_has_one_holder_and_can_be_asked_for_again_by_it(pair: tuple[int, int]) -> None:
    one, two = pair
    assert CAN_LOCK
    assert try_lock(one) is True
    assert try_lock(one) is True
    assert try_lock(two) is False
    unlock(one)
    assert try_lock(two) is True


def test_what_is_no_open_file_is_not_locked_and_nothing_is_raised(pair: tuple[int, int]) -> None:
    gone = os.dup(pair[0])
    os.close(gone)
    assert try_lock(gone) is False
    unlock(gone)


def test_unlocking_frees_it_though_a_forked_child_still_has_it_open(pair: tuple[int, int]) -> None:
    one, two = pair
    assert try_lock(one)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(one,))
    try:
        duplicate = os.dup(one)
        unlock(duplicate)
        os.close(duplicate)
        assert try_lock(two)
    finally:
        child.communicate(b"\n", timeout=60)


def test_a_killed_holder_holds_nothing(pair: tuple[int, int]) -> None:
    one, two = pair
    path = os.readlink(f"/proc/self/fd/{one}")
    text = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True)\ninput()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", text, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    assert try_lock(two) is False
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=60)
    assert try_lock(two) is True


def test_where_there_are_no_locks_everybody_may(monkeypatch: pytest.MonkeyPatch, pair: tuple[int, int]) -> None:
    import importlib.util

    monkeypatch.setitem(sys.modules, "fcntl", None)
    found = importlib.util.find_spec("flask_profiling.system.locks")
    assert found is not None
    assert found.loader is not None
    without = importlib.util.module_from_spec(found)
    found.loader.exec_module(without)
    assert without.CAN_LOCK is False
    assert without.try_lock(pair[0]) is True
    assert without.try_lock(pair[1]) is True
    without.unlock(pair[0])
