"""What a heap snapshot costs, beside guppy3, pympler and objgraph on the same heap: ``python -m benchmarks.heap
[nodes ...]``.

Every line is measured in a fresh process that first builds the heap; CPU is user and system time. A snapshot's CPU is
the child's whole life; "stopped" is how long ``fork`` held the parent; "bytes per node" is the child's peak resident
size less the parent's, by the nodes; "slow-down" is how much longer a loop that writes to every object takes in the
parent while the child is alive (copy-on-write and the processor's caches) than alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

# A record is 16 nodes: an order, its texts, numbers, list, dict, tuple and what they hold.
NODES_PER_RECORD = 16


class Item:
    """A line of an order, kept in slots."""

    __slots__ = ("price", "title")

    def __init__(self, number: int) -> None:
        self.title = f"title {number}"
        self.price = number * 1.5


class Order:
    """An object as web applications keep them: attributes, texts, numbers, a list, a dict, a tuple."""

    def __init__(self, number: int) -> None:
        self.number = number + 100_000
        self.customer = f"customer {number}"
        self.items = [Item(number), Item(number + 1)]
        self.fields = {"total": number * 2.5, "note": f"note {number}"}
        self.key = (number + 200_000, f"key {number}")


def build(nodes: int) -> list[Order]:
    """Return a heap of about so many nodes."""
    return [Order(number) for number in range(nodes // NODES_PER_RECORD)]


def snapshot(heap: list[Order]) -> dict[str, float]:
    """Take a snapshot and measure it."""
    from flask_profiling.engines import EngineOptions
    from flask_profiling.engines.heap import HeapEngine
    from flask_profiling.formats.heapsnapshot import write_heap

    stopped = [0.0]
    alone = _write_to_all(heap)
    during: list[float] = []

    def fork() -> int:
        begun = time.perf_counter()
        pid = os.fork()
        stopped[0] = time.perf_counter() - begun
        if pid:
            threading.Thread(target=lambda: during.append(_write_to_all(heap))).start()
        return pid

    with tempfile.TemporaryDirectory() as directory:
        options = EngineOptions("benchmark", spool=Path(directory), write_heap=write_heap)
        begun = time.perf_counter()
        recording = HeapEngine(options, fork=fork, shortage=str).stop()
        wall = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in Path(directory).iterdir())
    if not recording.attachments:
        raise SystemExit(recording.notes[0])
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    data = recording.data
    nodes: int = data.nodes  # type: ignore[union-attr]
    cpu = child.ru_utime + child.ru_stime
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "nodes": nodes,
        "edges": data.edges,  # type: ignore[union-attr]
        "cpu": cpu,
        "us_per_node": cpu / nodes * 1e6,
        "wall": wall,
        "stopped_ms": stopped[0] * 1e3,
        "stopped_ms_per_150mb": stopped[0] * 1e3 * 150 / (resident / 1024),
        "resident_mb": resident / 1024,
        "bytes_per_node": (child.ru_maxrss - resident) * 1024 / nodes,
        "file_mb": size / 2**20,
        "slow_down": during[0] / alone,
    }


def _write_to_all(heap: list[Order]) -> float:
    begun = time.thread_time()
    for order in heap:
        order.number += 1
    return time.thread_time() - begun


def _guppy(heap: list[Order]) -> dict[str, float]:
    from guppy import hpy

    begun = time.process_time()
    found = hpy().heap()
    return {"nodes": found.count, "cpu": time.process_time() - begun}


def _pympler(heap: list[Order]) -> dict[str, float]:
    from pympler import muppy, summary

    begun = time.process_time()
    objects = muppy.get_objects()
    summary.summarize(objects)
    return {"nodes": len(objects), "cpu": time.process_time() - begun}


def _objgraph(heap: list[Order]) -> dict[str, float]:
    import objgraph

    begun = time.process_time()
    found = objgraph.typestats()
    return {"nodes": sum(found.values()), "cpu": time.process_time() - begun}


def _referents(heap: list[Order]) -> dict[str, float]:
    begun = time.process_time()
    objects = gc.get_objects()
    for first in range(0, len(objects), 4096):
        gc.get_referents(*objects[first : first + 4096])
    return {"nodes": len(objects), "cpu": time.process_time() - begun}


MEASURES: dict[str, Callable[[list[Order]], dict[str, float]]] = {
    "snapshot": snapshot,
    "guppy3 heap()": _guppy,
    "pympler summary": _pympler,
    "objgraph typestats": _objgraph,
    "gc, all referents (the floor)": _referents,
}


def measured(name: str, nodes: int) -> dict[str, float] | None:
    """Run one measure in a fresh process; None where its package is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.heap", "--one", name, str(nodes)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nodes", nargs="*", type=int, default=[300_000, 1_500_000, 7_000_000])
    parser.add_argument("--one", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument(
        "--runs", type=int, default=3, help="how often each is measured; the best and the worst are shown"
    )
    parser.add_argument("--alone", action="store_true", help="measure the snapshot only")
    given = parser.parse_args()
    if given.one:
        heap = build(given.nodes[0])
        print(json.dumps(MEASURES[given.one](heap)))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    for nodes in given.nodes:
        print(f"\nheap of about {nodes:,} nodes")
        for name in ["snapshot"] if given.alone else MEASURES:
            runs = [measured(name, nodes) for _ in range(given.runs)]
            results = [run for run in runs if run is not None]
            if not results:
                print(f"  {name:32} not installed")
                continue
            for key in results[0]:
                values = sorted(run[key] for run in results)
                print(f"  {name:32} {key:22} {values[0]:14,.2f} to {values[-1]:14,.2f}")


if __name__ == "__main__":
    main()
