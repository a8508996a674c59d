"""The HTML reports, of one recording and of two: one file that needs no other, opens from ``file://`` and asks nobody
for anything.

Style and script lie in ``report/`` and are allowed by their hashes alone; the data is JSON that no browser runs.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import BinaryIO

from ..model import Function, SessionRecording
from ._difference import difference
from ._report import report
from ._sections import files

# What could end the element that holds the data, or begin another.
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}

# name of a page -> the scripts that draw it, in their order
_SCRIPTS = {
    "report": ("page.js", "flame.js", "graph.js", "report.js"),
    "difference": ("page.js", "flame.js", "difference.js"),
}


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the report; any recording has one, also without calls."""
    write_with_files(recording, out, named=())


def write_with_files(recording: SessionRecording, out: BinaryIO, *, named: Sequence[tuple[str, int, str]]) -> None:
    """Write the report, and in it a list of files: the name of each, its bytes, and what opens it."""
    values = report(recording)
    if named:
        values["more"] = [files(named)]
    _write("report", f"Profile {recording.session.id}", values, out)


def write_difference(
    base: SessionRecording,
    new: SessionRecording,
    out: BinaryIO,
    *,
    verdict: Mapping[str, object],
    same: Mapping[Function, Function],
    names: Mapping[Function, str],
) -> None:
    """Write what changed between two recordings, as a flame graph in two colours and tables.

    ``verdict`` has ``changes``, ``compared``, ``regressions`` and ``notes``, as JSON; ``same`` maps functions of the
    base to those of the new recording, and ``names`` each function to what the verdict calls it.
    """
    title = f"{new.session.id} against {base.session.id}"
    _write("difference", title, difference(base, new, verdict, same=same, names=names), out)


def _write(page: str, title: str, values: Mapping[str, object], out: BinaryIO) -> None:
    data = json.dumps(values, ensure_ascii=True, separators=(",", ":")).translate(_ESCAPES)
    filled = {"{{data}}": data, "{{title}}": html.escape(title)}
    out.writelines(filled.get(part, part).encode("utf-8") for part in _template(page))


@lru_cache(maxsize=2)
def _template(name: str) -> tuple[str, ...]:
    """Return a page with its style and scripts, cut where title and data belong."""
    folder = resources.files(__package__) / "report"
    page, body, style = ((folder / file).read_text("utf-8") for file in ("page.html", f"{name}.html", "report.css"))
    script = "".join(["(() => {\n", *((folder / file).read_text("utf-8") for file in _SCRIPTS[name]), "})();\n"])
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    marks = {"{{body}}": body, "{{policy}}": policy, "{{style}}": style, "{{script}}": script}
    for mark, text in marks.items():
        page = page.replace(mark, text)
    before, _, rest = page.partition("{{title}}")
    between, _, after = rest.partition("{{data}}")
    return before, "{{title}}", between, "{{data}}", after


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
