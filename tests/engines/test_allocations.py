"""The allocations engine: true bytes at true lines, the host's tracemalloc untouched, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType

import pytest

import flask_profiling
from flask_profiling.engines import EngineOptions, create
from flask_profiling.engines.allocations import AllocationsEngine
from flask_profiling.model import Allocations, Amount, Frame, Recording
from tests.pythons import PYTHON, python_path

PROJECT = Path(__file__).parents[2]
PACKAGE = Path(flask_profiling.__file__).parent  # which may be installed elsewhere
BLOCK = 10_000
KEPT: list[bytearray] = []
HERE = __file__

Make = Callable[..., AllocationsEngine]


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    assert not tracemalloc.is_tracing()
    KEPT.clear()
    yield
    KEPT.clear()
    tracemalloc.stop()


@pytest.fixture(params=["forked", "in this process"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make an engine that counts in a child, and one that counts here."""
    options = {} if request.param == "forked" else {"fork": None}

    def made(frames: int = 5, **views: tuple[CodeType, ...]) -> AllocationsEngine:
        told = EngineOptions("prof-test", tmp_path, allocation_frames=frames, views=lambda: views)
        return AllocationsEngine(told, **options)

    return made


def leak(blocks: int) -> None:
    for _ in range(blocks):
        KEPT.append(bytearray(BLOCK))


LEAKING_LINE = leak.__code__.co_firstlineno + 2


def outer(blocks: int) -> None:
    leak(blocks)


def data(recording: Recording) -> Allocations:
    assert isinstance(recording.data, Allocations), recording.notes
    return recording.data


def here(allocations: Allocations) -> tuple[Frame, Amount]:
    return next((frame, amount) for frame, amount in allocations.by_line().items() if frame.file == HERE)


def test_the_leaking_line_has_its_bytes_and_its_function(make: Make) -> None:
    engine = make()
    engine.start()
    outer(100)
    for _ in range(100):
        bytearray(BLOCK)
    found = data(engine.stop())
    frame, amount = here(found)
    assert frame == Frame(HERE, LEAKING_LINE, "leak")
    assert 100 * BLOCK <= amount.size <= 102 * BLOCK
    assert amount.size == amount.size_growth
    assert 100 <= amount.count <= 202
    assert found.from_nothing


def test_a_stack_leads_from_the_caller_to_the_line(make: Make) -> None:
    engine = make(3)
    engine.start()
    outer(1)
    found = data(engine.stop())
    stack = next(stack for stack in found.sites if stack[-1].line == LEAKING_LINE)
    assert [frame.name for frame in stack] == ["test_a_stack_leads_from_the_caller_to_the_line", "outer", "leak"]
    assert found.frames == 3


def test_a_stack_belongs_to_the_route_whose_view_runs_in_it(make: Make) -> None:
    engine = make(5, outer=(outer.__code__,))
    engine.start()
    outer(20)
    leak(10)
    found = data(engine.stop())
    assert set(found.by_route()) == {"outer"}
    assert 20 * BLOCK <= found.by_route()["outer"].size_growth <= 21 * BLOCK
    _, untold = here(found.of_route(""))
    assert 10 * BLOCK <= untold.size_growth <= 11 * BLOCK


def test_a_view_that_another_view_calls_does_not_count(make: Make) -> None:
    engine = make(5, outer=(outer.__code__,), leak=(leak.__code__,))
    engine.start()
    outer(20)
    leak(10)
    routes = data(engine.stop()).by_route()
    assert list(routes) == ["outer", "leak"]
    assert 20 * BLOCK <= routes["outer"].size_growth <= 21 * BLOCK
    assert 10 * BLOCK <= routes["leak"].size_growth <= 11 * BLOCK


def test_with_too_few_frames_no_route_is_told(make: Make) -> None:
    engine = make(1, outer=(outer.__code__,))
    engine.start()
    outer(20)
    found = data(engine.stop())
    assert found.routes == {}
    assert here(found)[1].size_growth >= 20 * BLOCK


def test_a_function_inside_a_view_is_the_views(make: Make) -> None:
    def view() -> None:
        def inner() -> None:
            KEPT.append(bytearray(BLOCK))

        inner()

    engine = make(1, view=(view.__code__,))
    engine.start()
    view()
    assert data(engine.stop()).by_route()["view"].size_growth >= BLOCK


def test_code_that_two_routes_share_belongs_to_none(make: Make) -> None:
    engine = make(5, one=(outer.__code__,), two=(outer.__code__,))
    engine.start()
    outer(20)
    assert data(engine.stop()).routes == {}


def test_making_a_view_is_not_running_it(make: Make) -> None:
    source = "def view(held=bytes(50_000)):\n    return held\nKEPT.append(view)"
    code = compile(source, "/srv/app.py", "exec")
    (view,) = [value for value in code.co_consts if hasattr(value, "co_code")]
    engine = make(1, view=(view,))
    engine.start()
    exec(code, {"KEPT": KEPT})
    found = data(engine.stop())
    assert any(frame.file == "/srv/app.py" for frame in found.by_line())
    assert found.routes == {}


def test_tracing_has_ended_afterwards(make: Make) -> None:
    engine = make()
    engine.start()
    assert tracemalloc.is_tracing()
    engine.stop()
    assert not tracemalloc.is_tracing()


def test_the_hosts_own_tracing_goes_on_with_its_frames_and_its_traces(make: Make) -> None:
    tracemalloc.start(7)
    leak(50)
    engine = make(2)
    engine.start()
    leak(20)
    recording = engine.stop()
    assert tracemalloc.is_tracing()
    assert tracemalloc.get_traceback_limit() == 7
    assert tracemalloc.get_object_traceback(KEPT[0]) is not None
    assert "its 7 frames were used" in recording.notes[0]
    found = data(recording)
    _, amount = here(found)
    assert not found.from_nothing
    assert 70 * BLOCK <= amount.size <= 72 * BLOCK
    assert 20 * BLOCK <= amount.size_growth <= 21 * BLOCK


def test_what_the_host_freed_meanwhile_shrinks(make: Make) -> None:
    tracemalloc.start(1)
    leak(50)
    engine = make()
    engine.start()
    del KEPT[:30]
    amounts = [amount for stack, amount in data(engine.stop()).sites.items() if stack[-1].line == LEAKING_LINE]
    assert sum(amount.count_growth for amount in amounts) <= -30
    assert -31 * BLOCK <= sum(amount.size_growth for amount in amounts) <= -30 * BLOCK


def test_a_host_that_begins_to_trace_with_other_frames_keeps_its_tracing(make: Make) -> None:
    engine = make(5)
    engine.start()
    tracemalloc.stop()
    tracemalloc.start(3)
    leak(2)
    recording = engine.stop()
    assert tracemalloc.get_traceback_limit() == 3
    assert tracemalloc.is_tracing()
    assert data(recording).frames == 3
    assert any("began to trace" in note for note in recording.notes)


def test_a_host_that_stops_tracing_costs_the_data_and_nothing_else(make: Make) -> None:
    engine = make()
    engine.start()
    tracemalloc.stop()
    recording = engine.stop()
    assert recording.data is None
    assert "stopped tracemalloc" in recording.notes[-1]


def test_too_little_memory_costs_the_data_and_nothing_else(tmp_path: Path) -> None:
    options = EngineOptions("prof-test", tmp_path, allocation_frames=1)
    engine = AllocationsEngine(options, shortage=lambda: "it may need 9 MB and the machine leaves 1 MB")
    engine.start()
    recording = engine.stop()
    assert recording.data is None
    assert "9 MB" in recording.notes[-1]
    assert not tracemalloc.is_tracing()


def test_a_child_that_dies_costs_the_data_and_nothing_else(tmp_path: Path) -> None:
    def dying() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        return pid

    engine = AllocationsEngine(EngineOptions("prof-test", tmp_path, allocation_frames=1), fork=dying)
    engine.start()
    recording = engine.stop()
    assert recording.data is None
    assert "ended with code 7" in recording.notes[-1]
    assert not tracemalloc.is_tracing()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_fork_that_fails_costs_the_data_and_nothing_else(tmp_path: Path) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    engine = AllocationsEngine(EngineOptions("prof-test", tmp_path, allocation_frames=1), fork=refused)
    engine.start()
    recording = engine.stop()
    assert recording.data is None
    assert "temporarily unavailable" in recording.notes[-1]
    assert not tracemalloc.is_tracing()


def test_a_child_of_the_host_is_not_traced(make: Make) -> None:
    engine = make()
    engine.start()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        engine.abandon()
        os.write(writing, b"traced" if tracemalloc.is_tracing() else b"free")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 10) == b"free"
    os.close(reading)
    os.close(writing)
    assert tracemalloc.is_tracing()
    engine.stop()


def test_nothing_is_left_in_the_spool(make: Make, tmp_path: Path) -> None:
    tracemalloc.start(1)
    engine = make()
    engine.start()
    engine.stop()
    assert os.listdir(tmp_path) == []


def test_the_profilers_own_memory_is_not_shown(make: Make) -> None:
    engine = make(20)
    engine.start()
    other = create("objects", EngineOptions("prof-test"))
    other.start()
    other.stop()
    package = str(PACKAGE)
    assert not [stack for stack in data(engine.stop()).sites if any(frame.file.startswith(package) for frame in stack)]


@pytest.mark.parametrize("size", [50_000, 900_000])
def test_workers_that_left_out_different_amounts_say_so_alike(make: Make, size: int) -> None:
    ours = compile(f"KEPT.append(bytearray({size}))", str(PACKAGE / "code.py"), "exec")
    engine = make(1)
    engine.start()
    exec(ours, {"KEPT": KEPT})
    recording = engine.stop()
    assert "What the profiler itself allocated is left out." in recording.notes
    package = str(PACKAGE)
    assert not [stack for stack in data(recording).sites if any(frame.file.startswith(package) for frame in stack)]


def test_many_sites_are_bounded_and_their_total_stays_true(make: Make, tmp_path: Path) -> None:
    lines = 2500
    source = "".join(f"KEPT.append(bytes({1000 + line}))\n" for line in range(lines))
    code = compile(source, str(tmp_path / "many.py"), "exec")
    engine = make(1)
    engine.start()
    exec(code, {"KEPT": KEPT})
    found = data(engine.stop())
    assert len(found.sites) == 2000
    assert found.rest_sites >= lines - 2000
    assert found.total.size >= sum(sys.getsizeof(block) for block in KEPT)
    assert found.total.size < sum(sys.getsizeof(block) for block in KEPT) + 200_000


def test_code_without_a_file_of_its_own_gets_no_name(make: Make) -> None:
    engine = make()
    engine.start()
    exec("def nameless():\n    KEPT.append(bytearray(10_000))\nnameless()", {"KEPT": KEPT})
    lines = [frame for frame in data(engine.stop()).by_line() if frame.file == "<string>"]
    assert Frame("<string>", 2, "") in lines


def test_names_that_are_no_text_do_no_harm(make: Make) -> None:
    code = compile("def odd():\n    KEPT.append(bytearray(10_000))\nodd()", "/srv/\udcff.py", "exec")
    (function,) = [value for value in code.co_consts if isinstance(value, CodeType)]
    odd = function.replace(co_name="\udc80")
    code = code.replace(co_consts=tuple(odd if value is function else value for value in code.co_consts))
    engine = make(2, **{"/\udc81 [odd]": (odd,)})
    engine.start()
    exec(code, {"KEPT": KEPT})
    recording = engine.stop()
    assert data(recording).by_route()["/\udc81 [odd]"].size_growth >= BLOCK
    assert any(frame.file == "/srv/\udcff.py" for frame in data(recording).by_line())
    assert Recording.from_json(json.loads(json.dumps(recording.to_json()))) == recording


def test_it_comes_back_from_json_as_it_was(make: Make) -> None:
    engine = make()
    engine.start()
    outer(3)
    recording = engine.stop()
    assert Recording.from_json(json.loads(json.dumps(recording.to_json()))) == recording


def test_it_works_while_threads_allocate_and_warnings_are_errors(tmp_path: Path) -> None:
    script = """
        import sys, threading
        from pathlib import Path
        from flask_profiling.engines import EngineOptions, create
        kept, done = [], threading.Event()
        def churn():
            while not done.is_set():
                kept.append([object() for _ in range(100)])
                if len(kept) > 500: kept.clear()
        threads = [threading.Thread(target=churn) for _ in range(4)]
        for thread in threads: thread.start()
        try:
            for _ in range(5):
                objects = create("objects", EngineOptions("prof-test"))
                objects.start()
                assert objects.stop().data is not None
                engine = create("allocations", EngineOptions("prof-test", Path(sys.argv[1]), allocation_frames=3))
                engine.start()
                done.wait(0.05)
                recording = engine.stop()
                assert recording.data is not None, recording.notes
                assert any(frame.name == "churn" for frame in recording.data.by_line()), list(recording.data.by_line())
        finally:
            done.set()
            for thread in threads: thread.join()
    """
    path = tmp_path / "churning.py"
    path.write_text(textwrap.dedent(script))
    subprocess.run(
        [PYTHON, "-W", "error", str(path), str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": python_path()},
        check=True,
        timeout=100,
    )
