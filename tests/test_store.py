from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import hypothesis
import pytest
from hypothesis import strategies

from flask_profiling.errors import BadRequest, DamagedData, DiskFull, ProfilingError, StorageFailed, Unavailable
from flask_profiling.model import Artifact
from flask_profiling.processes import process_space
from flask_profiling.store import Cleaned, Store
from tests.faults import OtherSystem, failing_systems, open_descriptors, tree, without_descriptors

TYPES = {
    "cpuprofile": ("profile", ".cpuprofile"),
    "pstats": ("profile", ".prof"),
    "heapsnapshot": ("heap", ".heapsnapshot"),
}
ID = "prof-20261123-143022-7f3a9c"
OTHER = "prof-20261123-150000-000001"
DEAD = f".tmp-{process_space()}-{2**31 - 1}-0-{'0' * 16}"

HOSTILE_IDS = [
    "",
    "prof-",
    "prof-abc",
    "7f3a9c",
    "PROF-7F3A9C",
    "prof-7f3a9C",
    "prof-7f3a\n",
    "\nprof-7f3a",
    "prof-../../../etc/passwd",
    "../prof-7f3a",
    "prof-7f3a/x",
    "prof-7f3a.812",
    "prof-7f3a.cpuprofile",
    "prof-7f3a\0",
    "prof-٧٧٧٧",
    "prof-7f3a\ud800",
    "prof-" + "a" * 61,
]


def make(directory: Path, **changes: object) -> Store:
    settings: dict[str, object] = {"types": TYPES, "max_sessions": 20, "max_bytes": 1 << 30, **changes}
    return Store(directory, **settings)  # type: ignore[arg-type]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "profiling"


@pytest.fixture
def store(directory: Path) -> Store:
    return make(directory)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Somebody else's directory, with names like ours in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"profile-{ID}.prof").write_bytes(b"theirs")
    (outside / DEAD).write_bytes(b"theirs")
    return outside


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def give(data: bytes) -> Callable[[BinaryIO], None]:
    def write(out: BinaryIO) -> None:
        out.write(data)

    return write


def put(directory: Path, filename: str, *, size: int = 1, created: float = 1_000_000.0) -> Path:
    """Plant a file as an earlier run left it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / filename
    path.write_bytes(b"x" * size)
    os.utime(path, (created, created))
    return path


def put_session(directory: Path, session_id: str, *, created: float, size: int = 10) -> None:
    put(directory, f"profile-{session_id}.cpuprofile", size=size, created=created)
    put(directory, f"profile-{session_id}.prof", size=size, created=created + 1)


def spooled(directory: Path, name: str, data: bytes = b"heap", *, session_id: str = ID) -> Path:
    """Plant a file where a worker hands in."""
    spool = directory / ".state" / "parts" / session_id
    for step in (directory, directory / ".state", directory / ".state" / "parts", spool):
        step.mkdir(mode=0o700, exist_ok=True)
    (spool / name).write_bytes(data)
    return spool / name


def sessions(store: Store) -> list[str]:
    return sorted({artifact.session_id for artifact in store.artifacts()})


class TestWrite:
    def test_artifact_is_named_after_type_and_session_and_listed_as_answered(
        self, store: Store, directory: Path
    ) -> None:
        before = time.time()
        artifact = store.write("cpuprofile", ID, give(b"content"))
        assert artifact == Artifact(ID, "cpuprofile", f"profile-{ID}.cpuprofile", 7, artifact.created)
        assert before - 1 <= artifact.created <= time.time() + 1
        assert store.artifacts() == (artifact,)
        assert tree(directory) == {f"profile-{ID}.cpuprofile": b"content"}
        assert (directory / artifact.filename).stat().st_mode & 0o777 == 0o600
        assert directory.stat().st_mode & 0o777 == 0o700

    def test_each_worker_can_have_its_own(self, store: Store) -> None:
        first = store.write("heapsnapshot", ID, give(b"1"), worker=812)
        second = store.write("heapsnapshot", ID, give(b"22"), worker=4194304)
        assert first.filename == f"heap-{ID}.812.heapsnapshot"
        assert second.filename == f"heap-{ID}.4194304.heapsnapshot"
        assert set(store.artifacts()) == {first, second}
        assert {artifact.session_id for artifact in store.artifacts()} == {ID}

    def test_pid_is_never_taken_for_the_end_of_a_session_id(self, store: Store) -> None:
        written = {
            store.write("heapsnapshot", "prof-7f3a", give(b"x"), worker=812),
            store.write("heapsnapshot", "prof-7f3a-812", give(b"x")),
        }
        assert set(store.artifacts()) == written

    def test_failed_write_leaves_nothing_and_the_next_works(self, store: Store, directory: Path) -> None:
        def write(out: BinaryIO) -> None:
            out.write(b"half")
            raise Unavailable("no renderer; install one")

        with pytest.raises(Unavailable):
            store.write("pstats", ID, write)
        assert tree(directory) == {}
        store.write("pstats", ID, give(b"x"))
        assert len(store.artifacts()) == 1

    @pytest.mark.parametrize("session_id", HOSTILE_IDS)
    def test_no_path_can_be_built_from_a_hostile_id(
        self, store: Store, directory: Path, tmp_path: Path, session_id: str
    ) -> None:
        path = spooled(directory, "heap-1.heapsnapshot")
        before = tree(tmp_path)
        for operation in (
            lambda: store.write("pstats", session_id, give(b"x")),
            lambda: store.adopt(path, "heapsnapshot", session_id),
        ):
            with pytest.raises(BadRequest, match="is no session id; list those there are") as caught:
                operation()
            assert "\n" not in caught.value.message
        assert tree(tmp_path) == before

    @pytest.mark.parametrize("worker", [-1, 0, 10**11])
    def test_number_that_is_no_pid_is_refused(self, store: Store, worker: int) -> None:
        with pytest.raises(BadRequest):
            store.write("pstats", ID, give(b"x"), worker=worker)

    def test_type_that_is_not_in_the_table_is_a_mistake_of_the_caller(self, store: Store) -> None:
        with pytest.raises(KeyError):
            store.write("exe", ID, give(b"x"))

    @hypothesis.given(session_id=strategies.text(max_size=80) | strategies.from_regex(r"prof-[0-9a-z./-]{3,70}"))
    def test_every_id_is_refused_or_comes_back_from_the_listing(
        self, tmp_path_factory: pytest.TempPathFactory, session_id: str
    ) -> None:
        home = tmp_path_factory.getbasetemp() / "fuzzed"
        shutil.rmtree(home, ignore_errors=True)
        fuzzed = make(home / "profiling")
        try:
            artifact = fuzzed.write("pstats", session_id, give(b"x"))
        except BadRequest:
            assert not home.exists()
        else:
            assert fuzzed.artifacts() == (artifact,)
            assert set(tree(home)) == {"profiling", f"profiling/{artifact.filename}"}
            assert artifact.session_id == session_id


class TestAdopt:
    @pytest.mark.parametrize(
        ("worker", "filename"), [(None, f"heap-{ID}.heapsnapshot"), (7, f"heap-{ID}.7.heapsnapshot")]
    )
    def test_finished_file_becomes_an_artifact(
        self, store: Store, directory: Path, worker: int | None, filename: str
    ) -> None:
        path = spooled(directory, "heap-7.heapsnapshot", b"snapshot")
        path.chmod(0o644)
        artifact = store.adopt(path, "heapsnapshot", ID, worker=worker)
        assert artifact == Artifact(ID, "heapsnapshot", filename, 8, artifact.created)
        assert store.artifacts() == (artifact,)
        assert (directory / filename).read_bytes() == b"snapshot"
        assert (directory / filename).stat().st_mode & 0o777 == 0o600
        assert not path.exists()

    def test_relative_path_means_the_same_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        store = make(Path("profiling"))
        spooled(tmp_path / "profiling", "heap-7.heapsnapshot")
        path = Path("profiling", ".state", "parts", ID, "heap-7.heapsnapshot")
        assert store.adopt(path, "heapsnapshot", ID).size == 4

    @pytest.mark.parametrize(
        "elsewhere",
        [
            "outside/name",
            "profiling/name",
            "profiling/.state/name",
            f"profiling/.state/parts/{OTHER}/name",
            f"profiling/.state/parts/{ID}/../{OTHER}/name",
            f"profiling/.state/parts/{ID}/inner/name",
            f"profiling/.state/parts/{ID}/..",
        ],
    )
    def test_file_from_any_other_place_stays_there(
        self, store: Store, tmp_path: Path, directory: Path, elsewhere: str
    ) -> None:
        spooled(directory, "name")
        spooled(directory, "name", session_id=OTHER)
        path = tmp_path / elsewhere
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.name == "name":
            path.write_bytes(b"x")
        before = tree(tmp_path)
        with pytest.raises((StorageFailed, ValueError)):
            store.adopt(path, "heapsnapshot", ID)
        assert tree(tmp_path) == before

    @pytest.mark.parametrize(
        "plant",
        [
            lambda path, outside: None,
            lambda path, outside: path.symlink_to(outside / DEAD),
            lambda path, outside: path.hardlink_to(outside / DEAD),
            lambda path, outside: path.mkdir(),
            lambda path, outside: os.mkfifo(path),
        ],
        ids=["missing", "link", "second name", "directory", "fifo"],
    )
    def test_what_is_not_a_file_of_ours_alone_is_not_adopted(
        self, store: Store, directory: Path, outside: Path, plant: Callable[[Path, Path], None]
    ) -> None:
        path = spooled(directory, "name")
        path.unlink()
        plant(path, outside)
        with pytest.raises(StorageFailed, match=f"heap-{ID}.heapsnapshot could not be stored: .*name in .*; "):
            store.adopt(path, "heapsnapshot", ID)
        assert store.artifacts() == ()
        assert (outside / DEAD).read_bytes() == b"theirs"


class TestArtifacts:
    def test_missing_directory_has_none_and_is_not_made(self, store: Store, directory: Path) -> None:
        assert store.artifacts() == ()
        assert not directory.exists()

    def test_newest_comes_first(self, store: Store, directory: Path) -> None:
        put(directory, f"profile-{ID}.prof", created=2000.0)
        put(directory, f"profile-{ID}.cpuprofile", created=3000.5, size=5)
        put(directory, f"heap-{OTHER}.heapsnapshot", created=1000.0)
        assert store.artifacts() == (
            Artifact(ID, "cpuprofile", f"profile-{ID}.cpuprofile", 5, 3000.5),
            Artifact(ID, "pstats", f"profile-{ID}.prof", 1, 2000.0),
            Artifact(OTHER, "heapsnapshot", f"heap-{OTHER}.heapsnapshot", 1, 1000.0),
        )

    @pytest.mark.parametrize(
        "filename",
        [
            "notes.txt",
            ".gitignore",
            DEAD,
            f"profile-{ID}.txt",
            f"profile-{ID}.prof.bak",
            f"profile-{ID}.prof\n",
            f"profile-{ID}xprof",
            f"profile-{ID}",
            f"xprofile-{ID}.prof",
            f"heap-{ID}.prof",
            f"profile-{ID}..prof",
            f"profile-{ID}.0.prof",
            f"profile-{ID}.-1.prof",
            f"profile-{ID}.1.2.prof",
            f"profile-{ID}.12345678901.prof",
            f"profile-{ID.upper()}.prof",
            "profile-prof-abc.prof",
            "profile-.prof",
        ],
    )
    def test_other_peoples_files_are_neither_listed_nor_deleted(self, directory: Path, filename: str) -> None:
        store = make(directory, max_sessions=0, max_bytes=0)
        put_session(directory, ID, created=1.0)
        put(directory, filename)
        assert len(store.artifacts()) == 2
        store.sweep() if filename != DEAD else None
        store.retain(keep=None)
        assert store.clean(keep=None) == Cleaned(reports=2, sessions=1)
        assert list(tree(directory)) == [filename]

    def test_what_is_no_regular_file_is_neither_listed_nor_deleted(
        self, store: Store, directory: Path, outside: Path
    ) -> None:
        store.prepare()
        (directory / f"profile-{ID}.prof").symlink_to(outside / f"profile-{ID}.prof")
        (directory / f"heap-{ID}.heapsnapshot").mkdir()
        os.mkfifo(directory / f"profile-{ID}.cpuprofile")
        before = tree(directory)
        assert store.artifacts() == ()
        assert store.clean(keep=None) == Cleaned(0, 0)
        assert tree(directory) == before
        assert (outside / f"profile-{ID}.prof").read_bytes() == b"theirs"

    def test_file_that_vanishes_while_listing_is_left_out(self, directory: Path) -> None:
        put(directory, f"profile-{ID}.prof")
        ghost = f"profile-{OTHER}.prof"
        system = OtherSystem(listdir=lambda descriptor: [ghost, *os.listdir(descriptor)])
        store = make(directory, system=system)
        assert [artifact.session_id for artifact in store.artifacts()] == [ID]


class TestBegin:
    """Sessions stand in the order in which they began, whatever the clock said meanwhile."""

    @pytest.fixture
    def begun(self, directory: Path) -> list[str]:
        """Store four sessions while the clock jumps back, forth and back; returns their ids, the oldest first."""
        ids = ["prof-dddd", "prof-bbbb", "prof-cccc", "prof-aaaa"]
        for session_id, when in zip(ids, (5000.0, 1000.0, 9000.0, 10.0), strict=True):
            make(directory).begin(session_id)
            put_session(directory, session_id, created=when)
        return ids

    def test_the_newest_session_comes_first_though_the_clock_jumped(self, store: Store, begun: list[str]) -> None:
        newest_first = [session_id for session_id in reversed(begun) for _ in range(2)]
        assert [artifact.session_id for artifact in store.artifacts()] == newest_first
        assert [artifact.type for artifact in store.artifacts()][:2] == ["pstats", "cpuprofile"]

    def test_the_oldest_session_goes_first_though_the_clock_jumped(self, directory: Path, begun: list[str]) -> None:
        make(directory, max_sessions=2).retain(keep=None)
        assert sessions(make(directory)) == sorted(begun[2:])
        make(directory, max_sessions=1, max_bytes=1).retain(keep=None)
        assert sessions(make(directory)) == begun[3:]

    def test_a_file_that_is_added_later_does_not_move_its_session(
        self, store: Store, directory: Path, begun: list[str]
    ) -> None:
        put(directory, f"heap-{begun[0]}.heapsnapshot", created=99_000.0)
        assert store.artifacts()[0].session_id == begun[3]
        assert [artifact.type for artifact in store.artifacts()][-3:] == ["heapsnapshot", "pstats", "cpuprofile"]

    def test_what_was_stored_before_anything_was_noted_keeps_its_order(self, store: Store, directory: Path) -> None:
        put_session(directory, "prof-bbbb", created=100.0)
        put_session(directory, "prof-aaaa", created=200.0)
        store.begin("prof-cccc")
        put_session(directory, "prof-cccc", created=10.0)
        for path in directory.glob("profile-prof-bbbb.*"):
            os.utime(path, (5000.0, 5000.0))
        names = [artifact.session_id for artifact in store.artifacts()]
        assert list(dict.fromkeys(names)) == ["prof-cccc", "prof-aaaa", "prof-bbbb"]

    @pytest.mark.parametrize(
        ("created", "place"), [(1.0, 4), (10.0, 0), (999.0, 0), (1000.0, 0), (20_000.0, 0), (9.0, 4)]
    )
    def test_a_session_that_was_copied_here_follows_the_last_one_that_is_no_younger(
        self, store: Store, directory: Path, begun: list[str], created: float, place: int
    ) -> None:
        put_session(directory, "prof-copy", created=created)
        names = list(dict.fromkeys(artifact.session_id for artifact in store.artifacts()))
        expected = [*reversed(begun)]
        expected.insert(place, "prof-copy")
        assert names == expected

    def test_sessions_that_were_copied_here_stand_between_those_that_were_not(
        self, store: Store, directory: Path
    ) -> None:
        for session_id, when in (("prof-0001", 100.0), ("prof-0003", 300.0)):
            store.begin(session_id)
            put_session(directory, session_id, created=when)
        for session_id, when in (("prof-0002", 200.0), ("prof-0021", 210.0), ("prof-0020", 210.0)):
            put_session(directory, session_id, created=when)
        names = list(dict.fromkeys(artifact.session_id for artifact in store.artifacts()))
        assert names == ["prof-0003", "prof-0021", "prof-0020", "prof-0002", "prof-0001"]

    def test_what_is_gone_is_forgotten_and_what_is_still_collected_is_not(self, store: Store, directory: Path) -> None:
        store.begin("prof-late")
        spooled(directory, "part", session_id="prof-late")
        for session_id in ("prof-gone", "prof-newest"):
            store.begin(session_id)
        assert json.loads((directory / ".state" / "sequence.json").read_bytes()) == ["prof-late", "prof-newest"]
        put_session(directory, "prof-newest", created=100.0)
        put_session(directory, "prof-late", created=200.0)
        assert store.artifacts()[0].session_id == "prof-newest"

    def test_a_session_that_begins_again_is_the_newest_once(self, store: Store, directory: Path) -> None:
        for session_id in ("prof-aaaa", "prof-bbbb", "prof-aaaa"):
            store.begin(session_id)
            put_session(directory, session_id, created=100.0)
        assert json.loads((directory / ".state" / "sequence.json").read_bytes()) == ["prof-bbbb", "prof-aaaa"]

    @pytest.mark.parametrize(
        "content", [b"", b"{}", b"[1]", b"null", b"[" * 100_000, b"\xff", b'["prof-zzzz", null]', b'"prof-bbbb"']
    )
    def test_a_damaged_note_is_as_good_as_none_and_the_next_one_is_whole(
        self, store: Store, directory: Path, content: bytes
    ) -> None:
        store.begin("prof-bbbb")
        (directory / ".state" / "sequence.json").write_bytes(content)
        put_session(directory, "prof-bbbb", created=200.0)
        put_session(directory, "prof-aaaa", created=100.0)
        assert store.artifacts()[0].session_id == "prof-bbbb"
        store.begin("prof-cccc")
        note = json.loads((directory / ".state" / "sequence.json").read_bytes())
        assert note == ["prof-aaaa", "prof-bbbb", "prof-cccc"]

    @pytest.mark.parametrize(("size", "newest"), [(8 << 20, "prof-aaaa"), ((8 << 20) + 1, "prof-bbbb")])
    def test_a_note_of_eight_mebibytes_is_read_and_a_larger_one_is_none_of_ours(
        self, store: Store, directory: Path, size: int, newest: str
    ) -> None:
        for session_id, when in (("prof-bbbb", 200.0), ("prof-aaaa", 100.0)):
            store.begin(session_id)
            put_session(directory, session_id, created=when)
        note = directory / ".state" / "sequence.json"
        note.write_bytes(note.read_bytes().ljust(size))
        assert store.artifacts()[0].session_id == newest

    @pytest.mark.parametrize("plant", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
    def test_what_is_planted_in_place_of_the_note_hides_no_artifact(
        self, store: Store, directory: Path, begun: list[str], plant: Callable[[Path], object]
    ) -> None:
        note = directory / ".state" / "sequence.json"
        note.unlink()
        plant(note)
        assert sessions(store) == sorted(begun)
        assert store.artifacts()[0].session_id == "prof-cccc", "times are all there is to go by"

    def test_a_note_that_cannot_be_read_hides_no_artifact(self, directory: Path, begun: list[str]) -> None:
        def open_(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if path == "sequence.json":
                raise OSError(errno.EIO, "broken")
            return os.open(path, flags, mode, dir_fd=dir_fd)

        broken = make(directory, system=OtherSystem(open=open_))
        assert sessions(broken) == sorted(begun)
        with pytest.raises(StorageFailed):
            broken.begin("prof-eeee")

    @pytest.mark.parametrize("session_id", HOSTILE_IDS)
    def test_what_is_no_session_id_is_not_noted(self, store: Store, directory: Path, session_id: str) -> None:
        with pytest.raises(BadRequest):
            store.begin(session_id)
        assert not directory.exists()


class TestOpen:
    def test_content_of_an_artifact_is_read(self, store: Store) -> None:
        artifact = store.write("pstats", ID, give(b"content"))
        with store.open(artifact.filename) as file:
            assert file.read() == b"content"

    @pytest.mark.parametrize(
        "filename",
        [
            "",
            "..",
            "notes.txt",
            ".state/session.json",
            f"../outside/profile-{ID}.prof",
            f"profile-{OTHER}.prof",
            "a\nb",
        ],
    )
    def test_any_other_name_is_refused(self, store: Store, directory: Path, outside: Path, filename: str) -> None:
        put(directory, "notes.txt")
        with pytest.raises(BadRequest, match="there is no report .*; list those there are with") as caught:
            store.open(filename)
        assert "\n" not in caught.value.message

    def test_link_is_not_followed(self, store: Store, directory: Path, outside: Path) -> None:
        store.prepare()
        (directory / f"profile-{ID}.prof").symlink_to(outside / f"profile-{ID}.prof")
        with pytest.raises(DamagedData, match="is not a regular file; remove it"):
            store.open(f"profile-{ID}.prof")


class TestRetain:
    def test_oldest_sessions_go_whole_until_the_number_holds(self, directory: Path) -> None:
        store = make(directory, max_sessions=2)
        for number in (3, 1, 4, 2):
            put_session(directory, f"prof-000{number}", created=number * 100.0)
        put(directory, "heap-prof-0001.9.heapsnapshot", created=100.0)
        assert store.retain(keep=None) == 5
        assert sessions(store) == ["prof-0003", "prof-0004"]
        assert store.retain(keep=None) == 0

    def test_oldest_sessions_go_whole_until_the_size_holds(self, directory: Path) -> None:
        for number in range(1, 5):
            put_session(directory, f"prof-000{number}", created=number * 100.0, size=50)
        assert make(directory, max_bytes=400).retain(keep=None) == 0
        assert make(directory, max_bytes=399).retain(keep=None) == 2
        assert make(directory, max_bytes=299).retain(keep=None) == 2
        assert sessions(make(directory)) == ["prof-0003", "prof-0004"]

    def test_sessions_go_until_the_last_byte_too_much_is_gone(self, directory: Path) -> None:
        for number in range(1, 4):
            put_session(directory, f"prof-000{number}", created=number * 100.0, size=50)
        assert make(directory, max_bytes=200).retain(keep=None) == 2
        assert make(directory, max_bytes=199).retain(keep=None) == 2

    def test_of_a_session_that_goes_every_byte_is_counted_once(self, directory: Path) -> None:
        for number in range(1, 5):
            put_session(directory, f"prof-000{number}", created=number * 100.0, size=50)
        assert make(directory, max_bytes=199).retain(keep=None) == 6

    def test_newest_session_stays_whatever_the_bounds(self, directory: Path) -> None:
        store = make(directory, max_sessions=0, max_bytes=0)
        put_session(directory, "prof-0001", created=100.0)
        put_session(directory, "prof-0002", created=200.0)
        assert store.retain(keep=None) == 2
        assert sessions(store) == ["prof-0002"]

    def test_kept_session_stays_though_it_is_the_oldest(self, directory: Path) -> None:
        store = make(directory, max_sessions=2)
        for number in range(1, 5):
            put_session(directory, f"prof-000{number}", created=number * 100.0)
        assert store.retain(keep="prof-0001") == 4
        assert sessions(store) == ["prof-0001", "prof-0004"]

    def test_running_session_without_artifacts_takes_no_place(self, directory: Path) -> None:
        store = make(directory, max_sessions=2)
        put_session(directory, "prof-0001", created=100.0)
        put_session(directory, "prof-0002", created=200.0)
        assert store.retain(keep="prof-running") == 0

    def test_session_is_as_old_as_its_first_artifact(self, directory: Path) -> None:
        store = make(directory, max_sessions=1)
        put_session(directory, "prof-0001", created=100.0)
        put_session(directory, "prof-0002", created=200.0)
        put(directory, "heap-prof-0001.heapsnapshot", created=900.0)
        assert store.retain(keep=None) == 3
        assert sessions(store) == ["prof-0002"]

    def test_session_is_as_old_as_its_first_artifact_whatever_that_is_called(self, directory: Path) -> None:
        put(directory, "profile-prof-0001.cpuprofile", created=100.0)
        put(directory, "profile-prof-0001.prof", created=900.0)
        put(directory, "profile-prof-0002.prof", created=200.0)
        put(directory, "profile-prof-0003.cpuprofile", created=900.0)
        put(directory, "profile-prof-0003.prof", created=150.0)
        names = [artifact.session_id for artifact in make(directory).artifacts()]
        assert list(dict.fromkeys(names)) == ["prof-0002", "prof-0003", "prof-0001"]

    def test_sessions_of_one_age_go_in_the_order_of_their_ids(self, directory: Path) -> None:
        store = make(directory, max_sessions=1)
        for session_id in ("prof-bbbb", "prof-aaaa", "prof-cccc"):
            put_session(directory, session_id, created=100.0)
        store.retain(keep=None)
        assert sessions(store) == ["prof-cccc"]


class TestClean:
    def test_everything_goes_and_is_counted(self, store: Store, directory: Path) -> None:
        put_session(directory, "prof-0001", created=100.0)
        put_session(directory, "prof-0002", created=200.0)
        put(directory, "heap-prof-0002.9.heapsnapshot")
        assert store.clean(keep=None) == Cleaned(reports=5, sessions=2)
        assert store.clean(keep=None) == Cleaned(reports=0, sessions=0)
        assert tree(directory) == {}

    def test_kept_session_and_what_workers_hand_in_stay(self, store: Store, directory: Path) -> None:
        put_session(directory, "prof-0001", created=100.0)
        put_session(directory, "prof-0002", created=200.0)
        spooled(directory, "heap-7.heapsnapshot")
        assert store.clean(keep="prof-0002") == Cleaned(reports=2, sessions=1)
        assert sessions(store) == ["prof-0002"]
        assert (directory / ".state" / "parts" / ID / "heap-7.heapsnapshot").exists()

    def test_missing_directory_has_nothing_to_clean_and_is_not_made(self, store: Store, directory: Path) -> None:
        assert store.clean(keep=None) == Cleaned(0, 0)
        assert store.retain(keep=None) == 0
        assert not directory.exists()

    @pytest.mark.parametrize("operation", [lambda store: store.clean(keep=None), lambda store: store.retain(keep=None)])
    def test_what_cannot_be_deleted_does_not_keep_the_rest_and_the_count_is_true(
        self, directory: Path, operation: Callable[[Store], object]
    ) -> None:
        def unlink(name: str, *, dir_fd: int | None = None) -> None:
            if name.endswith(".prof"):
                raise PermissionError(1, "", "/secret/path")
            os.unlink(name, dir_fd=dir_fd)

        for number in range(1, 4):
            put_session(directory, f"prof-000{number}", created=number * 100.0)
        put_session(directory, "prof-0004", created=400.0)
        store = make(directory, max_sessions=1, system=OtherSystem(unlink=unlink))
        before = len(store.artifacts())
        with pytest.raises(StorageFailed) as caught:
            operation(store)
        deleted = before - len(store.artifacts())
        assert deleted in (3, 4)
        assert caught.value.message.startswith(
            f"{deleted} reports were deleted, others were not: the output directory "
        )
        assert "secret" not in caught.value.message

    def test_file_that_somebody_else_deletes_first_is_not_counted(self, directory: Path) -> None:
        def unlink(name: str, *, dir_fd: int | None = None) -> None:
            os.unlink(name, dir_fd=dir_fd)
            if name == f"profile-{ID}.prof":
                raise FileNotFoundError(2, "")

        put_session(directory, ID, created=100.0)
        store = make(directory, system=OtherSystem(unlink=unlink))
        assert store.clean(keep=None) == Cleaned(reports=1, sessions=1)

    def test_two_cleaners_at_a_time_count_every_file_once(self, directory: Path) -> None:
        for number in range(100):
            put_session(directory, f"prof-{number:04}", created=float(number))
        counts: list[int] = []
        barrier = threading.Barrier(2)

        def clean() -> None:
            store = make(directory)
            barrier.wait(30)
            counts.append(store.clean(keep=None).reports)

        threads = [threading.Thread(target=clean) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(counts) == 2
        assert sum(counts) == 200
        assert tree(directory) == {}


class TestSweep:
    def test_what_dead_writers_left_goes_from_every_place_of_ours_and_only_there(
        self, directory: Path, outside: Path
    ) -> None:
        spooled(directory, DEAD)
        theirs = directory / "theirs"
        theirs.mkdir()
        for place in (directory, directory / ".state", theirs):
            (place / DEAD).write_bytes(b"x")
        (directory / ".state" / "parts" / OTHER).symlink_to(outside)
        (directory / ".state" / "parts" / "prof-file").write_bytes(b"x")
        make(directory).sweep()
        assert tree(directory) == {
            ".state": "directory",
            ".state/parts": "directory",
            f".state/parts/{ID}": "directory",
            f".state/parts/{OTHER}": f"link to {outside}",
            ".state/parts/prof-file": b"x",
            "theirs": "directory",
            f"theirs/{DEAD}": b"x",
        }
        assert (outside / DEAD).exists()

    def test_file_of_unknown_origin_goes_after_an_hour_by_the_clock_it_is_given(self, directory: Path) -> None:
        foreign = DEAD.replace(process_space(), "00000000")
        put(directory, foreign, created=10_000.0)
        make(directory, now=lambda: 13_600.0).sweep()
        assert foreign in tree(directory)
        make(directory, now=lambda: 13_601.0).sweep()
        assert tree(directory) == {}

    def test_missing_directory_is_not_made(self, store: Store, directory: Path) -> None:
        store.sweep()
        assert not directory.exists()


@pytest.mark.parametrize(
    "operation",
    [
        lambda store, path: store.prepare(),
        lambda store, path: store.write("pstats", ID, give(b"ours")),
        lambda store, path: store.adopt(path, "heapsnapshot", ID),
        lambda store, path: store.artifacts(),
        lambda store, path: store.open(f"profile-{ID}.prof"),
        lambda store, path: store.retain(keep=None),
        lambda store, path: store.clean(keep=None),
        lambda store, path: store.sweep(),
    ],
    ids=["prepare", "write", "adopt", "artifacts", "open", "retain", "clean", "sweep"],
)
def test_output_directory_replaced_by_a_link_is_refused_and_nothing_behind_it_is_touched(
    directory: Path, outside: Path, tmp_path: Path, operation: Callable[[Store, Path], object]
) -> None:
    store = make(directory, max_sessions=0)
    path = spooled(directory, "heap-7.heapsnapshot")
    shutil.copytree(directory / ".state", outside / ".state")
    directory.rename(tmp_path / "moved")
    directory.symlink_to(outside)
    before = tree(outside), tree(tmp_path / "moved")
    with pytest.raises(StorageFailed, match="a link (or a file )?stands where"):
        operation(store, path)
    assert (tree(outside), tree(tmp_path / "moved")) == before
    directory.unlink()
    assert store.write("pstats", ID, give(b"next")).size == 4


@pytest.mark.parametrize("operation", ["write", "adopt", "artifacts", "retain", "clean", "sweep"])
def test_every_call_failing_in_turn_leaves_only_whole_artifacts_and_the_next_session_works(
    tmp_path: Path, operation: str
) -> None:
    operations: dict[str, Callable[[Store], object]] = {
        "write": lambda store: store.write("cpuprofile", ID, give(b"n" * 200_000)),
        "adopt": lambda store: store.adopt(path, "heapsnapshot", ID),
        "artifacts": lambda store: store.artifacts(),
        "retain": lambda store: store.retain(keep=ID),
        "clean": lambda store: store.clean(keep=ID),
        "sweep": lambda store: store.sweep(),
    }
    old = {
        f"profile-{session_id}.{suffix}"
        for session_id in ("prof-0001", "prof-0002")
        for suffix in ("prof", "cpuprofile")
    }
    new = {f"profile-{ID}.cpuprofile": b"n" * 200_000, f"heap-{ID}.heapsnapshot": b"heap"}
    for number, system in enumerate(failing_systems()):
        directory = tmp_path / str(number)
        put_session(directory, "prof-0001", created=100.0)
        put_session(directory, "prof-0002", created=200.0)
        path = spooled(directory, "heap-7.heapsnapshot")
        put(directory, DEAD)
        store = make(directory, max_sessions=1, system=system)
        descriptors = open_descriptors()
        try:
            operations[operation](store)
        except ProfilingError as failure:
            assert isinstance(failure, DiskFull if system.code == 28 else StorageFailed), (system, failure)
            assert "; " in failure.message and ".tmp-" not in failure.message and "secret" not in failure.message
        assert open_descriptors() == descriptors, system
        healthy = make(directory, max_sessions=1, now=lambda: time.time() + 7200)
        left = [name for name in tree(directory) if ".tmp-" in name and name != DEAD]
        assert not left or "unlink" in system.failures, (system, left)
        healthy.sweep()
        files = {name: content for name, content in tree(directory).items() if not name.startswith(".state")}
        assert set(files) <= old | set(new), (system, files)
        assert all(files[name] == content for name, content in new.items() if name in files), system
        assert {f"profile-prof-0002.{suffix}" for suffix in ("prof", "cpuprofile")} <= set(
            files
        ) or operation == "clean"
        healthy.write("cpuprofile", OTHER, give(b"next"))
        with healthy.open(f"profile-{OTHER}.cpuprofile") as file:
            assert file.read() == b"next"


def test_directory_deleted_between_two_sessions_is_made_again(store: Store, directory: Path) -> None:
    store.write("pstats", ID, give(b"x"))
    shutil.rmtree(directory)
    assert store.artifacts() == ()
    store.prepare()
    store.write("pstats", OTHER, give(b"x"))
    assert sessions(store) == [OTHER]


def test_sentence_shows_the_directory_as_it_was_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("profiling").touch()
    with pytest.raises(StorageFailed) as caught:
        make(Path("profiling")).prepare()
    assert caught.value.message.startswith("the output directory 'profiling' cannot be used: ")
    assert str(tmp_path) not in caught.value.message


def test_store_works_where_nothing_can_be_resolved_against_a_descriptor(directory: Path) -> None:
    store = make(directory, max_sessions=1, system=without_descriptors())
    store.prepare()
    path = spooled(directory, "heap-7.heapsnapshot")
    put_session(directory, "prof-0001", created=100.0)
    written = {store.write("pstats", ID, give(b"x")), store.adopt(path, "heapsnapshot", ID)}
    assert store.retain(keep=None) == 2
    assert set(store.artifacts()) == written
    store.sweep()
    with store.open(f"profile-{ID}.prof") as file:
        assert file.read() == b"x"
    assert store.clean(keep=None) == Cleaned(reports=2, sessions=1)
