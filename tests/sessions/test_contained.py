"""A fault of ours goes no further than its log line, of which there is one of each kind."""

from __future__ import annotations

import logging

import pytest

from flask_profiling.errors import StorageFailed
from flask_profiling.sessions.contained import containment


def test_an_action_that_works_runs_with_its_arguments(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []

    def act(*arguments: object, **named: object) -> None:
        seen.append((arguments, named))

    containment()(act, 1, 2, keep=None)
    assert seen == [((1, 2), {"keep": None})]
    assert caplog.records == []


def test_a_failure_on_purpose_is_one_sentence_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(what: str) -> None:
        raise StorageFailed(f"{what} is full; free some room")

    quietly = containment()
    with caplog.at_level(logging.WARNING):
        for what in ("the disk", "the disk", "another disk"):
            quietly(fail, what)
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("profiling: the disk is full; free some room", None),
        ("profiling: another disk is full; free some room", None),
    ]


def test_any_other_failure_is_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def collect() -> None:
        raise ZeroDivisionError("a fault of ours")

    quietly = containment()
    with caplog.at_level(logging.WARNING):
        quietly(collect)
        quietly(collect)
    (record,) = caplog.records
    assert record.getMessage() == "profiling: ZeroDivisionError in collect; the host is not affected"
    assert record.exc_info is not None


def test_each_has_a_memory_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise StorageFailed("full")

    with caplog.at_level(logging.WARNING):
        containment()(fail)
        containment()(fail)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_process_is_not_kept(error: type[BaseException]) -> None:
    def end() -> None:
        raise error

    with pytest.raises(error):
        containment()(end)
