"""What people install: the wheel and the sdist are built from a copy of the checkout and looked into."""

from __future__ import annotations

import configparser
import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import flask_profiling
from tests.components import requires

ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the checkout; this is a copy of the tests")
UNWANTED = (".git", ".venv*", ".tox", "build", "dist", "*.egg-info", ".*_cache", "__pycache__")
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def run_build(what: str, source: Path, out: Path) -> Path:
    command = [sys.executable, "-W", "ignore", "-c", BUILD, what, str(out)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.iterdir())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the checkout, built from a copy so that nothing is written into it."""
    copy = tmp_path_factory.mktemp("checkout") / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*UNWANTED))
    return run_build("build_sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that is inside the sdist."""
    destination = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Pythons before 3.11.4 have none
        archive.extractall(destination)
    return next(destination.iterdir())


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from the sdist: what is missing there is missing here."""
    return zipfile.ZipFile(run_build("build_wheel", unpacked, tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.parser.Parser().parsestr(read(wheel, "METADATA"))


def read(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(next(path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))).decode()


def tracked(*folders: str) -> set[str]:
    """The files of the checkout below ``folders`` that git knows or would add."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", "--"]
    command += folders
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    return {name for name in listed.splitlines() if (ROOT / name).is_file()}


@CHECKOUT
@requires("git", "setuptools", "wheel")
class TestBuilt:
    def test_the_distribution_has_its_own_name_and_the_package_s_version(self, metadata: email.message.Message) -> None:
        assert metadata["Name"] == "flask-profiling-devtools"
        assert metadata["Version"] == flask_profiling.__version__
        assert metadata["Requires-Python"] == ">=3.10"

    def test_the_hard_dependencies_are_four_with_lower_bounds_only(self, metadata: email.message.Message) -> None:
        hard = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
        names = sorted(re.split(r"[<>=]", line)[0] for line in hard)
        assert names == ["flask", "flask-limiter", "gprof2dot", "objgraph"]
        assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in hard), hard

    def test_each_extra_brings_one_package(self, metadata: email.message.Message) -> None:
        pattern = re.compile(r"""([\w-]+)>=[\d.]+; extra == ["'](\w+)["']""")
        extras = (pattern.fullmatch(line) for line in metadata.get_all("Requires-Dist", []))
        assert {found[2]: found[1] for found in extras if found} == {
            "inspector": "websockets",
            "otel": "opentelemetry-api",
            "redis": "redis",
            "sampling": "py-spy",
            "svg": "pygraphviz",
        }
        assert set(metadata.get_all("Provides-Extra", [])) == {"inspector", "otel", "redis", "sampling", "svg"}

    def test_flask_finds_the_command_group(self, wheel: zipfile.ZipFile) -> None:
        entry_points = configparser.ConfigParser()
        entry_points.read_string(read(wheel, "entry_points.txt"))
        assert dict(entry_points["flask.commands"]) == {"profiling": "flask_profiling.cli:profiling"}
        assert dict(entry_points["pytest11"]) == {"flask_profiling": "flask_profiling.pytest_plugin"}

    def test_the_wheel_holds_the_package_and_nothing_else(self, wheel: zipfile.ZipFile) -> None:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert names == tracked("flask_profiling")
        assert "flask_profiling/py.typed" in names

    def test_the_licence_is_in_the_wheel(self, wheel: zipfile.ZipFile, metadata: email.message.Message) -> None:
        assert any(name.endswith("/LICENSE") for name in wheel.namelist())
        assert "BSD-3-Clause" in {metadata["License"], metadata["License-Expression"]}

    def test_the_sdist_holds_the_tests_and_what_they_need(self, unpacked: Path) -> None:
        held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
        assert tracked("flask_profiling", "tests", "examples", "benchmarks", "requirements", ".ci") - held == set()
        assert {"Makefile", "tox.ini", "pyproject.toml", "LICENSE", "README.rst", "setup.py"} - held == set()

    @requires("readme-renderer")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
    def test_the_readme_renders_as_the_package_index_renders_it(self, metadata: email.message.Message) -> None:
        from readme_renderer import rst

        description = metadata.get_payload()
        assert metadata["Description-Content-Type"] == "text/x-rst"
        assert isinstance(description, str)
        assert "flask_profiling" in description
        assert rst.render(description, stream=sys.stderr) is not None


@CHECKOUT
def test_the_lowest_versions_tested_are_the_lower_bounds_declared() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    declared = setup["options"]["install_requires"] + "".join(setup["options.extras_require"].values())
    bounds = dict(line.split(">=") for line in declared.split())
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "requirements/lowest.txt").read_text(), re.MULTILINE))
    untested = {"pygraphviz"}  # it stands in where no dot is on PATH, and the suite has one
    assert {name: numbers(bound) for name, bound in bounds.items() if name not in untested} == {
        name: numbers(pins.get(name, "")) for name in bounds if name not in untested
    }


def numbers(version: str) -> list[int]:
    """The parts of a version without trailing zeros: 2.3 is 2.3.0."""
    return [int(part) for part in re.sub(r"(\.0)+$", "", version).split(".") if part]


@pytest.mark.skipif(os.environ.get("PROFILING_TEST_INSTALLED") != "1", reason="not a run on an installed wheel")
def test_the_wheel_is_what_is_tested() -> None:
    assert "site-packages" in Path(flask_profiling.__file__).parts
