"""Every command, as somebody at a terminal of 80 columns would use it, on a server that ``flask profiling`` serves."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import Context

from flask_profiling.cli import profiling
from tests.cli.conftest import Shell
from tests.cli.terminals import OpenTerminal, Terminal, terminals
from tests.components import requires

APP = """
from flask import Flask
app = Flask(__name__)
KEPT = []

class Visit:
    pass

def work():
    KEPT.append(Visit())
    return str(sum(range(1000)))

@app.get("/")
def page():
    return work()
"""
SERVING = re.compile(r"http://127\.0\.0\.1:\d+")


class Session:
    """One person at one machine: commands one after the other, and what each showed."""

    def __init__(self, terminal: OpenTerminal, directory: Path) -> None:
        self.terminal = terminal
        self.directory = directory
        self.url = ""
        self.used: set[str] = set()

    def serve(self, command: str) -> Terminal:
        self.used.add(command)
        shown = self.terminal(command, "--port", "0")
        self.url = SERVING.findall(shown.read(lambda seen: SERVING.search(seen) is not None))[0]
        return shown

    def visit(self) -> None:
        for _ in range(5):
            with urllib.request.urlopen(self.url, timeout=30) as answer:
                assert answer.read() == b"499500"

    def do(self, line: str, *, status: int = 0, until: str = "", keys: str = "") -> str:
        """Use one command; ``until`` is what is waited for before ``keys`` are typed."""
        words = line.split()
        self.used.add(words[0] if words else "")
        shown = self.terminal(*words, PROFILING_URL=self.url)
        if until:
            shown.read(lambda seen: until in seen)
            shown.type(keys)
        assert shown.wait() == status, shown.seen
        assert "Traceback" not in shown.seen
        # the paths of files and objects are not broken, however long
        prose = [text for text in shown.lines if " × " not in text and max(map(len, text.split()), default=0) < 50]
        assert [text for text in prose if len(text) > 80] == []
        return "\n".join(shown.lines)

    def newest(self, pattern: str) -> str:
        found = sorted(self.directory.glob(f"profiling/{pattern}"), key=lambda path: path.stat().st_mtime_ns)
        return str(found[-1].relative_to(self.directory))

    def newest_session(self) -> str:
        return Path(self.newest("recording-*.json")).stem.removeprefix("recording-")


@pytest.fixture
def person(shell: Shell) -> Iterator[Session]:
    (shell.directory / "app.py").write_text(APP)
    with terminals(shell) as terminal:
        yield Session(terminal, shell.directory)


@requires("dot")
def test_every_command_works_in_a_terminal(person: Session) -> None:
    server = person.serve("start")
    assert "Next: flask profiling start-session" in person.do("")
    assert "Started prof-" in person.do("start-session --no-heap --cpu calltree --slow 0.000001")
    assert "A session is running" in person.do("status")
    person.visit()
    assert "Chrome DevTools: Performance" in person.do("stop-session")
    assert "profile-prof-" in person.do("reports")
    assert "GET / [page]" in person.do("slow")
    assert "report-prof-" in person.do("report")
    person.do("export --format speedscope")
    person.do("load-test --path / --requests 20 --concurrency 2")
    old = person.newest_session()
    person.do("baseline save main")
    person.do("load-test --path / --requests 20 --concurrency 2")
    assert "No regression" in person.do("baseline check main")
    person.do(f"compare {old} {person.newest_session()}")
    person.do("heap")
    first = person.newest("heap-*.heapsnapshot")
    person.visit()
    person.do("heap")
    second = person.newest("heap-*.heapsnapshot")
    assert "Visit" in person.do(f"heap-diff {first} {second}")
    assert "KEPT" in person.do(f"heap-paths {second} app.Visit")
    assert "PROFILING_CPU" in person.do("config")
    person.do("doctor")
    assert "load-test" in person.do("help")
    person.do("view --no-browser", until="Ctrl-C ends it.", keys="\x03")
    assert "Deleted" in person.do("clean", until="[y/N]", keys="y\n")
    server.type("\x03")
    assert server.wait() == 0
    developed = person.serve("dev")
    person.visit()
    developed.type("\x03")
    assert developed.wait() == 0
    # k6 has tests of its own, where there is one
    assert person.used - {""} == set(profiling.list_commands(Context(profiling))) - {"k6"}
