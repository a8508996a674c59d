"""Pythons that tests start. No tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

PROJECT = Path(__file__).parents[1]
# Where this one runs by way of a wrapper, its own name alone would not start it.
PYTHON = os.environ.get("PROFILING_TEST_PYTHON", sys.executable)


def python_path(*before: Path) -> str:
    """Return the ``PYTHONPATH`` with which a Python finds these directories, and the package as these tests find it."""
    return os.pathsep.join(filter(None, [*map(str, before), str(PROJECT), os.environ.get("PYTHONPATH")]))


def run_alone(code: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python that knows nothing of this one's environment; it must end within a minute."""
    return subprocess.run(
        [PYTHON, "-c", textwrap.dedent(code)],
        cwd=directory,
        env={**variables, "PYTHONPATH": python_path(), "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
