"""The program that looks from outside: what it believes, what it reads again, and where functions begin."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from flask_profiling.engines import _sampler
from flask_profiling.engines._sampler import TRIES, Frame, Stack, first_lines, frames_of, is_plausible, read, report
from tests.pythons import PYTHON

SHOP = '''\
import functools

@functools.lru_cache
def view():
    pick = lambda: 1
    take = lambda: 2
    return [pick(), take()]
'''


@pytest.mark.parametrize(
    ("file", "name", "believed"),
    [
        (__file__, "view", True),
        ("/built/elsewhere/shop.py", "Shop.view.<locals>.<lambda>", True),
        ("<werkzeug routing>", "<builder:'/<id>'>", True),
        (os.devnull, "root", False),
        ("<unknown file>", "<unknown function>", False),
        ("/no/such/template.html", "root", False),
        (__file__, "a\x00\x10\ufffe", False),
        ("\udc60\x00.py", "view", False),
    ],
)
def test_memory_that_held_something_else_is_not_believed(file: str, name: str, believed: bool) -> None:
    assert is_plausible(Frame(file, 1, name)) is believed


def test_a_template_that_is_there_is_believed(tmp_path: Path) -> None:
    (tmp_path / "page.html").touch()
    assert is_plausible(Frame(str(tmp_path / "page.html"), 3, "block 'body'"))


def test_frames_of_the_interpreter_itself_are_left_out() -> None:
    names = [("/app/shop.py", "Cart.__init__", 3), ("__init__", "__init__", None), ("/app/shop.py", "view", 9)]
    met = [
        SimpleNamespace(filename=file, funcname=name, location=line and SimpleNamespace(lineno=line))
        for file, name, line in names
    ]
    assert list(frames_of(met)) == [Frame("/app/shop.py", 9, "view"), Frame("/app/shop.py", 3, "Cart.__init__")]


def looking(*answers: Exception | Stack) -> Callable[[], Iterable[Stack]]:
    """Answer looks one by one, the last of them again and again."""
    waiting = list(answers)

    def look() -> Iterable[Stack]:
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    return look


def test_a_stack_that_changed_is_read_again() -> None:
    true, false = (Frame("/app/shop.py", 1, "view"),), (Frame("<unknown file>", 0, "<unknown function>"),)
    assert read(looking(RuntimeError("torn"), false, true)) == [true]


def test_one_that_keeps_changing_is_given_up() -> None:
    assert read(looking(*[RuntimeError("torn")] * TRIES, ())) is None


@pytest.mark.skipif(sys.version_info < (3, 11), reason="code has qualified names from 3.11 on")
def test_functions_begin_where_their_code_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # as -B sets it in the program
    shop = tmp_path / "shop.py"
    shop.write_text(SHOP)
    met = [
        Frame(str(shop), 7, "view"),
        Frame(str(shop), 6, "view.<locals>.<lambda>"),
        Frame(str(shop), 5, "view.<locals>.<lambda>"),
        Frame(str(shop), 1, "<module>"),
    ]
    assert [frame.line for frame in map(first_lines(met).__getitem__, met)] == [3, 6, 5, 1]
    assert list(tmp_path.iterdir()) == [shop]


def test_without_source_they_begin_where_they_were_first_met(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<h1>no Python</h1>")
    for file in (str(page), "<string>"):
        met = [Frame(file, 9, "root"), Frame(file, 4, "root"), Frame(file, 8, "other")]
        assert [frame.line for frame in map(first_lines(met).__getitem__, met)] == [4, 4, 8]


def test_lines_of_one_function_are_one_stack() -> None:
    seen: Counter[Stack] = Counter({
        (Frame("<a>", 1, "outer"), Frame("<b>", 5, "inner")): 2,
        (Frame("<a>", 1, "outer"), Frame("<b>", 6, "inner")): 3,
    })
    assert list(report(seen)) == ["outer (<a>:1);inner (<b>:5) 5\n"]


HOST = """
import os, subprocess, sys
command = [sys.argv[1], "-I", "-S", "-B", sys.argv[2], str(os.getpid()), "200"]
child = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[int(sys.argv[3])])
print(child.stdout.readline().decode(), flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.version_info < (3, 15), reason="Python looks from outside itself from 3.15 on")
def test_a_host_that_is_killed_leaves_no_sampler_behind() -> None:
    reading, writing = os.pipe()  # at its end once nobody has it open any more
    command = [PYTHON, "-c", HOST, PYTHON, _sampler.__file__, str(writing)]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[writing])
    os.close(writing)
    assert host.stdout is not None
    with host.stdout, open(reading, "rb") as end:
        assert host.stdout.readline() == "Sampling process\n"
        host.kill()
        host.wait()
        assert select.select([end], [], [], 30)[0]
        assert end.read() == b""
