"""What a product costs. ``price_with_every_discount`` is slow on purpose: it is what a profile of this shop finds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations


@dataclass(frozen=True)
class Discount:
    """Take ``percent`` off, then ``cents``, but never go below ``floor`` cents."""

    name: str
    percent: int = 0
    cents: int = 0
    floor: int = 0


DISCOUNTS = (
    Discount("spring", percent=10),
    Discount("newsletter", cents=100, floor=300),
    Discount("birthday", percent=15, floor=500),
    Discount("second pot", cents=250, floor=1000),
    Discount("loyalty", percent=5, cents=20),
    Discount("last day", percent=20, floor=200),
)


def price_with_every_discount(cents: int, discounts: tuple[Discount, ...] = DISCOUNTS) -> int:
    """The lowest price in cents that any number of the discounts reaches, in any order.

    It tries every order of every choice: 1,956 of them for six discounts, 13,699 for seven. That is the hot spot.
    """
    lowest = cents
    for count in range(1, len(discounts) + 1):
        for order in permutations(discounts, count):
            price = cents
            for discount in order:
                price = price * (100 - discount.percent) // 100 - discount.cents
                if price < discount.floor:
                    price = discount.floor
            if price < lowest:
                lowest = price
    return lowest


def euros(cents: int) -> str:
    """An amount of cents as people write it: ``1690`` is ``€16.90``."""
    return f"€{cents // 100}.{cents % 100:02d}"
