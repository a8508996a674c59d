"""The HTML report: one file that needs no other, opens from ``file://`` and asks nobody for anything.

Style and script lie in ``report/`` and are allowed by their hashes alone; the data is JSON that no browser runs.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import lru_cache
from importlib import resources
from typing import BinaryIO

from ..model import SessionRecording
from ._report import report

# What could end the element that holds the data, or begin another.
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the report; any recording has one, also without calls."""
    data = json.dumps(report(recording), ensure_ascii=True, separators=(",", ":")).translate(_ESCAPES)
    title = html.escape(f"Profile {recording.session.id}")
    filled = {"{{data}}": data, "{{title}}": title}
    out.writelines(filled.get(part, part).encode("utf-8") for part in _template())


@lru_cache(maxsize=1)
def _template() -> tuple[str, ...]:
    """Return the page with its style and script, cut where title and data belong."""
    files = resources.files(__package__) / "report"
    page, style, script = ((files / name).read_text("utf-8") for name in ("report.html", "report.css", "report.js"))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    for mark, text in {"{{policy}}": policy, "{{style}}": style, "{{script}}": script}.items():
        page = page.replace(mark, text)
    before, _, rest = page.partition("{{title}}")
    between, _, after = rest.partition("{{data}}")
    return before, "{{title}}", between, "{{data}}", after


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
