"""``flask profiling`` in a pseudo-terminal: colours, progress, questions, Ctrl-C; and nothing of it in a pipe."""

from __future__ import annotations

import re
import termios
import threading
from collections.abc import Iterator

import pytest

from tests.cli.conftest import STATUS, FakeServer, Shell, lines_within
from tests.cli.terminals import ESCAPES, OpenTerminal, terminals
from tests.cli.test_session import FILES, STOPPED


@pytest.fixture
def terminal(shell: Shell) -> Iterator[OpenTerminal]:
    with terminals(shell) as start:
        yield start


def test_a_terminal_gets_colours(terminal: OpenTerminal, fake: FakeServer) -> None:
    fake.on("GET /status", STATUS)
    shown = terminal("status", "--url", fake.url)
    assert shown.wait() == 0
    assert "\x1b[32m" in shown.seen


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_stay_away_where_they_are_not_welcome(
    terminal: OpenTerminal, fake: FakeServer, environ: dict[str, str]
) -> None:
    fake.on("GET /status", STATUS)
    shown = terminal("status", "--url", fake.url, **environ)
    assert shown.wait() == 0
    assert "Profiling is on and idle" in shown.seen
    assert "\x1b" not in shown.seen


def test_a_pipe_gets_neither_colours_nor_progress(shell: Shell, fake: FakeServer) -> None:
    fake.on("POST /stop", STOPPED)
    done = shell.run("profiling", "stop-session", "--url", fake.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


def test_a_long_stop_shows_progress_and_takes_it_away(terminal: OpenTerminal, fake: FakeServer) -> None:
    release = threading.Event()
    fake.on("POST /stop", STOPPED, wait=release)
    shown = terminal("stop-session", "--url", fake.url)
    shown.read(lambda seen: re.search(r"[|/\\-] Stopping the session and writing its files \d s", seen) is not None)
    release.set()
    assert shown.wait() == 0
    drawn, erased, result = shown.seen.rpartition("\r\x1b[K")
    assert erased
    assert "Stopping the session" in drawn
    assert "Stopped" in result
    assert "Stopping the session" not in result


def test_ctrl_c_ends_with_130_and_leaves_the_terminal_as_it_was(terminal: OpenTerminal, fake: FakeServer) -> None:
    fake.on("POST /stop", STOPPED, wait=threading.Event())
    shown = terminal("stop-session", "--url", fake.url)
    shown.read(lambda seen: "Stopping the session" in seen)
    shown.type("\x03")
    assert shown.wait() == 130
    after = shown.seen.rpartition("\r\x1b[K")[2]
    assert "interrupted" in after
    assert "Traceback" not in shown.seen
    assert termios.tcgetattr(shown.slave) == shown.modes
    opened, closed = shown.seen.rfind("\x1b[3"), shown.seen.rfind("\x1b[0m")
    assert closed > opened, "colours are reset"


def test_ctrl_c_before_the_progress_shows_ends_with_130_too(terminal: OpenTerminal, fake: FakeServer) -> None:
    fake.on("GET /status", STATUS, wait=threading.Event())
    shown = terminal("status", "--json", "--url", fake.url)
    assert fake.asked.wait(30)
    shown.type("\x03")
    assert shown.wait() == 130
    assert '"error": "interrupted"' in shown.seen


@pytest.mark.parametrize(
    ("keys", "status", "said"),
    [
        ("y\r", 0, "Deleted 3 reports of 2 sessions."),
        ("n\r", 1, "nothing was deleted"),
        ("\r", 1, "nothing was deleted"),
        ("\x03", 130, "interrupted"),
        ("\x04", 1, "interrupted"),
    ],
)
def test_clean_asks_first(terminal: OpenTerminal, fake: FakeServer, keys: str, status: int, said: str) -> None:
    fake.on("GET /reports", {"reports": FILES})
    fake.on("DELETE /cleanup", {"success": True, "message": "done", "cleaned": {"reports": 3, "sessions": 2}})
    shown = terminal("clean", "--url", fake.url)
    shown.read(lambda seen: "[y/N]" in seen)
    assert f"Delete 3 files of 2 sessions, 14.4MB at {fake.url}?" in shown.seen
    shown.type(keys)
    assert shown.wait(insist=keys if keys == "\x03" else "") == status
    assert said in ESCAPES.sub("", shown.seen)
    deleted = [request for request, _, _ in fake.requests if request.startswith("DELETE")]
    assert len(deleted) == (1 if status == 0 else 0)
    assert termios.tcgetattr(shown.slave) == shown.modes


def test_clean_asks_nothing_where_there_is_nothing(terminal: OpenTerminal, fake: FakeServer) -> None:
    fake.on("GET /reports", {"reports": []})
    shown = terminal("clean", "--url", fake.url)
    assert shown.wait() == 0
    assert "There is nothing to delete." in shown.seen


def test_errors_are_wrapped_to_80_columns(terminal: OpenTerminal, fake: FakeServer) -> None:
    shown = terminal("start-session", "--url", fake.url)
    assert shown.wait() == 1
    text = ESCAPES.sub("", shown.seen)
    assert "profiling is closed there" in " ".join(text.split())
    assert [line for line in lines_within(text, 80) if fake.url not in line] == []
