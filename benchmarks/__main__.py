"""The one entry: ``python -m benchmarks [areas] [--quick] [--peers] [--json FILE] [--page FILE]``.

Areas are those of :data:`AREAS`; without one, all are measured but those that take minutes each.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import page
from .results import Results, Section, machine, versions
from .scale import SCALES, Scale

Measure = Callable[[Scale], Sequence[Section]]

# area -> module:function
AREAS: dict[str, str] = {
    "overhead": "benchmarks.overhead:measure",
    "accuracy": "benchmarks.accuracy:measure",
    "latency": "benchmarks.latency:measure",
    "stop": "benchmarks.stop_cost:measure",
    "heap": "benchmarks.heap:measure",
    "workers": "benchmarks.workers:measure",
    "instructions": "benchmarks.instructions:measure",
}
# measured only where they are named
_ON_REQUEST = ("instructions",)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write what was asked for."""
    given = _parser().parse_args(arguments)
    size = "tiny" if given.tiny else "quick" if given.quick else "full"
    scale = Scale(**SCALES[size], peers=given.peers, only=tuple(given.only))  # type: ignore[arg-type]
    scale.rounds = given.rounds or scale.rounds
    results = Results(" ".join(["python -m benchmarks", *arguments]), machine(), versions())
    if given.add:
        earlier = Results.from_json(json.loads(Path(given.json).read_text("utf-8")))
        results.command = f"{earlier.command} && {results.command}"
        results.areas, results.left_out = earlier.areas, earlier.left_out
    for area in given.areas or [name for name in AREAS if name not in _ON_REQUEST]:
        module, _, function = AREAS[area].partition(":")
        measure: Measure = getattr(importlib.import_module(module), function)
        began = time.monotonic()
        results.areas[area] = list(measure(scale))
        print(page.text(area, results.areas[area]), f"({time.monotonic() - began:.0f} s)", sep="\n", flush=True)
        results.left_out.update(scale.left_out)
        if given.json:  # what is measured is kept, should the next area fail
            Path(given.json).write_text(json.dumps(results.to_json(), indent=1) + "\n", "utf-8")
    for name, reason in results.left_out.items():
        print(f"left out: {name} ({reason})", file=sys.stderr)
    if given.page:
        Path(given.page).write_text(page.html(results), "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("areas", nargs="*", choices=[[], *AREAS], metavar="area", help=", ".join(AREAS))
    parser.add_argument("--quick", action="store_true", help="about a minute; rough")
    parser.add_argument("--tiny", action="store_true", help="seconds; shows that it runs, the figures mean nothing")
    parser.add_argument("--peers", action="store_true", help="measure other profilers in the same run")
    parser.add_argument("--only", action="append", default=[], help="only cases with this in their name (repeatable)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of the overhead")
    parser.add_argument("--json", metavar="FILE", help="write the results")
    parser.add_argument("--add", action="store_true", help="keep the other areas that FILE has of an earlier run")
    parser.add_argument("--page", metavar="FILE", help="write a page with plots")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
