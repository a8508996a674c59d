"""The end of a process and its forks: what fails in one machine reaches neither the next one nor the host."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest

from flask_profiling.errors import StorageFailed
from flask_profiling.lifecycle import Lifecycle


@dataclass(eq=False)
class Machine:
    """Notes what is asked of it, and fails as told."""

    failure: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def shut_down(self, *, recycled: bool) -> None:
        self.asked.append(f"shut down, recycled: {recycled}")
        self._fail()

    def forget(self) -> None:
        self.asked.append("forget")
        self._fail()

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


def test_a_machine_that_fails_keeps_no_other_from_its_end(caplog: pytest.LogCaptureFixture) -> None:
    machines = [Machine(ZeroDivisionError("a fault of ours")), Machine(), Machine(StorageFailed("the disk is gone"))]
    lifecycle = Lifecycle()
    lifecycle._machines.update(machines)
    with caplog.at_level(logging.WARNING, "flask_profiling"):
        lifecycle._at_exit()
        lifecycle._at_exit()
    assert [machine.asked for machine in machines] == [["shut down, recycled: False"] * 2] * 3
    said = sorted(record.getMessage() for record in caplog.records)
    assert said == [
        "profiling: ZeroDivisionError in shut_down; the host is not affected",
        "profiling: the disk is gone",
    ]


def test_a_machine_that_fails_in_a_forked_child_keeps_no_other_from_letting_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machines = [Machine(OSError("a fault of ours")), Machine()]
    lifecycle = Lifecycle()
    lifecycle._machines.update(machines)
    lifecycle._after_fork()
    assert [machine.asked for machine in machines] == [["forget"]] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "profiling: OSError in forget; the host is not affected"
    ]
