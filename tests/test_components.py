"""The helper that decides between skipping and failing must do neither by mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import components


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(components.PROGRAMS, "absent", (("no-such-program-anywhere",), "install it"))
    monkeypatch.setitem(components.PACKAGES, "absent-package", ("no_such_package.anywhere", "pip install it"))
    return "absent"


def test_a_present_program_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(components.PROGRAMS, "interpreter", ((Path(sys.executable).name,), "install it"))
    assert components.missing("interpreter") is None
    assert components.program("interpreter") is not None


def test_a_missing_program_says_what_installs_it(absent: str) -> None:
    assert components.missing(absent) == "absent is not on PATH; install it"
    assert components.program(absent) is None


def test_a_missing_package_says_what_installs_it(absent: str) -> None:
    assert components.missing("absent-package") == "the package absent-package is not installed; pip install it"


def test_a_misspelt_component_is_an_error_when_the_mark_is_made() -> None:
    with pytest.raises(LookupError, match="'chromum' is in no table"):
        components.requires("chromum")


def test_a_missing_component_skips_by_default(absent: str) -> None:
    with pytest.raises(pytest.skip.Exception, match="absent is not on PATH; install it"):
        components.enforce((absent,), all_required=False)


def test_a_missing_component_fails_where_all_are_required(absent: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"install it.*PROFILING_TEST_REQUIRE_ALL is set"):
        components.enforce((absent,), all_required=True)


@pytest.mark.parametrize("all_required", [False, True])
def test_what_the_machine_does_not_allow_skips_in_any_case(
    monkeypatch: pytest.MonkeyPatch, all_required: bool
) -> None:
    monkeypatch.setitem(components.ABILITIES, "fly", (("false",), "it takes wings"))
    with pytest.raises(pytest.skip.Exception, match="fly is not allowed here; it takes wings"):
        components.enforce(("fly",), all_required=all_required)


def test_a_present_component_neither_skips_nor_fails() -> None:
    components.enforce((), all_required=True)


@pytest.mark.parametrize(("required", "outcome"), [("", "2 skipped"), ("1", "2 errors")])
def test_the_variable_turns_skips_into_failures(tmp_path: Path, required: str, outcome: str) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests import components\n"
        "components.PROGRAMS['absent'] = (('no-such-program-anywhere',), 'install it')\n"
        "components.PACKAGES['absent-package'] = ('no_such_package', 'pip install it')\n"
        "from tests.conftest import pytest_runtest_setup\n"
    )
    (tmp_path / "test_program.py").write_text(
        "from tests.components import requires\npytestmark = requires('absent')\ndef test_it(): pass\n"
    )
    (tmp_path / "test_package.py").write_text(
        "from tests.components import import_or_skip\nimport_or_skip('absent-package')\n"
    )
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    command += ["-c", str(root / "pyproject.toml"), "--rootdir", str(root), str(tmp_path)]
    environment = {"PATH": os.defpath, "PYTHONPATH": ":".join(sys.path), "PROFILING_TEST_REQUIRE_ALL": required}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60)
    assert outcome in done.stdout, done.stdout + done.stderr
