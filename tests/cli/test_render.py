"""Tables that fit, text from elsewhere made harmless, and progress that leaves no trace."""

from __future__ import annotations

import contextlib
import io
import threading

import pytest

from flask_profiling.cli import render
from tests.cli.conftest import lines_within


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode", "plain text, ünïcode"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("right\u202eleft", "right\\u202eleft"),
        ("half \ud800", "half \\ud800"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        (None, "None"),
    ],
)
def test_text_from_elsewhere_cannot_steer_the_terminal(text: object, shown: str) -> None:
    assert render.plain(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2026-11-23T02:46:49.123Z", "2026-11-23 02:46:49 UTC"),
        ("yesterday", "yesterday"),
        (None, "None"),
        ("Tea", "Tea"),
    ],
)
def test_times_are_for_people(value: object, shown: str) -> None:
    assert render.moment(value) == shown


def test_a_table_lines_up() -> None:
    text = render.table(
        ("Type", "Size", "File"), [("dot", "9B", "a.dot"), ("heap", "12MB", "b")], right=(1,), indent=" "
    )
    assert text.splitlines()[1:] == [" dot     9B  a.dot", " heap  12MB  b"]


def test_a_table_fits_80_columns_and_loses_nothing() -> None:
    words = "word " * 60
    rows = [("k" * 30, words.strip()), ("key", "x" * 200)]
    text = render.table(("Key", "Meaning"), rows)
    assert lines_within(text, 80) == []
    assert text.count("word") == 60
    assert text.count("x") == 200


def test_a_table_in_a_narrow_terminal_still_shows_its_last_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert render.table(("K", "V"), [("k" * 40, "value")]).splitlines()[-1].endswith("value")


def test_prose_is_wrapped_and_paths_are_not_broken() -> None:
    path = "/" + "deep/" * 30
    text = render.sentence(f"{'word ' * 30}{path} end")
    assert path in text.splitlines()
    assert len(text.splitlines()[0]) <= 80


class Screen(io.StringIO):
    """A terminal that keeps what is drawn, and tells when something was."""

    drawn: threading.Event

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.drawn.set()
        return super().write(text)


def test_progress_is_drawn_and_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    with render.progress("Stopping", stream=screen, quiet=0.001, clock=iter([0.0, *[7.2] * 1000]).__next__):
        assert screen.drawn.wait(10)
    drawn = screen.getvalue()
    assert drawn.startswith("\r\x1b[K| Stopping 7 s")
    assert drawn.endswith("\r\x1b[K")
    assert "\n" not in drawn


def test_quick_work_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    with render.progress("Asking", stream=screen, quiet=60):
        pass
    assert screen.getvalue() == ""


def test_progress_ends_with_the_work_when_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    with pytest.raises(KeyboardInterrupt), render.progress("Stopping", stream=screen, quiet=0.001):
        assert screen.drawn.wait(10)
        raise KeyboardInterrupt
    assert screen.getvalue().endswith("\r\x1b[K")
    assert "flask-profiling-progress" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("dumb", [True, False])
def test_progress_needs_a_terminal_that_can_erase(monkeypatch: pytest.MonkeyPatch, dumb: bool) -> None:
    monkeypatch.setenv("TERM", "dumb" if dumb else "xterm")
    screen = Screen() if dumb else io.StringIO()
    with render.progress("Stopping", stream=screen, quiet=0.0):
        assert threading.active_count() == len(threading.enumerate())
        assert "flask-profiling-progress" not in [thread.name for thread in threading.enumerate()]
    assert screen.getvalue() == ""


def test_what_the_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    with contextlib.redirect_stdout(out):
        render.say("grün …")
    assert raw.getvalue() == b"gr\\xfcn \\u2026\n"
