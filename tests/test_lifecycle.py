"""The end of a process and its forks: what fails in one machine reaches neither the next one nor the host."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flask_profiling.errors import StorageFailed
from flask_profiling.lifecycle import Lifecycle
from tests.pythons import run_alone


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


@pytest.mark.skipif(os.name != "posix", reason="this platform has no signals")
def test_a_second_signal_waits_for_what_the_first_one_has_begun(tmp_path: Path) -> None:
    finished = run_alone(
        """
        import os, signal, time
        from flask_profiling.lifecycle import Lifecycle

        class Machine:
            asked = 0

            def shut_down(self, *, recycled):
                self.asked += 1
                if self.asked == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(1)
                    print("whole", flush=True)

        lifecycle, machine = Lifecycle(), Machine()
        lifecycle.look_after(machine)
        lifecycle.watch_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        tmp_path,
    )
    assert (finished.returncode, finished.stdout) == (-signal.SIGTERM, "whole\n"), finished.stderr
