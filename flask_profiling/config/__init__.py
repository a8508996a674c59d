"""From ``app.config`` and the environment to one frozen Config, by the table of settings; no Flask, file or clock."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..errors import ConfigurationError
from .options import session_options
from .reading import flag, shown
from .settings import CLI_VARIABLES, PREFIX, SETTINGS, Config, Setting, setting_of

__all__ = [
    "CLI_VARIABLES",
    "SETTINGS",
    "Config",
    "Setting",
    "SettingRow",
    "describe",
    "flag",
    "load",
    "session_options",
    "setting_of",
    "shown",
]

_WHERE = {"app.config": "in app.config", "environment": "in the environment", "default": "by default"}
_LIKENESS = 0.75
_QUOTED = re.compile(r"""(['"])(.*)\1""")

# key -> a closer look at the parsed text that this room cannot take itself; raises ValueError
Checks = Mapping[str, Callable[[str], object]]


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as it stands, for people.

    ``source`` is ``app.config``, ``environment`` or ``default``; ``problem`` says what is wrong (empty: nothing).
    """

    key: str
    value: str
    source: str
    meaning: str
    problem: str


@dataclass(frozen=True, slots=True)
class _Judged:
    setting: Setting
    found: object
    source: str
    value: object
    problem: str


def load(config: Mapping[str, object], environ: Mapping[str, str], *, checks: Checks | None = None) -> Config:
    """Make the Config; ``app.config`` wins over the environment, value by value.

    None in ``app.config`` counts as not set, and so does an empty environment variable (in a switch it is false).
    Raises ConfigurationError with all mistakes at once, those that ``checks`` find among them. A name that is no
    setting is a mistake in ``app.config``; in the environment, which is everybody's, only where it resembles one.
    """
    judged = _judged(config, environ, checks or {})
    mistakes = [
        f"{row.setting.key} is {row.setting.shown(row.found)} {_WHERE[row.source]}; {row.problem}, "
        f"for example {row.setting.key}={row.setting.example}"
        for row in judged
        if row.problem
    ]
    mistakes += [*_unknown("app.config", config), *_unknown("environment", environ)]
    if mistakes:
        number = "one setting" if len(mistakes) == 1 else f"{len(mistakes)} settings"
        raise ConfigurationError("\n  ".join([f"profiling cannot start; correct {number}:", *mistakes]))
    return Config(**{row.setting.field: row.value for row in judged})  # type: ignore[arg-type]  # by the table's readers


def describe(
    config: Mapping[str, object], environ: Mapping[str, str], *, checks: Checks | None = None
) -> tuple[SettingRow, ...]:
    """Return every setting as it stands, mistakes included and secrets hidden; no value makes it raise."""
    return tuple(
        SettingRow(row.setting.key, _plain(row.setting.shown(row.found)), row.source, row.setting.meaning, row.problem)
        for row in _judged(config, environ, checks or {})
    )


def _judged(config: Mapping[str, object], environ: Mapping[str, str], checks: Checks) -> list[_Judged]:
    judged: dict[str, _Judged] = {}
    for setting in SETTINGS:
        found, source = _found(setting, config, environ)
        value: object = None
        problem = ""
        try:
            value = setting.parse(found)
            if setting.key in checks:
                checks[setting.key](str(value))
        except ValueError:
            problem = f"it must be {setting.allowed}"
        if setting.field == "token" and not problem and not value and judged["allowed_hosts"].value:
            problem = "it must be set where PROFILING_ALLOWED_HOSTS is"
        judged[setting.field] = _Judged(setting, found, source, value, problem)
    return list(judged.values())


def _found(setting: Setting, config: Mapping[str, object], environ: Mapping[str, str]) -> tuple[object, str]:
    if config.get(setting.key) is not None:
        return config[setting.key], "app.config"
    if environ.get(setting.key) or (setting.key in environ and setting.parse is flag):
        return environ[setting.key], "environment"
    return setting.default, "default"


def _plain(text: str) -> str:
    """Return text without its quotes."""
    quoted = _QUOTED.fullmatch(text)
    return text if quoted is None else quoted[2] or "(empty)"


def _unknown(source: str, names: Mapping[str, object]) -> Iterator[str]:
    known = {setting.key.removeprefix(PREFIX): setting.key for setting in SETTINGS}
    for name in names:
        if not isinstance(name, str) or not name.startswith(PREFIX) or name in {*known.values(), *CLI_VARIABLES}:
            continue
        near = difflib.get_close_matches(name.removeprefix(PREFIX), known, cutoff=_LIKENESS)
        if near:
            yield f"{shown(name)} {_WHERE[source]} is not a setting; did you mean {known[near[0]]}?"
        elif source == "app.config":
            yield f"{shown(name)} {_WHERE[source]} is not a setting; remove it"
