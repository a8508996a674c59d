"""CPython 3.10 and 3.11: the profile hooks of other people are respected, ours are removed in their own thread."""

from __future__ import annotations

import cProfile
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.version_info >= (3, 12):
    pytest.skip("from 3.12 on no profile hook is set", allow_module_level=True)

from flask_profiling.engines.cprofile import CProfileEngine
from flask_profiling.errors import EngineBusy
from tests.components import requires

from . import workloads
from .harness import COLLECTORS, OPTIONS, assert_true, counts, graphs, no_collections, request
from .workloads import WORKLOADS

TWO_CALLERS = WORKLOADS["two callers"]


def foreign_hook(frame: object, event: str, value: object) -> None:
    return


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    with no_collections():
        yield


@pytest.fixture(params=COLLECTORS)
def engine(request: pytest.FixtureRequest) -> Iterator[CProfileEngine]:
    yield CProfileEngine(OPTIONS, collector=COLLECTORS[request.param]())
    assert sys.getprofile() is None


def test_a_profiled_thread_cannot_start(engine: CProfileEngine) -> None:
    sys.setprofile(foreign_hook)
    try:
        with pytest.raises(EngineBusy, match=r"another profiler is active in this thread .*foreign_hook.*; stop it"):
            engine.start()
        assert sys.getprofile() is foreign_hook
    finally:
        sys.setprofile(None)
    assert engine.enter("GET /x") is None


class Secretive:
    """A profiler whose repr must not be asked for: an answer would carry it."""

    def __repr__(self) -> str:
        raise AssertionError("code of somebody else ran")

    def __call__(self, frame: object, event: str, value: object) -> None:
        return

    def note(self, frame: object, event: str, value: object) -> None:
        return


@pytest.mark.parametrize(
    ("hook", "named"),
    [(Secretive(), "Secretive"), (Secretive().note, "Secretive.note"), (foreign_hook, "foreign_hook")],
    ids=["object", "method", "function"],
)
def test_who_profiles_already_is_named_without_running_code_of_theirs(
    engine: CProfileEngine, hook: Callable[[object, str, object], None], named: str
) -> None:
    sys.setprofile(hook)
    try:
        with pytest.raises(EngineBusy) as caught:
            engine.start()
    finally:
        sys.setprofile(None)
    assert f"this thread ({__name__}.{named}); stop it" in caught.value.message


def test_a_profiler_of_all_new_threads_is_refused(engine: CProfileEngine) -> None:
    threading.setprofile(foreign_hook)
    try:
        with pytest.raises(EngineBusy, match=r"another profiler waits for new threads .*foreign_hook.*; stop it"):
            engine.start()
        assert threading.getprofile() is foreign_hook
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]


def test_a_profiled_request_is_left_out_and_counted(engine: CProfileEngine) -> None:
    def serve() -> None:
        profile = cProfile.Profile()
        profile.enable()
        try:
            request(engine, "GET /x", TWO_CALLERS.run)
            assert sys.getprofile() is profile
        finally:
            profile.disable()

    engine.start()
    request(engine, "GET /x", TWO_CALLERS.run)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(serve).result(20)
    recording = engine.stop()
    assert_true(graphs(recording)["GET /x"], TWO_CALLERS, 1)
    assert recording.notes[-1] == (
        "Requests left out because another profiler (sys.setprofile) was active in their thread: 1 (each chunk of a "
        "body counts as one)."
    )


@pytest.mark.parametrize("after", [None, foreign_hook])
def test_a_profiler_that_takes_over_in_a_request_keeps_its_hook(after: object) -> None:
    def view() -> None:
        workloads.left()
        sys.setprofile(after)  # type: ignore[arg-type]
        workloads.right()

    engine = CProfileEngine(OPTIONS, collector=COLLECTORS["native"]())
    engine.start()
    request(engine, "GET /x", view)
    assert sys.getprofile() is after
    sys.setprofile(None)
    request(engine, "GET /x", TWO_CALLERS.run)
    recording = engine.stop()
    known = counts(graphs(recording)["GET /x"])
    assert (known["left"], known["right"], known["helper"]) == ((2, 2), (1, 1), (8, 8))
    assert "view" not in known
    assert recording.notes[-1].startswith("Requests in which another profiler took over (sys.setprofile): 1.")


def test_a_hook_that_is_put_back_harms_nobody(engine: CProfileEngine) -> None:
    def view() -> None:
        hook = sys.getprofile()
        sys.setprofile(None)
        workloads.left()
        sys.setprofile(hook)
        workloads.right()

    engine.start()
    request(engine, "GET /x", view)
    request(engine, "GET /x", TWO_CALLERS.run)
    engine.stop()


@requires("gevent")
def test_a_hook_that_is_lost_among_greenlets_is_said() -> None:
    def view() -> None:
        workloads.left()
        sys.setprofile(None)
        workloads.right()

    engine = CProfileEngine(OPTIONS, collector=COLLECTORS["greenlets"]())
    engine.start()
    request(engine, "GET /x", view)
    request(engine, "GET /x", TWO_CALLERS.run)
    recording = engine.stop()
    known = counts(graphs(recording)["GET /x"])
    assert (known["left"], known["right"], known["helper"]) == ((2, 2), (1, 1), (8, 8))
    assert recording.notes[-1].startswith("Requests that lost the hook (sys.setprofile) to another tool")
    assert recording.notes[-1].endswith(": 1. What they called from then on is missing.")


def test_a_foreign_profiler_at_stop_keeps_its_hook() -> None:
    engine = CProfileEngine(OPTIONS, collector=COLLECTORS["native"]())
    inside, stopped = threading.Barrier(2), threading.Event()

    def view() -> None:
        workloads.left()
        inside.wait(20)
        assert stopped.wait(20)

    engine.start()
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(request, engine, "GET /x", view)
        inside.wait(20)
        sys.setprofile(foreign_hook)
        try:
            recording = engine.stop()
            assert sys.getprofile() is foreign_hook
        finally:
            sys.setprofile(None)
            stopped.set()
        served.result(20)
        assert pool.submit(sys.getprofile).result(20) is None
    assert recording.notes[-1].startswith("Requests still running at stop: 1. Functions that had not returned there")
    assert counts(graphs(recording)["GET /x"])["left"] == (1, 1)
    assert "view" not in counts(graphs(recording)["GET /x"])


def test_a_request_that_was_never_left_ends_with_the_next() -> None:
    engine = CProfileEngine(OPTIONS, collector=COLLECTORS["native"]())

    def enters() -> None:
        engine.enter("GET /x")

    def forgets() -> None:
        enters()
        workloads.left()

    engine.start()
    forgets()
    request(engine, "GET /y", TWO_CALLERS.run)
    recording = engine.stop()
    assert_true(graphs(recording)["GET /y"], TWO_CALLERS, 1)
    assert counts(graphs(recording)["GET /x"])["left"] == (1, 1)
    assert recording.notes[-1].startswith("Requests whose end was not seen in their own thread: 1.")


def test_a_request_of_another_running_engine_is_left_out(engine: CProfileEngine) -> None:
    first = CProfileEngine(OPTIONS, collector=COLLECTORS["native"]())
    first.start()
    engine.start()
    request(first, "GET /x", lambda: request(engine, "GET /y", TWO_CALLERS.run))
    request(engine, "GET /y", TWO_CALLERS.run)
    recording = engine.stop()
    assert_true(graphs(recording)["GET /y"], TWO_CALLERS, 1)
    assert any("was active in their thread: 1 (each" in note for note in recording.notes)
    assert counts(graphs(first.stop())["GET /x"])["two_callers"] == (1, 1)


@pytest.mark.skipif("greenlets" not in COLLECTORS, reason="gevent is not installed")
def test_the_hook_of_a_request_that_outlives_the_session_goes_with_its_next_call() -> None:
    engine = CProfileEngine(OPTIONS, collector=COLLECTORS["greenlets"]())
    entered, stopped = threading.Event(), threading.Event()

    def serve() -> object:
        token = engine.enter("GET /x")
        entered.set()
        assert stopped.wait(20)
        workloads.helper()
        hook = sys.getprofile()
        engine.leave(token)
        return hook

    engine.start()
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        assert entered.wait(20)
        engine.stop()
        stopped.set()
        assert served.result(20) is None
