"""Heap snapshots written by hand for tests: nodes by name, edges by name; as a file. No tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

# kind, name, to
Edge = tuple[str, str | int, str]

NODE_KINDS = ["hidden", "array", "string", "object", "code", "closure", "regexp", "number", "native", "synthetic"]
EDGE_KINDS = ["context", "element", "property", "internal", "hidden", "shortcut", "weak"]


def document(
    nodes: Mapping[str, tuple[str, int, Sequence[Edge]]], *, ids: Mapping[str, int] | None = None
) -> dict[str, object]:
    """Return a snapshot: ``nodes`` maps a key to (name, size, edges); the first is the root."""
    strings: dict[str, int] = {"": 0}
    places = {key: number for number, key in enumerate(nodes)}
    rows: list[int] = []
    links: list[int] = []
    for key, (name, size, edges) in nodes.items():
        kind = "object" if places[key] else "synthetic"
        number = (ids or {}).get(key, 2 * places[key] + 1)
        rows += [NODE_KINDS.index(kind), strings.setdefault(name, len(strings)), number, size, len(edges)]
        for edge_kind, label, target in edges:
            shown = label if isinstance(label, int) else strings.setdefault(label, len(strings))
            links += [EDGE_KINDS.index(edge_kind), shown, places[target] * 5]
    meta = {
        "node_fields": ["type", "name", "id", "self_size", "edge_count"],
        "node_types": [NODE_KINDS, "string", "number", "number", "number"],
        "edge_fields": ["type", "name_or_index", "to_node"],
        "edge_types": [EDGE_KINDS, "string_or_number", "node"],
    }
    head = {"meta": meta, "node_count": len(nodes), "edge_count": len(links) // 3}
    return {"snapshot": head, "nodes": rows, "edges": links, "strings": list(strings)}


def write(path: Path, content: Mapping[str, object]) -> Path:
    """Write a snapshot the way V8 does: no spaces between a section's name and its values."""
    path.write_text(json.dumps(content, separators=(",", ":")))
    return path


def shop(visits: int, *, first_id: int = 101) -> dict[str, object]:
    """Return a shop that remembers so many visits, each with a request, and a clerk who knows the first only weakly."""
    nodes: dict[str, tuple[str, int, Sequence[Edge]]] = {
        "root": ("", 0, [("property", "(modules)", "modules"), ("property", "(threads)", "threads")]),
        "modules": ("(modules)", 0, [("property", "shop.visits", "module")]),
        "threads": ("(threads)", 0, [("internal", "stack of MainThread", "frame")]),
        "module": ("<module shop.visits>", 72, [("property", "__dict__", "globals")]),
        "globals": ("dict", 232, [("property", "VISITS", "list"), ("internal", "(key)", "text")]),
        "list": ("list", 56 + 8 * visits, [("element", index, f"visit{index}") for index in range(visits)]),
        "text": ("str", 55, []),
        "frame": ("<frame wait>", 400, [("property", "clerk", "clerk")]),
        "clerk": ("shop.Clerk", 48, [("weak", "(reference)", "visit0")] if visits else []),
    }
    ids = {}
    for index in range(visits):
        nodes[f"visit{index}"] = ("shop.visits.Visit", 48, [("property", "request", f"request{index}")])
        nodes[f"request{index}"] = ("flask.Request", 100, [("internal", "from", "clerk")])
        ids[f"visit{index}"] = first_id + 4 * index
        ids[f"request{index}"] = first_id + 4 * index + 2
    return document(nodes, ids=ids)
