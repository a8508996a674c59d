"""A verdict as text, Markdown, JSON and JUnit XML; nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import Callable
from xml.sax.saxutils import escape, quoteattr

from .verdict import Change, Verdict, by_route

Renderer = Callable[[Verdict], str]

MOST_SHOWN = 12
_MOST_IN_TEXT = 100


def text(verdict: Verdict) -> str:
    """Return lines for a terminal."""
    lines = [_headline(verdict), f"  new   {verdict.new}", f"  base  {verdict.base}"]
    for route, changes in by_route(_shown(verdict)).items():
        lines += ["", _clean(route)]
        for change in changes:
            lines.append(f"  {_mark(change)}  {_clean(change.name)}")
            lines.append(f"              {_numbers(change)}")
            lines += [f"              from {_clean(name)}: {_amount(before)} -> {_amount(after)}"
                      for name, before, after in change.callers]  # fmt: skip
    lines += _rest(verdict)
    lines += ["", *verdict.notes] if verdict.notes else []
    return "\n".join(lines)


def markdown(verdict: Verdict) -> str:
    """Return a table for a pull request."""
    lines = [f"**{_headline(verdict)}** {_markdown(_compared(verdict))}"]
    for route, changes in by_route(_shown(verdict)).items():
        lines += ["", f"### {_markdown(_clean(route))}", "", "| | what | per request | from |", "|---|---|---|---|"]
        lines += [
            f"| {_mark(change).strip()} | {_code(change.name)} | {_markdown(_numbers(change))} | "
            f"{', '.join(_code(name) for name, _, _ in change.callers)} |"
            for change in changes
        ]
    lines += _rest(verdict)
    lines += ["", *(f"- {_markdown(note)}" for note in verdict.notes)] if verdict.notes else []
    return "\n".join(lines)


def as_json(verdict: Verdict) -> str:
    """Return the whole verdict for programs."""
    return json.dumps({"success": not verdict.regressions, **verdict.to_json()}, indent=2)


def junit(verdict: Verdict) -> str:
    """Return one test case per regression, or one that passed, as continuous integration reads it."""
    failed = verdict.regressions
    cases = [
        f"  <testcase classname={_attribute(change.route or 'all routes')} name={_attribute(change.name)}>\n"
        f"    <failure message={_attribute(_numbers(change))}>{escape(_clean(_detail(change)))}</failure>\n"
        "  </testcase>"
        for change in failed
    ]
    cases = cases or ['  <testcase classname="flask_profiling" name="nothing grew"/>']
    head = f'<testsuite name="flask profiling" tests="{len(cases)}" failures="{len(failed)}" errors="0">'
    return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', head, *cases, "</testsuite>"])


# name of a --format -> what writes it
RENDERERS: dict[str, Renderer] = {"text": text, "markdown": markdown, "json": as_json, "junit": junit}


def _headline(verdict: Verdict) -> str:
    number = len(verdict.regressions)
    changed = f", {len(verdict.changes)} changed" if verdict.changes else ""
    found = f"{number} regression{'' if number == 1 else 's'}" if number else "No regression"
    return f"{found} among {verdict.compared} numbers{changed}."


def _compared(verdict: Verdict) -> str:
    return f"{verdict.new} against {verdict.base}"


def _shown(verdict: Verdict) -> list[Change]:
    """Return the few changes to show: causes, and what failed where no cause of it is known, as in a recursion."""
    explained = {change.route for change in verdict.regressions if change.begins_here}
    shown = [
        change
        for change in verdict.changes
        if change.begins_here or change.kind != "calls" or (change.regression and change.route not in explained)
    ]
    return (shown or list(verdict.changes))[:MOST_SHOWN]


def _rest(verdict: Verdict) -> list[str]:
    left = len(verdict.changes) - len(_shown(verdict))
    return ["", f"{left} more changed, mostly because of these; --format json lists all."] if left else []


def _mark(change: Change) -> str:
    if change.regression:
        return "REGRESSION"
    return "better    " if change.after < change.before else "changed   "


def _numbers(change: Change) -> str:
    units = {"calls": "calls", "allocations": "bytes", "time": "ms"}
    scale = 1e3 if change.kind == "time" else 1.0
    factor = f", x{change.after / change.before:.2f}" if change.before > 0 < change.after else ""
    before, after = _amount(change.before * scale), _amount(change.after * scale)
    return f"{before} -> {after} {units[change.kind]} per request{factor}"


def _detail(change: Change) -> str:
    rows = [f"from {name}: {_amount(before)} -> {_amount(after)}" for name, before, after in change.callers]
    return "; ".join([_numbers(change), *rows])


def _amount(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def _clean(name: str) -> str:
    """Return a name from a recording as one harmless line."""
    return "".join(character if character.isprintable() else "?" for character in name)[:_MOST_IN_TEXT]


def _markdown(name: str) -> str:
    return "".join(f"\\{character}" if character in "\\`*_[]<>|#" else character for character in name)


def _code(name: str) -> str:
    return f"`{_clean(name).replace('`', chr(39)).replace('|', '/')}`"


def _attribute(value: str) -> str:
    return quoteattr(_clean(value))
