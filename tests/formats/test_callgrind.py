"""What only callgrind's format promises; the contract of all formats, and their agreement, are tested beside it."""

from __future__ import annotations

from tests.formats.calls import call, written
from tests.formats.trees import Request, Thread, recorded, tree_recording


def test_it_has_the_time_below_each_call() -> None:
    lived = Thread(1, "a", (Request("GET /", (call("page", 0.002, call("render", 0.004)),), own=1000),))
    lines = written("callgrind", tree_recording(recorded(lived))).decode().splitlines()
    assert "summary: 7000000" in lines
    place = lines.index("calls=1 423")
    assert lines[place + 1] == "0 6000000"
    assert lines.count("calls=1 650") == 1


def test_the_file_of_one_call_is_this_to_the_byte() -> None:
    lived = Thread(1, "a", (Request("GET /", (call("page", 0.002),)),))
    assert written("callgrind", tree_recording(recorded(lived))) == (
        b"# callgrind format\nversion: 1\ncreator: flask-profiling\ncmd: prof-20261123-101112-0123abcd\n"
        b"positions: line\nevent: ns : Nanoseconds\nevents: ns\nsummary: 2000000\n\n"
        b"fl=(1) /srv/shop/pages.py\nfn=(1) page:423\n423 2000000\n\n"
        b"fl=(2) ~\nfn=(2) GET /\n0 0\ncfi=(1)\ncfn=(1)\ncalls=1 423\n0 2000000\n\ntotals: 2000000\n"
    )
