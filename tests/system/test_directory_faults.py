"""Each call of each operation failing in turn, a really full disk, a read-only one, and writers that are killed."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flask_profiling.errors import DamagedData, DiskFull, StorageFailed
from flask_profiling.processes import process_space, process_started
from flask_profiling.system import PrivateDirectory
from tests.faults import FailingSystem, OtherSystem, failing_systems, open_descriptors, tree
from tests.pythons import PYTHON

TWO_HOURS = 7200.0
# Some interpreters are started by a wrapper.
PROJECT = Path(__file__).parents[2]
# More than one buffer, so that a write can fail in the middle.
OLD, NEW = b"old" * 50_000, b"new" * 60_000


numbers = itertools.count()


def fresh(tmp_path: Path) -> PrivateDirectory:
    return PrivateDirectory(tmp_path / str(next(numbers)) / "profiling")


def attempt(operation: Callable[[PrivateDirectory], object], private: PrivateDirectory, system: FailingSystem) -> bool:
    """Do something in a directory on a failing system; returns whether it succeeded.

    A failure is held against what every failure must be.
    """
    before = open_descriptors()
    try:
        operation(PrivateDirectory(private.root, *private.below, system=system))
    except StorageFailed as failure:
        assert system.failures, "it failed although nothing did"
        assert isinstance(failure, DiskFull) is (system.code == errno.ENOSPC), system
        assert "; " in failure.message
        assert ".tmp-" not in failure.message, failure.message
        assert "secret" not in failure.message, failure.message
        return False
    finally:
        # Fewer are none of our business: garbage of other tests holds some, until it is collected at any moment.
        assert open_descriptors() <= before, system
    return True


def without_temporaries(private: PrivateDirectory, system: FailingSystem) -> dict[str, bytes | str]:
    """Return what is left: a temporary file only where removing it failed as well, and then the sweep gets it."""
    left = [name for name in private.names() if name.startswith(".tmp-")]
    assert not left or "unlink" in system.failures, (system, left)
    assert private.sweep(now=time.time()) == 0, "a living writer's file was swept"
    assert private.sweep(now=time.time() + TWO_HOURS) == len(left)
    return tree(private.root)


@pytest.mark.parametrize("below", [(), (".state", "parts")])
def test_write_failing_anywhere_leaves_the_old_file_and_success_the_new_one(
    tmp_path: Path, below: tuple[str, ...]
) -> None:
    met = set()
    for system in failing_systems():
        private = fresh(tmp_path).child(*below)
        private.write_bytes("name", OLD)
        done = attempt(lambda failing: failing.write_bytes("name", NEW), private, system)
        without_temporaries(private, system)
        assert private.read("name", limit=len(NEW)) == (NEW if done else OLD), system
        assert private.names() == ["name"], system
        private.write_bytes("name", b"next")
        assert private.read("name", limit=4) == b"next"
        met.update(system.failures)
    assert met >= {"open", "close", "write", "fsync", "fstat", "replace", "unlink"}


def test_first_write_failing_anywhere_leaves_nothing_or_all_of_it(tmp_path: Path) -> None:
    met = set()
    for system in failing_systems():
        private = fresh(tmp_path).child(".state")
        done = attempt(lambda failing: failing.write_bytes("name", NEW), private, system)
        left = without_temporaries(private, system)
        assert left.get(".state/name") == (NEW if done else None), system
        assert set(left) <= {".state", ".state/name"}, system
        private.write_bytes("name", b"next")
        assert tree(private.root) == {".state": "directory", ".state/name": b"next"}
        met.update(system.failures)
    assert met >= {"mkdir", "replace"}


def test_prepare_failing_anywhere_can_be_repeated(tmp_path: Path) -> None:
    met = set()
    for system in failing_systems():
        private = fresh(tmp_path).child(".state")
        private.root.mkdir(parents=True)
        private.root.chmod(0o777)
        attempt(PrivateDirectory.prepare, private, system)
        private.prepare()
        assert private.root.stat().st_mode & 0o777 == private.path.stat().st_mode & 0o777 == 0o700
        met.update(system.failures)
    assert met >= {"open", "fstat", "listdir", "fchmod", "mkdir"}


def test_move_failing_anywhere_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    def move(spool: PrivateDirectory) -> None:
        spool.move("name", PrivateDirectory(spool.root, system=spool.system), "new")

    met = set()
    for system in failing_systems():
        private = fresh(tmp_path)
        spool = private.child(".state", "spool")
        spool.write_bytes("name", NEW)
        done = attempt(move, spool, system)
        files = {name: content for name, content in tree(private.root).items() if content != "directory"}
        assert files == ({"new": NEW} if done else {".state/spool/name": NEW}), system
        met.update(system.failures)
    assert met >= {"open", "fstat", "fsync", "close", "replace"}


def test_reading_failing_anywhere_is_a_sentence_and_changes_nothing(tmp_path: Path) -> None:
    private = fresh(tmp_path)
    private.write_bytes("name", NEW)
    for operation, calls in (
        (lambda directory: directory.read("name", limit=len(NEW)), {"open", "fstat", "read", "close"}),
        (lambda directory: directory.names(), {"open", "fstat", "listdir"}),
        (lambda directory: directory.files(lambda name: True), {"open", "fstat", "listdir", "stat"}),
    ):
        met = set()
        for system in failing_systems():
            attempt(operation, private, system)
            met.update(system.failures)
            assert tree(private.path) == {"name": NEW}
        assert met >= calls


def test_removing_failing_anywhere_tells_the_truth(tmp_path: Path) -> None:
    for system in failing_systems():
        private = fresh(tmp_path).child("spool")
        private.write_bytes("name", b"x")
        if attempt(lambda failing: failing.unlink("name"), private, system):
            assert private.names() == [], system
        else:
            assert private.names() == ["name"], system
        if attempt(PrivateDirectory.remove, private, system):
            assert tree(private.root) == {}, system
        private.remove()
        assert tree(private.root) == {}


def test_shared_file_failing_anywhere_leaves_no_descriptor(tmp_path: Path) -> None:
    for system in failing_systems():
        private = fresh(tmp_path)
        attempt(lambda failing: os.close(failing.open_shared("lock")), private, system)
        os.close(private.open_shared("lock"))
        assert tree(private.path) == {"lock": b""}


def temporary(*, space: str, pid: int, started: int) -> str:
    return f".tmp-{space}-{pid}-{started}-{'0' * 16}"


class TestSweep:
    @pytest.fixture
    def private(self, tmp_path: Path) -> PrivateDirectory:
        private = PrivateDirectory(tmp_path / "profiling")
        private.prepare()
        return private

    @pytest.mark.parametrize(
        ("name", "swept"),
        [
            (temporary(space=process_space(), pid=os.getpid(), started=process_started(os.getpid())), False),
            (temporary(space=process_space(), pid=os.getpid(), started=0), False),
            (temporary(space=process_space(), pid=os.getpid(), started=1), True),
            (temporary(space=process_space(), pid=2**31 - 1, started=0), True),
            (temporary(space="00000000", pid=2**31 - 1, started=0), False),
        ],
        ids=["living", "living, start unknown", "recycled pid", "dead", "another container"],
    )
    def test_file_of_a_dead_writer_goes_at_once_and_every_other_after_an_hour(
        self, private: PrivateDirectory, name: str, swept: bool
    ) -> None:
        (private.path / name).write_bytes(b"x")
        written = (private.path / name).stat().st_mtime
        assert private.sweep(now=written + 3599) == swept
        assert private.names() == ([] if swept else [name])
        assert private.sweep(now=written + 3601) == (not swept)
        assert private.names() == []

    @pytest.mark.parametrize(
        "name",
        [
            ".tmp-mine",
            "x" + temporary(space=process_space(), pid=2**31 - 1, started=0),
            temporary(space=process_space(), pid=2**31 - 1, started=0) + "x",
            temporary(space=process_space(), pid=2**31 - 1, started=0) + "\n",
            ".state",
            "name",
        ],
    )
    def test_other_files_stay_for_ever(self, private: PrivateDirectory, name: str) -> None:
        (private.path / name).write_bytes(b"x")
        assert private.sweep(now=time.time() + 1e9) == 0
        assert private.names() == [name]

    def test_link_with_such_a_name_stays(self, private: PrivateDirectory) -> None:
        (private.path / temporary(space=process_space(), pid=2**31 - 1, started=0)).symlink_to("/etc/passwd")
        assert private.sweep(now=time.time() + 1e9) == 0


HEAD = """\
import os, sys
from pathlib import Path
from flask_profiling.errors import *
from flask_profiling.system import *
"""


# writes so many bytes into a file, waits, finishes the file, waits again
WRITER = """
    def write(out):
        out.write(b"n" * int(sys.argv[2]))
        print("in the middle", flush=True)
        input()
    PrivateDirectory(Path(sys.argv[1])).write("name", write)
    print("done", flush=True)
    input()
"""


@contextmanager
def script(text: str, *arguments: object, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run a Python script in a process of its own, which has :class:`PrivateDirectory` and its arguments."""
    command = [*prefix, PYTHON, "-c", HEAD + textwrap.dedent(text), *map(str, arguments)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("written", [0, 10, 1_000_000])
def test_a_file_that_is_being_written_stays_though_the_clock_was_put_forward(tmp_path: Path, written: int) -> None:
    private = PrivateDirectory(tmp_path / "profiling")
    with script(WRITER, private.path, written) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        before = open_descriptors()
        assert private.sweep(now=time.time() + 14 * 365 * 86_400) == 0
        assert open_descriptors() <= before
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        assert tree(private.path) == {"name": b"n" * written}
        process.communicate("\n", timeout=60)


def test_a_file_of_which_nobody_can_tell_whether_it_is_being_written_stays(tmp_path: Path) -> None:
    def open_(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == name:
            raise OSError(errno.EMFILE, "broken")
        return os.open(path, flags, mode, dir_fd=dir_fd)

    name = f".tmp-00000000-{2**31 - 1}-0-{'0' * 16}"
    private = fresh(tmp_path)
    private.prepare()
    (private.path / name).write_bytes(b"x")
    unsure = PrivateDirectory(private.root, system=OtherSystem(open=open_))
    assert unsure.sweep(now=time.time() + TWO_HOURS) == 0
    assert private.sweep(now=time.time() + TWO_HOURS) == 1


@pytest.mark.parametrize("written", [0, 10, 1_000_000])
def test_killed_writer_leaves_the_old_file_and_what_the_next_sweep_gets(tmp_path: Path, written: int) -> None:
    private = PrivateDirectory(tmp_path / "profiling")
    private.write_bytes("name", OLD)
    with script(WRITER, private.path, written) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        assert private.sweep(now=time.time()) == 0
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as until its server looks after it
        assert len(private.names()) == 2
        assert private.read("name", limit=len(OLD)) == OLD
        assert private.sweep(now=time.time()) == 1
    assert tree(private.path) == {"name": OLD}


def test_file_over_the_process_limit_is_refused_and_the_process_lives(tmp_path: Path) -> None:
    private = PrivateDirectory(tmp_path / "profiling")
    private.write_bytes("name", b"old")
    text = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        private = PrivateDirectory(Path(sys.argv[1]))
        try:
            private.write_bytes("name", b"n" * 1_000_000)
        except StorageFailed as failure:
            print(failure.message)
        private.write_bytes("small", b"x")
    """
    with script(text, private.path) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"could not take name: {os.strerror(errno.EFBIG)}; free some room" in output
    assert tree(private.path) == {"name": b"old", "small": b"x"}


MOUNTING = ("unshare", "--mount", "--map-root-user")
may_mount = pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run([*MOUNTING, "true"], capture_output=True, check=False).returncode != 0,
    reason="a file system can be mounted only by root, or in a user namespace",
)


@may_mount
def test_full_disk_is_507_leaves_what_was_and_works_again_with_room(tmp_path: Path) -> None:
    text = """
        import subprocess
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", sys.argv[1]], check=True)
        private = PrivateDirectory(Path(sys.argv[1], "profiling"))
        private.write_bytes("name", b"old" * 1000)
        spool = private.child(".state")
        spool.write_bytes("waiting", b"w")
        filler = Path(sys.argv[1], "filler")
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"f" * 4096)
            except OSError:
                pass
        for data in b"x", b"n" * 1_000_000:
            try:
                private.write_bytes("name", data)
                print("written")
            except DiskFull as failure:
                print(failure.status, failure.message.partition(" could ")[2])
        print(private.names(), private.read("name", limit=3000) == b"old" * 1000)
        spool.move("waiting", private, "moved")
        print(private.names(), private.unlink("moved"))
        filler.unlink()
        private.write_bytes("name", b"new" * 10_000)
        print(private.read("name", limit=30_000) == b"new" * 10_000)
    """
    with script(text, tmp_path, prefix=MOUNTING) as process:
        output, _ = process.communicate(timeout=60)
    full = f"507 not take name: {os.strerror(errno.ENOSPC)}; free some room, or run: flask profiling clean"
    assert output.splitlines() == [
        full,
        full,
        "['.state', 'name'] True",
        "['.state', 'moved', 'name'] True",
        "True",
    ]


@may_mount
def test_read_only_disk_is_a_sentence_and_can_still_be_read(tmp_path: Path) -> None:
    text = """
        import subprocess
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", sys.argv[1]], check=True)
        private = PrivateDirectory(Path(sys.argv[1], "profiling"))
        private.write_bytes("name", b"old")
        subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
        for operation in (
            lambda: private.write_bytes("name", b"new"),
            lambda: private.unlink("name"),
            lambda: private.child("inner").prepare(),
            lambda: PrivateDirectory(Path(sys.argv[1], "other")).prepare(),
        ):
            try:
                print(operation())
            except StorageFailed as failure:
                print(failure.status, failure.message.rpartition(": ")[2])
        private.prepare()
        print(private.read("name", limit=3), private.names())
    """
    with script(text, tmp_path, prefix=MOUNTING) as process:
        output, _ = process.communicate(timeout=60)
    refused = f"500 {os.strerror(errno.EROFS)}; choose another PROFILING_OUTPUT_DIR"
    assert output.splitlines() == [refused] * 4 + ["b'old' ['name']"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_server_without_rights_gets_a_sentence_and_touches_nothing() -> None:
    text = """
        os.seteuid(65534)
        for name in "roots", "closed", "closed/profiling":
            try:
                PrivateDirectory(Path(sys.argv[1], name)).write_bytes("name", b"y")
            except StorageFailed as failure:
                print(failure.message.rpartition("' ")[2].partition("; ")[0])
    """
    # Not in pytest's own directory, which is closed to other users.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        PrivateDirectory(directory / "roots").write_bytes("name", b"x")
        (directory / "closed").mkdir(mode=0o755)
        with script(text, directory) as process:
            output, _ = process.communicate(timeout=60)
        assert tree(directory) == {"closed": "directory", "roots": "directory", "roots/name": b"x"}
    assert output.splitlines() == [
        f"could not take name: {os.strerror(errno.EACCES)}",
        "belongs to another user",
        f"could not take name: {os.strerror(errno.EACCES)}",
    ]


def test_damage_found_by_a_reader_is_no_storage_failure() -> None:
    # What a vandal planted must not look like a broken disk: callers ignore the one and report the other.
    assert not issubclass(DamagedData, StorageFailed)
