"""Where memory was allocated and which classes grew: frozen, mergeable data from the memory engines; no heap graph (see
:mod:`.heap`), no clock and no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from . import _json

# Sites and classes kept one by one; the others are added up, so that totals stay true.
MOST_SITES = 2000
MOST_CLASSES = 500


class Frame(NamedTuple):
    """One step of a call stack: ``line`` is the 1-based line that was running (not where its function begins);
    ``name`` is the function's plain name, empty where it is not known (the body of a module or class, or code that
    is gone)."""

    file: str
    line: int
    name: str


@dataclass(frozen=True, slots=True)
class Amount:
    """Memory that was alive at stop: ``size`` in bytes of ``count`` allocations, and how much more that is than at
    start (negative: less)."""

    size: int
    count: int
    size_growth: int
    count_growth: int

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.size + other.size,
            self.count + other.count,
            self.size_growth + other.size_growth,
            self.count_growth + other.count_growth,
        )

    def to_json(self) -> list[object]:
        """Return ``[size, count, size_growth, count_growth]``."""
        return [self.size, self.count, self.size_growth, self.count_growth]

    @classmethod
    def from_json(cls, value: object) -> Amount:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        size, count, size_growth, count_growth = _json.row(value, 4)
        return cls(_json.count(size), _json.count(count), _json.integer(size_growth), _json.integer(count_growth))


NOTHING = Amount(0, 0, 0, 0)
Stack = tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Allocations:
    """Where memory was allocated: ``sites`` maps a call stack (outermost frame first, the allocating line last) to
    what it holds.

    ``frames`` is how many frames of a stack were kept; ``from_nothing`` is true when nothing was traced before the
    session, so that sizes and growth are the same: what was allocated during the session and was still alive at stop.
    ``rest`` are the ``rest_sites`` smallest sites together. ``routes`` says which route a stack belongs to, where its
    frames tell: ``rule [endpoint]``, without a method.
    """

    kind: ClassVar[str] = "allocations"

    frames: int
    from_nothing: bool
    sites: Mapping[Stack, Amount]
    rest: Amount = NOTHING
    rest_sites: int = 0
    routes: Mapping[Stack, str] = field(default_factory=dict)

    @property
    def total(self) -> Amount:
        """Return all sites together, the rest too."""
        return sum(self.sites.values(), self.rest)

    def by_line(self) -> dict[Frame, Amount]:
        """Return what each allocating line holds, over all the stacks that led to it; the one that grew most comes
        first."""
        lines: dict[Frame, Amount] = {}
        for stack, amount in self.sites.items():
            if stack:
                lines[stack[-1]] = lines.get(stack[-1], NOTHING) + amount
        return dict(sorted(lines.items(), key=lambda item: (-item[1].size_growth, item[0])))

    def by_route(self) -> dict[str, Amount]:
        """Return what each route's stacks hold, the route that grew most first; what no frame tells the route of is not
        among it."""
        routes: dict[str, Amount] = {}
        for stack, route in self.routes.items():
            routes[route] = routes.get(route, NOTHING) + self.sites[stack]
        return dict(sorted(routes.items(), key=lambda item: (-item[1].size_growth, item[0])))

    def of_route(self, route: str) -> Allocations:
        """Return the sites of one route alone; of what belongs to none for an empty name, without the rest."""
        sites = {stack: amount for stack, amount in self.sites.items() if self.routes.get(stack, "") == route}
        return Allocations(self.frames, self.from_nothing, sites)

    def bounded(self, most: int = MOST_SITES) -> Allocations:
        """Keep the ``most`` largest sites (by size or by growth, whichever is more) and add up the others."""
        if len(self.sites) <= most:
            return self
        rows = sorted(self.sites.items(), key=lambda item: (-weight(item[1]), item[0]))
        rest = sum((amount for _, amount in rows[most:]), self.rest)
        others = self.rest_sites + len(rows) - most
        sites = dict(rows[:most])
        routes = {stack: route for stack, route in self.routes.items() if stack in sites}
        return Allocations(self.frames, self.from_nothing, sites, rest, others, routes)

    def merged_with(self, other: Allocations) -> Allocations:
        """Add up the recordings of two workers, stack by stack."""
        sites = dict(self.sites)
        for stack, amount in other.sites.items():
            sites[stack] = sites.get(stack, NOTHING) + amount
        return Allocations(
            max(self.frames, other.frames),
            self.from_nothing and other.from_nothing,
            sites,
            self.rest + other.rest,
            self.rest_sites + other.rest_sites,
            {**other.routes, **self.routes},
        ).bounded()

    def to_json(self) -> dict[str, object]:
        """Return ``{"frames", "fromNothing", "places": [[file, line, name]], "sites": [[stack, amount]], "rest",
        "restSites", "routes": [[route, sites]]}``, the stacks as indexes into the places, a route's sites as indexes
        into the sites."""
        places: dict[Frame, int] = {}
        for stack in self.sites:
            for frame in stack:
                places.setdefault(frame, len(places))
        routes: dict[str, list[int]] = {}
        for index, stack in enumerate(self.sites):
            if stack in self.routes:
                routes.setdefault(self.routes[stack], []).append(index)
        return {
            "frames": self.frames,
            "fromNothing": self.from_nothing,
            "places": [list(frame) for frame in places],
            "sites": [[[places[frame] for frame in stack], amount.to_json()] for stack, amount in self.sites.items()],
            "rest": self.rest.to_json(),
            "restSites": self.rest_sites,
            "routes": [[route, indexes] for route, indexes in routes.items()],
        }

    @classmethod
    def from_json(cls, value: object) -> Allocations:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        places = [_frame(item) for item in _json.sequence(document.get("places"))]
        sites: dict[Stack, Amount] = {}
        stacks: list[Stack] = []
        for item in _json.sequence(document.get("sites")):
            indexes, amount = _json.row(item, 2)
            stack = tuple(places[_json.index(index, len(places))] for index in _json.sequence(indexes))
            sites[stack] = sites.get(stack, NOTHING) + Amount.from_json(amount)
            stacks.append(stack)
        routes: dict[Stack, str] = {}
        for item in _json.sequence(document.get("routes", [])):  # older recordings have none
            route, indexes = _json.row(item, 2)
            for index in _json.sequence(indexes):
                routes[stacks[_json.index(index, len(stacks))]] = _json.text(route)
        return cls(
            _json.count(document.get("frames")),
            _json.flag(document.get("fromNothing")),
            sites,
            Amount.from_json(document.get("rest")),
            _json.count(document.get("restSites")),
            routes,
        )


@dataclass(frozen=True, slots=True)
class Growth:
    """How many objects of each class there were: ``classes`` maps a qualified name to the counts (at start, at stop).

    Only objects that the garbage collector knows are counted, garbage that waits for it among them. ``rest`` are the
    ``rest_classes`` classes that grew least together.
    """

    kind: ClassVar[str] = "growth"

    classes: Mapping[str, tuple[int, int]]
    rest: tuple[int, int] = (0, 0)
    rest_classes: int = 0

    @property
    def total(self) -> tuple[int, int]:
        """Return the objects of all classes at start and at stop."""
        return _added([*self.classes.values(), self.rest])

    def grown(self) -> list[tuple[str, int, int]]:
        """Return (class, at start, at stop) of the classes that grew, those that grew most first: leak suspects."""
        rows = [(name, before, after) for name, (before, after) in self.classes.items() if after > before]
        return sorted(rows, key=lambda row: (row[1] - row[2], row[0]))

    def bounded(self, most: int = MOST_CLASSES) -> Growth:
        """Keep the ``most`` classes whose counts changed most and add up the others."""
        if len(self.classes) <= most:
            return self
        rows = sorted(self.classes.items(), key=lambda item: (-abs(item[1][1] - item[1][0]), -item[1][1], item[0]))
        rest = _added([self.rest, *(counts for _, counts in rows[most:])])
        return Growth(dict(rows[:most]), rest, self.rest_classes + len(rows) - most)

    def merged_with(self, other: Growth) -> Growth:
        """Add up the recordings of two workers, class by class."""
        classes = dict(self.classes)
        for name, counts in other.classes.items():
            classes[name] = _added([classes.get(name, (0, 0)), counts])
        merged = Growth(classes, _added([self.rest, other.rest]), self.rest_classes + other.rest_classes)
        return merged.bounded()

    def to_json(self) -> dict[str, object]:
        """Return ``{"classes": [[name, before, after]], "rest": [before, after], "restClasses"}``."""
        classes = [[name, before, after] for name, (before, after) in self.classes.items()]
        return {"classes": classes, "rest": list(self.rest), "restClasses": self.rest_classes}

    @classmethod
    def from_json(cls, value: object) -> Growth:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        rows = [_json.row(item, 3) for item in _json.sequence(document.get("classes"))]
        before, after = _json.row(document.get("rest"), 2)
        return cls(
            {_json.text(name): (_json.count(old), _json.count(new)) for name, old, new in rows},
            (_json.count(before), _json.count(after)),
            _json.count(document.get("restClasses")),
        )


def weight(amount: Amount) -> int:
    """Return how much a site matters: the larger of what it holds and what it changed by, in bytes."""
    return max(amount.size, abs(amount.size_growth))


def _added(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    rows = list(counts)
    return sum(before for before, _ in rows), sum(after for _, after in rows)


def _frame(value: object) -> Frame:
    file, line, name = _json.row(value, 3)
    return Frame(_json.text(file), _json.integer(line), _json.text(name))
