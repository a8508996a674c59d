"""How much more is too much, by pattern; read from a parsed TOML document, not from a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import BadRequest

KINDS = ("calls", "allocations", "time")
IGNORE = "ignore"
_PERCENT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")
# kind -> the share by which a number may grow; None: it is shown and never fails
DEFAULTS: dict[str, float | None] = {"calls": 0.01, "allocations": 0.10, "time": None}


@dataclass(frozen=True, slots=True)
class Rules:
    """Per kind, patterns with the share by which what they match may grow; None means that it is not looked at.

    The first pattern that matches counts. Calls and allocations are matched as ``module:name``, time by the route.
    """

    patterns: Mapping[str, tuple[tuple[str, float | None], ...]]

    @classmethod
    def default(cls) -> Rules:
        """Return the rules where no file gives any."""
        return cls({})

    @classmethod
    def from_toml(cls, document: Mapping[str, object], name: str) -> Rules:
        """Read ``{"calls": {"shop.models:*": "5%", "sqlalchemy.pool.*": "ignore"}}``; raises BadRequest."""
        patterns: dict[str, tuple[tuple[str, float | None], ...]] = {}
        for kind, table in document.items():
            if kind not in KINDS:
                raise BadRequest(f"{name}: [{kind}] is not known; there are [{'], ['.join(KINDS)}]")
            if not isinstance(table, Mapping):
                raise BadRequest(f'{name}: {kind} must be a table; write [{kind}] and below it "*" = "1%"')
            patterns[kind] = tuple((pattern, _share(kind, pattern, value, name)) for pattern, value in table.items())
        return cls(patterns)

    def allowed(self, kind: str, name: str) -> tuple[bool, float | None]:
        """Return whether ``name`` is looked at, and the share by which it may grow (None: it never fails)."""
        for pattern, share in self.patterns.get(kind, ()):
            if matches(pattern, name):
                return share is not None, share
        return True, DEFAULTS[kind]


def matches(pattern: str, name: str) -> bool:
    """Tell whether a pattern such as ``shop.models:*`` means a function, also where its package lies in a folder."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def _share(kind: str, pattern: str, value: object, name: str) -> float | None:
    if value == IGNORE:
        return None
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BadRequest(f'{name}: [{kind}] "{pattern}" must be a share such as "5%", or "ignore"; it is {value!r}')
    return float(match[1]) / 100
