"""Coordinators tell the other workers: the protocol they share; each lives in its own module.

There is one published order at most: the running session. Whoever withdraws it owns the collecting. Workers look at
the order, take part, report what they do and deliver their parts; nobody waits for a worker that is dead.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..model import Part, Session, WorkerId, _json

PROFILING = "profiling"
WRITING = "writing"
IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Order:
    """The running session as it is published; ``deadline`` is on this machine's monotonic clock, so that a wall-clock
    jump does not end a session early."""

    session: Session
    deadline: float

    def to_json(self) -> dict[str, object]:
        """Return the session and the deadline."""
        return {"session": self.session.to_json(), "deadline": self.deadline}

    @classmethod
    def from_json(cls, value: object) -> Order:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document: Mapping[str, object] = _json.mapping(value)
        return cls(Session.from_json(document.get("session")), _json.real(document.get("deadline")))

    @property
    def begun(self) -> float:
        """When the session was started, on this machine's monotonic clock."""
        return self.deadline - self.session.options.seconds

    def ended(self, *, at: float, monotonic: float, by: str) -> Order:
        """Return the order of the ended session; ``at`` is Unix time, ``monotonic`` the monotonic clock's reading.

        Where the wall clock was put back meanwhile, the end follows from the duration, so that it is not before the
        start. How long a recovered session went on is not known, but that it was no longer than it might.
        """
        session = self.session
        duration = max(0.0, monotonic - self.begun)
        if by == "recovered":
            duration = min(duration, session.options.seconds)
        at = max(at, session.started + duration)
        return replace(self, session=replace(session, ended=at, duration=duration, ended_by=by))


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a live worker does: ``state`` is ``"profiling"`` or ``"writing"`` for ``session_id``, or ``"idle"``."""

    worker: WorkerId
    session_id: str
    state: str


class Coordinator(Protocol):
    """How the workers of one app agree; every method may raise CoordinationFailed, StorageFailed or DiskFull."""

    def join(self, worker: WorkerId) -> None:
        """Make this process known as a live worker; again is harmless, and heals what was deleted meanwhile."""

    def leave(self) -> None:
        """Make this process unknown again."""

    def forget(self) -> None:
        """In a forked child: let go of what belongs to the parent, without a word to anybody."""

    def locked(self) -> AbstractContextManager[None]:
        """Exclude every other worker while the block runs."""

    def running(self) -> Order | None:
        """Return the published order; cheap, and None where there is none or it is damaged."""

    def publish(self, order: Order) -> None:
        """Publish ``order``; the caller holds the lock and has seen that none is running."""

    def withdraw(self, order: Order) -> bool:
        """Take back the order, now with its end, as the last session; False when somebody else was first.

        The caller then owns the collecting.
        """

    def ended(self, session_id: str) -> bool:
        """Tell whether the session was withdrawn (and not just lost with its directory)."""

    def report(self, session_id: str, state: str) -> None:
        """Say what this worker does."""

    def workers(self) -> tuple[WorkerState, ...]:
        """Return the live workers, this one among them."""

    def expect_successor(self, session_id: str) -> None:
        """Say that this worker leaves to be replaced (recycling), so that the session waits for its successor."""

    def successor_expected(self, session_id: str) -> bool:
        """Tell whether the last worker left to be replaced and its server still lives."""

    def take_part(self, session_id: str) -> None:
        """Note that this worker takes part, so that it can be named if its part never comes."""

    def participants(self, session_id: str) -> tuple[WorkerId, ...]:
        """Return all workers that ever took part."""

    def spool(self, session_id: str) -> Path:
        """Return the private directory for files of this session that are too large to carry."""

    def deliver(self, part: Part) -> None:
        """Hand in this worker's part."""

    def parts(self, session_id: str, *, own: Part | None = None) -> tuple[Part, ...]:
        """Return the parts that were delivered and are whole, and ``own``, which the caller has at hand: it is not read
        again, and is there also where it could not be delivered."""

    def collecting(self) -> Order | None:
        """Return a withdrawn order whose artifacts are not there yet, unless it was recovered (nobody waits for it)."""

    def orphans(self) -> tuple[Order, ...]:
        """Return withdrawn orders whose collector died, and take over their collecting."""

    def release(self, order: Order) -> None:
        """Leave the collecting of a withdrawn order, at which this worker failed, to whoever comes next."""

    def finish(self, order: Order) -> None:
        """Remove the parts of a session that was collected."""

    def last(self) -> Session | None:
        """Return the last session that ended."""


class Relay(Protocol):
    """How hosts agree, where there are many; every method may raise CoordinationFailed, and takes a bounded time."""

    @property
    def host(self) -> str:
        """The name of this host, as the others see it."""

    def running(self) -> tuple[Session, float] | None:
        """Return the published session and the seconds it has left, or None."""

    def publish(self, session: Session, *, seconds: float) -> bool:
        """Publish a session that has so many seconds left; False where one is published already."""

    def ended(self, session_id: str) -> bool:
        """Tell whether somebody ended a published session; what was lost or overwritten was not ended."""

    def withdraw(self, session_id: str) -> bool:
        """Take the session back; False where somebody else was first."""

    def attend(self) -> None:
        """Say that this host lives."""

    def hosts(self) -> frozenset[str]:
        """Return the hosts that were seen lately."""

    def join(self, session_id: str) -> None:
        """Say that this host takes part."""

    def joined(self, session_id: str) -> frozenset[str]:
        """Return the hosts that took part."""

    def report(self, session_id: str, names: tuple[str, ...]) -> None:
        """Say what this host stored."""

    def done(self, session_id: str) -> Mapping[str, tuple[str, ...]]:
        """Return what each host stored, as far as they are done."""

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone."""
