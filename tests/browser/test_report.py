"""The HTML report in a real browser, opened as a file: it is drawn, answers to mouse and keys, and asks nobody."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

from flask_profiling.model import CallTree, Function, Recording, SessionRecording, SlowRequest, SlowRequests
from tests.components import program, requires
from tests.formats.calls import Call, call, profiled, recording, written
from tests.formats.test_html import HOSTILE, big, hostile
from tests.formats.trees import Request, Thread, recorded, tree_recording

pytestmark = [requires("chromium", "playwright"), pytest.mark.timeout(180)]

LIBRARY = Function("/usr/lib/python3.11/site-packages/jinja2/environment.py", 1200, "render")
CHECKOUT = call("checkout", 0.030, call("price", 0.060), Call(LIBRARY, 0.020, (call("filter", 0.010),)))
PAGE = call("page", 0.040, call("price", 0.020))


def shop() -> SessionRecording:
    """Two threads: one spent 160 ms on two pages, the other 140 ms on a checkout, each with 20 ms around it."""
    one = Thread(812, "Thread-1", (Request("GET /", (PAGE,), own=20_000),) * 2)
    two = Thread(812, "Thread-2", (Request("POST /checkout", (CHECKOUT,), own=20_000),), begin=5000)
    tree: CallTree = recorded(one, two)
    return tree_recording(replace(tree, library=frozenset({tree.functions.index(LIBRARY)})), notes=("Only a test.",))


@dataclass
class Seen:
    """A report in a page, and what the browser had to say about it."""

    page: Page
    complaints: list[str]
    requests: list[str]

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def click_frame(self, row: int, share: float) -> None:
        """Click the flame graph in a row, at a part of its width."""
        box = self.page.locator("#flame").bounding_box()
        assert box is not None
        self.page.mouse.click(box["x"] + share * box["width"], box["y"] + row * 21 + 10)

    def rows(self, table: str) -> list[list[str]]:
        found: list[list[str]] = self.page.eval_on_selector_all(
            f"{table} tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
        browser = playwright.chromium.launch(executable_path=str(program("chromium")), args=flags)
        browser.new_page()
        yield browser
        browser.close()


@contextmanager
def report(
    browser: Browser, path: Path, subject: SessionRecording, *, scheme: str = "light", width: int = 1280
) -> Iterator[Seen]:
    """Open the report of a recording, as :func:`opened` does."""
    with opened(browser, path, written("html", subject), scheme=scheme, width=width) as seen:
        yield seen


@contextmanager
def opened(browser: Browser, path: Path, content: bytes, *, scheme: str = "light", width: int = 1280) -> Iterator[Seen]:
    """Open one of our pages from a file; fails on any complaint of the browser and on any request.

    They share a tab, one after the other: each tab is a process of its own.
    """
    path.write_bytes(content)
    (page,) = browser.contexts[0].pages
    page.emulate_media(media="null", color_scheme=scheme, reduced_motion="null")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.mouse.move(0, 0)
    seen = Seen(page, [], [])
    listeners: dict[str, Callable[[Any], None]] = {
        "console": lambda message: seen.complaints.append(message.text),
        "pageerror": lambda error: seen.complaints.append(str(error)),
        "dialog": lambda dialog: seen.complaints.append(dialog.message),
        "request": lambda request: seen.requests.append(request.url),
    }
    for event, listener in listeners.items():
        page.on(event, listener)  # type: ignore[call-overload]
    try:
        page.goto(path.as_uri())
        page.locator("h1").wait_for()
        yield seen
    finally:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.goto("about:blank")
    assert seen.complaints == []
    assert seen.requests == [path.as_uri()]


@pytest.fixture
def seen(browser: Browser, tmp_path: Path) -> Iterator[Seen]:
    with report(browser, tmp_path / "report.html", shop()) as seen:
        yield seen


def test_it_says_what_the_session_was(seen: Seen) -> None:
    assert seen.text("#session").startswith("prof-")
    assert "300 ms in all" in seen.text("#flame-sum")
    assert seen.rows("#routes")[0][:3] == ["GET /", "2", "0"]
    assert seen.rows("#routes")[1][8].startswith("price42.9 %")
    assert "Only a test." in seen.text("#notes")
    assert seen.rows("#functions")[0] == ["price\npages.py:541", "100 ms", "100 ms", "3"]


def test_a_click_zooms_and_shows_callers_and_callees(seen: Seen) -> None:
    seen.click_frame(2, 0.2)
    assert seen.text("#crumbs").split(" › ") == ["all routes", "GET /", "page"]
    assert seen.text("#flame-sum") == "120 ms in page"
    assert seen.text("#around .self b") == "page"
    assert "price" in seen.text("#around .around > div:last-child")
    seen.page.get_by_role("button", name="Zoom out").click()
    assert seen.text("#flame-sum") == "300 ms in all"


def slow_shop() -> SessionRecording:
    """The shop where the two slowest requests of three were kept, of one of them its calls too."""
    trees = [recorded(Thread(812, "Thread-2", (Request("POST /checkout", (CHECKOUT,), own=20_000),))), None]
    kept = [
        SlowRequest(route, "4bf92f35" * 4, 1.7e9, wall, 0.05, 200, 812, "Thread-2", tree=tree)
        for route, wall, tree in zip(("POST /checkout", "GET /"), (0.14, 0.08), trees, strict=True)
    ]
    plain = shop()
    slow = Recording(SlowRequests.kind, SlowRequests(0.05, 3, tuple(kept)))
    return replace(plain, recordings=(*plain.recordings, slow))


def test_a_slow_request_is_shown_alone(browser: Browser, tmp_path: Path) -> None:
    with report(browser, tmp_path / "report.html", slow_shop()) as seen:
        assert seen.text("#flame-sum") == "300 ms in all"
        assert [row[:4] for row in seen.rows("#sections")] == [
            ["1", "POST /checkout", "140", "50"],
            ["2", "GET /", "80", "50"],
        ]
        assert seen.rows("#routes")[0][:2] == ["GET /", "2"]
        seen.page.locator("#thread").select_option(label="worker 812 · Thread-1")
        seen.page.locator("#sections button").focus()  # that of the first; of the second no calls are known
        seen.page.keyboard.press("Enter")
        assert seen.text("#flame-sum") == "140 ms in all"
        assert seen.page.locator("#route option:checked").inner_text() == "request 1: POST /checkout"
        assert seen.page.locator("#thread").is_disabled()
        assert seen.page.locator("#thread option:checked").inner_text() == "all threads"
        assert seen.text("#around .self dl").split("\n")[-4:] == ["calls", "1", "per call", "60.0 ms"]
        names = [row[0].split("\n")[0] for row in seen.rows("#functions")]
        assert names == ["price", "checkout", "render", "filter"]
        seen.page.locator("#route").select_option(label="all routes")
        assert seen.text("#flame-sum") == "300 ms in all"
        assert seen.page.locator("#thread").is_enabled()
        assert seen.rows("#functions")[0][3] == "3"


def test_search_says_how_much_of_the_time_it_found(seen: Seen) -> None:
    seen.page.keyboard.press("/")
    seen.page.keyboard.type("PRICE")
    assert seen.text("#flame-sum") == "2 frames found, 100 ms (33.3 %)"
    assert [row[0].split("\n")[0] for row in seen.rows("#functions")] == ["price"]
    seen.page.keyboard.press("Enter")
    assert seen.text("#around .self b") == "price"
    seen.page.keyboard.press("Escape")
    assert seen.page.locator("#search").input_value() == ""
    assert seen.text("#flame-sum") == "300 ms in all"


def test_the_keyboard_is_enough(seen: Seen) -> None:
    seen.page.locator("#flame").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"):
        seen.page.keyboard.press(key)
    assert seen.text("#said").startswith("GET /, 160 ms (53.3 %)")
    seen.page.keyboard.press("Enter")
    assert seen.text("#flame-sum") == "160 ms in GET /"
    seen.page.keyboard.press("Escape")
    assert seen.text("#flame-sum") == "300 ms in all"


def test_the_inverted_view_begins_with_what_ran(seen: Seen) -> None:
    seen.page.get_by_text("Inverted").click()
    seen.click_frame(1, 0.1)
    assert seen.text("#crumbs").split(" › ") == ["everything, by own time", "price"]
    assert seen.text("#flame-sum") == "100 ms in price"


def test_routes_and_threads_can_be_looked_at_alone(seen: Seen) -> None:
    seen.page.locator("#route").select_option(label="POST /checkout")
    assert seen.text("#flame-sum") == "140 ms in all"
    seen.page.locator("#route").select_option(label="all routes")
    seen.page.locator("#thread").select_option(label="worker 812 · Thread-2")
    assert seen.text("#flame-sum") == "140 ms in all"
    seen.page.locator("#thread").select_option(label="worker 812 · Thread-1")
    assert seen.text("#flame-sum") == "160 ms in all"


def test_my_code_only_gives_the_time_of_libraries_to_their_callers(seen: Seen) -> None:
    names = [row[0].split("\n")[0] for row in seen.rows("#functions")]
    assert "render" in names
    seen.page.get_by_text("My code only").click()
    assert "render" not in [row[0].split("\n")[0] for row in seen.rows("#functions")]
    seen.page.locator("#routes").get_by_role("button", name="POST /checkout").click()
    seen.click_frame(2, 0.5)
    assert seen.text("#flame-sum") == "120 ms in checkout"
    assert "own 50.0 ms" in seen.text("#said")


def test_a_tooltip_follows_the_mouse(seen: Seen) -> None:
    box = seen.page.locator("#flame").bounding_box()
    assert box is not None
    seen.page.mouse.move(box["x"] + 60, box["y"] + 2 * 21 + 5)
    assert seen.text("#tip").startswith("page\n/srv/shop/pages.py:423\n120 ms (40.0 %) · own 80.0 ms · 2 calls")


def test_tables_are_sorted_by_their_headings(seen: Seen) -> None:
    seen.page.locator("#functions th").nth(3).get_by_role("button").click()
    assert seen.rows("#functions")[0][3] == "3"
    seen.page.locator("#functions th").nth(3).get_by_role("button").click()
    assert seen.rows("#functions")[-1][3] == "3"


def test_the_call_graph_draws_who_calls_whom_and_how_often(seen: Seen) -> None:
    names = seen.page.locator("#graph-stage .node").evaluate_all(
        "nodes => nodes.map(node => node.getAttribute('aria-label'))"
    )
    assert "price 100 ms · own 100 ms, 3 calls" in names
    assert "GET / 160 ms · own 40.0 ms" in names, "a route is requested, not called"
    titles = seen.page.locator("#graph-stage .edge title").evaluate_all(
        "titles => titles.map(title => title.textContent)"
    )
    assert {"page → price: 2 × · 40.0 ms", "checkout → price: 1 × · 60.0 ms"} <= set(titles)
    assert len(titles) == 6
    assert seen.page.locator("#graph-stage .edge rect").first.is_visible()


def test_the_call_graph_answers_to_mouse_and_keys(seen: Seen) -> None:
    seen.page.locator("#graph-stage .node", has_text="checkout").last.click()
    assert seen.text("#around .self b") == "checkout"
    assert seen.page.locator("#graph-stage .edge.near").count() == 3
    seen.page.locator("#graph-stage .node", has_text="render").focus()
    seen.page.keyboard.press("Enter")
    assert seen.text("#around .self b") == "render"
    width = "Number(document.querySelector('#graph-stage svg').getAttribute('width'))"
    before = seen.page.evaluate(width)
    seen.page.get_by_role("button", name="Larger").click()
    assert seen.page.evaluate(width) == pytest.approx(1.25 * before, rel=0.01)
    seen.page.get_by_role("button", name="Whole graph").click()
    assert seen.page.evaluate(
        "(stage => stage.scrollWidth <= stage.clientWidth + 1)(document.getElementById('graph-stage'))"
    )


def test_the_call_graph_follows_the_route_and_is_a_table_too(seen: Seen) -> None:
    seen.page.locator("#route").select_option(label="GET /")
    assert seen.page.locator("#graph-stage .node").count() == 3
    seen.page.get_by_text("The same as a table").click()
    assert seen.rows("#graph-table") == [["GET /", "page", "2", "120 ms"], ["page", "price", "2", "40.0 ms"]]


def test_all_of_the_call_graph_is_within_its_picture(browser: Browser, tmp_path: Path) -> None:
    far = call("e", 0.02)  # called from the first row and from the fourth: a long edge that bends
    chain = call("a", 0.01, call("b", 0.01, call("c", 0.01, call("d", 0.01, far))), far)
    subject = recording({"GET /": profiled([chain, call("other", 0.01, far)])})
    with report(browser, tmp_path / "report.html", subject) as seen:
        outside = """() => {
            const area = (part) => part.getBoundingClientRect();
            const all = area(document.querySelector("#graph-stage svg"));
            const parts = [...document.querySelectorAll("#graph-stage .node, #graph-stage .edge path")].map(area);
            const isBeside = (part) => part.left < all.left - 1 || part.right > all.right + 1;
            const isOut = (part) => isBeside(part) || part.bottom > all.bottom + 1;
            return parts.filter(isOut).length;
        }"""
        assert seen.page.evaluate(outside) == 0
        assert seen.page.locator("#graph-stage .edge").count() == 6


def test_a_call_graph_with_circles_is_drawn(browser: Browser, tmp_path: Path) -> None:
    circle = call("a", 0.01, call("b", 0.01, call("c", 0.01, call("a", 0.01, call("b", 0.01)))), call("a", 0.01))
    subject = recording({"GET /": profiled([circle])})
    with report(browser, tmp_path / "report.html", subject) as seen:
        assert seen.page.locator("#graph-stage .node").count() == 3
        titles = seen.page.locator("#graph-stage .edge title").evaluate_all("all => all.map(one => one.textContent)")
        assert sorted(title.partition(":")[0] for title in titles) == ["a → b", "b → c", "c → a"]
        assert "2 ×" in next(title for title in titles if title.startswith("a → b"))


def background(seen: Seen) -> str:
    return str(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_scheme_of_the_system_and_has_a_switch(browser: Browser, tmp_path: Path, scheme: str) -> None:
    colours = {"light": "rgb(245, 244, 241)", "dark": "rgb(21, 21, 19)"}
    other = {"light": "dark", "dark": "light"}[scheme]
    with report(browser, tmp_path / "report.html", shop(), scheme=scheme) as seen:
        assert background(seen) == colours[scheme]
        seen.page.locator("#theme").click()
        assert background(seen) == colours[other]


@pytest.mark.parametrize("width", [320, 390, 1280, 2560])
def test_nothing_is_wider_than_the_screen(browser: Browser, tmp_path: Path, width: int) -> None:
    with report(browser, tmp_path / "report.html", shop(), width=width) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.locator("#flame").bounding_box()["width"] > width * 0.5 if width < 1300 else True


def test_the_flame_graph_is_drawn(seen: Seen) -> None:
    colours = seen.page.evaluate("""() => {
        const canvas = document.getElementById("flame");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(data.buffer)).size;
    }""")
    assert colours > 10
    assert len(seen.page.screenshot()) > 20_000


def test_hostile_names_are_shown_and_not_run(browser: Browser, tmp_path: Path) -> None:
    with report(browser, tmp_path / "report.html", hostile()) as seen:
        shown = seen.rows("#functions")[1][0]
        assert "</script><script>alert(1)</script>" in shown
        assert "\\u202e" in shown
        assert "\\udc80" in shown
        assert not re.search("[\u202e\u2028]", seen.page.locator("body").inner_text())
        assert seen.page.locator("script").count() == 2
        assert HOSTILE[:9] in seen.text("#notes")


def test_call_graphs_alone_have_a_report_that_marks_what_is_estimated(browser: Browser, tmp_path: Path) -> None:
    shared = call("load", 0.001, call("query", 0.002))
    subject = recording({"GET /": profiled([call("a", 0.010, shared), call("b", 0.010, shared)])})
    with report(browser, tmp_path / "report.html", subject) as seen:
        assert "estimated" in seen.text("#keys")
        seen.page.locator("#functions").get_by_role("button", name="query").click()
        assert "2 calls" in seen.text("#around .around > div:first-child")


def test_callers_and_callees_of_call_graphs_follow_the_route(browser: Browser, tmp_path: Path) -> None:
    routes = {"GET /": [call("page", 0.0, call("query", 0.02))], "POST /": [call("checkout", 0.0, call("query", 0.03))]}
    subject = recording({route: profiled(calls) for route, calls in routes.items()})
    with report(browser, tmp_path / "report.html", subject) as seen:
        callers = seen.page.locator("#around .around > div:first-child button")
        seen.page.locator("#functions").get_by_role("button", name="query").click()
        assert callers.all_inner_texts() == ["checkout", "page"]
        assert "50.0 ms" in seen.text("#around .self")
        seen.page.locator("#route").select_option(label="GET /")
        assert callers.all_inner_texts() == ["page"]
        assert "20.0 ms" in seen.text("#around .self")


def test_lists_that_are_cut_off_say_how_much_is_missing(browser: Browser, tmp_path: Path) -> None:
    callers = [call(f"caller_{number}", 1e-6, call("query", 1e-6)) for number in range(2100)]
    with report(browser, tmp_path / "report.html", recording({"GET /": profiled(callers)})) as seen:
        assert seen.text("#around .self b") == "query"
        assert seen.page.locator("#around li").last.inner_text() == "and 2,088 more"
        seen.page.get_by_role("button", name="show all").click()
        assert len(seen.rows("#functions")) == 2000
        assert seen.text("#functions-sum") == "2,101 functions · showing 2,000"


def test_without_calls_there_is_still_something_to_read(browser: Browser, tmp_path: Path) -> None:
    with report(browser, tmp_path / "report.html", replace(shop(), recordings=())) as seen:
        assert not seen.page.locator("#flame-card").is_visible()
        assert len(seen.rows("#routes")) == 2


NAMELESS = """() => {
    const named = (element) => element.getAttribute("aria-label") || element.textContent.trim()
        || [...(element.labels || [])].map((label) => label.textContent.trim()).join("")
        || document.getElementById(element.getAttribute("aria-labelledby"))?.textContent.trim();
    const all = "button, input, select, summary, canvas, section, nav, [role=button], [tabindex]";
    return [...document.querySelectorAll(all)].filter((element) => !named(element)).map((element) => element.outerHTML);
}"""


def test_every_control_has_a_name(seen: Seen) -> None:
    assert seen.page.evaluate(NAMELESS) == []


def test_paper_is_light_and_the_screen_is_dark_again(browser: Browser, tmp_path: Path) -> None:
    with report(browser, tmp_path / "report.html", shop(), scheme="dark") as seen:
        seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert background(seen) == "rgb(245, 244, 241)"
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert not seen.page.locator("#route").is_visible()
        seen.page.emulate_media(media="screen", color_scheme="dark")
        seen.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert background(seen) == "rgb(21, 21, 19)"


def test_nothing_moves_where_the_system_asks_for_stillness(seen: Seen) -> None:
    duration = "getComputedStyle(document.querySelector('.switch span')).transitionDuration"
    assert seen.page.evaluate(duration) != "0s"
    seen.page.emulate_media(reduced_motion="reduce")
    assert seen.page.evaluate(duration) == "0s"


def test_five_thousand_nodes_can_be_searched_and_turned_around(browser: Browser, tmp_path: Path) -> None:
    with report(browser, tmp_path / "report.html", tree_recording(big(5000))) as seen:
        seen.page.locator("#search").fill("number_12")
        assert "frames found" in seen.text("#flame-sum")
        seen.page.locator("#search").fill("")
        seen.page.get_by_text("Inverted").click()
        assert seen.page.locator("#graph-stage .node").count() == 24
