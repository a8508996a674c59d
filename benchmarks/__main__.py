"""The one entry: ``python -m benchmarks [areas] [--quick] [--peers] [--json FILE [--add]] [--page FILE]``.

Areas are those of :data:`AREAS`; without one, all are measured. Each is a slice that can be taken on its own, with the
same or with another Python: ``--add`` enters it into FILE beside what is there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import page
from .results import Results, Section, machine, versions
from .scale import SCALES, Scale

Measure = Callable[[Scale], Sequence[Section]]

# area -> module:function
AREAS: dict[str, str] = {
    "overhead": "benchmarks.overhead:measure",
    "instructions": "benchmarks.instructions:measure",
    "accuracy": "benchmarks.accuracy:measure",
    "latency": "benchmarks.latency:measure",
    "stop": "benchmarks.stop_cost:measure",
    "heap": "benchmarks.heap:measure",
    "workers": "benchmarks.workers:measure",
}
# what no area and no process of one may exceed
LONGEST = 1200
MOST_MEMORY = 8 * 2**30


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write what was asked for; returns 1 where an area took too long or found no memory."""
    given = _parser().parse_args(arguments)
    size = "tiny" if given.tiny else "quick" if given.quick else "full"
    scale = Scale(**SCALES[size], peers=given.peers, only=tuple(given.only))  # type: ignore[arg-type]
    scale.rounds = given.rounds or scale.rounds
    results = Results(" ".join(["python -m benchmarks", *arguments]), machine(), versions())
    python = results.python
    if given.add and Path(given.json).exists():
        earlier = Results.from_json(json.loads(Path(given.json).read_text("utf-8")))
        earlier.command = f"{earlier.command} && {results.command}"
        if earlier.python == python:
            earlier.versions = {**earlier.versions, **results.versions}
        results = earlier
    failed = 0
    for area in given.areas or AREAS:
        module, _, function = AREAS[area].partition(":")
        measure: Measure = getattr(importlib.import_module(module), function)
        began, load = time.monotonic(), os.getloadavg()[0]
        try:
            with _at_most(given.seconds):
                sections = measure(scale)
        except (TimeoutError, MemoryError) as fault:
            failed = 1
            scale.left_out[area] = f"{fault}" or "it found no memory"
            continue
        spent = time.monotonic() - began
        results.add(area, sections, python, f"{python}, {spent:.0f} s, load average {load:.1f} at the start")
        print(page.text(area, sections), f"({spent:.0f} s)", sep="\n", flush=True)
        if given.json:  # what is measured is kept, should the next area fail
            Path(given.json).write_text(json.dumps(results.to_json(), indent=1) + "\n", "utf-8")
    results.left_out.update(scale.left_out)
    for name, reason in scale.left_out.items():
        print(f"left out: {name} ({reason})", file=sys.stderr)
    if given.json:
        Path(given.json).write_text(json.dumps(results.to_json(), indent=1) + "\n", "utf-8")
    if given.page:
        Path(given.page).write_text(page.html(results), "utf-8")
    return failed


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the block once the time is up; what it had started is put away by its own ends."""

    def end(number: int, frame: object) -> None:
        raise TimeoutError(f"not done within {seconds} s")

    earlier = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("areas", nargs="*", choices=[[], *AREAS], metavar="area", help=", ".join(AREAS))
    parser.add_argument("--quick", action="store_true", help="about a minute; rough")
    parser.add_argument("--tiny", action="store_true", help="seconds; shows that it runs, the figures mean nothing")
    parser.add_argument("--peers", action="store_true", help="measure other profilers in the same run")
    parser.add_argument("--only", action="append", default=[], help="only cases with this in their name (repeatable)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of the overhead")
    parser.add_argument("--seconds", type=int, default=LONGEST, help=f"at most so long for each area ({LONGEST})")
    parser.add_argument("--json", metavar="FILE", help="write the results")
    parser.add_argument("--add", action="store_true", help="keep what FILE has of other areas and Pythons")
    parser.add_argument("--page", metavar="FILE", help="write a page with plots")
    return parser


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    sys.exit(main(sys.argv[1:]))
