"""What only collapsed stacks promise; the contract of all formats, and their agreement, are tested beside it."""

from __future__ import annotations

from flask_profiling.model import Function
from tests.formats.calls import Call, call, profiled, recording, written
from tests.formats.trees import Request, Thread, recorded, tree_recording


def test_an_estimated_tree_keeps_routes_apart() -> None:
    subject = recording({"GET /": profiled([call("page", 0.5)]), "GET /b": profiled([call("page", 0.25)])})
    assert written("collapsed", subject).decode().splitlines() == [
        "GET /;page (shop.pages:423) 500000",
        "GET /b;page (shop.pages:423) 250000",
    ]


def test_the_file_of_a_tree_is_this_to_the_byte() -> None:
    lived = Thread(1, "a", (Request("GET /", (call("page", 0.002, call("render", 0.004)),), own=1000),))
    assert written("collapsed", tree_recording(recorded(lived))) == (
        b"GET / 1000\nGET /;page (shop.pages:423) 2000\nGET /;page (shop.pages:423);render (shop.pages:650) 4000\n"
    )


def test_names_cannot_end_a_stack_or_begin_a_frame() -> None:
    odd = Call(Function("/srv/shop/pages.py", 7, "a;b\n12 c"), 0.001, (Call(Function("", 0, " "), 0.002),))
    lines = written("collapsed", tree_recording(recorded(Thread(1, "a", (Request("GET /", (odd,)),))))).decode()
    assert lines.splitlines() == ["GET /;a,b 12 c (shop.pages:7) 1000", "GET /;a,b 12 c (shop.pages:7);(nameless) 2000"]


def test_a_path_without_a_microsecond_has_no_line() -> None:
    lived = Thread(1, "a", (Request("GET /", (call("page", 4e-7, call("render", 0.001)),)),))
    lines = written("collapsed", tree_recording(recorded(lived))).decode().splitlines()
    assert lines == ["GET /;page (shop.pages:423);render (shop.pages:650) 1000"]
