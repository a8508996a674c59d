from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from flask_profiling.errors import DamagedData, DiskFull, StorageFailed, Unavailable
from flask_profiling.processes import process_space, process_started
from flask_profiling.system import PrivateDirectory
from tests.faults import FailingSystem, OtherSystem, open_descriptors, tree, without_descriptors

HOSTILE_NAMES = ["", ".", "..", "a/b", "../a", "/etc/passwd", "a\0b"]


@pytest.fixture
def private(tmp_path: Path) -> PrivateDirectory:
    return PrivateDirectory(tmp_path / "profiling")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of somebody else's files, which nothing may touch."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "name").write_bytes(b"theirs")
    (outside / "inner").mkdir()
    return outside


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def give(data: bytes) -> Callable[[BinaryIO], None]:
    def write(out: BinaryIO) -> None:
        out.write(data)

    return write


class TestPrepare:
    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
    def test_directory_and_parents_are_closed_to_others_under_any_umask(self, tmp_path: Path, mask: int) -> None:
        with umask(mask):
            PrivateDirectory(tmp_path / "a" / "b" / "c", ".state", "parts").prepare()
        made = ["a", "a/b", "a/b/c", "a/b/c/.state", "a/b/c/.state/parts"]
        assert {name: mode(tmp_path / name) for name in made} == dict.fromkeys(made, 0o700)

    def test_directory_that_is_there_is_kept_with_what_is_in_it(self, private: PrivateDirectory) -> None:
        private.write_bytes("name", b"x")
        private.prepare()
        assert tree(private.path) == {"name": b"x"}

    @pytest.mark.parametrize("loose", [0o777, 0o770, 0o755])
    @pytest.mark.parametrize("placeholders", [[], [".gitignore"], [".gitkeep", ".gitignore"]])
    def test_empty_directory_is_tightened(self, private: PrivateDirectory, loose: int, placeholders: list[str]) -> None:
        private.path.mkdir()
        for name in placeholders:
            (private.path / name).touch()
        private.path.chmod(loose)
        private.prepare()
        assert mode(private.path) == 0o700

    @pytest.mark.parametrize("loose", [0o777, 0o720, 0o702])
    def test_directory_in_use_that_others_may_write_to_is_refused_and_left(
        self, private: PrivateDirectory, loose: int
    ) -> None:
        private.path.mkdir()
        (private.path / "theirs").touch()
        private.path.chmod(loose)
        with pytest.raises(StorageFailed, match="other users may write to .*; take that right away"):
            private.prepare()
        assert mode(private.path) == loose

    def test_directory_in_use_that_others_may_only_read_is_left_as_it_is(self, private: PrivateDirectory) -> None:
        private.path.mkdir()
        (private.path / "theirs").touch()
        private.path.chmod(0o755)
        private.prepare()
        assert mode(private.path) == 0o755

    def test_shared_directory_like_tmp_is_refused_even_when_empty(self, private: PrivateDirectory) -> None:
        private.path.mkdir()
        private.path.chmod(0o1777)
        with pytest.raises(StorageFailed, match="other users may write"):
            private.prepare()
        assert mode(private.path) == 0o1777

    def test_directory_of_ours_below_the_root_is_tightened_though_it_is_in_use(self, private: PrivateDirectory) -> None:
        state = private.child(".state")
        state.write_bytes("name", b"x")
        state.path.chmod(0o777)
        with pytest.raises(StorageFailed, match="other users may write"):
            state.names()
        state.prepare()
        assert mode(state.path) == 0o700

    def test_file_system_that_keeps_no_modes_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "profiling").mkdir()
        (tmp_path / "profiling").chmod(0o777)
        forgetful = OtherSystem(fchmod=lambda descriptor, mode: None)
        with pytest.raises(StorageFailed, match="other users may write"):
            PrivateDirectory(tmp_path / "profiling", system=forgetful).prepare()

    def test_directory_that_another_worker_tightens_meanwhile_is_accepted(self, private: PrivateDirectory) -> None:
        def faster(descriptor: int) -> list[str]:
            private.path.chmod(0o700)
            return [".state"]

        private.path.mkdir()
        private.path.chmod(0o777)
        PrivateDirectory(private.root, system=OtherSystem(listdir=faster)).prepare()
        assert mode(private.path) == 0o700

    def test_directories_that_another_worker_makes_meanwhile_are_used(self, tmp_path: Path) -> None:
        def slower(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            os.mkdir(path, mode, dir_fd=dir_fd)
            raise FileExistsError(errno.EEXIST, "")

        PrivateDirectory(tmp_path / "a" / "b", ".state", system=OtherSystem(mkdir=slower)).write_bytes("name", b"x")
        assert tree(tmp_path / "a" / "b") == {".state": "directory", ".state/name": b"x"}

    def test_directory_of_another_user_is_refused(self, private: PrivateDirectory) -> None:
        private.prepare()
        stranger = PrivateDirectory(private.root, system=OtherSystem(geteuid=lambda: os.geteuid() + 1))
        for operation in (stranger.prepare, stranger.names, lambda: stranger.write_bytes("name", b"x")):
            with pytest.raises(StorageFailed, match="belongs to another user; choose another"):
                operation()
        assert tree(private.path) == {}

    @pytest.mark.parametrize("below", [(), (".state",), (".state", "parts")])
    def test_link_in_place_of_a_directory_is_refused(
        self, private: PrivateDirectory, outside: Path, below: tuple[str, ...]
    ) -> None:
        inner = private.child(*below)
        inner.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        inner.path.symlink_to(outside)
        with pytest.raises(StorageFailed, match="a link (or a file )?stands .*; remove it, or choose another"):
            inner.prepare()
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    @pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("nowhere")])
    def test_what_is_no_directory_is_refused(self, private: PrivateDirectory, make: Callable[[Path], object]) -> None:
        make(private.path)
        with pytest.raises(StorageFailed, match="stands .*; remove it, or choose another PROFILING_OUTPUT_DIR"):
            private.prepare()

    def test_link_among_the_parents_is_the_users_choice(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        PrivateDirectory(tmp_path / "link" / "profiling").prepare()
        assert (tmp_path / "real" / "profiling").is_dir()

    @pytest.mark.parametrize("path", ["a\0b", "a\ud800b", "n" * 300])
    def test_path_that_cannot_be_is_refused_with_a_sentence(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(StorageFailed, match="; check the disk, or choose another PROFILING_OUTPUT_DIR"):
            PrivateDirectory(tmp_path / path).prepare()

    def test_sentence_shows_the_directory_as_configured_and_cannot_forge_log_lines(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("evil\nname").touch()
        with pytest.raises(StorageFailed) as caught:
            PrivateDirectory(Path("evil\nname"), ".state").prepare()
        assert caught.value.message == (
            r"the output directory 'evil\nname' cannot be used: Not a directory; "
            "a link or a file stands where a directory should be; remove it, or choose another PROFILING_OUTPUT_DIR"
        )

    def test_directory_below_is_shown_by_the_name_of_the_root(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        below = PrivateDirectory(Path("profiling")).child("a").child("b")
        below.path.parent.mkdir(mode=0o700, parents=True)
        below.path.touch()
        with pytest.raises(StorageFailed, match="^the output directory 'profiling' cannot be used: "):
            below.prepare()

    def test_relative_directory_stays_where_it_was_when_the_host_changes_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        private = PrivateDirectory(Path("profiling"))
        monkeypatch.chdir(tmp_path / "elsewhere")
        private.child(".state").write_bytes("name", b"x")
        assert tree(tmp_path) == {
            "elsewhere": "directory",
            "profiling": "directory",
            "profiling/.state": "directory",
            "profiling/.state/name": b"x",
        }

    def test_working_directory_that_is_gone_is_a_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        with pytest.raises(StorageFailed, match="'profiling' cannot be found"):
            PrivateDirectory(Path("profiling"))
        monkeypatch.chdir(tmp_path)


class TestWrite:
    def test_file_is_whole_private_and_alone(self, private: PrivateDirectory) -> None:
        status = private.write("name", give(b"content"))
        assert (status.st_size, stat.S_IMODE(status.st_mode)) == (7, 0o600)
        assert status.st_ino == (private.path / "name").stat().st_ino
        assert tree(private.path) == {"name": b"content"}

    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o377, 0o777])
    def test_file_has_mode_0600_under_any_umask(self, private: PrivateDirectory, mask: int) -> None:
        private.prepare()
        with umask(mask):
            private.write_bytes("name", b"x")
        assert mode(private.path / "name") == 0o600

    def test_nothing_is_visible_before_it_is_whole(self, private: PrivateDirectory) -> None:
        private.write_bytes("name", b"old")

        def write(out: BinaryIO) -> None:
            out.write(b"n" * 1_000_000)
            assert (private.path / "name").read_bytes() == b"old"
            temporary = [name for name in private.names() if name != "name"]
            assert [mode(private.path / name) for name in temporary] == [0o600]
            assert all(name.startswith(".tmp-") and f"-{os.getpid()}-" in name for name in temporary)

        private.write("name", write)
        assert tree(private.path) == {"name": b"n" * 1_000_000}

    def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_answer(
        self, private: PrivateDirectory
    ) -> None:
        system = FailingSystem(nth=0, code=errno.EIO)
        private.prepare()
        PrivateDirectory(private.root, system=system).write_bytes("name", b"x")
        order = [call for call in system.calls if call in ("write", "fsync", "replace")]
        assert order == ["write", "fsync", "replace", "fsync"]
        system.calls.clear()
        other = PrivateDirectory(private.root, "other", system=system)
        PrivateDirectory(private.root, system=system).move("name", other, "new")
        order = [call for call in system.calls if call in ("fsync", "replace")]
        assert order == ["fsync", "replace", "fsync"]

    @pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
    def test_file_planted_under_the_temporary_name_is_neither_written_nor_removed(
        self, private: PrivateDirectory, outside: Path, plant: Callable[[Path, Path], None]
    ) -> None:
        foreseen = f".tmp-{process_space()}-{os.getpid()}-{process_started(os.getpid())}-{'ab' * 8}"
        private.prepare()
        plant(private.path / foreseen, outside / "name")
        unlucky = PrivateDirectory(private.root, system=OtherSystem(urandom=lambda size: b"\xab" * size))
        with pytest.raises(StorageFailed, match="could not take name"):
            unlucky.write_bytes("name", b"ours")
        assert private.names() == [foreseen]
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    def test_who_reads_the_old_file_keeps_it(self, private: PrivateDirectory) -> None:
        private.write_bytes("name", b"old")
        file = private.open("name")
        assert file is not None
        with file:
            private.write_bytes("name", b"new")
            assert file.read() == b"old"
        assert private.read("name", limit=3) == b"new"

    def test_short_writes_and_reads_are_completed(self, private: PrivateDirectory) -> None:
        slow = OtherSystem(
            write=lambda descriptor, data: os.write(descriptor, bytes(data)[:7]),
            read=lambda descriptor, length: os.read(descriptor, min(length, 5)),
        )
        data = bytes(range(256)) * 40
        directory = PrivateDirectory(private.root, system=slow)
        directory.write_bytes("name", data)
        assert tree(private.path) == {"name": data}
        assert directory.read("name", limit=len(data)) == data

    @pytest.mark.parametrize("raised", [Unavailable("no renderer; install one"), ValueError(), KeyboardInterrupt()])
    @pytest.mark.parametrize("written", [0, 10, 1_000_000])
    def test_exception_passes_through_and_leaves_what_was(
        self, private: PrivateDirectory, raised: BaseException, written: int
    ) -> None:
        private.write_bytes("name", b"old")

        def write(out: BinaryIO) -> None:
            out.write(b"n" * written)
            raise raised

        with pytest.raises(type(raised)) as caught:
            private.write("name", write)
        assert caught.value is raised
        assert tree(private.path) == {"name": b"old"}

    @pytest.mark.parametrize(("call", "left"), [("write", 0), ("unlink", 1)])
    def test_exception_is_not_hidden_by_a_disk_that_fails_as_well(
        self, private: PrivateDirectory, call: str, left: int
    ) -> None:
        def fail(*arguments: object, **keywords: object) -> None:
            raise OSError(errno.ENOSPC, "")

        def write(out: BinaryIO) -> None:
            out.write(b"buffered")
            raise Unavailable("no renderer; install one")

        with pytest.raises(Unavailable):
            PrivateDirectory(private.root, system=OtherSystem(**{call: fail})).write("name", write)
        assert private.sweep(now=time.time() + 7200) == left
        assert tree(private.path) == {}

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (errno.ENOSPC, DiskFull),
            (errno.EDQUOT, DiskFull),
            (errno.EIO, StorageFailed),
            (errno.EFBIG, DiskFull),
        ],
    )
    def test_refusal_of_the_disk_is_one_of_our_errors(
        self, private: PrivateDirectory, code: int, kind: type[StorageFailed]
    ) -> None:
        def write(out: BinaryIO) -> None:
            raise OSError(code, "", "/secret/path")

        with pytest.raises(StorageFailed) as caught:
            private.write("name", write)
        assert type(caught.value) is kind
        assert caught.value.message.startswith(
            f"the output directory {private.root.name!r} could not take name: {os.strerror(code)}; "
        )
        assert "secret" not in caught.value.message

    def test_error_without_a_number_is_named_by_its_class(self, private: PrivateDirectory) -> None:
        def write(out: BinaryIO) -> None:
            raise io.UnsupportedOperation("not seekable")

        with pytest.raises(StorageFailed, match="could not take name: UnsupportedOperation; check the disk"):
            private.write("name", write)

    def test_text_wrapper_that_is_thrown_away_loses_nothing(self, private: PrivateDirectory) -> None:
        def write(out: BinaryIO) -> None:
            io.TextIOWrapper(out, encoding="utf-8").write("text")

        private.write("name", write)
        assert tree(private.path) == {"name": b"text"}

    @pytest.mark.parametrize("fails", [True, False])
    def test_file_that_is_kept_cannot_write_into_another_one_later(
        self, private: PrivateDirectory, fails: bool
    ) -> None:
        kept = []

        def write(out: BinaryIO) -> None:
            kept.append(out)
            out.write(b"x")
            if fails:
                raise Unavailable("no renderer; install one")

        try:
            private.write("kept", write)
        except Unavailable:
            assert fails

        def write_another(out: BinaryIO) -> None:
            out.write(b"another")
            with pytest.raises(ValueError, match="closed"):
                kept[0].write(b"late")

        private.write("another", write_another)
        assert tree(private.path)["another"] == b"another"

    def test_link_in_the_files_place_is_replaced_and_not_followed(
        self, private: PrivateDirectory, outside: Path
    ) -> None:
        private.prepare()
        (private.path / "name").symlink_to(outside / "name")
        private.write_bytes("name", b"ours")
        assert tree(private.path) == {"name": b"ours"}
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    def test_directory_in_the_files_place_is_refused(self, private: PrivateDirectory) -> None:
        private.child("name").prepare()
        with pytest.raises(StorageFailed, match="could not take name"):
            private.write_bytes("name", b"x")
        assert tree(private.path) == {"name": "directory"}

    def test_directory_that_was_deleted_is_made_again(self, private: PrivateDirectory) -> None:
        private.child(".state").write_bytes("name", b"x")
        shutil.rmtree(private.path)
        private.child(".state").write_bytes("name", b"y")
        assert tree(private.path) == {".state": "directory", ".state/name": b"y"}
        assert mode(private.path) == mode(private.path / ".state") == 0o700

    def test_directory_deleted_while_writing_is_a_sentence(self, private: PrivateDirectory) -> None:
        with pytest.raises(StorageFailed, match="removed meanwhile; start a new session"):
            private.write("name", lambda out: shutil.rmtree(private.path))
        private.write_bytes("name", b"x")
        assert tree(private.path) == {"name": b"x"}

    def test_directory_replaced_by_a_link_is_refused(self, private: PrivateDirectory, outside: Path) -> None:
        private.prepare()
        private.path.rmdir()
        private.path.symlink_to(outside)
        with pytest.raises(StorageFailed, match="a link (or a file )?stands"):
            private.write_bytes("name", b"ours")
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    @pytest.mark.parametrize("below", [(), (".state",)])
    def test_directory_swapped_for_a_link_while_writing_leads_nowhere(
        self, private: PrivateDirectory, outside: Path, tmp_path: Path, below: tuple[str, ...]
    ) -> None:
        inner = private.child(*below)

        def write(out: BinaryIO) -> None:
            inner.path.rename(tmp_path / "moved")
            inner.path.symlink_to(outside)
            out.write(b"ours")

        inner.write("name", write)
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}
        assert tree(tmp_path / "moved") == {"name": b"ours"}

    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_no_name_leads_out_of_the_directory(self, private: PrivateDirectory, tmp_path: Path, name: str) -> None:
        private.write_bytes("good", b"x")
        before = tree(tmp_path)
        for operation in (
            lambda: private.write_bytes(name, b"x"),
            lambda: private.open(name),
            lambda: private.open_shared(name),
            lambda: private.unlink(name),
            lambda: private.move(name, private, "new"),
            lambda: private.move("good", private, name),
            lambda: private.child(name),
            lambda: PrivateDirectory(private.root, "fine", name),
        ):
            with pytest.raises(ValueError, match="is not the name of a file"):
                operation()
        assert tree(tmp_path) == before

    def test_many_writers_of_one_name_leave_one_whole_file_and_readers_see_only_whole_ones(
        self, private: PrivateDirectory
    ) -> None:
        contents = [bytes([65 + number]) * 200_000 for number in range(4)]
        private.write_bytes("name", contents[0])
        seen: set[bytes | None] = set()
        failures: list[BaseException] = []

        def repeat(operation: Callable[[], object]) -> None:
            try:
                for _ in range(15):
                    operation()
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=repeat, args=(lambda data=data: private.write_bytes("name", data),))  # type: ignore[misc]
            for data in contents
        ]
        threads += [
            threading.Thread(target=repeat, args=(lambda: seen.add(private.read("name", limit=200_000)),))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert seen <= set(contents)
        assert private.names() == ["name"]


class TestRead:
    def test_missing_file_or_directory_is_none(self, private: PrivateDirectory) -> None:
        assert private.read("name", limit=1) is None
        assert private.open("name") is None
        private.prepare()
        assert private.read("name", limit=1) is None
        assert private.child("missing").read("name", limit=1) is None

    def test_file_of_exactly_the_limit_is_read_and_one_above_is_damaged(self, private: PrivateDirectory) -> None:
        private.write_bytes("name", b"1234")
        assert private.read("name", limit=4) == b"1234"
        with pytest.raises(DamagedData, match="over the 3 bytes that it may have; delete it"):
            private.read("name", limit=3)

    def test_reading_takes_the_memory_of_the_file_and_not_of_its_limit(self, private: PrivateDirectory) -> None:
        content = bytes(range(256)) * 12_288  # three pieces
        private.write_bytes("name", content)
        assert private.read("name", limit=1 << 62) == content

    @pytest.mark.parametrize("shared", [False, True])
    @pytest.mark.parametrize(
        "plant",
        [
            lambda path, outside: path.symlink_to(outside / "name"),
            lambda path, outside: path.symlink_to("nowhere"),
            lambda path, outside: path.symlink_to("/dev/zero"),
            lambda path, outside: path.mkdir(),
            lambda path, outside: os.mkfifo(path),
        ],
        ids=["link", "dangling link", "link to a device", "directory", "fifo"],
    )
    def test_anything_but_a_regular_file_is_damaged_and_nobody_hangs(
        self, private: PrivateDirectory, outside: Path, shared: bool, plant: Callable[[Path, Path], None]
    ) -> None:
        private.prepare()
        plant(private.path / "name", outside)
        with pytest.raises(DamagedData, match=r"^name in .* is not a regular file; remove it$"):
            private.open_shared("name") if shared else private.read("name", limit=100)
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    @pytest.mark.parametrize(
        "plant",
        [
            lambda path, outside: path.symlink_to(outside / "name"),
            lambda path, outside: path.symlink_to("nowhere"),
            lambda path, outside: path.symlink_to(outside),
            lambda path, outside: path.symlink_to(path.name),
            lambda path, outside: path.mkdir(),
            lambda path, outside: os.mkfifo(path),
        ],
        ids=["link", "dangling link", "link to a directory", "link to itself", "directory", "fifo"],
    )
    def test_what_stands_in_the_way_of_a_shared_file_in_a_directory_of_ours_is_removed(
        self, private: PrivateDirectory, outside: Path, plant: Callable[[Path, Path], None]
    ) -> None:
        state = private.child(".state")
        state.prepare()
        plant(state.path / "lock", outside)
        os.close(state.open_shared("lock"))
        assert tree(state.path) == {"lock": b""}
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    def test_a_directory_with_something_in_it_is_not_removed_for_a_shared_file(self, private: PrivateDirectory) -> None:
        state = private.child(".state")
        state.prepare()
        (state.path / "lock").mkdir()
        (state.path / "lock" / "kept").touch()
        with pytest.raises(DamagedData, match=r"^\.state/lock in 'profiling' is not a regular file; remove it$"):
            state.open_shared("lock")
        assert (state.path / "lock" / "kept").exists()

    def test_an_empty_directory_in_the_way_of_a_file_in_a_directory_of_ours_is_removed(
        self, private: PrivateDirectory
    ) -> None:
        state = private.child(".state")
        state.prepare()
        (state.path / "session.json").mkdir()
        state.write_bytes("session.json", b"new")
        assert tree(state.path) == {"session.json": b"new"}

    def test_any_other_directory_in_the_way_of_a_file_stays(self, private: PrivateDirectory) -> None:
        state = private.child(".state")
        state.prepare()
        for directory, kept in ((private, ""), (state, "kept")):
            place = directory.path / "name"
            (place / kept).mkdir(parents=True)
            with pytest.raises(StorageFailed, match="a directory stands where a file should be; remove it"):
                directory.write_bytes("name", b"new")
            assert [path.name for path in place.iterdir()] == [kept] * bool(kept)
            assert not [path for path in directory.path.iterdir() if path.name.startswith(".tmp-")]

    def test_opened_file_has_a_descriptor_and_closes_once(self, private: PrivateDirectory) -> None:
        private.write_bytes("name", b"content")
        file = private.open("name")
        assert file is not None
        assert os.fstat(file.fileno()).st_size == 7
        assert (file.read(3), file.read()) == (b"con", b"tent")
        for each in (file, file, file.raw):  # type: ignore[attr-defined]
            each.close()

    def test_shared_file_is_made_empty_and_private_and_kept(self, private: PrivateDirectory) -> None:
        for content in (b"", b"content"):
            descriptor = private.child(".state").open_shared("lock")
            assert os.read(descriptor, 100) == content
            os.pwrite(descriptor, b"content", 0)
            os.close(descriptor)
        assert mode(private.path / ".state" / "lock") == 0o600


class TestList:
    def test_missing_directory_has_no_names_and_is_not_made(self, private: PrivateDirectory) -> None:
        assert private.names() == private.files(lambda name: True) == []
        assert private.sweep(now=0) == 0
        assert not private.path.exists()

    def test_files_are_regular_wanted_and_sorted(self, private: PrivateDirectory, outside: Path) -> None:
        for name in ("b", "a", "unwanted"):
            private.write_bytes(name, name.encode())
        (private.path / "directory").mkdir()
        (private.path / "link").symlink_to(outside / "name")
        os.mkfifo(private.path / "fifo")
        found = private.files(lambda name: name != "unwanted")
        assert [(name, status.st_size) for name, status in found] == [("a", 1), ("b", 1)]

    def test_file_that_vanishes_between_two_looks_is_left_out(self, private: PrivateDirectory) -> None:
        private.write_bytes("here", b"")
        haunted = OtherSystem(listdir=lambda descriptor: ["ghost", *os.listdir(descriptor)])
        found = PrivateDirectory(private.root, system=haunted).files(lambda name: True)
        assert [name for name, _ in found] == ["here"]

    def test_looking_changes_no_mode(self, private: PrivateDirectory) -> None:
        private.path.mkdir()
        private.path.chmod(0o755)
        assert (private.names(), private.read("name", limit=1), private.sweep(now=0)) == ([], None, 0)
        assert mode(private.path) == 0o755

    def test_directory_swapped_for_a_link_once_it_is_open_leads_nowhere(
        self, private: PrivateDirectory, outside: Path, tmp_path: Path
    ) -> None:
        def swap(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
            private.path.rename(tmp_path / "moved")
            private.path.symlink_to(outside)
            return descriptor

        def swapped() -> PrivateDirectory:
            private.path.unlink(missing_ok=True)
            (tmp_path / "moved").rename(private.path)
            return PrivateDirectory(private.root, system=OtherSystem(open=swap))

        private.write_bytes("name", b"ours")
        private.path.rename(tmp_path / "moved")
        assert swapped().names() == ["name"]
        assert [status.st_size for _, status in swapped().files(lambda name: True)] == [4]
        assert swapped().unlink("name")
        assert tree(tmp_path / "moved") == {}
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    def test_directory_replaced_by_a_link_is_not_listed(self, private: PrivateDirectory, outside: Path) -> None:
        private.path.symlink_to(outside)
        for operation in (private.names, lambda: private.files(lambda name: True), lambda: private.unlink("name")):
            with pytest.raises(StorageFailed):
                operation()
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}


class TestUnlink:
    def test_it_tells_whether_the_file_was_there(self, private: PrivateDirectory) -> None:
        assert private.unlink("name") is False
        private.write_bytes("name", b"x")
        assert [private.unlink("name"), private.unlink("name")] == [True, False]

    def test_of_a_link_only_the_link_goes(self, private: PrivateDirectory, outside: Path) -> None:
        private.prepare()
        (private.path / "name").symlink_to(outside / "name")
        assert private.unlink("name")
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    def test_directory_is_refused(self, private: PrivateDirectory) -> None:
        private.child("name").prepare()
        with pytest.raises(StorageFailed, match="could not lose name"):
            private.unlink("name")


class TestMove:
    @pytest.fixture
    def spool(self, private: PrivateDirectory) -> PrivateDirectory:
        spool = private.child("spool")
        spool.prepare()
        return spool

    def test_file_moves_whole_and_becomes_private(self, private: PrivateDirectory, spool: PrivateDirectory) -> None:
        (spool.path / "name").write_bytes(b"content")
        (spool.path / "name").chmod(0o644)
        status = spool.move("name", private, "new")
        assert (status.st_size, stat.S_IMODE(status.st_mode)) == (7, 0o600)
        assert tree(private.path) == {"new": b"content", "spool": "directory"}
        assert mode(private.path / "new") == 0o600

    def test_missing_file_or_directory_is_damage(self, private: PrivateDirectory, spool: PrivateDirectory) -> None:
        for source in (spool, private.child("missing")):
            with pytest.raises(DamagedData, match="name in .* is missing; start a new session"):
                source.move("name", private, "new")

    @pytest.mark.parametrize(
        "plant",
        [
            lambda path, outside: path.symlink_to(outside / "name"),
            lambda path, outside: path.mkdir(),
            lambda path, outside: os.mkfifo(path),
            lambda path, outside: path.hardlink_to(outside / "name"),
        ],
        ids=["link", "directory", "fifo", "second name"],
    )
    def test_what_is_not_a_file_of_ours_alone_stays(
        self,
        private: PrivateDirectory,
        spool: PrivateDirectory,
        outside: Path,
        plant: Callable[[Path, Path], None],
    ) -> None:
        (outside / "name").chmod(0o644)
        plant(spool.path / "name", outside)
        with pytest.raises(DamagedData, match="; remove it$"):
            spool.move("name", private, "new")
        assert private.names() == ["spool"]
        assert mode(outside / "name") == 0o644

    def test_file_of_another_user_stays(self, private: PrivateDirectory, spool: PrivateDirectory) -> None:
        class Foreign:
            def __init__(self, status: os.stat_result) -> None:
                self._status = status

            def __getattr__(self, name: str) -> int:
                value: int = getattr(self._status, name)
                return value + 1 if name == "st_uid" and stat.S_ISREG(self._status.st_mode) else value

        spool.write_bytes("name", b"content")
        system = OtherSystem(fstat=lambda descriptor: Foreign(os.fstat(descriptor)))
        with pytest.raises(DamagedData, match="is not ours alone; remove it"):
            PrivateDirectory(private.root, "spool", system=system).move("name", private, "new")
        assert tree(private.path) == {"spool": "directory", "spool/name": b"content"}


class TestRemove:
    def test_directory_goes_with_its_files_and_links(self, private: PrivateDirectory, outside: Path) -> None:
        inner = private.child("a", "b")
        inner.write_bytes("name", b"x")
        (inner.path / "link").symlink_to(outside)
        assert [inner.remove(), inner.remove()] == [True, False]
        assert tree(private.path) == {"a": "directory"}
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    def test_file_that_somebody_else_removes_meanwhile_is_no_failure(self, private: PrivateDirectory) -> None:
        dead = f".tmp-{process_space()}-{2**31 - 1}-0-{'0' * 16}"
        haunted = OtherSystem(listdir=lambda descriptor: [dead, *os.listdir(descriptor)])
        private.child("a").write_bytes("name", b"x")
        directory = PrivateDirectory(private.root, "a", system=haunted)
        assert directory.sweep(now=0) == 0
        assert directory.remove()
        assert tree(private.path) == {}

    def test_directory_that_holds_directories_is_refused(self, private: PrivateDirectory) -> None:
        private.child("a", "theirs").write_bytes("name", b"x")
        with pytest.raises(StorageFailed, match="cannot be removed"):
            private.child("a").remove()
        assert tree(private.path / "a") == {"theirs": "directory", "theirs/name": b"x"}

    def test_link_in_its_place_is_refused(self, private: PrivateDirectory, outside: Path) -> None:
        private.prepare()
        (private.path / "a").symlink_to(outside)
        with pytest.raises(StorageFailed):
            private.child("a").remove()
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    def test_root_is_never_removed(self, private: PrivateDirectory) -> None:
        private.prepare()
        with pytest.raises(ValueError, match="the root is not ours to remove"):
            private.remove()
        assert private.path.is_dir()


class TestWithoutDescriptors:
    """What Windows gets: paths instead of descriptors, no owners and no modes."""

    @pytest.fixture
    def simple(self, tmp_path: Path) -> PrivateDirectory:
        return PrivateDirectory(tmp_path / "a" / "profiling", system=without_descriptors())

    def test_files_are_written_read_listed_moved_and_removed(self, simple: PrivateDirectory) -> None:
        spool = simple.child(".state", "spool")
        assert simple.names() == []
        spool.write_bytes("name", b"content")
        assert spool.read("name", limit=100) == b"content"
        spool.move("name", simple, "new")
        os.close(spool.open_shared("lock"))
        assert [name for name, _ in simple.files(lambda name: True)] == ["new"]
        assert spool.remove()
        assert simple.sweep(now=0) == 0
        assert simple.unlink("new")
        assert tree(simple.path) == {".state": "directory"}

    def test_link_in_place_of_the_directory_is_refused(self, simple: PrivateDirectory, outside: Path) -> None:
        simple.path.parent.mkdir()
        simple.path.symlink_to(outside)
        with pytest.raises(StorageFailed):
            simple.write_bytes("name", b"ours")
        assert tree(outside) == {"inner": "directory", "name": b"theirs"}

    def test_nothing_is_left_of_a_write_that_failed(self, simple: PrivateDirectory) -> None:
        simple.write_bytes("name", b"old")

        def write(out: BinaryIO) -> None:
            raise Unavailable("no renderer; install one")

        with pytest.raises(Unavailable):
            simple.write("name", write)
        assert tree(simple.path) == {"name": b"old"}
