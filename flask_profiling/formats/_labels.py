"""Short names for files: what a person would import, not where it is installed; nothing looks at the disk."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[\\/]+")
_LIBRARY = re.compile(r"^(site-packages|dist-packages)$")
_STANDARD_LIBRARY = re.compile(r"^(python\d+\.\d+t?|Lib)$")


class ModuleNames:
    """Names of the files of one recording; files outside any library are named relative to the folder they share."""

    def __init__(self, files: Iterable[str]) -> None:
        own = [parts for parts in map(_parts, files) if parts and _inside_library(parts) is None]
        self._common = _shared_folder(own)

    def of(self, file: str) -> str:
        """Return ``flask.app`` for ``…/site-packages/flask/app.py``, ``shop/a.html`` for a template, ``""`` for C."""
        parts = _parts(file)
        if not parts:
            return "" if file == "~" else file
        inside = _inside_library(parts)
        kept = parts[self._common :] if inside is None else inside
        if not kept[-1].endswith(".py"):
            return "/".join(kept)
        return ".".join([*kept[:-1], kept[-1].removesuffix(".py")])


def is_library_file(file: str) -> bool:
    """Tell by its path that a file is installed or the interpreter's own, not the application's.

    So are C functions (``~``) and generated code: what named tuples and dataclasses make is called ``<string>``.
    """
    return file == "~" or file.startswith("<") or _inside_library(_parts(file)) is not None


def _parts(file: str) -> list[str]:
    """Return the steps of a path; nothing for what is no path (``~``, ``<string>``)."""
    if file == "~" or file.startswith("<"):
        return []
    return [part for part in _SEPARATORS.split(file) if part]


def _inside_library(parts: list[str]) -> list[str] | None:
    for pattern in (_LIBRARY, _STANDARD_LIBRARY):
        for place in range(len(parts) - 2, -1, -1):
            if pattern.match(parts[place]):
                return parts[place + 1 :]
    return None


def _shared_folder(paths: list[list[str]]) -> int:
    """Return how many leading steps to drop so that the last folder that all ``paths`` share stays."""
    if not paths:
        return 0
    first, last = min(paths), max(paths)
    shared = 0
    while shared < min(len(first), len(last)) - 1 and first[shared] == last[shared]:
        shared += 1
    return max(shared - 1, 0)
