"""A program that chooses by chance what it calls, and counts by path what it called; no tests.

No callee can be expected from those before it, so short cuts for what usually comes next have to give way.
"""

from __future__ import annotations

import random
from collections import Counter

Path = tuple[str, ...]


class Choices:
    """What one run of :meth:`choose` called: calls by path of names, the first of which is ``route``."""

    names = frozenset({"choose", "one", "another"})

    def __init__(self, route: str, seed: int) -> None:
        self.counted: Counter[Path] = Counter({(route,): 0})
        self._path: Path = (route,)
        self._chooser = random.Random(seed)

    def choose(self, depth: int) -> None:
        """Call some functions, this one too while ``depth`` allows."""
        above, self._path = self._path, (*self._path, "choose")
        self.counted[self._path] += 1
        for _ in range(self._chooser.randrange(8)):
            way = self._chooser.randrange(3)
            if way < 2:
                (self.one, self.another)[way]()
            elif depth:
                self.choose(depth - 1)
        self._path = above

    def one(self) -> None:
        """Call nothing."""
        self.counted[(*self._path, "one")] += 1

    def another(self) -> None:
        """Call the other one."""
        above, self._path = self._path, (*self._path, "another")
        self.counted[self._path] += 1
        self.one()
        self._path = above

    def known_part(self, found: dict[Path, int]) -> dict[Path, int]:
        """Return of calls by path those of the functions above."""
        return {path: calls for path, calls in found.items() if len(path) > 1 and self.names.issuperset(path[1:])}
