"""Heap snapshots read back: true counts, readable ways to what is held, and damage that is told."""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_profiling.errors import DamagedData
from flask_profiling.heapfile import Retainers, difference, load, retained, scanner, write_dot
from tests.components import requires

from .snapshots import document, shop, write

VISIT = "shop.visits.Visit"


def diff(tmp_path: Path, before: object, after: object, **options: Any) -> Any:
    old = load(write(tmp_path / "a.heapsnapshot", before), edges=False)  # type: ignore[arg-type]
    new = load(write(tmp_path / "b.heapsnapshot", after), edges=True)  # type: ignore[arg-type]
    return difference(old, new, **options)


def test_growth_is_counted_by_class_and_identity(tmp_path: Path) -> None:
    found = diff(tmp_path, shop(3), shop(10))
    rows = {item.class_name: (item.count_before, item.count_after, item.added, item.removed) for item in found.classes}
    assert rows == {VISIT: (3, 10, 7, 0), "flask.Request": (3, 10, 7, 0), "list": (1, 1, 0, 0)}
    assert [item.class_name for item in found.grown()] == ["flask.Request", VISIT]
    assert [item.size_growth for item in found.classes] == [700, 336, 56]
    assert found.shared == 1.0


def test_objects_that_were_replaced_are_told_though_their_number_is_the_same(tmp_path: Path) -> None:
    found = diff(tmp_path, shop(3), shop(3, first_id=501))
    rows = {item.class_name: (item.growth, item.added, item.removed) for item in found.classes}
    assert rows == {VISIT: (0, 3, 3), "flask.Request": (0, 3, 3)}


def test_snapshots_of_two_processes_share_little(tmp_path: Path) -> None:
    found = diff(tmp_path, shop(300), shop(300, first_id=100_001))
    assert found.shared < 0.1


def test_the_same_file_twice_differs_by_nothing(tmp_path: Path) -> None:
    found = diff(tmp_path, shop(5), shop(5))
    assert (found.classes, found.holders, dict(found.retained)) == ((), (), {})


def test_what_is_new_is_held_by_a_readable_way(tmp_path: Path) -> None:
    found = diff(tmp_path, shop(3), shop(10))
    ways = {name: [(way.text, way.count) for way in item.ways] for name, item in found.retained.items()}
    assert ways == {VISIT: [("shop.visits.VISITS[*]", 7)], "flask.Request": [("shop.visits.VISITS[*].request", 7)]}


def test_the_older_object_that_holds_it_is_named(tmp_path: Path) -> None:
    (holder,) = diff(tmp_path, shop(3), shop(10)).holders
    assert (holder.way.text, holder.class_name) == ("shop.visits.VISITS", "list")
    assert (holder.count, holder.size) == (14, 7 * 148)


def test_only_the_classes_asked_for_are_followed(tmp_path: Path) -> None:
    assert set(diff(tmp_path, shop(3), shop(10), classes=[VISIT, "Nobody"]).retained) == {VISIT}


def test_a_weak_reference_holds_nothing(tmp_path: Path) -> None:
    nodes: dict[str, Any] = {
        "root": ("", 0, [("property", "(threads)", "threads"), ("property", "(elsewhere)", "elsewhere")]),
        "threads": ("(threads)", 0, [("weak", "near", "held")]),
        "elsewhere": ("(elsewhere)", 0, [("property", "far", "other")]),
        "other": ("Other", 1, [("property", "strong", "held")]),
        "held": ("Held", 1, []),
    }
    found = retained(load(write(tmp_path / "a.heapsnapshot", document(nodes)), edges=True), "Held")
    assert found is not None
    assert [way.text for way in found.ways] == ["(elsewhere) far.strong"]


def test_a_way_through_a_thread_says_so(tmp_path: Path) -> None:
    found = retained(load(write(tmp_path / "a.heapsnapshot", shop(0)), edges=True), "shop.Clerk")
    assert found is not None
    assert [way.text for way in found.ways] == ["(threads) stack of MainThread.clerk"]


def test_a_class_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert retained(load(write(tmp_path / "a.heapsnapshot", shop(1)), edges=True), "Visit") is None


def test_of_many_objects_some_are_looked_at(tmp_path: Path) -> None:
    found = retained(load(write(tmp_path / "a.heapsnapshot", shop(2500)), edges=True), VISIT)
    assert found is not None
    assert (found.count, found.looked_at) == (2500, 834)
    assert [(way.text, way.count) for way in found.ways] == [("shop.visits.VISITS[*]", 834)]


def test_a_linked_list_is_shown_without_its_middle(tmp_path: Path) -> None:
    links = 20_000
    nodes: dict[str, Any] = {"root": ("", 0, [("property", "(modules)", "modules")])}
    nodes["modules"] = ("(modules)", 0, [("property", "chain", "link0")])
    for number in range(links):
        nodes[f"link{number}"] = ("Link", 1, [("property", "next", f"link{number + 1}")])
    nodes[f"link{links}"] = ("Last", 1, [])
    found = retained(load(write(tmp_path / "a.heapsnapshot", document(nodes)), edges=True), "Last")
    assert found is not None
    (way,) = found.ways
    assert way.text.startswith("chain.next.next")
    assert " … " in way.text
    assert len(way.steps) == 41


def test_named_things_are_counted_together_as_devtools_does(tmp_path: Path) -> None:
    heap = load(write(tmp_path / "a.heapsnapshot", shop(1)), edges=False)
    assert {"<module>", "<frame>", "(synthetic)"} <= set(heap.class_names)


def test_every_node_has_the_nearest_way(tmp_path: Path) -> None:
    """Against a search that is too simple to be wrong."""
    chance = random.Random(7)
    for _ in range(30):
        keys = [f"n{number}" for number in range(40)]
        nodes: dict[str, Any] = {
            key: (key, 1, [("property", f"to{to}", to) for to in chance.sample(keys, chance.randint(0, 3))])
            for key in keys
        }
        heap = load(write(tmp_path / "a.heapsnapshot", document(nodes)), edges=True)
        distances = {0: 0}
        for _ in keys:
            for node, distance in list(distances.items()):
                for edge in range(heap.first_edge[node], heap.first_edge[node + 1]):
                    target = heap.targets[edge] // 5
                    distances[target] = min(distances.get(target, 99), distance + 1)
        ways = Retainers(heap)
        assert {node: len(ways.trail(node)) for node in distances} == distances


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_it_reads_the_same_in_pieces_of_any_size(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.heapsnapshot", shop(20))
    whole = load(path, edges=True)
    monkeypatch.setattr(scanner, "_CHUNK", chunk)
    pieces = load(path, edges=True)
    assert (pieces.ids, pieces.targets, pieces.kinds) == (whole.ids, whole.targets, whole.kinds)
    assert pieces.class_names == whole.class_names


def test_strings_with_quotes_and_half_characters_are_read(tmp_path: Path) -> None:
    odd = 'a"\\,]}\n\ud800\u00e9'
    nodes: dict[str, Any] = {"root": ("", 0, [("property", odd, "x")]), "x": (odd, 1, [])}
    found = retained(load(write(tmp_path / "a.heapsnapshot", document(nodes)), edges=True), odd)
    assert found is not None
    assert [step.class_name for step in found.ways[0].steps] == [odd]


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    content: dict[str, Any] = json.loads(json.dumps(shop(2)))
    change(content)
    return json.dumps(content, separators=(",", ":"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ends in the middle"),
        ("{}", "ends in the middle"),
        ("x" * 3_000_000, "does not begin like one"),
        ('{"snapshot":[1,"nodes":[', "its head cannot be read"),
        ('{"snapshot":1,"nodes":[],"edges":[],"strings":[]}', "what the columns mean"),
        (changed(lambda content: content["snapshot"]["meta"]["node_fields"].remove("id")), "a column is missing"),
        (changed(lambda content: content["nodes"].append(1)), "a row in it is not whole"),
        (changed(lambda content: content["nodes"].__setitem__(7, -1)), "no 32-bit number"),
        (changed(lambda content: content["nodes"].__setitem__(7, 2**32)), "no 32-bit number"),
        (changed(lambda content: content["nodes"].__setitem__(7, 1.5)), "no 32-bit number"),
        (changed(lambda content: content["nodes"].__setitem__(7, True)), "no 32-bit number"),
        (changed(lambda content: content["nodes"].__setitem__(7, None)), "no 32-bit number"),
        (changed(lambda content: content["nodes"].__setitem__(7, {})), "no 32-bit number"),
        (changed(lambda content: content["nodes"].__setitem__(4, 2**32 - 1)), "more edges than there can be"),
        (changed(lambda content: content["edges"].__setitem__(2, 10**6)), "do not fit its nodes"),
        (changed(lambda content: content["edges"].__setitem__(0, 99)), "do not fit its nodes"),
        (changed(lambda content: content["edges"].__setitem__(0, 999)), "has no name"),
        (changed(lambda content: content["strings"].__delitem__(slice(3, None))), "strings that are not in it"),
        (changed(lambda content: None)[:-40], "ends in the middle"),
    ],
)
def test_a_damaged_file_is_told_with_what_to_do(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.heapsnapshot"
    path.write_text(text)
    with pytest.raises(DamagedData, match=reason) as caught:
        load(path, edges=True)
    assert "flask profiling heap" in caught.value.message


@requires("dot")
def test_graphviz_draws_what_holds_a_class(tmp_path: Path) -> None:
    items = [retained(load(write(tmp_path / "a.heapsnapshot", shop(4)), edges=True), name) for name in (VISIT, "str")]
    out = io.StringIO()
    write_dot([item for item in items if item is not None], out)
    dot = shutil.which("dot")
    assert dot is not None
    drawn = subprocess.run(
        [dot, "-Tplain"], input=out.getvalue(), capture_output=True, text=True, check=True, timeout=60
    )
    assert "[*] ×4" in drawn.stdout
    assert "shop.visits.Visit" in drawn.stdout
