"""Tests of the call graph in the DOT language: what it says, and that Graphviz reads it whatever the names are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_profiling.errors import Unavailable
from flask_profiling.formats._labels import ModuleNames
from flask_profiling.model import CallGraph, Cost, Function, SessionRecording
from tests.components import program, requires
from tests.formats.calls import call, profiled, recording, written
from tests.formats.trees import Request, Thread, recorded, tree_recording
from tests.pythons import PYTHON

SITE = "/venv/lib/python3.11/site-packages"
PAGE = Function("/srv/shop/pages.py", 12, "page")
API = Function("/srv/shop/api.py", 7, "page")


def source(graph: CallGraph) -> str:
    return written("dot", recording({"GET /": graph})).decode("utf-8")


def only(function: Function) -> CallGraph:
    return CallGraph({function: Cost(3, 3, 1.0, 1.0)}, {})


def nodes(text: str) -> list[str]:
    """Return the labels of the nodes that Graphviz reads; fails where it does not read the graph or has remarks."""
    command = program("dot")
    assert command is not None
    done = subprocess.run([command, "-Tdot_json"], input=text.encode(), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return [item["label"] for item in json.loads(done.stdout).get("objects", [])]


def test_functions_are_named_by_what_one_imports() -> None:
    graph = CallGraph(
        {
            PAGE: Cost(1, 1, 1.0, 3.0),
            Function(f"{SITE}/flask/app.py", 900, "wsgi_app"): Cost(1, 1, 1.0, 3.0),
            Function("/usr/lib/python3.11/json/decoder.py", 330, "decode"): Cost(1, 1, 1.0, 3.0),
            Function("~", 0, "<built-in method time.sleep>"): Cost(1, 1, 1.0, 3.0),
        },
        {},
    )
    text = source(graph)
    for label in ("shop.pages:12:page", "flask.app:900:wsgi_app", "json.decoder:330:decode"):
        assert f'label="{label}\\n' in text
    assert 'label="<built-in method time.sleep>\\n' in text
    assert 'tooltip="in /srv/shop/pages.py"' in text


def test_times_and_calls_are_those_of_the_recording() -> None:
    text = source(profiled([call("page", 1.0, call("render", 3.0), call("render", 0.0))]))
    assert r":page\n100.00%\n(25.00%)\n1×" in text
    assert r":render\n75.00%\n(75.00%)\n2×" in text
    assert r'label="75.00%\n2×"' in text


def test_calls_of_an_edge_include_recursive_ones() -> None:
    text = source(profiled([call("f", 1.0, call("f", 1.0, call("f", 1.0)))]))
    assert "0 -> 0" in text
    assert r":f\n100.00%\n(100.00%)\n3×" in text


def test_samples_are_not_shown_as_calls() -> None:
    one = call("page", 1.0, call("render", 2.0))
    tree = replace(recorded(Thread(1, "T", (Request("GET /", (one,)),))), scope="sampled")
    text = written("dot", tree_recording(tree)).decode("utf-8")
    assert "66.67%" in text
    assert "×" not in text


def test_what_takes_no_time_is_left_out_and_the_rest_is_still_right() -> None:
    text = source(profiled([call("page", 1.0, call("render", 0.995), *[call(f"small{n}", 0.001) for n in range(5)])]))
    assert "small" not in text
    assert r":page\n100.00%\n(50.00%)" in text
    assert r":render\n49.75%\n(49.75%)" in text


def test_nothing_is_said_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    damaged = Cost(1, 1, -5.0, 1e308)
    source(CallGraph({PAGE: damaged, API: Cost(1, 1, 1.0, 1.0)}, {(PAGE, API): damaged, (API, API): damaged}))
    source(only(Function("/a.py", 1, "f" * 10_000)))
    assert capfd.readouterr() == ("", "")


@requires("dot")
@pytest.mark.parametrize(
    "graph",
    [
        CallGraph({}, {}),
        CallGraph({PAGE: Cost(0, 0, 0.0, 0.0)}, {}),
        CallGraph({PAGE: Cost(1, 1, -1.0, -1.0)}, {(PAGE, PAGE): Cost(1, 1, 1e308, 1e308)}),
        CallGraph({PAGE: Cost(1, 1, 1e308, 1e308), API: Cost(1, 1, 1e308, 1e308)}, {}),
    ],
)
def test_an_empty_or_damaged_graph_is_still_one(graph: CallGraph) -> None:
    assert len(nodes(source(graph))) <= 2


@requires("dot")
@pytest.mark.parametrize(
    "name",
    ['"]; evil [label="', "a\\", "\\N\\G", "<b>x</b>", "&lt;&#0;", "a\nb\0c\r\33", "\udcff\ud800", "graph", "節" * 999],
)
def test_hostile_names_are_one_label(name: str) -> None:
    (label,) = nodes(source(only(Function("/srv/shop/pages.py", 1, name))))
    assert label.startswith("shop.pages:1:")
    assert label.endswith("\\n100.00%\\n(100.00%)\\n3×")
    assert len(nodes(source(only(Function(f"/srv/{name}.py", 1, "page"))))) == 1


def test_controls_in_a_name_are_spelled_out() -> None:
    assert r'label="shop.pages:1:a\\nb\n' in source(only(Function("/srv/shop/pages.py", 1, "a\nb")))


@requires("dot")
@pytest.mark.parametrize("file", ["graph", "node", "digraph", "1a", "strict", "", "~"])
def test_a_file_named_like_a_keyword_is_only_a_name(file: str) -> None:
    assert len(nodes(source(only(Function(file, 1, "subgraph"))))) == 1


@requires("dot")
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.text(st.characters()), st.text(st.characters())), min_size=1, max_size=40, unique=True))
def test_any_names_are_read(names: list[tuple[str, str]]) -> None:
    functions = {Function(file, 1, name): Cost(1, 1, 1.0, 40.0) for file, name in names}
    assert len(nodes(source(CallGraph(functions, {})))) == len(functions)


def said(script: str) -> str:
    """Return what a fresh interpreter prints, which imports from where this one does."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [PYTHON, "-c", script]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=60, check=True, text=True).stdout


def test_gprof2dot_is_imported_when_first_used() -> None:
    assert said("import sys, flask_profiling.formats.dot; print('gprof2dot' in sys.modules)") == "False\n"


def test_a_missing_gprof2dot_is_named() -> None:
    script = (
        "import sys; sys.modules['gprof2dot'] = None\n"
        "from tests.formats.calls import recording, written\n"
        "from flask_profiling.errors import Unavailable\n"
        "try: written('dot', recording({}))\n"
        "except Unavailable as error: print(error)"
    )
    assert said(script) == (
        "the call graph needs the package 'gprof2dot', which is not installed; run: pip install gprof2dot\n"
    )


def test_without_calls_there_is_nothing_to_draw() -> None:
    subject = recording({})
    with pytest.raises(Unavailable, match="recorded no calls"):
        written("dot", SessionRecording(subject.session, subject.workers, (), {}, (), {}))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/srv/app/shop/pages.py", "app.shop.pages"),
        ("/srv/app/lib/util.py", "app.lib.util"),
        ("/srv/app/shop/templates/page.html", "app/shop/templates/page.html"),
        (f"{SITE}/flask/__init__.py", "flask.__init__"),
        ("/usr/lib/python3/dist-packages/redis/client.py", "redis.client"),
        ("/usr/lib/python3.13t/threading.py", "threading"),
        ("C:\\Python311\\Lib\\json\\decoder.py", "json.decoder"),
        ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"),
        ("~", ""),
        ("", ""),
    ],
)
def test_a_file_is_named_as_it_would_be_imported(file: str, name: str) -> None:
    files = ["/srv/app/shop/pages.py", "/srv/app/lib/util.py", "/srv/app/shop/templates/page.html", file]
    assert ModuleNames(files).of(file) == name


def test_files_that_share_nothing_keep_their_whole_path() -> None:
    names = ModuleNames(["/srv/a.py", "/home/b.py"])
    assert [names.of("/srv/a.py"), names.of("/home/b.py")] == ["srv.a", "home.b"]


def test_a_lone_file_keeps_its_folder() -> None:
    assert ModuleNames(["/srv/shop/pages.py"]).of("/srv/shop/pages.py") == "shop.pages"
