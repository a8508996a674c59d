"""How much is measured: the sizes of a full, a quick and a tiny run, and which cases are installed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar


class NeedsPackage(Protocol):
    """What may be left out where its module is missing."""

    @property
    def name(self) -> str:
        """What it is called in the results."""

    @property
    def module(self) -> str:
        """The module that it imports, or ``bin/program``; empty: nothing but the project."""

    @property
    def package(self) -> str:
        """What installs the module."""


Needing = TypeVar("Needing", bound=NeedsPackage)


@dataclass(slots=True)
class Scale:
    """The sizes of one run; ``peers`` measures other profilers too, ``only`` picks cases by a part of their name.

    ``left_out`` collects the reasons for what could not be measured.
    """

    rounds: int
    requests: int
    repeats: int
    threads_rounds: int
    functions: tuple[int, ...]
    requests_made: tuple[int, ...]
    heap_nodes: tuple[int, ...]
    peers_nodes: int
    workers: tuple[int, ...]
    counted: tuple[str, ...]
    peers: bool = False
    only: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    def present(self, cases: Iterable[Needing], *, always: str = "") -> list[Needing]:
        """Return the cases that were asked for and whose module is here; notes the others."""
        found = []
        for case in cases:
            if case.name != always and self.only and not any(part in case.name for part in self.only):
                continue
            if not _is_there(case.module):
                self.left_out[case.name] = f"pip install {case.package}"
            else:
                found.append(case)
        return found


SCALES: dict[str, dict[str, object]] = {
    "full": {
        "rounds": 25, "requests": 60, "repeats": 7, "threads_rounds": 3,
        "functions": (100, 1_000, 10_000, 30_000, 100_000), "requests_made": (1_000, 10_000, 100_000, 1_000_000),
        "heap_nodes": (100_000, 300_000, 1_500_000, 7_000_000), "peers_nodes": 1_500_000, "workers": (1, 2, 4, 8),
        "counted": (
            "without", "extension, closed", "extension, idle", "extension, session of cprofile",
            "extension, session of calltree", "extension, allocations=1, no CPU",
            "cProfile, one thread, builtins=False", "cProfile, one thread",
        ),
    },
    "quick": {
        "rounds": 3, "requests": 18, "repeats": 2, "threads_rounds": 1,
        "functions": (100, 1_000, 10_000), "requests_made": (1_000, 10_000),
        "heap_nodes": (100_000, 300_000), "peers_nodes": 100_000, "workers": (1, 2),
        "counted": (
            "without", "extension, idle", "extension, session of cprofile", "extension, session of calltree",
            "cProfile, one thread, builtins=False",
        ),
    },
    "tiny": {
        "rounds": 1, "requests": 6, "repeats": 1, "threads_rounds": 1,
        "functions": (100, 200), "requests_made": (100, 200),
        "heap_nodes": (20_000, 40_000), "peers_nodes": 20_000, "workers": (1,),
        "counted": ("without", "extension, idle"),
    },
}  # fmt: skip


def program(name: str) -> str:
    """Return the path of a program, that of this interpreter's own directory first; empty where there is none."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}") or shutil.which(name) or ""


def _is_there(module: str) -> bool:
    if module.startswith("bin/"):
        return bool(program(module.removeprefix("bin/")))
    return not module or importlib.util.find_spec(module) is not None
