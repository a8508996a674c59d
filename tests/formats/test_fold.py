"""Tests of what is drawn of a tree that is too large: what is kept hangs together, and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.formats._fold import largest
from flask_profiling.model import ROOT, inclusive


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Return parents, several of them routes, and what each node has of its own."""
    parents = [draw(st.integers(ROOT, node - 1)) for node in range(draw(st.integers(0, 40)))]
    own = [draw(st.integers(0, 9)) for _ in parents]
    return parents, own


def has_ancestor(node: int, above: int, parents: Sequence[int]) -> bool:
    while node not in (above, ROOT):
        node = parents[node]
    return node == above


def test_the_smallest_stand_together_below_their_caller() -> None:
    parents, own = [ROOT, 0, 0, 0, 2, 1], [0, 7, 1, 1, 1, 0]
    folded = largest(parents, inclusive(parents, own), 5)
    assert (folded.rows, folded.parents, folded.places, folded.folded) == (
        [0, 1, None, None],
        [ROOT, 0, 0, 1],
        [0, 1, 2, 2, 2, 3],
        4,
    )


def test_a_tree_that_fits_is_left_as_it_is() -> None:
    folded = largest([ROOT, 0, 0], [3, 1, 2], 3)
    assert (list(folded.rows), list(folded.places), folded.folded) == ([0, 1, 2], [0, 1, 2], 0)


@given(trees(), st.integers(0, 45))
def test_what_is_kept_hangs_together_and_every_node_has_a_place_below_its_caller(
    tree: tuple[list[int], list[int]], most: int
) -> None:
    parents, own = tree
    folded = largest(parents, inclusive(parents, own), most)
    kept = [node for node in folded.rows if node is not None]
    assert len(folded.rows) <= max(most, 2 * parents.count(ROOT))
    assert len(parents) - len(kept) == folded.folded
    assert {node for node, parent in enumerate(parents) if parent == ROOT} <= set(kept)
    assert all(folded.rows[folded.places[node]] == node for node in kept)
    for place, above in enumerate(folded.parents):
        assert ROOT <= above < place
        assert above == ROOT or folded.rows[above] is not None
    for node, place in enumerate(folded.places):
        if folded.rows[place] is None:
            caller = folded.rows[folded.parents[place]]
            assert caller is not None
            assert has_ancestor(node, caller, parents)
        else:
            above = folded.parents[place]
            assert parents[node] == (ROOT if above == ROOT else folded.rows[above])


@given(trees(), st.integers(0, 45))
def test_nothing_that_is_folded_has_more_than_what_is_kept(tree: tuple[list[int], list[int]], most: int) -> None:
    parents, own = tree
    totals = inclusive(parents, own)
    folded = largest(parents, totals, most)
    kept = {node for node in folded.rows if node is not None}
    inner = [totals[node] for node in kept if parents[node] != ROOT]
    left = [totals[node] for node in range(len(parents)) if node not in kept]
    assert not inner or not left or min(inner) >= max(left)
