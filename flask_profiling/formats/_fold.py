"""Which paths of a tree are drawn where there are more than fit: parents and weights alone, no recording is read here.

The largest are kept; the others stand in one place below each caller that is. Parents come before their children.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model import ROOT


@dataclass(frozen=True, slots=True)
class Folded:
    """What is drawn of a tree.

    ``rows`` has the node that stands in each place now (None: several), ``parents`` the place above each, ``places``
    where each of the old nodes is, and ``folded`` how many of those are kept only in the sum.
    """

    rows: Sequence[int | None]
    parents: Sequence[int]
    places: Sequence[int]
    folded: int


def largest(parents: Sequence[int], totals: Sequence[float], most: int) -> Folded:
    """Return at most ``most`` places, or one and what is folded for each route, if that is more.

    A node's total must be no less than that of any of its children, so that what is kept hangs together.
    """
    number = len(parents)
    if number <= most:
        return Folded(range(number), parents, range(number), 0)
    routes = [node for node in range(number) if parents[node] == ROOT]
    below = [node for node in range(number) if parents[node] != ROOT]
    below.sort(key=lambda node: (-totals[node], node))
    kept = {*routes, *below[: max(0, most // 2 - len(routes))]}
    rows: list[int | None] = []
    above: list[int] = []
    places: list[int] = []
    folds: dict[int, int] = {}
    for node, parent in enumerate(parents):
        if node not in kept and parent not in kept:
            places.append(places[parent])
            continue
        place = len(rows) if node in kept else folds.setdefault(parent, len(rows))
        if place == len(rows):
            rows.append(node if node in kept else None)
            above.append(ROOT if parent == ROOT else places[parent])
        places.append(place)
    return Folded(rows, above, places, number - len(kept))
