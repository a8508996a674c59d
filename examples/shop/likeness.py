"""Which products are like which. One helper, cheap on the product page, dear in the recommendations."""

from __future__ import annotations

from collections.abc import Sequence

from .models import Product


def rank_by_likeness(wanted: Sequence[Product], candidates: Sequence[Product]) -> list[Product]:
    """The candidates, those first whose descriptions share most words with the wanted products.

    The work grows with ``len(wanted) * len(candidates)``. An average over all its callers says nothing: the product
    page compares one product with a handful, the recommendations compare everything with everything.
    """
    scores: dict[int, int] = {}
    for candidate in candidates:
        words = candidate.description.lower().split()
        scores[candidate.id] = 0
        for product in wanted:
            if product is candidate:
                continue
            for word in product.description.lower().split():
                if word in words:
                    scores[candidate.id] += 1
    return sorted(candidates, key=lambda product: scores[product.id], reverse=True)
