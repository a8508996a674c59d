"""The ``.cpuprofile`` in the Performance panel of the real DevTools: what it shows is what was recorded."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_profiling.model import CallGraph, CallGraphs, Cost, Function, SessionRecording
from tests.components import import_or_skip, requires
from tests.formats.calls import Call, profiled, recording, written

import_or_skip("playwright")

from tests.browser import devtools  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [requires("chromium", "playwright"), pytest.mark.timeout(300)]

# Milliseconds: DevTools shows one decimal, and moments in the file are right to a microsecond.
SHOWN = 0.06


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with devtools.chromium(tmp_path_factory.mktemp("browser")) as started:
        yield started


def shop() -> SessionRecording:
    """Return a recording of two routes with many short calls side by side, shared functions and recursion."""
    dice = random.Random(7)
    functions = [Function(f"/srv/shop/part{place % 5}.py", 10 + place, f"function_{place}") for place in range(60)]

    def calls(depth: int, above: int) -> tuple[Call, ...]:
        picked = dice.sample(range(max(0, above - 4), 60), dice.randint(2, 5)) if depth else []
        return tuple(Call(functions[place], dice.random() / 300, calls(depth - 1, place)) for place in picked)

    return recording({"GET /": profiled(calls(4, 0)), "POST /checkout": profiled(calls(4, 20))})


def opened(browser: Browser, subject: SessionRecording, directory: Path) -> Page:
    file = directory / "profile.cpuprofile"
    file.write_bytes(written("cpuprofile", subject))
    page = devtools.front_end(browser, "timeline")
    devtools.load_profile(page, file)
    return page


def graphs(subject: SessionRecording) -> CallGraphs:
    data = subject.recordings[0].data
    assert isinstance(data, CallGraphs)
    return data


def test_bottom_up_shows_the_self_time_of_every_function(browser: Browser, tmp_path: Path) -> None:
    subject = shop()
    page = opened(browser, subject, tmp_path)
    devtools.open_tab(page, "Bottom-up")
    shown = {item.name: item for item in devtools.all_activities(page)}
    recorded = graphs(subject).total().functions
    whole = sum(cost.self_time for cost in recorded.values())
    assert len(shown) >= 55
    for function, cost in recorded.items():
        item = shown[function.name]
        assert item.self_time == pytest.approx(cost.self_time * 1000, abs=SHOWN)
        assert item.self_share == pytest.approx(cost.self_time / whole * 100, abs=SHOWN)
        assert item.place == f"{function.file}:{function.line}:1"
    assert {name for name in shown if not name.startswith("(")} == {function.name for function in recorded}
    page.close()


def test_the_call_tree_begins_with_the_routes_and_their_times(browser: Browser, tmp_path: Path) -> None:
    subject = shop()
    page = opened(browser, subject, tmp_path)
    devtools.open_tab(page, "Call tree")
    devtools.wait_until(lambda: devtools.activities(page), "rows of the call tree")
    for item in devtools.activities(page):
        whole = sum(cost.self_time for cost in graphs(subject).routes[item.name].functions.values())
        assert (item.self_time, item.total_time) == (0.0, pytest.approx(whole * 1000, abs=SHOWN))
    assert {item.name for item in devtools.activities(page)} == {"GET /", "POST /checkout"}
    page.close()


def test_the_call_tree_opens_down_to_the_functions(browser: Browser, tmp_path: Path) -> None:
    page_function, render = Function("/srv/shop/pages.py", 12, "page"), Function("~", 0, "<built-in method render>")
    calls = (Call(page_function, 0.25, (Call(render, 0.75),)),)
    page = opened(browser, recording({"GET /": profiled(calls)}), tmp_path)
    devtools.open_tab(page, "Call tree")
    devtools.row(page, "GET /").click()
    for name in ("GET /", "page"):
        devtools.row(page, name).click()
        page.keyboard.press("ArrowRight")
    devtools.row(page, render.name).wait_for()
    assert devtools.activities(page) == [
        ("GET /", "(unknown)", 0.0, 0.0, 1000.0),
        ("page", "/srv/shop/pages.py:12:1", 250.0, 25.0, 1000.0),
        ("<built-in method render>", "(unknown)", 750.0, 75.0, 750.0),
    ]
    page.close()


def test_names_are_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    name = "<img src=x onerror=\"document.title='taken'\">"
    graph = CallGraph(
        {
            Function(f"/srv/{name}.py", 1, name): Cost(1, 1, 0.5, 0.5),
            Function("/srv/\udcff.py", 1, "\ud800"): Cost(1, 1, 0.5, 0.5),
        },
        {},
    )
    page = opened(browser, recording({"GET /</script>": graph}), tmp_path)
    devtools.open_tab(page, "Bottom-up")
    shown = devtools.all_activities(page)
    assert [item.self_time for item in shown] == [500.0, 500.0]
    assert name in {item.name for item in shown}
    assert page.title() != "taken"
    page.close()
