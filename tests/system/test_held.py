"""One directory held open, and streams over a descriptor: what they ask of the system, and in which order."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_profiling.system._held import CHANGE, CREATE, READ, Held, Sink, Source, plain
from tests.faults import OtherSystem, open_descriptors


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    held = Held.root(os, str(tmp_path / "held"), make=True)
    yield held
    held.close()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0", "../a"])
def test_a_name_that_leads_anywhere_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a file"):
        plain(name)


@pytest.mark.parametrize("name", ["a", "...", ".a", "a..b", "-", " "])
def test_a_plain_name_is_a_name(name: str) -> None:
    assert plain(name) == name


def test_no_flag_follows_a_link_and_a_new_file_is_new() -> None:
    assert all(flags & os.O_NOFOLLOW for flags in (CREATE, READ, CHANGE))
    assert CREATE & os.O_EXCL
    assert CREATE & os.O_CREAT
    assert not READ & (os.O_WRONLY | os.O_RDWR)
    assert READ & os.O_NONBLOCK


def test_a_missing_directory_is_made_only_where_that_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Held.root(os, str(tmp_path / "a" / "b"), make=False)
    assert list(tmp_path.iterdir()) == []
    before = open_descriptors()
    held = Held.root(os, str(tmp_path / "a" / "b" / "c"), make=True)
    with pytest.raises(FileNotFoundError):
        held.inner("d", make=False)
    inner = held.inner("d", make=True)
    assert [(tmp_path / steps).stat().st_mode & 0o777 for steps in ("a", "a/b", "a/b/c", "a/b/c/d")] == [0o700] * 4
    inner.close()
    held.close()
    assert open_descriptors() == before


def test_steps_to_a_directory_that_others_make_meanwhile_are_used(tmp_path: Path) -> None:
    def mkdir(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        os.mkdir(path, mode, dir_fd=dir_fd)
        raise FileExistsError(errno.EEXIST, "another worker was faster")

    held = Held.root(OtherSystem(mkdir=mkdir), str(tmp_path / "a" / "b"), make=True)
    held.inner("c", make=True).close()
    held.close()
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_what_is_done_in_it_is_done_there_wherever_its_path_leads_meanwhile(held: Held, tmp_path: Path) -> None:
    (tmp_path / "held").rename(tmp_path / "moved")
    (tmp_path / "held").mkdir()
    os.close(held.open("file", CREATE))
    held.replace("file", held, "renamed")
    assert held.names() == ["renamed"]
    assert held.stat("renamed").st_mode & 0o777 == 0o600
    assert list((tmp_path / "held").iterdir()) == []
    held.unlink("renamed")
    held.inner("inner", make=True).close()
    held.rmdir("inner")
    assert list((tmp_path / "moved").iterdir()) == []


def test_closing_and_syncing_hide_no_work_and_raise_nothing(tmp_path: Path) -> None:
    synced: list[int] = []

    def fsync(descriptor: int) -> None:
        synced.append(descriptor)
        raise OSError(errno.EINVAL, "no syncing of directories here")

    held = Held.root(OtherSystem(fsync=fsync), str(tmp_path), make=False)
    held.sync()
    assert synced == [held.descriptor]
    held.close()
    held.close()


def test_a_source_reads_to_the_end_and_closes_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    closed: list[int] = []

    def close(descriptor: int) -> None:
        closed.append(descriptor)
        os.close(descriptor)

    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    source = Source(OtherSystem(close=close), descriptor)
    assert source.readable()
    assert source.fileno() == descriptor
    assert source.read(4) == b"abcd"
    assert source.read() == b"ef"
    assert source.read(1) == b""
    source.close()
    source.close()
    assert closed == [descriptor]


def test_a_sink_writes_until_it_is_dropped_and_leaves_the_descriptor_open(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    sink = Sink(os, descriptor)
    assert sink.writable()
    assert sink.write(b"kept") == 4
    sink.drop()
    assert sink.write(memoryview(b"nowhere")) == 7
    sink.close()
    assert (tmp_path / "file").read_bytes() == b"kept"
    os.close(descriptor)
