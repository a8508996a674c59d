"""Each finding of the doctor, for a machine that is well and for one that is not."""

from __future__ import annotations

import os
import socket
import sys
from importlib import metadata
from pathlib import Path

import pytest

from flask_profiling import doctor
from flask_profiling.config import load
from flask_profiling.doctor import NOTE, OK, PROBLEM, Finding
from flask_profiling.engines import ENGINES, Engine, EngineOptions
from flask_profiling.errors import MissingExtra


def absent(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.topic: finding.state for finding in findings}


def test_the_namesake_on_the_index_is_a_problem_with_a_way_out() -> None:
    (found,) = doctor.clash(distributions={"flask-profiling": "1.8.1"}.__getitem__)
    assert found.state == PROBLEM
    assert "flask-profiling 1.8.1" in found.message
    assert found.way_out.startswith("pip uninstall flask-profiling ")


def test_without_the_namesake_the_installation_is_well() -> None:
    assert states(list(doctor.clash(distributions=absent))) == {"installation": OK}


def test_every_engine_is_looked_at_and_leaves_this_process_as_it_was() -> None:
    before = (sys.getprofile(), sys.gettrace())
    found = states(list(doctor.engines()))
    assert set(found) == {f"engine {name}" for name in ENGINES}
    assert found["engine cprofile"] == OK
    assert (sys.getprofile(), sys.gettrace()) == before


def test_an_engine_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application's own profiler in this thread: exactly what a start would meet in a worker."""
    sys.setprofile(lambda *_: None)
    try:
        found = list(doctor.engines({"cprofile": ENGINES["cprofile"]}))
        hooks = doctor.hooks_in_use()
    finally:
        sys.setprofile(None)
    assert "sys.setprofile" in hooks
    if sys.version_info < (3, 12):
        assert found[0].state == PROBLEM
        assert "profiler" in found[0].message
        assert found[0].way_out


def test_extras_are_told_apart() -> None:
    found = list(doctor.extras(load({}, {}), has_module={"redis"}.__contains__, has_program={"dot"}.__contains__))
    assert {finding.topic for finding in found if finding.state == OK} == {"extra redis", "extra dot"}
    assert all(finding.way_out for finding in found if finding.state == NOTE)
    assert all(finding.state != PROBLEM for finding in found), "an extra that nobody asked for is no must"


@pytest.mark.parametrize(
    ("settings", "topic"),
    [
        ({"PROFILING_COORDINATOR": "redis://localhost"}, "extra redis"),
        ({"PROFILING_INSPECTOR": "true"}, "extra inspector"),
    ],
)
def test_an_extra_that_a_setting_asks_for_is_a_must(settings: dict[str, str], topic: str) -> None:
    found = doctor.extras(load({}, settings), has_module=lambda name: False, has_program=lambda name: False)
    assert [finding.topic for finding in found if finding.state == PROBLEM] == [topic]


def test_the_engine_that_is_chosen_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, options: EngineOptions) -> Engine:
        raise MissingExtra.of("py-spy", extra="sampling", purpose=name)

    monkeypatch.setattr(doctor, "create", refuse)
    found = doctor.engines(chosen="sampling")
    assert [finding.topic for finding in found if finding.state == PROBLEM] == ["engine sampling"]


def test_other_profilers_are_named() -> None:
    assert states(list(doctor.other_profilers({}))) == {"other profilers": OK}
    (found,) = doctor.other_profilers({"sys.settrace": "coverage"})
    assert (found.state, "sys.settrace by coverage" in found.message) == (NOTE, True)


def test_a_directory_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    assert states(list(doctor.output_directory(wanted)))["output"] == OK
    assert not (tmp_path / "a").exists()


def test_the_state_of_the_directory_is_told(tmp_path: Path) -> None:
    private, shared = tmp_path / "private", tmp_path / "shared"
    private.mkdir(mode=0o700)
    shared.mkdir()
    shared.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(private)
    assert states(list(doctor.output_directory(private)))["output"] == OK
    (mode, *_) = doctor.output_directory(shared)
    assert (mode.state, "0755" in mode.message) == (NOTE, True)
    assert states(list(doctor.output_directory(link)))["output"] == PROBLEM
    (owner, *_) = doctor.output_directory(private, user=os.getuid() + 1)
    assert (owner.state, "belongs to user" in owner.message) == (PROBLEM, True)


@pytest.mark.parametrize(("kind", "state"), [("nfs4", NOTE), ("ext4", OK), ("fuse.sshfs", NOTE)])
def test_a_network_file_system_is_noticed(tmp_path: Path, kind: str, state: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} {kind} rw 0 0\n")
    found = {finding.topic: finding for finding in doctor.output_directory(tmp_path, mounts=mounts)}
    assert (found["file system"].state, kind in found["file system"].message) == (state, True)


def test_a_port_in_use_is_noticed() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        config = load({}, {"PROFILING_INSPECTOR": "true", "PROFILING_INSPECTOR_PORT": port})
        assert states(list(doctor.inspector_port(config))) == {"inspector": NOTE}
    assert states(list(doctor.inspector_port(config))) == {"inspector": OK}


@pytest.mark.parametrize(("resolution", "cost", "state"), [(1e-9, 50e-9, OK), (1e-9, 2e-6, NOTE), (15e-3, 50e-9, NOTE)])
def test_a_slow_or_coarse_clock_is_noticed(resolution: float, cost: float, state: str) -> None:
    assert states(list(doctor.clock(resolution=resolution, cost=cost))) == {"clock": state}
