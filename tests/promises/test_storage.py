"""P10, P12, P13: an output directory that is shared, filled or vandalised under real servers."""

from __future__ import annotations

import ast
import resource
import stat
from pathlib import Path

import pytest

from flask_profiling.errors import NotRunning, StorageFailed
from tests.components import requires
from tests.faults import tree
from tests.imports import house
from tests.integration.servers import OWN_APP, PREFIX, Server, own_app, serve
from tests.promises.disks import assert_the_next_session_works
from tests.promises.failures import publish, told
from tests.promises.recordings import temporary_files
from tests.sessions.machines import CPU, machine

CARELESS = """
import os
from tests.integration.known_app import create_app as known
def create_app():
    os.umask(0)
    app = known()
    app.config["SECRET_KEY"] = "key-of-the-host-4711"
    customers = {"token": "token-of-a-customer-4712"}
    @app.get("/customer")
    def customer_view():
        password = "password-of-a-customer-" + str(4713)
        customers["last"] = password
        return "served"
    return app
"""
SECRETS = [b"key-of-the-host-4711", b"token-of-a-customer-4712", b"password-of-a-customer-4713", b"bearer-4714"]


def modes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory.parent)): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in [directory, *directory.rglob("*")]
    }


class TestP10FilesArePrivate:
    """Files 0600, directories 0700, links never followed, nothing touched outside, no secret in an artifact."""

    @requires("gunicorn")
    def test_nobody_else_can_read_what_is_stored_and_no_secret_is_in_it(self, tmp_path: Path) -> None:
        environment = {**own_app(tmp_path, CARELESS), "PROFILING_TOKEN": "bearer-4714"}
        patient = ("--timeout", "150")  # gunicorn ends a worker that is busy with a snapshot for longer
        with serve("sync", tmp_path, workers=2, app=OWN_APP, environment=environment, arguments=patient) as server:
            bearer = {"Authorization": "Bearer bearer-4714"}
            body = b'{"heap": true, "allocations": 2}'
            head = {**bearer, "Content-Type": "application/json"}
            started = server.request("POST", f"{PREFIX}/start", body, head)
            assert started.status == 200
            assert server.load(["/customer"] * 4) == [200] * 4
            assert modes(server.output) == {
                name: "0o700" if (tmp_path / name).is_dir() else "0o600" for name in modes(server.output)
            }
            assert server.request("POST", f"{PREFIX}/stop", headers=bearer, timeout=110).status == 200
            stored = [path for path in server.output.iterdir() if path.is_file()]
            assert {path.suffix for path in stored} >= {".cpuprofile", ".heapsnapshot", ".heapprofile", ".prof"}
            assert set(modes(server.output).values()) == {"0o700", "0o600"}
            for path in stored:
                content = path.read_bytes()
                assert [secret for secret in SECRETS if secret in content] == [], path.name

    @pytest.mark.parametrize("right", [stat.S_IWGRP, stat.S_IWOTH], ids=["group", "world"])
    def test_a_directory_that_others_may_write_to_is_tightened_if_empty_and_refused_else(
        self, right: int, tmp_path: Path
    ) -> None:
        output = tmp_path / "profiling"
        output.mkdir()
        (output / "theirs.txt").write_text("theirs", "ascii")
        output.chmod(0o700 | right)
        with serve("werkzeug", tmp_path) as server:
            refused = server.start()
            assert (refused.status, refused.json()["error"]) == (500, "storage_failed")
            assert "chmod 700" in refused.json()["message"]
            assert server.get("/dear").status == 200
            assert tree(output) == {"theirs.txt": b"theirs"}
            (output / "theirs.txt").unlink()
            assert server.start().status == 200
            assert stat.S_IMODE(output.stat().st_mode) == 0o700
            assert server.stop().status == 200
        if right == stat.S_IWOTH:
            publish(
                "other users may write to the output directory",
                requests=[200],
                answer=told(refused),
                kept="nothing was started",
                lost="nothing",
            )

    def test_a_directory_that_becomes_a_link_meanwhile_leads_nobody_outside(self, tmp_path: Path) -> None:
        output, elsewhere = tmp_path / "profiling", tmp_path / "elsewhere"
        worker = machine(output)
        worker.sessions.start(CPU)
        output.rename(tmp_path / "aside")
        elsewhere.mkdir(mode=0o700)
        (elsewhere / "theirs.txt").write_text("theirs", "ascii")
        output.symlink_to(elsewhere)
        worker.visit()
        worker.sessions._quietly(worker.sessions._tick, True)
        with pytest.raises((StorageFailed, NotRunning)):
            worker.sessions.stop()
        worker.time.reading += CPU.seconds + 1
        worker.sessions._quietly(worker.sessions._tick, True)
        assert [path.name for path in elsewhere.rglob("*")] == ["theirs.txt"]
        output.unlink()
        worker.sessions._tick(True)
        worker.sessions.start(CPU)
        worker.visit()
        assert sum(times.requests for times in worker.sessions.stop().recording.requests.values()) == 1


def filled(server: Server, *, to: int) -> None:
    """Let the workers write files up to so many bytes only: as a full disk, the system refuses what is beyond."""
    for pid in {server.process.pid, *server.worker_pids(at_least=2)}:
        soft = resource.RLIM_INFINITY if to < 0 else to
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


class TestP12AFailingDiskHurtsNobody:
    """No more room for this user's files: a failure in JSON, the host unharmed, the next session works.

    Disks that are full or read-only, and directories that go away: test_disks.py. That each single call to the file
    system may fail, at every step, is shown in test_faults.py.
    """

    @requires("gunicorn")
    def test_a_disk_that_is_full_at_the_start_starts_nothing(self, tmp_path: Path) -> None:
        with serve("sync", tmp_path, workers=2) as server:
            filled(server, to=0)
            refused = server.start()
            answered = server.load(["/dear"] * 10)
            assert server.status()["active"] is False
            filled(server, to=-1)
            assert_the_next_session_works(server)
            assert temporary_files(server) == []
            publish(
                "the disk is full at the start",
                requests=answered,
                answer=told(refused),
                kept="nothing was started",
                lost="nothing",
            )

    @requires("gunicorn")
    def test_a_disk_that_is_full_at_the_stop_ends_the_session_and_leaves_no_half_file(self, tmp_path: Path) -> None:
        with serve("sync", tmp_path, workers=2) as server:
            server.worker_pids(at_least=2)
            assert server.start().status == 200
            answered = server.load(["/dear"] * 10)
            filled(server, to=256)
            stopped = server.stop()
            answered += server.load(["/dear"] * 10)
            assert server.status()["active"] is False
            assert temporary_files(server) == []
            assert list(server.output.glob("recording-*")) == []
            filled(server, to=-1)
            assert_the_next_session_works(server)
            publish(
                "the disk is full at the stop",
                requests=answered,
                answer=told(stopped),
                kept="nothing",
                lost="everything",
            )


GARBAGE = [b"", b"\xff\x00\xfe", b"[" * 5000, b'{"version": 1e999}', b"null", b"\0" * 4096]


def vandalise(directory: Path) -> int:
    """Overwrite every file below with garbage; returns how many."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    for number, path in enumerate(files):
        path.write_bytes(GARBAGE[number % len(GARBAGE)])
    return len(files)


def reads_what_can_run_code(source: str) -> list[str]:
    """Return the calls in a module that would let a file run code."""
    forbidden = {("marshal", "load"), ("marshal", "loads"), ("pstats", "Stats"), ("runpy", "run_path")}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            found += [name for name in names if name.split(".")[0] in ("pickle", "shelve", "dill", "cloudpickle")]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] if (node.value.id, node.attr) in forbidden else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            found.append(node.func.id)
    return found


class TestP13VandalisedFilesAreSurvived:
    """Whatever stands in the files of the state or in artifacts, the server answers, and the next session works."""

    @requires("gunicorn")
    def test_vandalised_state_and_artifacts_cost_their_session_at_most(self, tmp_path: Path) -> None:
        with serve("sync", tmp_path, workers=2) as server:
            server.worker_pids(at_least=2)
            assert server.start().status == 200
            assert server.stop().status == 200
            assert server.start().status == 200
            answered = server.load(["/dear"] * 10)
            assert vandalise(server.output) > 5
            answered += server.load(["/dear"] * 10)
            for name in ("status", "reports"):
                assert server.get(f"{PREFIX}/{name}").status == 200
            stopped = server.stop()
            assert stopped.status in (200, 409, 500)
            assert stopped.headers["Content-Type"] == "application/json"
            assert_the_next_session_works(server)
            assert server.request("DELETE", f"{PREFIX}/cleanup").status == 200
            publish(
                "the files in the output directory are overwritten in mid-session",
                requests=answered,
                answer=told(stopped) if stopped.status == 200 else "an error in JSON",
                kept="nothing",
                lost="everything",
            )

    def test_nothing_that_could_run_code_is_ever_loaded_from_a_file(self) -> None:
        found = {path.name: reads_what_can_run_code(path.read_text("utf-8")) for path in sorted(house().rglob("*.py"))}
        assert len(found) > 50
        assert {name: calls for name, calls in found.items() if calls} == {}

    @pytest.mark.parametrize("source", ["import pickle", "marshal.load(x)", "eval(x)", "pstats.Stats(x)"])
    def test_what_could_run_code_would_be_seen(self, source: str) -> None:
        assert reads_what_can_run_code(source)
