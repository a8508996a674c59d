"""Instructions of a request, counted by perf or valgrind: they repeat where times are lost in noise.

Every case runs in a process of its own, which waits before and after the requests that are counted. valgrind counts
between the two only, and only the thread that serves them: under it all takes fifty times as long, and a thread that
looks at a file now and then would be counted as if it looked fifty times as often. perf counts the whole process, and a
run without these requests is taken off.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .overhead import BASE, CASES, run_requests
from .results import Ratios, Section, Spread
from .scale import Scale, program

WARM_UP = 30


@dataclass(frozen=True, slots=True)
class Counter:
    """A program that runs another and counts: what to find in its ``{report}``, how many requests drown its noise.

    ``control`` is the program that switches it on and off by the process id; empty: it counts all the time.
    """

    name: str
    options: Sequence[str]
    found: str
    requests: int
    control: str = ""

    def count(self, command: Sequence[str], find: Callable[[str], str] = program) -> int | None:
        """Return the instructions of a command that says when it begins and ends; None where none were counted."""
        if not find(self.name):
            return None
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with tempfile.TemporaryDirectory() as directory:
            report = Path(directory, "report")
            options = [option.format(report=report) for option in self.options]
            returncode = self._run([find(self.name), *options, *command], environment, find(self.control))
            text = "".join(path.read_text("utf-8") for path in sorted(Path(directory).iterdir()))
        found = re.search(self.found, text, re.MULTILINE)
        return int(found[1]) if returncode == 0 and found else None

    def _run(self, command: Sequence[str], environment: Mapping[str, str], control: str) -> int:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for state in ("on", "off"):
                if process.stdout.readline() and control:
                    subprocess.run([control, "-i", state, f"{process.pid}"], check=True, capture_output=True)
                with suppress(BrokenPipeError):
                    process.stdin.write("go on\n")
                    process.stdin.flush()
            process.communicate()
        return process.returncode


# the first that counts here is taken; virtual machines often have no counters for perf
COUNTERS = (
    Counter(
        "perf",
        ("stat", "-e", "instructions:u", "-x", ",", "-o", "{report}", "--"),
        r"^(\d+),[^,]*,instructions:u",
        600,
    ),
    Counter(
        "valgrind",
        ("--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", "--callgrind-out-file={report}"),
        r"^thread: 1\n(?:.*\n)*?totals: (\d+)",
        30,
        "callgrind_control",
    ),
)


def child(name: str, requests: int) -> None:
    """Serve one case, and make ``requests`` between two pauses."""
    (case,) = [case for case in CASES if case.name == name]
    with case.serve() as app:
        run_requests(app, WARM_UP)
        gc.collect()  # all cases are as far from the next collection
        pause()
        if requests:
            run_requests(app, requests)
        pause()


def pause() -> None:
    """Say so, and wait for a line."""
    print("ready", flush=True)
    sys.stdin.readline()


def counter(find: Callable[[str], str] = program) -> Counter | None:
    """Return the first of :data:`COUNTERS` that can count here; ``find`` returns the path of a program, or nothing."""
    trial = [sys.executable, "-S", "-c", "print(1, flush=True); input(); print(2, flush=True); input()"]
    return next((one for one in COUNTERS if one.count(trial, find) is not None), None)


def measure(scale: Scale) -> Sequence[Section]:
    """Count the cases that noise would blur most, two at a time: other work does not change what is counted."""
    tool = counter()
    if tool is None:
        scale.left_out["instructions"] = "neither perf nor valgrind can count them here; apt-get install valgrind"
        return []
    scale.left_out["extension, session of sampling, in instructions"] = "its work is another process's"
    names = [case.name for case in scale.present(CASES, always=BASE) if case.name in scale.counted]
    sizes = (tool.requests,) if tool.control else (tool.requests, 0)
    runs = [(name, requests) for name in names for requests in sizes]

    def count(run: tuple[str, int]) -> int:
        name, requests = run
        counted = tool.count([sys.executable, "-m", "benchmarks.instructions", name, str(requests)])
        if counted is None:
            raise RuntimeError(f"{tool.name} did not count {requests} requests of {name!r}")
        return counted

    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(runs, pool.map(count, runs), strict=True))
    counts = {name: found[name, tool.requests] - found.get((name, 0), 0) for name in names}
    about = (
        f"Instructions ({tool.name}) of {tool.requests} requests as in the overhead, made and served by one "
        f"thread; {counts[BASE] / tool.requests:,.0f} a request without a profiler. Counted once: repeats "
        "differ by less than a hundredth."
    )
    ratios = {name: Spread.of([count / counts[BASE]]) for name, count in counts.items()}
    return [Ratios("Instructions of a request", about, BASE, ratios)]


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]))
