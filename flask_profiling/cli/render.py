"""How commands print: tables, sizes, times, errors and progress; what to print is decided by the commands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TextIO, TypeGuard

import click

from .failure import Failure

MAX_WIDTH = 120
_QUIET_SECONDS = 1.0
_FRAME_SECONDS = 0.1
_FRAMES = "|/-\\"
_ERASE_LINE = "\r\x1b[K"


def is_terminal(stream: TextIO | None) -> TypeGuard[TextIO]:
    """Tell whether people are at the other end; a stream that was closed before Python began is None."""
    return stream is not None and stream.isatty()


def plain(value: object) -> str:
    """Return text from elsewhere as one harmless line: control, direction and half characters are shown as escapes."""
    return "".join(
        character.encode("unicode_escape").decode("ascii") if unicodedata.category(character)[0] == "C" else character
        for character in str(value)
    )


def say(text: str = "", *, err: bool = False) -> None:
    """Print a line; what the stream's encoding does not have is escaped, and colours only reach a terminal."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err)


def say_json(document: Mapping[str, object]) -> None:
    """Print a JSON object for programs: ASCII, indented, keys in the order they came."""
    click.echo(json.dumps(document, indent=2))


def discard_output() -> None:
    """Send what is left to print nowhere: where stdout cannot be written, Python would complain again as it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def show_failure(failure: Failure, *, as_json: bool) -> None:
    """Print why a command failed: a sentence on stderr, or the JSON on stdout."""
    if as_json:
        say_json(failure.to_json())
        return
    first, *more = failure.message.splitlines() or [""]
    wrapped = sentence if is_terminal(sys.stderr) else plain
    text = wrapped(f"Error: {first}")
    say(text.replace("Error:", click.style("Error:", fg="red", bold=True), 1), err=True)
    for line in more:
        say(wrapped(line), err=True)


def moment(value: object) -> str:
    """Return an ISO 8601 UTC time as people read it: ``2026-11-23 02:46:49 UTC``."""
    text = plain(value)
    day, separator, rest = text.partition("T")
    return f"{day} {rest[:8]} UTC" if separator and rest.endswith("Z") else text


def columns() -> int:
    """Return how wide lines may be: the terminal's width, and 80 where there is none."""
    return max(40, min(shutil.get_terminal_size((80, 24)).columns, MAX_WIDTH))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = (), indent: str = ""
) -> str:
    """Lay out rows under headers, as wide as :func:`columns` allows; the last column wraps, nothing is cut off.

    ``right`` are the indices of columns that hold numbers.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in [list(headers), *cells]) for index in range(len(headers))]
    before = len(indent) + sum(widths[:-1]) + 2 * (len(widths) - 1)
    widths[-1] = max(12, min(widths[-1], columns() - before))
    lines = [indent + click.style(_line(_padded(headers, widths, right), ""), bold=True)]
    for row in cells:
        first, *more = textwrap.wrap(row[-1], widths[-1], break_on_hyphens=False) or [""]
        lines.append(_line(_padded([*row[:-1], first], widths, right), indent))
        lines.extend(" " * before + text for text in more)
    return "\n".join(lines)


def _padded(texts: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> list[str]:
    return [
        text.rjust(width) if index in right else text.ljust(width)
        for index, (text, width) in enumerate(zip(texts, widths, strict=True))
    ]


def _line(texts: Sequence[str], indent: str) -> str:
    return (indent + "  ".join(texts)).rstrip()


def sentence(text: str, *, indent: str = "") -> str:
    """Wrap prose from elsewhere to the width of the terminal; a path or an address is never broken."""
    return textwrap.fill(
        plain(text),
        columns(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def show_notes(answer: Mapping[str, object]) -> None:
    """Print the sentences that a server's answer carries in ``notes``, if any."""
    notes = answer.get("notes")
    for note in notes if isinstance(notes, list) else ():
        say(sentence(f"Note: {note}"))


@contextlib.contextmanager
def progress(
    doing: str,
    *,
    stream: TextIO | None = None,
    quiet: float = _QUIET_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Show on a terminal that work goes on, once it took longer than ``quiet`` seconds; the line is gone afterwards.

    Where stderr is no terminal nothing is printed.
    """
    out: TextIO | None = stream or sys.stderr
    if not is_terminal(out) or os.environ.get("TERM") == "dumb":
        yield
        return
    done = threading.Event()

    def draw() -> None:
        begin = clock()
        pause, frame = quiet, 0
        while not done.wait(pause):
            line = f"{_FRAMES[frame % len(_FRAMES)]} {doing} {clock() - begin:.0f} s"
            out.write(_ERASE_LINE + line[: columns() - 1])
            out.flush()
            pause, frame = _FRAME_SECONDS, frame + 1
        if frame:
            out.write(_ERASE_LINE)
            out.flush()

    drawer = threading.Thread(target=draw, name="flask-profiling-progress", daemon=True)
    drawer.start()
    try:
        yield
    finally:
        done.set()
        drawer.join()


@contextlib.contextmanager
def live_line(out: TextIO | None) -> Iterator[Callable[[str], None]]:
    """Give what draws one line over and over on a terminal; it is gone afterwards. Elsewhere nothing is printed."""
    terminal = out if is_terminal(out) and os.environ.get("TERM") != "dumb" else None

    def draw(text: str) -> None:
        if terminal is not None:
            terminal.write(_ERASE_LINE + plain(text)[: columns() - 1])
            terminal.flush()

    try:
        yield draw
    finally:
        if terminal is not None:
            terminal.write(_ERASE_LINE)
            terminal.flush()
