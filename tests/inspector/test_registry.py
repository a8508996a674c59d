"""The workers that share an output directory know each other's endpoints, and forget the dead."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from flask_profiling.errors import StorageFailed
from flask_profiling.inspector.discovery import Entry
from flask_profiling.inspector.registry import Registry
from flask_profiling.processes import process_space, process_started
from flask_profiling.system import PrivateDirectory, try_lock
from tests.pythons import PYTHON, python_path

ENTRY = Entry(9229, "0f8fad5b-d9cb-469f-a165-70867728950e", "shop (pid 1)", "file:///srv")
OTHER = Entry(9230, "7c9e6679-7425-40de-944b-e07fc1f90ae7", "shop (pid 2)", "file:///srv")

WORKER = """
import sys
from pathlib import Path
from flask_profiling.inspector.discovery import Entry
from flask_profiling.inspector.registry import Registry
from flask_profiling.system import PrivateDirectory
registry = Registry(PrivateDirectory(Path(sys.argv[1]), "inspectors"))
registry.enter(Entry(9231, "7c9e6679-7425-40de-944b-e07fc1f90ae7", "another process", "file:///srv"))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> PrivateDirectory:
    return PrivateDirectory(tmp_path / "out", "inspectors")


def test_each_sees_the_others_and_not_itself(directory: PrivateDirectory) -> None:
    first, second = Registry(directory), Registry(directory)
    assert first.others() == []
    first.enter(ENTRY)
    second.enter(OTHER)
    assert first.others() == [OTHER]
    assert second.others() == [ENTRY]
    second.leave()
    assert first.others() == []
    second.leave()
    first.leave()
    assert directory.names() == []


def test_a_file_that_cannot_be_locked_is_given_up(directory: PrivateDirectory) -> None:
    pid = os.getpid()
    held = directory.open_shared(f"{pid}-{process_started(pid)}-{ENTRY.port}@{process_space()}")
    assert try_lock(held)
    try:
        with pytest.raises(StorageFailed, match="cannot be locked"):
            Registry(directory).enter(ENTRY)
    finally:
        os.close(held)


def test_a_killed_worker_is_forgotten(directory: PrivateDirectory, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": python_path()}
    with subprocess.Popen(
        [PYTHON, "-c", WORKER, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        registry = Registry(directory)
        assert [entry.title for entry in registry.others()] == ["another process"]
        process.kill()
        process.wait(10)
        assert registry.others() == []
        assert directory.names() == []


def test_a_forked_child_keeps_no_parent_alive(directory: PrivateDirectory) -> None:
    parent, observer = Registry(directory), Registry(directory)
    parent.enter(ENTRY)
    parent.forget()  # as the child does; here it is the last that holds the lock
    assert observer.others() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"port": 1}', b"[" * 16000])
def test_a_damaged_file_is_passed_over(directory: PrivateDirectory, content: bytes) -> None:
    registry = Registry(directory)
    registry.enter(ENTRY)
    (name,) = directory.names()
    descriptor = os.open(directory.path / name, os.O_RDWR)
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)
    os.close(descriptor)
    assert Registry(directory).others() == []
    registry.leave()


def test_what_is_not_of_this_container_is_left_alone(directory: PrivateDirectory) -> None:
    directory.write_bytes("1-2-9229@another0", b"{}")
    directory.write_bytes(f"nonsense@{process_space()}", b"{}")
    assert Registry(directory).others() == []
    assert directory.names() == ["1-2-9229@another0"]


def test_a_file_removed_before_it_was_locked_is_made_again(directory: PrivateDirectory) -> None:
    registry = Registry(directory)
    opened = directory.open_shared
    calls = 0

    class Vanishing:
        path = directory.path

        def open_shared(self, name: str) -> int:
            nonlocal calls
            calls += 1
            descriptor = opened(name)
            if calls == 1:
                directory.unlink(name)
            return descriptor

    Registry(Vanishing()).enter(ENTRY)  # type: ignore[arg-type]
    assert calls == 2
    assert len(directory.names()) == 1
    registry.leave()
