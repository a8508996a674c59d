"""Tests of the ``.prof`` file: read back by :mod:`pstats`, gprof2dot and snakeviz, as their users would."""

from __future__ import annotations

import cProfile
import io
import json
import marshal
import pstats
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from flask_profiling.errors import Unavailable
from flask_profiling.formats.pstats import statistics
from flask_profiling.model import CallGraph, CallGraphs, Cost, Function, SessionRecording
from tests.components import requires
from tests.formats.calls import Call, call, call_trees, profiled, recording, written
from tests.formats.trees import Request, Thread, recorded, tree_recording

PAGE = Function("/srv/shop/pages.py", 12, "page")
RENDER = Function("/srv/shop/pages.py", 30, "render")
GRAPH = CallGraph(
    {PAGE: Cost(2, 2, 0.25, 1.25), RENDER: Cost(7, 5, 1.0, 1.0)},
    {(PAGE, RENDER): Cost(5, 5, 0.75, 1.0), (RENDER, RENDER): Cost(2, 0, 0.25, 0.5)},
)


def loaded(path: Path, subject: SessionRecording) -> pstats.Stats:
    file = path / "profile.prof"
    file.write_bytes(written("pstats", subject))
    return pstats.Stats(str(file), stream=io.StringIO())


def test_the_columns_are_in_the_order_of_pstats(tmp_path: Path) -> None:
    page, render = ("/srv/shop/pages.py", 12, "page"), ("/srv/shop/pages.py", 30, "render")
    assert loaded(tmp_path, recording({"GET /": GRAPH})).stats == {
        page: (2, 2, 0.25, 1.25, {}),
        render: (5, 7, 1.0, 1.0, {page: (5, 5, 0.75, 1.0), render: (2, 0, 0.25, 0.5)}),
    }


def test_they_are_in_the_order_of_cprofile(tmp_path: Path) -> None:
    def countdown(number: int) -> int:
        return number and countdown(number - 1)

    native = cProfile.Profile()
    native.runcall(countdown, 5)
    native.create_stats()
    functions, edges = {}, {}
    for key, (primitive, calls, self_time, total, callers) in native.stats.items():
        functions[Function(*key)] = Cost(calls, primitive, self_time, total)
        for caller, (edge_calls, edge_primitive, *times) in callers.items():
            edges[Function(*caller), Function(*key)] = Cost(edge_calls, edge_primitive, *times)
    assert statistics(CallGraph(functions, edges)) == native.stats


def test_all_routes_are_added_up(tmp_path: Path) -> None:
    stats = loaded(tmp_path, recording({"GET /": GRAPH, "POST /x": GRAPH}))
    assert stats.total_calls == 18
    assert stats.prim_calls == 14
    assert stats.total_tt == 2.5


def test_pstats_prints_callers_and_callees(tmp_path: Path) -> None:
    stats = loaded(tmp_path, recording({"GET /": GRAPH}))
    stats.sort_stats("cumulative").print_stats().print_callers().print_callees()
    assert "pages.py:30(render)" in stats.stream.getvalue()


@given(call_trees())
def test_what_was_recorded_is_what_is_read(calls: tuple[Call, ...]) -> None:
    graph = profiled(calls)
    stats = marshal.loads(written("pstats", recording({"GET /": graph})))
    assert {Function(*key): Cost(row[1], row[0], row[2], row[3]) for key, row in stats.items()} == graph.functions
    assert {
        (Function(*caller), Function(*key)): Cost(*edge)
        for key, row in stats.items()
        for caller, edge in row[4].items()
    } == graph.edges


HOSTILE: Mapping[str, CallGraph] = {
    "GET /\udcff": CallGraph(
        {Function("/srv/\udcff.py", 1, '<b>"\ud800\0\n'): Cost(1, 1, 1.0, 1.0), PAGE: Cost(1, 1, 1.0, 2.0)},
        {(PAGE, Function("/srv/\udcff.py", 1, '<b>"\ud800\0\n')): Cost(1, 1, 1.0, 1.0)},
    )
}


def test_names_that_are_not_unicode_are_spelled_out(tmp_path: Path) -> None:
    stats = loaded(tmp_path, recording(HOSTILE))
    assert ("/srv/\\udcff.py", 1, '<b>"\\ud800\0\n') in stats.stats
    stats.print_stats().stream.getvalue().encode()


def test_functions_that_spell_alike_are_added_up() -> None:
    graph = CallGraph(
        {Function("/\udcff.py", 1, "f"): Cost(1, 1, 1.0, 2.0), Function("/\\udcff.py", 1, "f"): Cost(2, 2, 3.0, 4.0)},
        {
            (PAGE, Function("/\udcff.py", 1, "f")): Cost(1, 1, 1.0, 1.0),
            (PAGE, Function("/\\udcff.py", 1, "f")): Cost(2, 2, 2.0, 2.0),
        },
    )
    graph = CallGraph({**graph.functions, PAGE: Cost(1, 1, 0.0, 6.0)}, graph.edges)
    page = (PAGE.file, PAGE.line, PAGE.name)
    assert statistics(graph)["/\\udcff.py", 1, "f"] == (3, 3, 4.0, 6.0, {page: (3, 3, 3.0, 3.0)})


def test_gprof2dot_reads_it(tmp_path: Path) -> None:
    import gprof2dot

    file = tmp_path / "profile.prof"
    file.write_bytes(written("pstats", recording({"GET /": GRAPH})))
    functions = gprof2dot.PstatsParser(str(file)).parse().functions.values()
    assert sorted(item.name for item in functions) == ["pages:12:page", "pages:30:render"]


@requires("snakeviz")
@pytest.mark.parametrize("routes", [{"GET /": GRAPH}, HOSTILE])
def test_snakeviz_reads_it(tmp_path: Path, routes: Mapping[str, CallGraph]) -> None:
    from snakeviz.stats import json_stats, table_rows

    stats = loaded(tmp_path, recording(routes))
    assert len(table_rows(stats)) == len(CallGraphs(routes).total().functions)
    json.dumps(json_stats(stats)).encode()


SAMPLED = tree_recording(
    replace(recorded(Thread(1, "T", (Request("GET /", (call("page", 1.0, call("render", 2.0)),)),))), scope="sampled")
)


def test_samples_are_not_shown_as_calls(tmp_path: Path) -> None:
    stats = loaded(tmp_path, SAMPLED)
    rows = {name: row[:4] for (_, _, name), row in stats.stats.items()}
    assert rows == {"page": (0, 0, 1.0, 3.0), "render": (0, 0, 2.0, 2.0)}
    stats.sort_stats("cumulative").print_stats().print_callers()
    assert "0 function calls in 3.000 seconds" in stats.stream.getvalue()


@requires("snakeviz")
def test_snakeviz_reads_what_was_sampled(tmp_path: Path) -> None:
    from snakeviz.stats import json_stats, table_rows

    stats = loaded(tmp_path, SAMPLED)
    assert sorted(row[3] for row in table_rows(stats)) == ["2", "3"]
    json.dumps(json_stats(stats))


def test_pstats_opens_the_file_of_a_session_without_requests(tmp_path: Path) -> None:
    stats = loaded(tmp_path, recording({}))
    stats.sort_stats("cumulative").print_stats().print_callers()
    assert "0 function calls in 0.000 seconds" in stats.stream.getvalue()


def test_without_calls_there_is_nothing_to_write() -> None:
    subject = recording({})
    with pytest.raises(Unavailable, match="recorded no calls"):
        written("pstats", SessionRecording(subject.session, subject.workers, (), {}, (), {}))
