from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_profiling.processes import pid_alive, process_space, process_started
from tests.pythons import PYTHON

NO_PROC = "/nonexistent"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until its standard input closes."""
    with subprocess.Popen([PYTHON, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        yield child
        if child.poll() is None:
            child.kill()


def zombie(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def stat_file(proc: Path, pid: int, content: bytes) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_bytes(content)


def test_start_time_is_what_the_kernel_says_and_does_not_change(child: subprocess.Popen[bytes]) -> None:
    started = process_started(os.getpid())
    assert started > 0
    assert process_started(os.getpid()) == started
    assert process_started(child.pid) >= started


@pytest.mark.parametrize("name", [b"python", b"a b", b"x) R 1 2 3 (y", b") S 1", b""])
def test_name_of_the_program_cannot_forge_the_start_time(tmp_path: Path, name: bytes) -> None:
    fields = [str(number) for number in range(4, 53)]
    stat_file(tmp_path, 7, b"7 (" + name + b") S " + " ".join(fields).encode() + b"\n")
    assert process_started(7, proc=str(tmp_path)) == 22
    assert pid_alive(7, 22, proc=str(tmp_path))
    assert not pid_alive(7, 23, proc=str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"7 (name) S 1 2", b"7 (name) S " + b"x " * 50, b"\xff" * 100])
def test_start_time_that_cannot_be_read_is_unknown(tmp_path: Path, content: bytes) -> None:
    stat_file(tmp_path, 7, content)
    assert process_started(7, proc=str(tmp_path)) == 0
    assert process_started(os.getpid(), proc=NO_PROC) == 0


@pytest.mark.parametrize("proc", ["/proc", NO_PROC])
def test_running_process_is_alive_and_an_ended_one_is_not(child: subprocess.Popen[bytes], proc: str) -> None:
    assert pid_alive(os.getpid(), proc=proc)
    assert pid_alive(child.pid, process_started(child.pid), proc=proc)
    child.kill()
    child.wait()
    assert not pid_alive(child.pid, proc=proc)


def test_zombie_is_not_alive(child: subprocess.Popen[bytes]) -> None:
    zombie(child)
    assert not pid_alive(child.pid)


def test_recycled_pid_is_another_process() -> None:
    assert not pid_alive(os.getpid(), process_started(os.getpid()) + 1)


def test_process_of_another_user_is_alive() -> None:
    script = """
import os
from flask_profiling.processes import pid_alive
if os.geteuid() == 0:
    os.setuid(65534)
try:
    os.kill(1, 0)
except PermissionError:
    print(pid_alive(1), pid_alive(1, proc="/nonexistent"))
"""
    other = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert other.stdout == "True True\n"


@pytest.mark.parametrize("pid", [0, -1, -os.getpid(), 2**31, 2**70], ids=["0", "-1", "own group", "2**31", "2**70"])
@pytest.mark.parametrize("proc", ["/proc", NO_PROC])
def test_number_that_is_no_pid_is_not_alive(pid: int, proc: str) -> None:
    assert not pid_alive(pid, proc=proc)


def test_space_is_the_same_for_processes_that_see_each_other_and_differs_by_namespace(tmp_path: Path) -> None:
    script = "from flask_profiling.processes import process_space; print(process_space())"
    other = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert other.stdout.strip() == process_space()
    assert len(process_space()) == 8
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "pid").symlink_to("pid:[1]")
    spaces = {process_space(), process_space(proc=str(tmp_path)), process_space(proc=NO_PROC)}
    assert len(spaces) == 3
