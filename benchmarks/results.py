"""What a run found, as data that goes into JSON and comes back: ratios, curves and grids; nothing is measured here."""

from __future__ import annotations

import importlib.metadata
import itertools
import math
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

PACKAGES = (
    "flask-profiling-devtools", "flask", "werkzeug", "flask-profiler", "flask-debugtoolbar", "pyinstrument", "yappi",
    "viztracer", "py-spy", "guppy3", "pympler", "objgraph", "memray",
)  # fmt: skip
# a cost that grows this much faster than what it is about is no longer called linear: x ** 1.15
STEEP = 1.15


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure: the median of the rounds, and the range from the second lowest to the second highest."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of some figures; of three or fewer the range is from the lowest to the highest."""
        found = sorted(values)
        edge = 1 if len(found) > 3 else 0
        return cls(statistics.median(found), found[edge], found[-1 - edge], len(found))

    def shown(self, *, digits: int = 3) -> str:
        """Return ``2.34 (2.2-2.5)``, or the figure alone where it was measured once."""
        if self.rounds == 1 or self.low == self.high:
            return number(self.median, digits)
        return f"{number(self.median, digits)} ({number(self.low, digits)}-{number(self.high, digits)})"


@dataclass(frozen=True, slots=True)
class Ratios:
    """How many times as much each case costs as ``base``, round by round."""

    title: str
    about: str
    base: str
    cases: Mapping[str, Spread]
    kind: str = "ratios"


@dataclass(frozen=True, slots=True)
class Curves:
    """How a cost grows with a size: points of (size, cost) for each name."""

    title: str
    about: str
    size: str
    unit: str
    lines: Mapping[str, Sequence[tuple[float, Spread]]]
    kind: str = "curves"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts."""

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    kind: str = "grid"


Section = Ratios | Curves | Grid


@dataclass(slots=True)
class Results:
    """All that a run found: ``areas`` maps an area to its sections, ``left_out`` what was not there to the reason.

    A run may be taken in slices; ``slices`` says of each area with which Python, for how long and beside how much other
    work it was measured.
    """

    command: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    areas: dict[str, list[Section]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    slices: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> str:
        """The Python of the first slice, such as ``CPython 3.13.0``."""
        return next((f"{name} {version}" for name, version in self.versions.items() if "Py" in name), "")

    def add(self, area: str, sections: Iterable[Section], python: str, about: str) -> None:
        """Enter a slice in place of an earlier one; what another Python found stands beside, under its name."""
        mark = "" if python == self.python else f", {python}"
        found = [replace(section, title=f"{section.title}{mark}") for section in sections]
        titles = {section.title for section in found}
        others = [section for section in self.areas.get(area, []) if section.title not in titles]
        self.areas[area] = [*others, *found] if mark else [*found, *others]
        self.slices[f"{area}{mark}"] = about

    def to_json(self) -> dict[str, object]:
        """Return everything as plain lists and dictionaries."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Results:
        """Read what :meth:`to_json` wrote; raises KeyError and TypeError for anything else."""
        areas = document["areas"]
        assert isinstance(areas, dict)
        sections = {area: [_section(item) for item in items] for area, items in areas.items()}
        return cls(**{**document, "areas": sections})  # type: ignore[arg-type]


def _section(item: Mapping[str, object]) -> Section:
    values = dict(item)
    if values["kind"] == "ratios":
        values["cases"] = {name: Spread(**spread) for name, spread in values["cases"].items()}  # type: ignore[attr-defined]
        return Ratios(**values)  # type: ignore[arg-type]
    if values["kind"] == "curves":
        values["lines"] = {
            name: [(size, Spread(**spread)) for size, spread in points]
            for name, points in values["lines"].items()  # type: ignore[attr-defined]
        }
        return Curves(**values)  # type: ignore[arg-type]
    return Grid(**values)  # type: ignore[arg-type]


def number(value: float, digits: int = 3) -> str:
    """Return a figure with so many digits that count, and commas from a thousand on."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{round(value, digits - 1 - math.floor(math.log10(abs(value)))):,.{places}f}"


def growth(points: Sequence[tuple[float, Spread]]) -> list[float | None]:
    """Return, for each point after the first, the power of the size by which the cost grew since the point before."""
    return [
        math.log(cost.median / before.median) / math.log(size / smaller) if before.median > 0 < cost.median else None
        for (smaller, before), (size, cost) in itertools.pairwise(points)
    ]


def steep_from(points: Sequence[tuple[float, Spread]]) -> float | None:
    """Return the size from which on the cost grows faster than linear, to the last point; None where it does not."""
    found = None
    for (size, _), power in zip(points, growth(points), strict=False):
        if power is None or power <= STEEP:
            found = None
        elif found is None:
            found = size
    return found


def machine() -> dict[str, str]:
    """Say what this run is on: system, processor, how many of them, and memory."""
    model = platform.processor() or "unknown"
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{os.cpu_count()} x {model}",
        "memory": f"{pages / 2**30:.0f} GiB",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that takes part."""
    found = {platform.python_implementation(): platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
