"""What stands in the files of coordination: each reader takes what its writer wrote, and anything else calmly."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.coordination import IDLE, PROFILING, WRITING, WorkerState
from flask_profiling.coordination._records import dumped, loaded, may_live, state_of, worker_of
from flask_profiling.errors import DamagedData
from flask_profiling.model import WorkerId
from flask_profiling.processes import process_started

WORKER = WorkerId("host", 812, 4711)


def test_json_is_ascii_without_a_space_and_comes_back() -> None:
    document = {"name": "caf\xe9 \udcff", "values": [1, 2.5, None, True]}
    assert dumped(document) == b'{"name":"caf\\u00e9 \\udcff","values":[1,2.5,null,true]}'
    assert loaded(dumped(document)) == document


@pytest.mark.parametrize("nothing", [None, b""])
def test_where_there_is_nothing_there_is_null(nothing: bytes | None) -> None:
    assert loaded(nothing) is None


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"[" * 100_000, b"prof", b"{} {}"], ids=range(5))
def test_what_is_no_json_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedData, match="is not JSON"):
        loaded(data)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        loaded(data)
    except DamagedData:
        pass


def test_the_name_of_a_workers_file_is_read() -> None:
    assert worker_of("812-4711-0@host") == WORKER
    assert worker_of("812-4711-12@host.with@more") == WorkerId("host.with@more", 812, 4711)


@pytest.mark.parametrize(
    "name",
    ["", "812-4711-0@", "812-4711-0", "812-4711@host", "-4711-0@host", "812--0@host", "812-4711-@host", "x-4711-0@host",
     "812-x-0@host", "812-4711-x@host", "812-4711-0-1@host", "-812-4711-0@host", "successor", "order.json"],
)  # fmt: skip
def test_any_other_name_is_no_workers(name: str) -> None:
    assert worker_of(name) is None


@given(st.text(max_size=40))
def test_no_name_raises(name: str) -> None:
    worker = worker_of(name)
    assert worker is None or worker.host


@pytest.mark.parametrize("state", [PROFILING, WRITING, IDLE])
def test_the_state_and_the_session_are_read(state: str) -> None:
    assert state_of(WORKER, f"{state} prof-a-0001".encode().ljust(128)) == WorkerState(WORKER, "prof-a-0001", state)


@pytest.mark.parametrize("content", [b"", b" " * 128, b"idle ", b"\xff\x00", b"dancing"])
def test_any_other_state_is_idle(content: bytes) -> None:
    assert state_of(WORKER, content).state == IDLE


def test_a_session_keeps_its_worker_though_the_state_is_unknown() -> None:
    assert state_of(WORKER, b"dancing prof-a-0001") == WorkerState(WORKER, "prof-a-0001", IDLE)


def test_a_worker_of_this_machine_lives_while_its_process_does() -> None:
    here, me = socket.gethostname(), os.getpid()
    assert may_live(WorkerId(here, me, process_started(me)))
    assert not may_live(WorkerId(here, me, process_started(me) + 1))
    assert not may_live(WorkerId(here, 2**31 - 1, 1))


def test_a_worker_of_which_nothing_can_be_known_may_live() -> None:
    here = socket.gethostname()
    assert may_live(WorkerId(f"not-{here}", 2**31 - 1, 1))
    assert may_live(WorkerId(here, 2**31 - 1, 0))
    assert may_live(WorkerId(here, os.getpid(), 0))
