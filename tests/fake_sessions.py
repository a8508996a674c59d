"""Sessions of the shape that the views call, with nothing behind them; no tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask_profiling.coordination import WorkerState
from flask_profiling.errors import AlreadyRunning, NotRunning
from flask_profiling.model import Artifact, Session, SessionOptions, SessionRecording, WorkerId
from flask_profiling.sessions import Started, Status, Stopped
from flask_profiling.store import Cleaned

BEGIN = 1_772_366_400.25  # 2026-03-01T12:00:00.250Z
HERE = WorkerId("alpha", 811, 5)
THERE = WorkerId("alpha", 812, 6)


def artifact(filename: str, type: str, size: int = 2_400_000, session_id: str = "prof-1") -> Artifact:
    """Make a stored file."""
    return Artifact(session_id, type, filename, size, BEGIN + 46)


@dataclass
class FakeSessions:
    """What :class:`flask_profiling.sessions.Sessions` answers, without profiling anything.

    ``asked`` are the options of every start; ``fault``, once set, is raised by every call.
    """

    asked: list[SessionOptions] = field(default_factory=list)
    stored: list[Artifact] = field(default_factory=list)
    running: Session | None = None
    last: Session | None = None
    seconds: float = 45.21
    collecting: bool = False
    fault: BaseException | None = None
    live: None = None

    def start(self, options: SessionOptions) -> Started:
        self._fail()
        if self.running is not None:
            raise AlreadyRunning("profiling is already running (prof-1); stop it")
        self.asked.append(options)
        self.running = Session(f"prof-{len(self.asked)}", HERE, BEGIN, options)
        return Started(self.running, BEGIN + options.seconds, None, (HERE,), (THERE,), ("one worker is missing",))

    def stop(self) -> Stopped:
        self._fail()
        if self.running is None:
            raise NotRunning("no profiling session is running; start one first")
        began = self.running
        self.running = None
        self.last = Session(
            began.id, HERE, BEGIN, began.options, ended=BEGIN + self.seconds, duration=self.seconds, ended_by="stop"
        )
        self.stored = [
            artifact("profile-prof-1.cpuprofile", "cpuprofile"),
            artifact("heap-prof-1.heapsnapshot", "heapsnapshot", 999),
        ]
        recording = SessionRecording(self.last, (HERE,), (), {}, (), {})
        return Stopped(self.last, tuple(self.stored), (HERE, THERE), (), ("seen in part",), recording)

    def status(self) -> Status:
        self._fail()
        deadline = None if self.running is None else BEGIN + self.running.options.seconds
        workers = (WorkerState(HERE, "prof-1", "profiling"), WorkerState(THERE, "prof-1", "writing"))
        stored = tuple(self.stored)
        return Status(self.running, deadline, workers, self.last, stored, collecting=self.collecting)

    def reports(self) -> tuple[Artifact, ...]:
        self._fail()
        return tuple(self.stored)

    def clean(self) -> Cleaned:
        self._fail()
        cleaned = Cleaned(len(self.stored), len({each.session_id for each in self.stored}))
        self.stored.clear()
        return cleaned

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault
