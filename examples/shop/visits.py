"""Who looked at what. It leaks on purpose: ``VISITS`` is never trimmed, and every visit keeps its whole request."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Request


@dataclass(frozen=True)
class Visit:
    """One look at one product. It needs the referrer alone, but holds on to the request it came with."""

    product_id: int
    request: Request

    @property
    def referrer(self) -> str | None:
        """The page the visitor came from."""
        return self.request.referrer


VISITS: list[Visit] = []


def remember(visit: Visit) -> None:
    """Keep a visit. That is the leak: only the last few are ever read, none is ever dropped."""
    VISITS.append(visit)


def last_visits(count: int) -> list[Visit]:
    """The latest visits, newest first."""
    return VISITS[: -count - 1 : -1]
