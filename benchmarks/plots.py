"""Plots as inline SVG: bars with their spread, and curves on two logarithmic axes; colours follow the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from .results import Curves, Ratios, number

WIDTH = 720
_LEFT = 250
_ROW = 22
_COLOURS = (
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22",
)  # fmt: skip


def bars(section: Ratios) -> str:
    """Return one bar for each case, to the median, with a line over its spread; the base stands at 1."""
    highest = max(1.0, *(spread.high for spread in section.cases.values()))
    scale = (WIDTH - _LEFT - 70) / highest
    parts = []
    for row, (name, spread) in enumerate(section.cases.items()):
        middle = row * _ROW + _ROW / 2
        colour = _COLOURS[0] if "extension" in name or name == section.base else _COLOURS[8]
        parts += [
            _text(_LEFT - 8, middle + 4, name, "end"),
            f'<rect x="{_LEFT}" y="{middle - 7:.1f}" width="{spread.median * scale:.1f}" height="14" fill="{colour}"/>',
            _line(_LEFT + spread.low * scale, middle, _LEFT + spread.high * scale, middle),
            _text(_LEFT + max(spread.high, spread.median) * scale + 6, middle + 4, number(spread.median), "start"),
        ]
    height = len(section.cases) * _ROW
    parts.append(_line(_LEFT + scale, 0, _LEFT + scale, height, dashed=True))
    return _svg(height + 4, section.title, parts)


def curves(section: Curves) -> str:
    """Return the lines of a section; a thin line shows what linear growth would be."""
    points = [(size, spread.median) for line in section.lines.values() for size, spread in line if spread.median > 0]
    left, top, right, bottom = 70, 10, WIDTH - 20, 300
    across = _axis([size for size, _ in points], left, right)
    up = _axis([cost for _, cost in points], bottom, top)
    parts = [_line(left, bottom, right, bottom), _line(left, top, left, bottom)]
    parts += [_text(across(size), bottom + 16, _short(size), "middle") for size in sorted({size for size, _ in points})]
    for cost in _decades([cost for _, cost in points]):
        parts += [
            _text(left - 6, up(cost) + 4, _short(cost), "end"),
            _line(left, up(cost), right, up(cost), dashed=True),
        ]
    axes = "; ".join(filter(None, (section.size, section.unit, "both axes logarithmic")))
    parts.append(_text((left + right) / 2, bottom + 34, axes, "middle"))
    for place, (name, line) in enumerate(section.lines.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        drawn = [(across(size), up(spread.median)) for size, spread in line if spread.median > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in drawn]
        parts.append(f'<rect x="{left + 12}" y="{top + 4 + 16 * place}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(left + 28, top + 13 + 16 * place, name, "start"))
    return _svg(bottom + 44, section.title, parts)


class _axis:  # noqa: N801  # called like a function
    """Maps a positive figure to a place between two edges, by its logarithm."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self._low, high = math.log10(min(values)), math.log10(max(values))
        self._first, self._scale = first, (last - first) / max(high - self._low, 1e-9) * 0.96

    def __call__(self, value: float) -> float:
        return self._first + (math.log10(value) - self._low) * self._scale


def _decades(values: Iterable[float]) -> list[float]:
    found = sorted(values)
    return [10.0**power for power in range(math.ceil(math.log10(found[0])), math.floor(math.log10(found[-1])) + 1)]


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{number(value / size, 2)}{unit}"
    return number(value, 2)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, *, dashed: bool = False) -> str:
    style = ' stroke-dasharray="2 4" stroke-opacity="0.5"' if dashed else ""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="currentColor"{style}/>'


def _svg(height: float, title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}" font-size="12" '
        f'font-family="sans-serif" style="max-width:{WIDTH}px;width:100%">{"".join(parts)}</svg>'
    )
