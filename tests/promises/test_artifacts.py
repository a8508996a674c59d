"""P11, P18: what is stored is whole from the moment it is seen, valid, and true, whatever the app is made of."""

from __future__ import annotations

import itertools
import json
import marshal
import pstats
import subprocess
import threading
from pathlib import Path

from tests.components import program, requires
from tests.integration.servers import OWN_APP, own_app, serve

ODD = r"""
import types
from tests.integration.known_app import create_app as known

def renamed(function, name):
    code = function.__code__.replace(co_name=name, co_qualname=name) if hasattr(function.__code__, "co_qualname") \
        else function.__code__.replace(co_name=name)
    return types.FunctionType(code, {})

def original():
    return 1

ODD_NAMES = ["caf\udce9", "\u2028\u2029", "a\"b\\c", "<script>alert(1)</script>", "\U0001f40d", "x" * 5000, "{[|]}"]
ODD_FUNCTIONS = [renamed(original, name) for name in ODD_NAMES]
lines = "\n".join(f"def many_{number}(): return {number}" for number in range(20_000))
namespace = {}
exec(compile(lines, "many.py", "exec"), namespace)
MANY = [namespace[f"many_{number}"] for number in range(20_000)]

class Unfriendly(type):
    def __repr__(cls): raise RuntimeError("no repr of the class")
    def __instancecheck__(cls, other): raise RuntimeError("no instance check")

class Hostile(metaclass=Unfriendly):
    def __init__(self): self.itself = self
    @property
    def __class__(self): raise RuntimeError("no class")
    def __repr__(self): raise RuntimeError("no repr")
    def __eq__(self, other): raise RuntimeError("no comparison")
    def __hash__(self): raise RuntimeError("no hash")
    def __len__(self): raise RuntimeError("no length")
    def __getattribute__(self, name): raise RuntimeError("no attribute")

KEPT = [Hostile.__new__(Hostile) for _ in range(50)] + [{"\udce9": "\udcff" * 3}, "\udc80" * 100]

def create_app():
    app = known()
    @app.get("/odd")
    def odd():
        return str(sum(function() for function in ODD_FUNCTIONS))
    @app.get("/many")
    def many():
        return str(sum(function() for function in MANY))
    app.add_url_rule("/caf\u00e9/\u2028", "ro\u2028ute", lambda: "odd route")
    return app
"""
ODD_CALLS = 3


def read_whole(path: Path) -> object:
    """Read an artifact as its tools would; a torn one raises."""
    content = path.read_bytes()
    if path.suffix == ".prof":
        return marshal.loads(content)
    if path.suffix == ".dot":
        assert content.rstrip().endswith(b"}")
        return content
    return json.loads(content)


class TestP11ArtifactsAreWholeOrAbsent:
    """An artifact appears whole or not at all, and no temporary file stays; kills and faults are in test_kills.py and
    test_faults.py."""

    def test_whoever_reads_at_once_reads_a_whole_file(self, tmp_path: Path) -> None:
        over = threading.Event()
        seen: set[Path] = set()
        torn: list[str] = []

        def watch() -> None:
            output = tmp_path / "profiling"
            for finishing in itertools.chain(iter(over.is_set, True), [True]):
                del finishing
                for path in {p for p in output.glob("*-prof-*") if p.suffix != ".tmp"} - seen:
                    try:
                        read_whole(path)
                    except (ValueError, EOFError, AssertionError) as error:
                        torn.append(f"{path.name}: {error!r}")
                    seen.add(path)

        with serve("werkzeug", tmp_path) as server:
            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                for heap in (False, True, False):
                    assert server.start(heap=heap).status == 200
                    server.load(["/dear"] * 4)
                    assert server.stop().status == 200
            finally:
                over.set()
                watcher.join(60)
            assert torn == []
            assert len(seen) == 3 * 4 + 1
            assert [path.name for path in server.output.rglob("*") if "tmp" in path.name] == []


class TestP18ArtifactsAreValidAndTrue:
    """Odd names, hostile objects and 20,000 functions: every file opens, and every count is right.

    All formats with hostile names: tests/formats/test_contract.py; exact counts on every server:
    tests/integration/test_known_truth.py.
    """

    @requires("dot")
    def test_an_app_of_odd_names_many_functions_and_hostile_objects_is_shown_as_it_is(self, tmp_path: Path) -> None:
        with serve("werkzeug", tmp_path, app=OWN_APP, environment=own_app(tmp_path, ODD)) as server:
            assert server.start(heap=True).status == 200
            paths = ["/odd"] * ODD_CALLS + ["/many", "/caf%C3%A9/%E2%80%A8"]
            assert [server.get(path).status for path in paths] == [200] * len(paths)
            stopped = server.stop()
            assert stopped.status == 200, stopped.body
            files = {Path(name).suffix: server.directory / name for name in stopped.json()["artifacts"]}
        stats = pstats.Stats(str(files[".prof"])).stats  # type: ignore[attr-defined]
        counts = {function[2]: values[1] for function, values in stats.items()}
        many = {name: count for name, count in counts.items() if name.startswith("many_")}
        assert many == {f"many_{number}": 1 for number in range(20_000)}
        assert counts["<script>alert(1)</script>"] == counts["x" * 5000] == ODD_CALLS
        profile = json.loads(files[".cpuprofile"].read_text("ascii"))
        numbers = [node["id"] for node in profile["nodes"]]
        children = [child for node in profile["nodes"] for child in node.get("children", [])]
        assert len(set(numbers)) == len(numbers)
        assert sorted(children) == sorted(set(numbers) - {numbers[0]})
        heap = json.loads(files[".heapsnapshot"].read_text("ascii"))
        meta = heap["snapshot"]["meta"]
        assert len(heap["nodes"]) == heap["snapshot"]["node_count"] * len(meta["node_fields"])
        assert len(heap["edges"]) == heap["snapshot"]["edge_count"] * len(meta["edge_fields"])
        names = heap["nodes"][meta["node_fields"].index("name") :: len(meta["node_fields"])]
        assert sum("Hostile" in heap["strings"][name] for name in names) >= 50
        dot = program("dot")
        assert dot is not None
        drawn = subprocess.run([dot, "-Tsvg", str(files[".dot"])], capture_output=True, timeout=100, check=True)
        assert b"</svg>" in drawn.stdout
        recording = json.loads(files[".json"].read_text("ascii"))
        assert sum(times["requests"] for times in recording["requests"].values()) == len(paths)
