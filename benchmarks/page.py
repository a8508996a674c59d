"""Results for people: the rows of each section, a page of HTML that needs no other file, and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from . import plots
from .results import Curves, Grid, Ratios, Results, Section, growth, steep_from

_STYLE = """body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}
td,th{padding:.2em .8em .2em 0;text-align:left;vertical-align:top;border-bottom:1px solid #8884}
@media (prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}}"""


def rows(section: Section) -> list[Sequence[str]]:
    """Return the head and the rows of a section's table."""
    if isinstance(section, Grid):
        return [section.columns, *section.rows]
    if isinstance(section, Ratios):
        head = ("", f"as many times as {section.base}", "rounds")
        return [head, *((name, spread.shown(), f"{spread.rounds}") for name, spread in section.cases.items())]
    return list(_curve_rows(section))


def _curve_rows(section: Curves) -> Iterator[Sequence[str]]:
    sizes = sorted({size for line in section.lines.values() for size, _ in line})
    yield (section.unit, *(f"{size:,.0f}" for size in sizes), "growth", "linear")
    for name, line in section.lines.items():
        costs = dict(line)
        powers = [f"{power:.2f}" for power in growth(line)[-1:] if power is not None]
        steep = steep_from(line)
        yield (
            name,
            *(costs[size].shown() if size in costs else "" for size in sizes),
            f"size^{powers[0]}" if powers else "",
            "throughout" if steep is None else f"to {steep:,.0f}",
        )


def plot(section: Section) -> str:
    """Return a section's plot as SVG; nothing for a grid."""
    if isinstance(section, Ratios):
        return plots.bars(section)
    return plots.curves(section) if isinstance(section, Curves) else ""


def facts(results: Results) -> list[tuple[str, str]]:
    """Return what makes the figures comparable: the machine, the versions, how to repeat, what was left out."""
    told = [*results.machine.items(), ("versions", ", ".join(f"{k} {v}" for k, v in results.versions.items()))]
    told.append(("repeat with", results.command))
    told += [(f"measured: {name}", about) for name, about in results.slices.items()]
    return told + [(f"left out: {name}", reason) for name, reason in results.left_out.items()]


def html(results: Results) -> str:
    """Return the whole page."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Benchmarks</title><style>{_STYLE}</style>",
        "<h1>Benchmarks</h1>",
        _table(facts(results)),
    ]
    for area, sections in results.areas.items():
        for section in sections:
            first, *others = rows(section)
            parts += [
                f"<h2>{escape(area)}: {escape(section.title)}</h2><p>{escape(section.about)}</p>",
                plot(section),
                _table(others, first),
            ]
    return "\n".join(parts) + "\n"


def _table(lines: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    above = "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>" if head else ""
    below = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table>{above}{below}</table>"


def text(area: str, sections: Sequence[Section]) -> str:
    """Return an area's tables for a terminal."""
    lines = []
    for section in sections:
        table = rows(section)
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines += ["", f"{area}: {section.title}"]
        for row in table:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
