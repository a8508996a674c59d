"""What a heap snapshot costs, beside guppy3, pympler and objgraph on the same heap.

Every figure is of a fresh process that first builds the heap; CPU is user and system time of the child's whole life,
wall is from asking for the snapshot to having it, "stopped" is how long fork held the parent, whose memory is what was
resident then; the slow-down is how much longer a loop that writes to every object takes in the parent while the child
is alive (copy-on-write and the processor's caches) than alone.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .results import Curves, Grid, Section, Spread
from .scale import Scale

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
    resident = _memory("VmRSS")
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
    return {
        "nodes": nodes,
        "cpu": cpu,
        "wall": wall,
        "resident_mb": resident / 1e3,
        "stopped_ms": stopped[0] * 1e3,
        "cpu_us_per_node": cpu / nodes * 1e6,
        "stopped_ms_per_150_mb": stopped[0] * 1e3 / (resident / 150e3),
        "bytes_per_node": (child.ru_maxrss - _memory("VmHWM")) * 1024 / nodes,
        "file_mb": size / 2**20,
        "slow_down": during[0] / alone,
    }


def _memory(key: str) -> int:
    """Return the resident size in kB, ``VmRSS``, or its peak, ``VmHWM``: getrusage has that of a parent in it."""
    found = re.search(rf"{key}:\s*(\d+)", Path("/proc/self/status").read_text("ascii"))
    return int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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


@dataclass(frozen=True, slots=True)
class Peer:
    """Something that looks at a heap, and what comes of it."""

    name: str
    offers: str = "a file with every object, edge and size"
    module: str = ""
    package: str = ""


SNAPSHOT = "heap snapshot"
PEERS = (
    Peer("guppy3 heap()", "counts and sizes by type", "guppy", "guppy3"),
    Peer("pympler summary", "counts and sizes by type", "pympler", "pympler"),
    Peer("objgraph typestats", "counts by type"),
    Peer("gc, all referents", "nothing: the floor of any walk"),
)
MEASURES: dict[str, Callable[[list[Order]], dict[str, float]]] = {
    SNAPSHOT: snapshot,
    "guppy3 heap()": _guppy,
    "pympler summary": _pympler,
    "objgraph typestats": _objgraph,
    "gc, all referents": _referents,
}


def measured(name: str, nodes: int) -> dict[str, float]:
    """Run one measure in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.heap", name, str(nodes)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


# what is drawn of a snapshot: in all, and by its size
IN_ALL = {
    "CPU, s": "cpu",
    "wall, s": "wall",
    "parent stopped, ms": "stopped_ms",
    "parent's memory, MB": "resident_mb",
    "file, MB": "file_mb",
}
BY_SIZE = {
    "CPU, us a node": "cpu_us_per_node",
    "parent stopped, ms for each 150 MB of its memory": "stopped_ms_per_150_mb",
    "child's memory beyond the parent's, bytes a node": "bytes_per_node",
    "slow-down of writes meanwhile, times": "slow_down",
}


def measure(scale: Scale) -> Sequence[Section]:
    """Take snapshots of larger and larger heaps, and let the peers count one of them."""
    lines: dict[str, list[tuple[float, Spread]]] = {name: [] for name in (*IN_ALL, *BY_SIZE)}
    for size in scale.heap_nodes:
        runs = [measured(SNAPSHOT, size) for _ in range(min(scale.repeats, 3))]
        nodes = runs[0]["nodes"]
        for name, key in {**IN_ALL, **BY_SIZE}.items():
            lines[name].append((nodes, Spread.of(run[key] for run in runs)))
    about = __doc__.partition("\n\n")[2]
    sections: list[Section] = [
        Curves("A heap snapshot, by nodes", about, "nodes", "", {name: lines[name] for name in IN_ALL}),
        Curves("What a node of it costs", about, "nodes", "", {name: lines[name] for name in BY_SIZE}),
    ]
    if scale.peers:
        rows = []
        for peer in scale.present([Peer(SNAPSHOT), *PEERS]):
            runs = [measured(peer.name, scale.peers_nodes) for _ in range(min(scale.repeats, 3))]
            each = [run["cpu"] / run["nodes"] * 1e6 for run in runs]
            cells = (Spread.of(run["cpu"] for run in runs).shown(), Spread.of(each).shown())
            rows.append((peer.name, f"{runs[0]['nodes']:,.0f}", *cells, peer.offers))
        about = f"One heap of about {scale.peers_nodes:,} nodes, each in a fresh process."
        columns = ("", "objects seen", "CPU, s", "us each", "what comes of it")
        sections.append(Grid("Looking at a heap", about, columns, rows))
    return sections


if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[1]](build(int(sys.argv[2])))))
