"""What counts as application code, for files that no disk can hold too; the host never hears of it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from inspect import getclosurevars
from pathlib import Path
from types import FunctionType

import pytest

from flask_profiling.engines import EngineOptions, create, with_companion
from flask_profiling.engines._appcode import MOST_FILES, application_code, application_files
from flask_profiling.engines._recorder import Budget, Recorder

from .harness import request

# names that a file cannot have, as compile() takes them all the same
IMPOSSIBLE = ("/srv/sur\ud800rogate.py", "/srv/nul\0byte.py", "\udc80.py", "/srv/" + "long" * 5000 + ".py", "")


def compiled(filename: str) -> Callable[[], int]:
    def odd() -> int:
        return 1

    return FunctionType(odd.__code__.replace(co_filename=filename), {})


@pytest.mark.parametrize("filename", IMPOSSIBLE)
def test_a_name_that_no_file_can_have_is_judged_as_it_is(filename: str) -> None:
    assert application_files()(filename)
    assert not application_files(("/elsewhere",))(filename)


def test_the_application_may_have_lost_its_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    try:
        assert application_files()("views.py")
    finally:
        os.chdir(tmp_path)


@pytest.mark.parametrize("name", ["calltree", *with_companion("cprofile")])
@pytest.mark.parametrize("filename", IMPOSSIBLE)
def test_code_under_such_a_name_runs_as_if_nobody_looked(name: str, filename: str) -> None:
    odd = compiled(filename)
    ran: list[int] = []
    engine = create(name, EngineOptions("prof-test"))
    engine.start()
    try:
        request(engine, "GET /", lambda: ran.append(odd() + odd()))
    finally:
        engine.stop()
    assert ran == [2]


def test_answers_are_remembered_for_so_many_files_and_no_more() -> None:
    is_application = application_code(("/srv",))
    for number in range(MOST_FILES + 10):
        assert is_application(compiled(f"/srv/{number}.py").__code__)
    assert len(getclosurevars(is_application).nonlocals["known"]) == 10


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the trace hook is not used there")
def test_a_trace_hook_remembers_so_many_library_files_and_no_more() -> None:
    if sys.version_info >= (3, 12):
        return
    from flask_profiling.engines._tree_tracing import TraceHooks

    hooks = TraceHooks(threading.local(), application_code())
    recorder = Recorder("GET /", Budget())
    generated = [compiled(f"<generated {number}>") for number in range(MOST_FILES + 10)]
    hooks.start()
    recorder.begin()
    assert hooks.enter(recorder)
    for function in generated:
        function()
    hooks.leave()
    recorder.end()
    assert len(hooks._libraries) < 20
    hooks.stop()
    assert not hooks._libraries
