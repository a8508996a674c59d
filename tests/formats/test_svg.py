"""Tests of the picture: Graphviz as a child process, and what is said where it is missing or fails."""

from __future__ import annotations

import os
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from flask_profiling.errors import Unavailable
from flask_profiling.formats import svg
from tests.components import requires
from tests.formats.calls import call, function, profiled, recording, written

GRAPH = b'digraph { a [label="shop.pages:12:page"]; a -> b }'


def on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Let ``dot`` be this shell script and nothing else."""
    command = folder / "dot"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@requires("dot")
def test_the_picture_shows_the_functions() -> None:
    picture = written("svg", recording({"GET /": profiled([call("page", 1.0, call("render", 3.0))])}))
    root = ET.fromstring(picture)
    texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {f"shop.pages:{function('render').line}:render", "75.00%"} <= texts


def test_a_missing_command_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="there is no 'dot' command on PATH; install Graphviz") as caught:
        svg.render(GRAPH)
    assert caught.value.status == 501


def test_a_command_that_hangs_is_killed_and_reaped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    on_path(monkeypatch, tmp_path, f"echo $$ > {pid}; exec /bin/sleep 600")
    begin = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not finish within 0.5 s; open the .dot file elsewhere"):
        svg.render(GRAPH, timeout=0.5)
    assert time.monotonic() - begin < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_command_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path(monkeypatch, tmp_path, "echo 'Error: no layout' >&2; exit 3")
    with pytest.raises(Unavailable, match=r"'dot' failed on the call graph \(Error: no layout\); install Graphviz"):
        svg.render(GRAPH)


def test_a_command_that_dies_silently_is_told_by_its_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path(monkeypatch, tmp_path, "exit 7")
    with pytest.raises(Unavailable, match=r"\(exit status 7\)"):
        svg.render(GRAPH)


def test_a_command_that_draws_nothing_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path(monkeypatch, tmp_path, "exit 0")
    with pytest.raises(Unavailable, match="failed on the call graph"):
        svg.render(GRAPH)


def test_a_command_that_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path(monkeypatch, tmp_path, "")
    (tmp_path / "dot").write_bytes(b"\x7fELF not really")
    with pytest.raises(Unavailable, match="'dot' could not be run"):
        svg.render(GRAPH)


def test_the_graph_is_never_read_by_a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path(monkeypatch, tmp_path, f'echo "$@" > {tmp_path}/arguments; /bin/cat > {tmp_path}/input; echo "<svg/>"')
    assert svg.render(b'digraph { "$(touch x)" }') == b"<svg/>\n"
    assert (tmp_path / "arguments").read_text() == "-Tsvg\n"
    assert (tmp_path / "input").read_bytes() == b'digraph { "$(touch x)" }'


def test_pygraphviz_is_named_where_it_would_have_been_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "pygraphviz", None)
    with pytest.raises(Unavailable, match=r"no package 'pygraphviz'; install Graphviz, or run: pip install .*\[svg\]"):
        svg.render(GRAPH, allow_pygraphviz=True)


@requires("pygraphviz")
def test_pygraphviz_draws_where_there_is_no_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert b"shop.pages:12:page" in svg.render(GRAPH, allow_pygraphviz=True)
