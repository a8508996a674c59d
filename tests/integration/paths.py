"""The paths of application code that a call tree and a Chrome profile have, as plain names. No tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from flask_profiling.model import CallTree


def application_paths(tree: CallTree, is_shown: Callable[[int], bool]) -> dict[str, Counter[tuple[str, ...]]]:
    """Return the calls by route and path; ``is_shown`` tells of a function's label whether it is part of paths."""
    found: dict[str, Counter[tuple[str, ...]]] = {}
    places: list[tuple[str, tuple[str, ...]]] = []
    for node, parent in enumerate(tree.parents):
        if parent < 0:
            places.append((tree.name(node), ()))
            continue
        route, path = places[parent]
        if not is_shown(tree.labels[node]):
            places.append((route, path))
            continue
        places.append((route, (*path, tree.name(node))))
        found.setdefault(route, Counter())[places[-1][1]] += tree.calls[node]
    return found


def chrome_paths(profile: Any, file: str) -> tuple[Counter[tuple[str, ...]], set[tuple[str, ...]]]:
    """Return the µs of each path of functions of ``file``, the route first, with what other code took below it, and
    those paths that have a remark."""
    nodes = {node["id"]: node for node in profile["nodes"]}
    times: Counter[tuple[str, ...]] = Counter()
    remarks: set[tuple[str, ...]] = set()
    places: dict[int, tuple[str, ...]] = {}
    waiting: list[tuple[int, tuple[str, ...]]] = [(child, ()) for child in profile["nodes"][0]["children"]]
    while waiting:
        number, path = waiting.pop()
        frame = nodes[number]["callFrame"]
        if not path or frame["url"].endswith(file):
            path = (*path, frame["functionName"])
            times[path] += 0
            if "deoptReason" in nodes[number]:
                remarks.add(path)
        places[number] = path
        waiting += [(child, path) for child in nodes[number]["children"]]
    for number, step in zip(profile["samples"], profile["timeDeltas"][1:], strict=False):
        if number in places:
            times[places[number]] += step
    return times, remarks
