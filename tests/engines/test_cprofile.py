"""The cprofile engine against programs of known calls, with every collector that this Python has."""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from flask_profiling.engines import RequestEngine, create
from flask_profiling.engines.cprofile import GREENLETS_NOTE, NOTES, CProfileEngine, greenlet_notes, pick_collector
from flask_profiling.errors import Unavailable
from tests.components import requires
from tests.pythons import PYTHON

from . import workloads
from .harness import COLLECTORS, OPTIONS, assert_true, counts, edges, graphs, known_part, no_collections, request
from .workloads import WORKLOADS

TWO_CALLERS = WORKLOADS["two callers"]


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    with no_collections():
        yield


@pytest.fixture(params=COLLECTORS)
def engine(request: pytest.FixtureRequest) -> Iterator[CProfileEngine]:
    engine = CProfileEngine(OPTIONS, collector=COLLECTORS[request.param]())
    yield engine
    assert sys.getprofile() is None
    if sys.version_info >= (3, 12):
        assert [sys.monitoring.get_tool(tool) for tool in (2, 3, 4)] == [None] * 3


@pytest.fixture
def quick_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_thread(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result(30)


# the truth


@pytest.mark.parametrize("name", WORKLOADS)
def test_calls_and_edges_are_exact(engine: CProfileEngine, name: str) -> None:
    engine.start()
    for _ in range(3):
        request(engine, "GET /x", WORKLOADS[name].run)
    routes = graphs(engine.stop())
    assert list(routes) == ["GET /x"]
    assert_true(routes["GET /x"], WORKLOADS[name], 3)


@pytest.mark.usefixtures("quick_switches")
def test_calls_and_edges_are_exact_in_eight_threads_at_once(engine: CProfileEngine) -> None:
    threads, rounds = 8, 6
    barrier = threading.Barrier(threads)

    def serve(seed: int) -> None:
        order = list(WORKLOADS) * rounds
        random.Random(seed).shuffle(order)
        barrier.wait(20)
        for name in order:
            request(engine, name, WORKLOADS[name].run)

    engine.start()
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(serve, seed) for seed in range(threads)]:
            future.result(60)
    routes = graphs(engine.stop())
    assert routes.keys() == WORKLOADS.keys()
    for name, workload in WORKLOADS.items():
        assert_true(routes[name], workload, threads * rounds)


def test_threads_that_serve_no_request_are_not_counted(engine: CProfileEngine) -> None:
    def serve() -> None:
        in_thread(TWO_CALLERS.run)
        workloads.helper()

    engine.start()
    TWO_CALLERS.run()
    request(engine, "GET /x", serve)
    TWO_CALLERS.run()
    graph = graphs(engine.stop())["GET /x"]
    assert counts(graph)["helper"] == (1, 1)
    assert "two_callers" not in counts(graph)


def test_times_add_up(engine: CProfileEngine) -> None:
    engine.start()
    for name in ("two callers", "recursion", "coroutines"):
        request(engine, name, WORKLOADS[name].run)
    for graph in graphs(engine.stop()).values():
        called = {callee for _, callee in graph.edges}
        roots = [cost.total_time for function, cost in graph.functions.items() if function not in called]
        assert sum(cost.self_time for cost in graph.functions.values()) == pytest.approx(sum(roots))
        for function, cost in graph.functions.items():
            callers = [item for (_, callee), item in graph.edges.items() if callee == function]
            assert 0 < cost.self_time <= cost.total_time * 1.000001 or cost.calls > cost.primitive_calls
            if callers:
                assert cost.self_time == pytest.approx(sum(item.self_time for item in callers))


def test_a_generator_may_be_finished_by_another_request_in_another_thread(engine: CProfileEngine) -> None:
    made: list[Iterator[int]] = []

    def begin() -> None:
        made.append(workloads.cleans_up())
        next(made[0])

    def finish() -> None:
        made[0].close()  # type: ignore[attr-defined]

    engine.start()
    request(engine, "begin", begin)
    in_thread(lambda: request(engine, "finish", finish))
    routes = graphs(engine.stop())
    assert edges(routes["begin"]) == {("begin", "cleans_up"): 1}
    assert edges(routes["finish"]) == {
        ("finish", "cleans_up"): 1,
        ("cleans_up", "helper"): 1,
        ("helper", "give_way"): 1,
    }


def test_an_async_view_is_counted_in_the_thread_of_its_loop(engine: CProfileEngine) -> None:
    async def view() -> None:
        await asyncio.gather(step(), step())

    async def step() -> None:
        await asyncio.sleep(0)
        workloads.left()

    async def followed() -> None:
        token = engine.enter("GET /async")
        try:
            await view()
        finally:
            engine.leave(token)

    engine.start()
    for _ in range(2):
        in_thread(lambda: asyncio.run(followed()))
    request(engine, "GET /async", TWO_CALLERS.run)
    graph = graphs(engine.stop())["GET /async"]
    known = counts(graph)
    assert [known[name] for name in ("view", "step", "left", "helper")] == [(4, 4), (8, 8), (5, 5), (14, 14)]
    of_known = {edge: calls for edge, calls in edges(graph).items() if edge[1] in ("left", "right", "helper")}
    assert of_known == {
        ("step", "left"): 4,
        ("two_callers", "left"): 1,
        ("two_callers", "right"): 1,
        ("two_callers", "helper"): 1,
        ("left", "helper"): 10,
        ("right", "helper"): 3,
    }


def test_what_resumes_a_followed_coroutine_ends_with_its_request(engine: CProfileEngine) -> None:
    def enter() -> object:
        return engine.enter("GET /x")

    async def followed() -> None:
        token = enter()
        await workloads.inner(2)
        engine.leave(token)

    async def around() -> None:
        await followed()

    engine.start()
    for _ in range(3):
        workloads.drive(around())
    graph = graphs(engine.stop())["GET /x"]
    known, calls = counts(graph), edges(graph)
    assert (known["around"], known["followed"], known["inner"]) == ((6, 6), (6, 6), (9, 9))
    assert {edge: number for edge, number in calls.items() if "around" in edge} == {("around", "followed"): 6}
    assert calls["followed", "inner"] == 6, "the first step of each began before its callers were heard of"


def test_each_chunk_of_a_body_counts_for_its_route(engine: CProfileEngine) -> None:
    body = workloads.produce(3)

    def stream() -> Iterator[int]:
        while True:
            token = engine.enter("GET /stream")
            try:
                chunk = next(body, -1)
            finally:
                engine.leave(token)
            if chunk < 0:
                return
            yield chunk

    engine.start()
    assert list(stream()) == [0, 1, 2]
    graph = graphs(engine.stop())["GET /stream"]
    assert counts(graph) == {"produce": (4, 4), "helper": (3, 3), "give_way": (3, 3)}
    assert edges(graph) == {("produce", "helper"): 3, ("helper", "give_way"): 3}


# enter and leave


def test_only_the_outermost_enter_of_a_thread_counts(engine: CProfileEngine) -> None:
    def view() -> None:
        request(engine, "inner", workloads.left)
        workloads.right()

    engine.start()
    request(engine, "outer", view)
    request(engine, "inner", workloads.left)
    routes = graphs(engine.stop())
    assert counts(routes["outer"])["helper"] == (5, 5)
    assert counts(routes["inner"])["helper"] == (2, 2)


def test_functions_of_this_package_are_not_shown(engine: CProfileEngine) -> None:
    engine.start()
    request(engine, "GET /x", lambda: request(engine, "GET /x", workloads.helper))
    graph = graphs(engine.stop())["GET /x"]
    shown = {function.file for function in graph.functions} | {item.file for edge in graph.edges for item in edge}
    assert not [file for file in shown if "flask_profiling/" in file.replace("\\", "/")]
    assert edges(graph) == {("<lambda>", "request"): 1, ("request", "helper"): 1, ("helper", "give_way"): 1}


def enter_in_a_frame_of_its_own(engine: RequestEngine) -> object:
    return engine.enter("GET /x")


def leave_in_a_frame_of_its_own(engine: RequestEngine, token: object) -> None:
    engine.leave(token)


@contextmanager
def entered(engine: RequestEngine) -> Iterator[None]:
    token = engine.enter("GET /x")
    try:
        yield
    finally:
        engine.leave(token)


def leave_below(engine: RequestEngine, token: object, depth: int) -> None:
    if depth:
        leave_below(engine, token, depth - 1)
    else:
        engine.leave(token)


def test_calls_left_open_by_a_deeper_leave_end_there(engine: CProfileEngine) -> None:
    engine.start()
    leave_below(engine, enter_in_a_frame_of_its_own(engine), 3)
    request(engine, "GET /x", TWO_CALLERS.run)
    with entered(engine):
        workloads.left()
    leave_in_a_frame_of_its_own(engine, enter_in_a_frame_of_its_own(engine))
    request(engine, "GET /x", TWO_CALLERS.run)
    graph = graphs(engine.stop())["GET /x"]
    known = counts(graph)
    assert known["leave_below"] == (4, 1)
    assert known["two_callers"] == (2, 2)
    called_by = {edge[0] for edge in edges(graph) if edge[1] in ("left", "two_callers")}
    assert called_by == {"two_callers"}
    # __exit__ and the resumed generator are open when it leaves; all of them are ended, in the right order
    assert edges(graph)["leave_below", "leave_below"] == 3
    assert edges(graph)["__exit__", "entered"] == 1
    assert known["__exit__"] == known["entered"] == known["leave_in_a_frame_of_its_own"] == (1, 1)


def test_tokens_may_come_twice_late_or_be_none(engine: CProfileEngine) -> None:
    assert engine.enter("before start") is None
    assert create("cprofile", OPTIONS).enter("before start") is None  # type: ignore[attr-defined]
    engine.leave(None)
    create("cprofile", OPTIONS).leave(object())  # type: ignore[attr-defined]
    engine.start()
    token = engine.enter("GET /x")
    workloads.helper()
    engine.leave(token)
    engine.leave(token)
    late = engine.enter("GET /x")
    recording = engine.stop()
    engine.leave(late)
    engine.leave(late)
    assert engine.enter("after stop") is None
    workloads.helper()
    assert counts(graphs(recording)["GET /x"])["helper"] == (1, 1)


def test_a_request_that_ends_in_another_thread_spoils_no_other(engine: CProfileEngine) -> None:
    tokens: list[object] = []
    left = threading.Event()
    entered = threading.Event()

    def serve() -> None:
        tokens.append(engine.enter("GET /x"))
        workloads.left()
        entered.set()
        assert left.wait(20)
        workloads.right()  # counted nowhere: the request is over
        request(engine, "GET /x", TWO_CALLERS.run)

    engine.start()
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        assert entered.wait(20)
        engine.leave(tokens[0])
        left.set()
        served.result(20)
        request(engine, "GET /x", TWO_CALLERS.run)
    recording = engine.stop()
    assert any(note.startswith("Requests whose end was not seen in their own thread: 1.") for note in recording.notes)
    graph = graphs(recording)["GET /x"]
    assert (counts(graph)["two_callers"], counts(graph)["left"]) == ((2, 2), (3, 3))
    assert edges(graph)["two_callers", "right"] == 2
    assert counts(graph)["right"] == (2, 2)


def test_a_request_at_the_recursion_limit_goes_on_as_without_us(engine: CProfileEngine) -> None:
    deepest = 0

    def dive(depth: int) -> None:
        nonlocal deepest
        deepest = max(deepest, depth)
        engine.leave(engine.enter("GET /deep"))
        dive(depth + 1)

    engine.start()
    with pytest.raises(RecursionError):
        dive(0)
    assert deepest > 100
    request(engine, "GET /x", TWO_CALLERS.run)
    assert_true(graphs(engine.stop())["GET /x"], TWO_CALLERS, 1)


# start and stop


def test_requests_that_run_at_stop_are_counted_until_then(engine: CProfileEngine) -> None:
    inside, stopped = threading.Barrier(4), threading.Event()

    def wait_here() -> None:
        inside.wait(20)
        assert stopped.wait(20)

    def view() -> None:
        workloads.left()
        wait_here()
        workloads.right()

    engine.start()
    with ThreadPoolExecutor(3) as pool:
        served = [pool.submit(request, engine, "GET /x", view) for _ in range(3)]
        inside.wait(20)
        recording = engine.stop()
        stopped.set()
        for future in served:
            future.result(20)
        assert list(pool.map(lambda _: sys.getprofile(), range(3))) == [None] * 3
    assert recording.notes[-1] == (
        "Requests still running at stop: 3. What they did until then is counted, as if it had ended there."
    )
    graph = graphs(recording)["GET /x"]
    known, found = counts(graph), edges(graph)
    assert [known[name] for name in ("view", "left", "wait_here", "helper")] == [(3, 3), (3, 3), (3, 3), (6, 6)]
    assert (found["view", "left"], found["view", "wait_here"], found["left", "helper"]) == (3, 3, 6)
    assert "right" not in known


def test_a_session_begun_inside_a_request_of_the_last_one_is_exact(engine: CProfileEngine) -> None:
    second = create("cprofile", OPTIONS)
    assert isinstance(second, CProfileEngine)
    engine.start()
    token = engine.enter("old")
    workloads.left()
    engine.stop()
    second.start()
    request(second, "new", TWO_CALLERS.run)
    engine.leave(token)
    request(second, "new", TWO_CALLERS.run)
    assert_true(graphs(second.stop())["new"], TWO_CALLERS, 2)


def test_stop_without_start_is_an_empty_recording() -> None:
    recording = create("cprofile", OPTIONS).stop()
    assert recording.engine == "cprofile"
    assert graphs(recording) == {}
    assert recording.notes == NOTES


@pytest.mark.parametrize(
    ("modules", "patched", "said"),
    [
        ({"flask", "greenlet", "sqlalchemy"}, False, ()),
        ({"flask", "sqlalchemy.ext.asyncio"}, False, (GREENLETS_NOTE,)),
        ({"gevent"}, False, (GREENLETS_NOTE,)),
        ({"gevent", "sqlalchemy.ext.asyncio"}, True, ()),
    ],
)
def test_greenlets_that_are_not_told_apart_are_owned_up(
    modules: set[str], patched: bool, said: tuple[str, ...]
) -> None:
    assert greenlet_notes(modules, patched=patched) == said


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("name", COLLECTORS)
def test_many_sessions_over_busy_threads_stay_exact(name: str) -> None:
    over, served = threading.Event(), threading.Event()
    engines: list[CProfileEngine] = []
    failures: list[BaseException] = []
    order = list(WORKLOADS)

    def serve(seed: int) -> None:
        chooser = random.Random(seed)
        try:
            while not over.is_set():
                chosen = chooser.choice(order)
                request(engines[-1], chosen, WORKLOADS[chosen].run)
                served.set()
        except BaseException as error:
            failures.append(error)

    engines.append(CProfileEngine(OPTIONS, collector=COLLECTORS[name]()))
    threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    seen = 0
    gc.enable()
    try:
        for _ in range(150):
            engine = CProfileEngine(OPTIONS, collector=COLLECTORS[name]())
            engine.start()
            engines.append(engine)
            served.clear()
            request(engine, "here", TWO_CALLERS.run)
            assert served.wait(20)
            routes = graphs(engine.stop())
            assert_true(known_part(routes.pop("here")), TWO_CALLERS, 1)
            for route, graph in routes.items():
                seen += 1
                allowed = set(WORKLOADS[route].edges)
                assert set(edges(known_part(graph))) <= allowed
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
    assert failures == []
    assert seen > 50


@pytest.mark.parametrize("name", COLLECTORS)
def test_profilers_are_as_many_as_requests_ran_at_once(name: str) -> None:
    collector = COLLECTORS[name]()
    engine = CProfileEngine(OPTIONS, collector=collector)
    engine.start()
    for _ in range(50):
        thread = threading.Thread(target=request, args=(engine, "GET /x", workloads.left))
        thread.start()
        thread.join(20)
    pool = collector._pool  # type: ignore[attr-defined]
    assert len(pool.slots) == 1
    together = threading.Barrier(5)

    def view() -> None:
        together.wait(20)
        workloads.left()

    for _ in range(4):
        threads = [threading.Thread(target=request, args=(engine, "GET /x", view)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(pool.slots) == 5
    assert counts(graphs(engine.stop())["GET /x"])["left"] == (70, 70)


def test_code_compiled_for_each_request_does_not_pile_up(engine: CProfileEngine) -> None:
    source = "\n".join(f"def made_{number}(): pass\nmade_{number}()" for number in range(12))
    most = 0

    def view() -> None:
        exec(compile(source, "<template>", "exec"), {})

    engine.start()
    for _ in range(1100):
        request(engine, "GET /x", view)
    collector: Any = engine._collector
    for slot in collector._pool.slots:
        most = max(most, len(slot.profiler.getstats()))
    graph = graphs(engine.stop())["GET /x"]
    assert most < 8000  # of 14,300 code objects
    assert counts(graph)["made_3"] == (1100, 1100)
    assert edges(graph)["<module>", "made_7"] == edges(graph)["view", "<module>"] == 1100


@pytest.mark.parametrize(
    ("described", "sentence"),
    [
        ({"implementation": "pypy"}, "need CPython; run the application with it"),
        ({"gil": False}, "without the GIL; run with PYTHON_GIL=1"),
    ],
)
def test_a_python_that_cannot_be_right_is_refused(described: dict[str, object], sentence: str) -> None:
    with pytest.raises(Unavailable, match=sentence):
        pick_collector(**described)  # type: ignore[arg-type]


def test_a_forked_child_is_put_back(engine: CProfileEngine) -> None:
    import os

    engine.start()
    token = engine.enter("GET /x")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            engine.abandon()
            clean = sys.getprofile() is None
            if sys.version_info >= (3, 12):
                clean = clean and sys.monitoring.get_tool(3) is None
            engine.leave(token)
            code = 0 if clean else 2
        finally:
            os._exit(code)
    workloads.left()
    _, status = os.waitpid(pid, 0)
    engine.leave(token)
    assert os.waitstatus_to_exitcode(status) == 0
    assert counts(graphs(engine.stop())["GET /x"])["left"] == (1, 1)


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gc, random, sys
import gevent
from flask_profiling.engines import create
from tests.engines.harness import OPTIONS, assert_true, graphs, known_part, request
from tests.engines.workloads import WORKLOADS

gc.disable()
engine = create("cprofile", OPTIONS)

def serve(seed):
    order = list(WORKLOADS) * 3
    random.Random(seed).shuffle(order)
    for name in order:
        request(engine, name, WORKLOADS[name].run)

engine.start()
gevent.joinall([gevent.spawn(serve, seed) for seed in range(10)], raise_error=True)
routes = graphs(engine.stop())
assert routes.keys() == WORKLOADS.keys()
for name, workload in WORKLOADS.items():
    assert_true(known_part(routes[name]), workload, 30)  # sleep() is gevent's now, in Python
assert sys.getprofile() is None
print("exact")
"""


@requires("gevent")
def test_greenlets_are_told_apart() -> None:
    done = subprocess.run([PYTHON, "-c", GREENLETS], capture_output=True, text=True, timeout=60)
    assert done.stdout == "exact\n", done.stderr
