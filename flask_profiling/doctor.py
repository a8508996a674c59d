"""What stands in the way of profiling on this machine, as findings with a way out each; nothing is printed or changed.

Each check is a function of values; :func:`findings` gathers the values from this process and this machine.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .config import Config
from .engines import ENGINES, EngineOptions, create
from .errors import ProfilingError

OK, NOTE, PROBLEM = "ok", "note", "problem"

LITTLE_ROOM = 200_000_000
SLOW_CLOCK = 500e-9
COARSE_CLOCK = 1e-3
_CLOCK_READS = 2_000
_OTHERS_DISTRIBUTION = "flask-profiling"
_OWN_DISTRIBUTION = "flask-profiling-devtools"
# file systems over a network: links, locks and renames may be late or missing there
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``state`` is ``ok``, ``note`` or ``problem``; ``way_out`` is empty where none is needed."""

    topic: str
    state: str
    message: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional part: what it is for, the module or the program that shows that it is there, what installs it, and
    the field of the Config that asks for it."""

    name: str
    purpose: str
    module: str = ""
    program: str = ""
    install: str = ""
    setting: str = ""


def _extra(name: str) -> str:
    return f"pip install '{_OWN_DISTRIBUTION}[{name}]'"


# in the order in which they are shown
EXTRAS: tuple[Extra, ...] = (
    Extra(
        "inspector",
        "live DevTools (chrome://inspect)",
        module="websockets",
        install=_extra("inspector"),
        setting="inspector",
    ),
    Extra("redis", "one session over many hosts", module="redis", install=_extra("redis"), setting="coordinator"),
    Extra("otel", "tracing by OpenTelemetry", module="opentelemetry", install=_extra("otel")),
    Extra("sampling", "the sampling CPU engine up to Python 3.14", program="py-spy", install=_extra("sampling")),
    Extra("dot", "the SVG call graph", program="dot", install="install Graphviz (apt-get install graphviz)"),
    Extra("svg", "the SVG call graph without dot", module="pygraphviz", install=_extra("svg")),
    Extra("k6", "flask profiling k6", program="k6", install="install it from k6.io; load-test needs nothing"),
)


def findings(config: Config | None) -> Iterator[Finding]:
    """Look at this process and this machine; ``config`` is None where the configuration cannot be used."""
    yield from clash(distributions=lambda name: metadata.distribution(name).version)
    yield from engines(chosen="cprofile" if config is None else config.cpu)
    yield from extras(
        config, has_module=lambda name: importlib.util.find_spec(name) is not None, has_program=_which
    )
    yield from other_profilers(hooks_in_use())
    if config is not None:
        yield from output_directory(config.output_dir)
        yield from inspector_port(config)
    yield from clock(resolution=time.get_clock_info("perf_counter").resolution, cost=_clock_cost())


def clash(*, distributions: Callable[[str], str]) -> Iterator[Finding]:
    """Say whether the unrelated distribution that is imported by the same name is installed beside this one."""
    try:
        version = distributions(_OTHERS_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield Finding("installation", OK, "no other distribution is imported as flask_profiling")
        return
    yield Finding(
        "installation",
        PROBLEM,
        f"the unrelated distribution {_OTHERS_DISTRIBUTION} {version} is installed too, and is imported as "
        "flask_profiling as well: whichever was installed last has overwritten files of the other",
        f"pip uninstall {_OTHERS_DISTRIBUTION} {_OWN_DISTRIBUTION}; pip install {_OWN_DISTRIBUTION}",
    )


def engines(table: Mapping[str, str] = ENGINES, *, chosen: str = "cprofile") -> Iterator[Finding]:
    """Say of each engine whether it works in this Python: those for CPU time are started for a moment, and the
    ``chosen`` one must work."""
    for name in table:
        topic = f"engine {name}"
        if name == "heap":
            can_fork = hasattr(os, "fork")
            yield (
                Finding(topic, OK, "snapshots are taken in a forked copy of the worker")
                if can_fork
                else Finding(
                    topic, NOTE, "this platform cannot fork, so objects are only counted", "use Linux or macOS"
                )
            )
            continue
        try:
            engine = create(name, EngineOptions("prof-doctor"))
            engine.start()
            engine.stop()
        except ProfilingError as error:
            what, _, way_out = error.message.partition("; ")
            yield Finding(topic, PROBLEM if name == chosen else NOTE, what, way_out)
        else:
            yield Finding(topic, OK, f"works on Python {sys.version.split()[0]}")


def extras(
    config: Config | None,
    *,
    has_module: Callable[[str], bool],
    has_program: Callable[[str], bool],
    table: tuple[Extra, ...] = EXTRAS,
) -> Iterator[Finding]:
    """Say of each optional part whether it is here; what a setting asks for must be."""
    for extra in table:
        present = has_module(extra.module) if extra.module else has_program(extra.program)
        what = f"the package {extra.module}" if extra.module else f"the program {extra.program}"
        if present:
            yield Finding(f"extra {extra.name}", OK, f"{what} is here, for {extra.purpose}")
            continue
        state = PROBLEM if extra.setting and getattr(config, extra.setting, None) else NOTE
        yield Finding(f"extra {extra.name}", state, f"{what} is not here; {extra.purpose} needs it", extra.install)


def other_profilers(hooks: Mapping[str, str]) -> Iterator[Finding]:
    """Name the hooks that somebody else holds: ``hooks`` maps a hook to its holder."""
    if not hooks:
        yield Finding("other profilers", OK, "nobody else profiles or traces this process (each worker is a process)")
        return
    held = ", ".join(f"{hook} by {holder}" for hook, holder in hooks.items())
    yield Finding(
        "other profilers",
        NOTE,
        f"in this process {held} is taken; where that is so in the app's workers too, a session may be refused",
        "run the app without the debugger, coverage or other profiler",
    )


def output_directory(
    path: Path, *, mounts: Path = Path("/proc/self/mounts"), user: int | None = None
) -> Iterator[Finding]:
    """Look at the output directory (or, where it is not there yet, at where it would be made); nothing is made."""
    user = (os.getuid() if hasattr(os, "getuid") else -1) if user is None else user
    shown = str(path)
    try:
        status = path.lstat()
    except FileNotFoundError:
        status = None
    except OSError as error:
        yield Finding(
            "output", PROBLEM, f"{shown} cannot be looked at ({error.strerror})", "choose another PROFILING_OUTPUT_DIR"
        )
        return
    if status is None:
        parent = next(above for above in path.absolute().parents if above.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("output", OK, f"{shown} is not there yet and can be made")
        else:
            yield Finding(
                "output",
                PROBLEM,
                f"{shown} is not there and cannot be made in {parent}",
                "choose another PROFILING_OUTPUT_DIR, or let the server's user write there",
            )
        path = parent
    else:
        yield _condition(shown, status, user)
    yield _room(path)
    yield _file_system(path.absolute(), mounts)


def _condition(shown: str, status: os.stat_result, user: int) -> Finding:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISDIR(status.st_mode):
        return Finding(
            "output",
            PROBLEM,
            f"{shown} is no directory (a link or a file)",
            "remove it, or choose another PROFILING_OUTPUT_DIR",
        )
    if user not in (-1, status.st_uid):
        return Finding(
            "output",
            PROBLEM,
            f"{shown} belongs to user {status.st_uid}, this is user {user}",
            "run as the server's user, or choose another PROFILING_OUTPUT_DIR",
        )
    if mode & 0o077 and user != -1:
        return Finding(
            "output",
            NOTE,
            f"{shown} has mode {mode:04o}: others may look in",
            f"nothing to do: the next session makes it 0700, or: chmod 700 {shown}",
        )
    return Finding("output", OK, f"{shown} is yours, mode {mode:04o}")


def _room(path: Path) -> Finding:
    free = shutil.disk_usage(path).free
    if free < LITTLE_ROOM:
        return Finding(
            "free space",
            PROBLEM,
            f"{free / 1e6:.0f} MB are free there; one heap snapshot may need more",
            "make room, or choose another PROFILING_OUTPUT_DIR",
        )
    return Finding("free space", OK, f"{free / 1e9:.1f} GB are free there")


def _file_system(path: Path, mounts: Path) -> Finding:
    """Tell the type of the file system by the longest mount point above ``path`` (proc_pid_mounts(5))."""
    try:
        rows = [line.split()[1:3] for line in mounts.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return Finding("file system", NOTE, "its type is not known on this platform", "keep the output on a local disk")
    found = [(where.replace("\\040", " "), kind) for where, kind in rows]
    above = [(where, kind) for where, kind in found if path.resolve().is_relative_to(where)]
    kind = max(enumerate(above), key=lambda item: (len(item[1][0]), item[0]))[1][1] if above else "unknown"
    if kind in _NETWORK:
        return Finding(
            "file system",
            NOTE,
            f"the output is on {kind}, over a network: workers may see each other late and writing takes longer",
            "set PROFILING_OUTPUT_DIR to a local disk",
        )
    return Finding("file system", OK, f"{kind}, a local one")


def inspector_port(config: Config) -> Iterator[Finding]:
    """Say whether the port of the live DevTools endpoint is free, where it is wanted."""
    port = config.inspector_port
    if not config.inspector:
        yield Finding("inspector", OK, "the live DevTools endpoint is off (PROFILING_INSPECTOR)")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            yield Finding(
                "inspector",
                NOTE,
                f"port {port} cannot be taken ({error.strerror}): by the running app, or by somebody else",
                "set PROFILING_INSPECTOR_PORT to another, or to 0 for a free one",
            )
            return
    yield Finding("inspector", OK, f"port {port} is free")


def clock(*, resolution: float, cost: float) -> Iterator[Finding]:
    """Judge the clock that engines read at every call: ``resolution`` and ``cost`` of a reading, in seconds."""
    measured = f"a reading takes {cost * 1e9:.0f} ns and tells {resolution * 1e9:.0f} ns apart"
    if cost > SLOW_CLOCK or resolution > COARSE_CLOCK:
        yield Finding(
            "clock",
            NOTE,
            f"{measured}: profiling slows the app more than elsewhere",
            "let the machine use its tsc clock source (/sys/devices/system/clocksource)",
        )
    else:
        yield Finding("clock", OK, measured)


def _clock_cost() -> float:
    """Return the least of some measured costs of one reading: the others were disturbed."""
    costs = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(_CLOCK_READS):
            time.perf_counter()
        costs.append((time.perf_counter() - begin) / _CLOCK_READS)
    return min(costs)


def hooks_in_use() -> dict[str, str]:
    """Return the profiling and tracing hooks of this process that are held, each with its holder."""
    held: dict[str, str] = {}
    for hook, holder in (
        ("sys.setprofile", sys.getprofile()),
        ("sys.settrace", sys.gettrace()),
        ("threading.setprofile", threading.getprofile()),
        ("threading.settrace", threading.gettrace()),
    ):
        if holder is not None:
            held[hook] = f"{getattr(holder, '__module__', '') or type(holder).__module__}"
    monitoring: Any = getattr(sys, "monitoring", None)
    for number in range(6) if monitoring is not None else ():
        tool = monitoring.get_tool(number)
        if tool is not None:
            held[f"sys.monitoring tool {number}"] = str(tool)
    return held


def _which(program: str) -> bool:
    """Look on PATH and beside this interpreter, where pip puts programs."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return shutil.which(program, path=path) is not None
