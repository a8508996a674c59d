"""P12: real disks that are full, read-only, closed or gone under real servers: what each endpoint answers meanwhile,
and that the app goes on, nothing stays behind, and the next session works."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.components import requires
from tests.faults import tree
from tests.integration.servers import PREFIX, kinds, serve, wait_for
from tests.promises.disks import (
    answers,
    assert_all_is_well_again,
    assert_the_next_session_works,
    bound_by_modes,
    serve_on_a_disk,
)
from tests.promises.failures import publish, told
from tests.promises.recordings import recordings, requests_of

SERVERS = kinds("werkzeug", "sync")
FINE = dict.fromkeys(("status", "reports", "cleanup"), "200")


@requires("mount")
@pytest.mark.parametrize(("kind", "workers"), SERVERS)
class TestP12ADiskOfItsOwn:
    """A file system that really has no room, or really is read-only."""

    def test_a_disk_without_room_starts_nothing(self, kind: str, workers: int, tmp_path: Path) -> None:
        with serve_on_a_disk(kind, tmp_path, workers=workers) as disk:
            disk.fill()
            refused = disk.server.start()
            answered = disk.server.load(["/dear"] * 10)
            assert answers(disk.server) == {**FINE, "start": "507 disk_full", "stop": "409 not_running"}
            disk.empty()
            assert_all_is_well_again(disk.server, workers=workers)
        publish(
            "the disk is full at the start",
            requests=answered,
            answer=told(refused),
            kept="nothing was started",
            lost="nothing",
        )

    def test_a_disk_that_fills_up_in_mid_session_ends_it_and_the_cleanup_makes_room(
        self, kind: str, workers: int, tmp_path: Path
    ) -> None:
        with serve_on_a_disk(kind, tmp_path, workers=workers) as disk:
            for _ in range(3):
                assert_the_next_session_works(disk.server, workers=workers)
            assert disk.server.start().status == 200
            answered = disk.server.load(["/dear"] * 10)
            disk.fill()
            stopped = disk.server.stop()
            answered += disk.server.load(["/dear"] * 10)
            assert "kept: nothing" in stopped.json()["message"]
            assert disk.server.status()["active"] is False
            kept = len(recordings(disk.server))
            assert kept >= 3
            assert disk.server.request("DELETE", f"{PREFIX}/cleanup").json()["cleaned"]["sessions"] == kept
            assert_the_next_session_works(disk.server, workers=workers)
            disk.empty()
            assert_all_is_well_again(disk.server, workers=workers)
        publish(
            "the disk is full at the stop",
            requests=answered,
            answer=told(stopped),
            kept="nothing",
            lost="everything",
        )

    def test_a_read_only_disk_starts_nothing(self, kind: str, workers: int, tmp_path: Path) -> None:
        with serve_on_a_disk(kind, tmp_path, workers=workers) as disk:
            assert_the_next_session_works(disk.server, workers=workers)
            disk.refuse()
            refused = disk.server.start()
            answered = disk.server.load(["/dear"] * 10)
            assert answers(disk.server) == {
                **FINE,
                "cleanup": "500 storage_failed",
                "start": "500 storage_failed",
                "stop": "409 not_running",
            }
            disk.accept()
            assert_all_is_well_again(disk.server, workers=workers)
        publish(
            "the disk is read-only at the start",
            requests=answered,
            answer=told(refused),
            kept="nothing was started",
            lost="nothing",
        )

    def test_a_disk_that_becomes_read_only_in_mid_session_keeps_it_until_it_can_be_written(
        self, kind: str, workers: int, tmp_path: Path
    ) -> None:
        with serve_on_a_disk(kind, tmp_path, workers=workers) as disk:
            assert disk.server.start().status == 200
            answered = disk.server.load(["/dear"] * 10)
            disk.refuse()
            refused = disk.server.stop()
            assert "may still run: stop it again" in refused.json()["message"]
            answered += disk.server.load(["/dear"] * 10)
            assert answers(disk.server) == {**FINE, "start": "500 storage_failed", "stop": "500 storage_failed"}
            disk.accept()
            assert disk.server.stop().status == 200
            assert requests_of(recordings(disk.server)[0], "dear_view") == 30
            assert_all_is_well_again(disk.server, workers=workers)
        publish(
            "the disk becomes read-only in mid-session",
            requests=answered,
            answer=f"{told(refused)}; once it can be written again, 200",
            kept="everything",
            lost="nothing",
        )

    def test_a_disk_that_is_still_read_only_at_the_deadline_costs_the_session_only(
        self, kind: str, workers: int, tmp_path: Path
    ) -> None:
        with serve_on_a_disk(kind, tmp_path, workers=workers) as disk:
            session_id = disk.server.start(seconds=2).json()["sessionId"]
            answered = disk.server.load(["/dear"] * 10)
            disk.refuse()
            wait_for(lambda: not disk.server.status()["active"], "the workers to stop recording")
            answered += disk.server.load(["/dear"] * 10)
            disk.accept()
            wait_for(lambda: disk.server.status()["lastSession"], "the end to be written", seconds=8)
            last = disk.server.status()["lastSession"]
            assert (last["id"], last["endedBy"]) == (session_id, "recovered")
            assert_all_is_well_again(disk.server, workers=workers)
        publish(
            "the disk is still read-only at the session's deadline",
            requests=answered,
            answer="the session is over, and recovered when the disk can be written",
            kept="nothing",
            lost="everything",
        )


def deleted(output: Path) -> None:
    shutil.rmtree(output)


def replaced_by_a_link(output: Path) -> None:
    output.rename(output.with_name("aside"))
    elsewhere = output.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "theirs.txt").write_text("theirs", "ascii")
    output.symlink_to("elsewhere")


def replaced_by_a_file(output: Path) -> None:
    output.rename(output.with_name("aside"))
    output.write_text("theirs", "ascii")


class TestP12ADirectoryThatGoesAway:
    """Deleted, replaced or closed in mid-session."""

    @pytest.mark.parametrize(("kind", "workers"), SERVERS)
    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            (deleted, "the output directory is deleted in mid-session"),
            (replaced_by_a_link, "the output directory is replaced by a link in mid-session"),
            (replaced_by_a_file, "the output directory is replaced by a file in mid-session"),
        ],
        ids=["deleted", "link", "file"],
    )
    def test_a_directory_that_goes_away_costs_the_session_only(
        self, kind: str, workers: int, change: Callable[[Path], None], fault: str, tmp_path: Path
    ) -> None:
        with serve(kind, tmp_path, workers=workers) as server:
            server.worker_pids(at_least=workers)
            assert server.start().status == 200
            answered = server.load(["/dear"] * 10)
            change(server.output)
            answered += server.load(["/dear"] * 10)
            stopped = server.stop()
            assert str(tmp_path) not in stopped.json()["message"]
            seen = answers(server)
            assert set(seen.values()) == {"200" if change is deleted else "500 storage_failed"}
            if change is replaced_by_a_link:
                assert tree(tmp_path / "elsewhere") == {"theirs.txt": b"theirs"}
            if change is not deleted:
                server.output.unlink()
            assert_all_is_well_again(server, workers=workers)
        publish(fault, requests=answered, answer=told(stopped), kept="nothing", lost="everything")

    @requires("setpriv")
    @pytest.mark.parametrize(("kind", "workers"), SERVERS)
    def test_a_directory_that_is_closed_in_mid_session_keeps_it_until_it_is_open_again(
        self, kind: str, workers: int, tmp_path: Path
    ) -> None:
        with serve(kind, tmp_path, workers=workers, prefix=bound_by_modes()) as server:
            server.worker_pids(at_least=workers)
            assert server.start().status == 200
            answered = server.load(["/dear"] * 10)
            server.output.chmod(0)
            refused = server.stop()
            answered += server.load(["/dear"] * 10)
            assert set(answers(server).values()) == {"500 storage_failed"}
            server.output.chmod(0o700)
            assert server.stop().status == 200
            assert requests_of(recordings(server)[0], "dear_view") == 30
            assert_all_is_well_again(server, workers=workers)
        publish(
            "the server loses its rights to the output directory in mid-session (chmod 000)",
            requests=answered,
            answer=f"{told(refused)}; once they are back, 200",
            kept="everything",
            lost="nothing",
        )
