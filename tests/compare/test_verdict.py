"""The verdict: what is called more often fails, what is the same passes, and what proves nothing is said to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_profiling.compare import Rules, compare, summarise
from flask_profiling.compare.runs import renamed_modules
from flask_profiling.errors import Conflict
from flask_profiling.model import CallTree, Frame, Function, Recording, TreeBuilder
from tests.compare.recordings import ENVIRONMENT, MODEL, QUERY, VIEW, graph, page, recording

RULES = Rules.default()


def test_equal_recordings_pass() -> None:
    run = summarise(recording(page(24)))
    verdict = compare([run], run, RULES)
    assert verdict.changes == ()
    assert verdict.compared == 4, "three functions and a time"


def test_one_extra_query_per_item_is_a_regression_with_its_caller() -> None:
    base, new = summarise(recording(page(24))), summarise(recording(page(24, queries=25)))
    (change,) = compare([base], new, RULES).regressions
    assert (change.kind, change.name, change.before, change.after) == ("calls", "sqlalchemy.engine:execute", 1.0, 25.0)
    assert change.callers == (("pages:products", 1.0, 25.0),)
    assert change.begins_here


def test_counts_are_compared_per_request() -> None:
    base, new = summarise(recording(page(24))), summarise(recording(page(24, requests=25), requests=25))
    assert compare([base], new, RULES).changes == ()


def test_fewer_calls_are_better_and_pass() -> None:
    verdict = compare([summarise(recording(page(24)))], summarise(recording(page(12))), RULES)
    assert verdict.regressions == ()
    (change,) = verdict.changes
    assert (change.before, change.after) == (24.0, 12.0)


def test_a_cause_stands_before_its_consequences() -> None:
    inner = Function("/srv/app/shop/models.py", 50, "rounded")
    label = "GET / [pages.products]"
    base = {label: {(None, VIEW): 10, (VIEW, MODEL): 10, (MODEL, inner): 1000}}
    new = {label: {(None, VIEW): 10, (VIEW, MODEL): 20, (MODEL, inner): 2000}}
    changes = compare([summarise(recording(base))], summarise(recording(new)), RULES).changes
    assert [(change.name, change.begins_here) for change in changes] == [
        ("models:price", True),
        ("models:rounded", False),
    ]


def test_work_that_is_done_once_proves_nothing_in_a_shorter_run() -> None:
    label = "GET / [pages.products]"
    compiled = Function("/usr/lib/python3.11/site-packages/jinja2/compiler.py", 1, "write")
    base = {label: {(None, VIEW): 40, (VIEW, compiled): 100}}
    new = {label: {(None, VIEW): 10, (VIEW, compiled): 100}}
    verdict = compare([summarise(recording(base, requests=40))], summarise(recording(new)), RULES)
    assert verdict.regressions == ()
    assert [change.name for change in verdict.changes] == ["jinja2.compiler:write"]


def test_calls_that_hashes_decide_are_shown_and_never_fail() -> None:
    label = "GET / [pages.products]"
    equal = Function("/usr/lib/python3.11/site-packages/sqlalchemy/annotation.py", 1, "__eq__")
    beneath = Function("/usr/lib/python3.11/site-packages/sqlalchemy/annotation.py", 9, "operate")
    base = {label: {(None, VIEW): 10}}
    new = {label: {(None, VIEW): 10, (VIEW, equal): 30, (equal, beneath): 30}}
    verdict = compare([summarise(recording(base))], summarise(recording(new)), RULES)
    assert {change.name for change in verdict.changes} == {
        "sqlalchemy.annotation:__eq__",
        "sqlalchemy.annotation:operate",
    }
    assert verdict.regressions == ()


@pytest.mark.parametrize("change", [{"python": "3.12.1"}, {"flask": "2.3.0"}, {"sqlalchemy": "2.0"}])
def test_other_versions_are_refused_unless_insisted(change: dict[str, str]) -> None:
    base, new = summarise(recording(page(24))), summarise(recording(page(24), environment={**ENVIRONMENT, **change}))
    with pytest.raises(Conflict, match="--across-versions"):
        compare([base], new, RULES)
    verdict = compare([base], new, RULES, across_versions=True)
    assert "Compared across versions" in verdict.notes[0]


def test_a_new_version_of_the_profiler_is_no_other_version() -> None:
    newer = {**ENVIRONMENT, "flask-profiling-devtools": "2.0"}
    verdict = compare([summarise(recording(page(1)))], summarise(recording(page(1), environment=newer)), RULES)
    assert verdict.notes == ()


def test_another_engine_is_refused_and_a_sampler_is_not_counted() -> None:
    counted, sampled = (summarise(recording(page(24), engine=engine)) for engine in ("cprofile", "sampling"))
    with pytest.raises(Conflict, match="different ways"):
        compare([counted], sampled, RULES)
    more = summarise(recording(page(99), engine="sampling"))
    verdict = compare([sampled], more, RULES)
    assert verdict.changes == ()
    assert "not counted exactly" in verdict.notes[0]


def test_without_a_common_route_nothing_is_compared() -> None:
    other = summarise(recording({"GET /other [x]": {(None, VIEW): 10}}))
    with pytest.raises(Conflict, match="no route in common"):
        compare([summarise(recording(page(1)))], other, RULES)


def test_routes_on_one_side_alone_are_named() -> None:
    both = {**page(1), "GET /new [x]": {(None, VIEW): 10}}
    forth = compare([summarise(recording(page(1)))], summarise(recording(both)), RULES)
    back = compare([summarise(recording(both))], summarise(recording(page(1))), RULES)
    assert (forth.notes, back.notes) == (
        ("Not in the base, so not compared: GET /new [x].",),
        ("Not requested any more, so not compared: GET /new [x].",),
    )


def test_time_never_fails_by_default_and_counts_the_spread() -> None:
    def timed(seconds: float) -> object:
        return summarise(recording(page(1), seconds=seconds))

    base = [timed(0.010)]
    assert compare(base, timed(0.013), RULES).changes == ()  # type: ignore[arg-type]
    slow = compare(base, timed(0.020), RULES)  # type: ignore[arg-type]
    assert [change.kind for change in slow.changes] == ["time"]
    assert slow.regressions == ()
    strict = Rules.from_toml({"time": {"GET /*": "20%"}}, "t.toml")
    assert len(compare(base, timed(0.013), strict).regressions) == 1  # type: ignore[arg-type]
    noisy = [timed(0.008), timed(0.010), timed(0.014)]
    assert compare(noisy, timed(0.017), strict).regressions == ()  # type: ignore[arg-type]


def test_bytes_that_stay_are_compared_where_both_have_them() -> None:
    line = Frame("/srv/app/shop/pages.py", 12, "products")
    base, new = (summarise(recording(page(1), grown={line: size})) for size in (10_000, 100_000))
    (change,) = compare([base], new, RULES).regressions
    assert (change.kind, change.name, change.before, change.after) == ("allocations", "pages:products", 1000, 10_000)
    without = summarise(recording(page(1)))
    assert compare([without], new, RULES).changes == ()


def test_a_call_tree_is_compared_too() -> None:
    def tree(calls: int) -> CallTree:
        builder = TreeBuilder("app")
        root = builder.root("GET / [pages.products]", calls=10, self_time=0.1)
        view = builder.child(root, VIEW, calls=10, self_time=0.1, is_library=False)
        builder.child(view, QUERY, calls=calls, self_time=0.1, is_library=True)
        return builder.tree()

    def run(calls: int) -> object:
        made = recording(page(1))
        return summarise(replace(made, recordings=(Recording("calltree", tree(calls)),)))

    (change,) = compare([run(10)], run(20), RULES).regressions  # type: ignore[list-item, arg-type]
    assert change.name == "sqlalchemy.engine:execute"


def test_a_checkout_elsewhere_with_more_files_is_the_same_code() -> None:
    def moved(function: Function) -> Function:
        return function._replace(file=function.file.replace("/srv/app", "/home/ci/work"))

    label = "GET / [pages.products]"
    extra = Function("/home/ci/work/tools/extra.py", 1, "noop")
    new = {
        label: {(None, moved(VIEW)): 10, (moved(VIEW), moved(MODEL)): 240, (moved(VIEW), QUERY): 10, (None, extra): 1}
    }
    verdict = compare([summarise(recording(page(24)))], summarise(recording(new)), RULES)
    assert verdict.changes == ()


def test_a_module_is_not_taken_for_another_that_is_there_under_its_own_name() -> None:
    library = Function("/usr/lib/python3.11/site-packages/flask/app.py", 1, "dispatch_request")
    other, helper = Function("/srv/app/shop.py", 1, "index"), Function("/srv/app/app.py", 1, "helper")
    base = summarise(recording({"GET / [i]": {(None, library): 10, (library, other): 10}}))
    new = summarise(recording({"GET / [i]": {(None, library): 10, (library, helper): 20}}))
    assert {change.name for change in compare([base], new, RULES).regressions} == {"app:helper"}


def test_two_modules_are_not_taken_for_one() -> None:
    names = renamed_modules(["api.models:get", "web.models:get"], ["models:get"])
    assert names == {}


def test_a_moved_line_is_no_change() -> None:
    label = "GET / [pages.products]"
    later = MODEL._replace(line=99)
    new = {label: {(None, VIEW): 10, (VIEW, later): 240, (VIEW, QUERY): 10}}
    assert compare([summarise(recording(page(24)))], summarise(recording(new)), RULES).changes == ()


def test_the_graph_helper_counts_as_the_engine_does() -> None:
    made = graph({(None, VIEW): 2, (VIEW, MODEL): 6})
    assert made.functions[MODEL].calls == 6
    assert list(made.edges) == [(VIEW, MODEL)]
