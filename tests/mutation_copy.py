"""A copy of the project in which tests run with another text of a module; what to change is not known here.

The copy is on a file system in memory, in a mount namespace in which all else can only be read: code with its
checks turned off meets the hostile names of our own tests there. Without the right to make one (root, or a user
namespace) the changed tests run as the user that called, which is refused to root.

``python -m tests.mutation_copy DIRECTORY`` is what runs inside: a task in JSON on each line, and an answer.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
PACKAGE = "flask_profiling"
COPIED = (PACKAGE, "tests", "pyproject.toml", "setup.cfg")
MEMORY = 4 << 30
LOG, SEEN = "mutation.log", "mutation.seen"
LONGEST_TEST = 100
# so many seconds may pass for one of the processor's
BUSY = 8
PLUGINS = ("no:cacheprovider", "pytest_timeout", "_hypothesis_pytestplugin")
# the copy goes onto a file system in memory; what is mounted at / can only be read from then on
_SHELL = 'mount -t tmpfs tmpfs "$1" && mount -o remount,bind,ro / && shift && exec "$@"'
_NAMESPACE = ("unshare", "--mount", "--propagation", "private", *(() if os.geteuid() == 0 else ("--map-root-user",)))


class Copy:
    """A copy of the project with a process in it that runs tests, one task at a time."""

    def __init__(self, place: str) -> None:
        command = [*_confined(place), sys.executable, "-m", "tests.mutation_copy", place]
        self.warm: set[str] = set()  # rooms whose tests were collected, and left their bytecode
        self._process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(
        self,
        tests: Iterable[str],
        *,
        patience: float,
        chosen: Sequence[str] = (),
        module: str = "",
        text: str = "",
        measured: bool = False,
    ) -> dict[str, Any]:
        """Run test files (of them only ``chosen``, in that order, if any) with another text of a module.

        Where no module is named, they are only collected, or run and ``measured``.
        """
        task: dict[str, object] = {"tests": list(tests), "chosen": list(chosen), "module": module, "text": text}
        task.update(patience=patience, measured=measured)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _confined(place: str) -> list[str]:
    """Return what stands before a command so that it can write to ``place`` and nowhere else."""
    if subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0:
        return [*_NAMESPACE, "sh", "-c", _SHELL, "sh", place]
    if os.geteuid() == 0:
        sys.exit("root cannot be kept from the rest of the machine here (no mount namespaces); run it as another user")
    return []


# -- inside a copy -----------------------------------------------------------------------------------------------------


def serve(place: Path) -> None:
    """Run what standard input asks for (see :class:`Copy`) in a copy of the project at ``place``, and answer."""
    for name in COPIED:
        source = PROJECT / name
        shutil.copytree(source, place / name) if source.is_dir() else shutil.copy(source, place / name)
    for name in ("hypothesis.strategies", "pytest", "coverage", "flask", "werkzeug.test"):  # once for all children
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    sys.path[:] = [str(place), *(path for path in sys.path if path not in ("", str(PROJECT)))]
    os.environ.update(TMPDIR=str(place), PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    tempfile.tempdir = str(place)
    os.chdir(place)
    gc.freeze()
    for line in sys.stdin:
        task = json.loads(line)
        path = place / task["module"] if task["module"] else None
        before = path.read_text("utf-8") if path else ""
        if path:
            path.write_text(task["text"], "utf-8")
        kept = {"measured": task["measured"], "changed": path is not None}
        answer = _run(task["tests"], task["chosen"], task["patience"], **kept)
        if path:
            path.write_text(before, "utf-8")
        print(json.dumps(answer), flush=True)


def _run(tests: list[str], chosen: list[str], patience: float, *, measured: bool, changed: bool) -> dict[str, object]:
    """Run tests in a child that has imported nothing of ours; ``survived`` means that all of them passed."""
    Path(SEEN).unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _run_and_exit(tests, chosen, patience, measured, changed)
    deadline = time.monotonic() + BUSY * patience
    status: int | None = None
    while status is None and time.monotonic() < deadline:
        finished, code = os.waitpid(child, os.WNOHANG)
        status = code if finished else None
        time.sleep(0 if finished else 0.01)
    with suppress(ProcessLookupError):  # what it started and left behind, too
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
    seen = json.loads(Path(SEEN).read_bytes()) if Path(SEEN).exists() else {}
    said = Path(LOG).read_text("utf-8", "replace")
    late = status is None or status == signal.SIGXCPU or "Failed: Timeout" in said
    return {"outcome": "survived" if status == 0 else "timeout" if late else "killed", "said": said[-3000:], **seen}


def _run_and_exit(tests: list[str], chosen: list[str], patience: float, measured: bool, changed: bool) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        # a loop without end is told by the processor's time, which says the same on a busy machine
        resource.setrlimit(resource.RLIMIT_CPU, (int(patience), int(patience)))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        # what runs as it is leaves bytecode for the next; a mutant must not, for the next may look as old
        sys.dont_write_bytecode = changed
        # seeded: examples that depend on luck would let a mutant survive today and die tomorrow
        options = ["-x", "-q", "--tb=short", "--hypothesis-seed=1", f"--timeout={LONGEST_TEST}"]
        if not (measured or changed):
            options.append("--collect-only")
        for plugin in PLUGINS:
            options += ["-p", plugin]
        watch = _Watch(chosen, measured)
        import pytest

        status = pytest.main([*options, "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests], [watch])
        watch.tell()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(status))


class _Watch:
    """A plugin of pytest: runs the chosen tests in their order, and writes down what happened."""

    def __init__(self, chosen: list[str], measured: bool) -> None:
        self._rank = {test: rank for rank, test in enumerate(chosen)}
        self._coverage: Any = None
        self.by = "while it was imported"
        self.seconds: dict[str, float] = {}
        if measured:
            import coverage

            os.environ["COVERAGE_CORE"] = "ctrace"
            self._coverage = coverage.Coverage(data_file=None, source=[PACKAGE], config_file=False)
            self._coverage.start()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self._rank:
            items[:] = sorted((item for item in items if item.nodeid in self._rank), key=lambda i: self._rank[i.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.by = nodeid
        if self._coverage is not None:
            self._coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        # written at once: a test may end the process
        if self._coverage is None:
            Path(SEEN).write_text(json.dumps({"by": nodeid}), "utf-8")

    def tell(self) -> None:
        seen: dict[str, object] = {"by": self.by, "seconds": self.seconds}
        if self._coverage is not None:
            self._coverage.stop()
            data = self._coverage.get_data()
            seen["lines"] = {
                str(Path(path).relative_to(Path.cwd())): {
                    line: [test for test in tests if test] for line, tests in data.contexts_by_lineno(path).items()
                }
                for path in data.measured_files()
            }
        Path(SEEN).write_text(json.dumps(seen), "utf-8")


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
