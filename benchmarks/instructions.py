"""Instructions of a request, counted by valgrind: they repeat exactly enough where times are lost in noise.

Every case runs in a process of its own under ``valgrind --tool=callgrind``, which counts only between two commands of
``callgrind_control``; a run that makes no request between them is taken off.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence

from .overhead import BASE, CASES, run_requests
from .results import Ratios, Section, Spread
from .scale import Scale, program

COUNTED = (
    BASE, "extension, closed", "extension, idle", "extension, session of cprofile", "extension, session of calltree",
    "cProfile, one thread, builtins=False", "cProfile, one thread",
)  # fmt: skip
REQUESTS = 30


def child(name: str, requests: int) -> None:
    """Serve one case, and let valgrind count while ``requests`` are made."""
    (case,) = [case for case in CASES if case.name == name]
    with case.serve() as app:
        run_requests(app, REQUESTS)
        _switch("on")
        if requests:
            run_requests(app, requests)
        _switch("off")


def _switch(state: str) -> None:
    command = [program("callgrind_control"), "-i", state, str(os.getpid())]
    subprocess.run(command, check=True, capture_output=True)


def counted(name: str, requests: int) -> int:
    """Return the instructions that a case took for so many requests."""
    command = [program("valgrind"), "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null"]
    command += [sys.executable, "-m", "benchmarks.instructions", name, str(requests)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = re.search(r"Collected *: *(\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(done.stderr)
    return int(found[1])


def measure(scale: Scale) -> Sequence[Section]:
    """Count the cases that noise would blur most."""
    if not program("valgrind"):
        scale.left_out["instructions"] = "valgrind is not installed"
        return []
    counts = {name: counted(name, REQUESTS) - counted(name, 0) for name in COUNTED}
    about = (
        f"Instructions (valgrind) of {REQUESTS} requests as in the overhead, in the thread and process that serves "
        f"them; {counts[BASE] / REQUESTS:,.0f} a request without a profiler. Counted once: they hardly vary."
    )
    return [
        Ratios(
            "Instructions of a request", about, BASE,
            {name: Spread.of([count / counts[BASE]]) for name, count in counts.items()},
        )
    ]  # fmt: skip


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]))
