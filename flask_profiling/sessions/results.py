"""What the session machine answers: frozen values that views, commands and the inspector render, and refusals."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..coordination import IDLE, Order, WorkerState
from ..errors import AlreadyRunning, NotRunning, StorageFailed
from ..model import Artifact, Session, SessionRecording, WorkerId


@dataclass(frozen=True, slots=True)
class Started:
    """A session was started; ``deadline`` is Unix seconds, ``missing`` are workers that did not answer in time."""

    session: Session
    deadline: float
    devtools_url: str | None
    workers: tuple[WorkerId, ...]
    missing: tuple[WorkerId, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stopped:
    """A session was stopped; ``workers`` delivered, ``missing`` took part and did not.

    ``notes`` say what it did not see; ``hosts`` are the names of what each host stored, where there are many.
    """

    session: Session
    artifacts: tuple[Artifact, ...]
    workers: tuple[WorkerId, ...]
    missing: tuple[WorkerId, ...]
    notes: tuple[str, ...]
    recording: SessionRecording
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """What goes on: the session, its deadline (Unix seconds), the live workers, the last session, what is stored.

    ``collecting`` says that the session is stopped and its artifacts are about to be there.
    """

    session: Session | None
    deadline: float | None
    workers: tuple[WorkerState, ...]
    last: Session | None
    artifacts: tuple[Artifact, ...]
    collecting: bool
    notes: tuple[str, ...] = ()


def told_apart(
    states: Sequence[WorkerState], session_id: str
) -> tuple[tuple[WorkerId, ...], tuple[WorkerId, ...]]:
    """Return the processes that take part in the session and those that do not yet, each once: it may serve several
    apps."""
    taking_part = {state.worker: None for state in states if state.session_id == session_id}
    return tuple(taking_part), tuple({state.worker: None for state in states if state.worker not in taking_part})


def one_each(states: Iterable[WorkerState]) -> tuple[WorkerState, ...]:
    """Return one state for each process: that of its busiest app."""
    return tuple({state.worker: state for state in sorted(states, key=lambda state: state.state != IDLE)}.values())


def already_running(order: Order, *, now: float, monotonic: float) -> AlreadyRunning:
    """Return the refusal of a second start; ``now`` is Unix seconds, ``monotonic`` the monotonic clock's reading."""
    session = order.session
    left = max(0.0, order.deadline - monotonic)
    until = time.strftime("%H:%M:%S", time.gmtime(now + left))
    ago = max(0.0, session.options.seconds - left)
    return AlreadyRunning(
        f"profiling is already running ({session.id}, started {ago:.0f} s ago by worker {session.owner.pid}); "
        f"stop it, or wait until {until} UTC"
    )


def stopped_elsewhere(session_id: str) -> NotRunning:
    """Return the refusal of a stop that came a moment after another one."""
    return NotRunning(f"another worker has just stopped session {session_id}; see the reports, or start a new one")


@contextmanager
def refused(order: Order) -> Iterator[None]:
    """Say, in a failure to end a session, what becomes of that one."""
    try:
        yield
    except StorageFailed as error:
        more = f"session {order.session.id} may still run: stop it again when that is mended, or wait for its deadline"
        raise type(error)(f"{error.message} ({more})") from error


def lost(session_id: str | None) -> StorageFailed:
    """Return what is told where a session's files vanished while it ran."""
    return StorageFailed(
        f"session {session_id} is lost: the output directory was deleted or replaced while it ran; start a new one"
    )
