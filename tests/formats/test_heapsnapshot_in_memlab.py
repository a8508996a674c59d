"""The heap snapshot in memlab, a parser of V8's format that is not ours: its totals and retained sizes are the true
ones."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.components import NODE_MODULES, program, requires
from tests.engines.heaps import PROJECT, Snapshot, run
from tests.engines.test_heap import LEAK

pytestmark = [
    requires("node", "memlab"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a snapshot needs fork"),
]

SAY = f"""
{LEAK}
def size(one):
    owned = [one, one.body, one.number, *([one.__dict__] if sys.version_info < (3, 11) else [])]
    return sum(map(sys.getsizeof, owned))
taken = snapshot("a").data
for number in (taken.nodes, taken.edges, taken.size):
    say(number)
say(sys.getsizeof(planted.LEAK) + sum(map(size, planted.LEAK)))
"""


def in_memlab(file: Path, name: str) -> dict[str, Any]:
    node = program("node")
    assert node is not None
    done = subprocess.run(
        [node, str(PROJECT / "tests/formats/memlab.js"), str(file), name],
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.rpartition("FOUND")[2])
    return found


def test_memlab_counts_and_weighs_what_the_recording_says(tmp_path: Path) -> None:
    answers = run(SAY, tmp_path / "spool")
    file = tmp_path / "spool/a.heapsnapshot"
    found = in_memlab(file, "planted.Leaked")
    nodes, edges, size, retained = answers
    assert (found["nodes"], found["edges"], found["size"]) == (nodes, edges, size)
    assert found["instances"] == Snapshot(file).count("planted.Leaked") == 57
    assert found["root"] == size, "the root does not dominate everything"
    assert found["holders"] == [{"name": "list", "retained": retained}]
