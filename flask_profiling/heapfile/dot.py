"""What holds a class, drawn for Graphviz: the ways from the roots as one tree of references; no values, only names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from .retainers import Retained, Step

_HEAD = """digraph "retainers" {
    rankdir=LR;
    node [shape=box, fontname="sans-serif"];
    edge [fontname="sans-serif"];
"""


def write_dot(items: Iterable[Retained], out: TextIO) -> None:
    """Write the ways to the objects of some classes as a graph; an edge carries the reference's name and its number
    of objects."""
    out.write(_HEAD)
    numbers: dict[tuple[Step, ...], int] = {(): 0}
    counts: dict[tuple[Step, ...], int] = {}
    ends: set[tuple[Step, ...]] = set()
    for item in items:
        for way in item.ways:
            ends.add(way.steps)
            for length in range(1, len(way.steps) + 1):
                beginning = way.steps[:length]
                numbers.setdefault(beginning, len(numbers))
                counts[beginning] = counts.get(beginning, 0) + way.count
    out.write('    n0 [label="(root)", shape=plaintext];\n')
    for beginning, count in counts.items():
        style = ', style=filled, fillcolor="#ffd9d9"' if beginning in ends else ""
        name = _quoted(beginning[-1].class_name)
        label = _quoted(f"{beginning[-1].label.strip()} ×{count}".strip())
        out.write(f"    n{numbers[beginning]} [label={name}{style}];\n")
        out.write(f"    n{numbers[beginning[:-1]]} -> n{numbers[beginning]} [label={label}];\n")
    out.write("}\n")


def _quoted(text: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
