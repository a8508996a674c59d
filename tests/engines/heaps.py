"""Heap snapshots in tests: taken in a fresh process, read by a parser of its own that trusts nothing."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import flask_profiling
from tests.pythons import PYTHON

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = Path(flask_profiling.__file__).parent

# What every script starts with: ``snapshot(name)`` takes one and renames the file, ``say(value)`` adds to the answer.
PRELUDE = """
import json, os, sys, types
from pathlib import Path
# the engine without the extension, so that Flask's own hundred thousand objects are not in every snapshot
sys.modules["flask_profiling"] = types.ModuleType("flask_profiling")
sys.modules["flask_profiling"].__path__ = [sys.argv[2]]
from flask_profiling.engines import EngineOptions
from flask_profiling.engines.heap import HeapEngine
from flask_profiling.formats.heapsnapshot import write_heap

SPOOL = Path(sys.argv[1])
ANSWERS = []

def say(value):
    ANSWERS.append(value)

def snapshot(name, values="redacted", spool=SPOOL, write=write_heap, **engine):
    options = EngineOptions("prof-test", spool=spool, write_heap=write, heap_values=values)
    taker = HeapEngine(options, **{"deadline": 60, **engine})
    taker.start()
    recording = taker.stop()
    for attachment in recording.attachments:
        os.rename(spool / attachment, spool / f"{name}.heapsnapshot")
    return recording

def answer():
    print("ANSWERS" + json.dumps(ANSWERS))
"""


def run(script: str, spool: Path, *options: str, environment: Mapping[str, str] | None = None) -> list[object]:
    """Run a script in a fresh interpreter and return what it said; anything on its standard error is a failure."""
    path = spool.parent / f"{spool.name}-script.py"
    path.write_text(PRELUDE + textwrap.dedent(script) + "\nanswer()\n")
    spool.mkdir(exist_ok=True)
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [PYTHON, *options, str(path), str(spool), str(PACKAGE)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0 and done.stderr == "", (
        f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS")]
    assert len(lines) == 1, done.stdout
    answers: list[object] = json.loads(lines[0].removeprefix("ANSWERS"))
    return answers


@dataclass(frozen=True)
class Edge:
    kind: str
    name: str | int
    target: int


class Snapshot:
    """A parsed ``.heapsnapshot``; reading it checks every rule of the format."""

    def __init__(self, path: Path) -> None:
        document = json.loads(path.read_bytes().decode("ascii"))
        assert list(document) == ["snapshot", "nodes", "edges", "strings"]
        meta = document["snapshot"]["meta"]
        assert meta["node_fields"] == ["type", "name", "id", "self_size", "edge_count"]
        assert meta["edge_fields"] == ["type", "name_or_index", "to_node"]
        nodes, edges, strings = document["nodes"], document["edges"], document["strings"]
        assert document["snapshot"]["node_count"] * 5 == len(nodes)
        assert document["snapshot"]["edge_count"] * 3 == len(edges)
        for numbers in (nodes, edges):
            assert set(map(type, numbers)) == {int} and min(numbers) >= 0 and max(numbers) < 2**32
        assert set(map(type, strings)) == {str}
        kinds = meta["node_types"][0]
        self.kinds = [kinds[kind] for kind in nodes[::5]]
        self.names = [strings[name] for name in nodes[1::5]]
        self.ids = nodes[2::5]
        self.sizes = nodes[3::5]
        counts = nodes[4::5]
        assert len(set(self.ids)) == len(self.ids) and all(number % 2 for number in self.ids)
        assert sum(counts) * 3 == len(edges)
        self._edges = edges
        self._edge_kinds = meta["edge_types"][0]
        self._strings = strings
        self._first = [0]
        for count in counts:
            self._first.append(self._first[-1] + count)
        assert max(edges[2::3]) < len(nodes) and not any(target % 5 for target in edges[2::3])
        assert self.kinds[0] == "synthetic"
        self._distances = self._reach()

    def __len__(self) -> int:
        return len(self.ids)

    def edges(self, node: int) -> Iterator[Edge]:
        for index in range(3 * self._first[node], 3 * self._first[node + 1], 3):
            yield self._edge(index)

    def _edge(self, index: int) -> Edge:
        kind, name, target = self._edges[index : index + 3]
        word = self._edge_kinds[kind]
        return Edge(word, name if word in ("element", "hidden") else self._strings[name], target // 5)

    def _reach(self) -> dict[int, tuple[int, int] | None]:
        """Return how each node is reached from the root, from which and by which edge; every one must be, without weak
        edges."""
        found: dict[int, tuple[int, int] | None] = {0: None}
        waiting = deque([0])
        first, edges, weak = self._first, self._edges, self._edge_kinds.index("weak")
        while waiting:
            node = waiting.popleft()
            for index in range(3 * first[node], 3 * first[node + 1], 3):
                target = edges[index + 2] // 5
                if target not in found and edges[index] != weak:
                    found[target] = (node, index)
                    waiting.append(target)
        assert len(found) == len(self.ids), f"{len(self.ids) - len(found)} nodes hang in the air"
        return found

    def count(self, name: str) -> int:
        return self.names.count(name)

    def classes(self) -> Counter[str]:
        return Counter(self.names)

    def only(self, name: str) -> int:
        found = [node for node, text in enumerate(self.names) if text == name]
        assert len(found) == 1, f"{len(found)} nodes are called {name}"
        return found[0]

    def all(self, name: str) -> list[int]:
        return [node for node, text in enumerate(self.names) if text == name]

    def follow(self, node: int, *names: str | int) -> int:
        """Return the node at the end of a path of edges; dicts of attributes and frames of generators are stepped
        over."""
        for name in names:
            targets = [edge.target for edge in self.edges(node) if edge.name == name and edge.kind != "weak"]
            inner = [edge.target for edge in self.edges(node) if edge.name in ("__dict__", "gi_frame")]
            if not targets and inner:
                targets = [edge.target for edge in self.edges(inner[0]) if edge.name == name]
            assert len(targets) == 1, (
                f"{self.names[node]} has {len(targets)} edges called {name!r}: {self.describe(node)}"
            )
            node = targets[0]
        return node

    def describe(self, node: int) -> list[tuple[str, str | int, str]]:
        return [(edge.kind, edge.name, self.names[edge.target]) for edge in self.edges(node)]

    def path(self, node: int) -> list[str | int]:
        """Return the names on the shortest way from the root."""
        names: list[str | int] = []
        step = self._distances[node]
        while step is not None:
            names.append(self._edge(step[1]).name)
            step = self._distances[step[0]]
        return names[::-1]
