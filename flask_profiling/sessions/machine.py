"""The session machine of one worker: start, follow, stop, collect, leave.

A start publishes an order; each worker, by a watcher thread that looks ten times a second, takes part and later
delivers its part; whoever withdraws the order merges the parts. One worker is many workers with n = 1.
"""

from __future__ import annotations

import logging
import threading
import weakref
from functools import partial

from ..coordination import IDLE, PROFILING, WRITING, Coordinator, Order, WorkerState
from ..engines import Engine
from ..errors import NotRunning, ProfilingError
from ..model import Artifact, Part, Session, SessionOptions
from ..telemetry import span
from .collecting import merged, write_artifacts
from .contained import containment
from .live import Live
from .results import Started, Status, Stopped, already_running, lost, one_each, refused, stopped_elsewhere, told_apart
from .world import Cleaned, Store, World, repeat, started_engines

logger = logging.getLogger("flask_profiling")

WATCH_INTERVAL = 0.1
START_PATIENCE = 2.0
STOP_PATIENCE = 5.0
WRITING_PATIENCE = 120.0
EXPIRY_GRACE = 15.0
SHUTDOWN_PATIENCE = 8.0
_LOOKS_BETWEEN_ORPHAN_CHECKS = 20
_NOT_YET = float("inf")


class Sessions:
    """The sessions of one app, seen from one worker.

    ``idle`` is the one attribute that the request path reads while nothing runs; ``live`` is this worker's share in
    the running session, or None.
    """

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        store: Store,
        world: World,
        auto_generate: bool,
        cleanup_on_exit: bool,
    ) -> None:
        self.idle = False
        self.live: Live | None = None
        self._coordinator = coordinator
        self._store = store
        self._world = world
        self._auto_generate = auto_generate
        self._cleanup_on_exit = cleanup_on_exit
        self._quietly = containment()
        self._begin_life()

    def _begin_life(self) -> None:
        self._transition = threading.Lock()
        self._attended = _NOT_YET  # since when, by the monotonic clock
        self._is_watched = False
        self._looks = 0
        self._closing = threading.Event()
        self._left: str | None = None
        self._lost = False  # the session that was left has no end: its order vanished
        self._recovered: list[Order] = []

    # -- what callers use ----------------------------------------------------------------------------------------------

    def attend(self) -> None:
        """Become a worker: join the others, and take part if a session runs.

        Called on a process's first request, and on the next ones while no thread can be had to watch; never raises.
        """
        with self._transition:
            if not (self._is_watched or self._closing.is_set()):
                self._attended = min(self._attended, self._world.monotonic())
                self._quietly(self._coordinator.join, self._world.worker())
                self._quietly(self._follow)
                self._quietly(self._watch)
            self.idle = self.live is None and self._is_watched

    def _watch(self) -> None:
        self._world.start_watcher(partial(repeat, weakref.ref(self), self._closing, WATCH_INTERVAL, Sessions._look))
        self._is_watched = True

    def start(self, options: SessionOptions, *, session_id: str | None = None) -> Started:
        """Start a session in every worker; ``session_id`` is given where another host began it.

        Raises AlreadyRunning; Unavailable or EngineBusy when this worker cannot collect what is asked; StorageFailed
        or CoordinationFailed when the output directory cannot be used. Then nothing was started anywhere.
        """
        self.attend()
        world = self._world
        session = Session(session_id or world.new_id(), world.worker(), world.now(), options)
        order = Order(session, world.monotonic() + options.seconds)
        with self._transition:
            self._store.prepare()
            self._coordinator.join(world.worker())
            self._follow()
            with self._coordinator.locked():
                running = self._coordinator.running()
                if running is not None:
                    raise already_running(running, now=world.now(), monotonic=world.monotonic())
                self._quietly(self._store.begin, session.id)
                self._publish(order)
        workers, missing = told_apart(self._wait_for_start(session.id), session.id)
        started = Started(
            session=session,
            deadline=session.started + options.seconds,
            devtools_url=world.devtools_url(),
            workers=workers,
            missing=missing,
        )
        self._quietly(world.on_started, started)
        return started

    def stop(self, *, by: str = "stop", session_id: str | None = None) -> Stopped:
        """Stop the running session in every worker, merge what they collected and store it.

        With ``session_id`` only that session. Raises NotRunning, and StorageFailed (DiskFull): when artifacts could not
        be written the session is over all the same, when nobody could be told it goes on; the message says which.
        """
        self.attend()
        with self._transition:
            running = self._coordinator.running()
            if running is None:
                raise self._nothing_to_stop()
            if session_id not in (None, running.session.id):
                raise NotRunning(f"session {session_id} is over, and {running.session.id} is running; see the reports")
            with refused(running), self._coordinator.locked():
                ended = self._withdrawn(running, by="recovered" if self._is_stale(running) else by)
            if ended is None:
                raise stopped_elsewhere(running.session.id)
            part = self._leave_session()
        return self._collect(ended, part)

    def status(self) -> Status:
        """Tell what goes on, and change nothing."""
        order = self._coordinator.running()
        notes: tuple[str, ...] = ()
        if order is not None and self._is_stale(order):
            notes = (
                f"session {order.session.id} was interrupted (its workers ended); it is recovered at the next start",
            )
            order = None
        collecting = self._coordinator.collecting() if order is None else None
        order = order or collecting
        world = self._world
        return Status(
            collecting=collecting is not None,
            session=None if order is None else order.session,
            deadline=None if order is None else world.now() + order.deadline - world.monotonic(),
            workers=one_each(self._coordinator.workers()),
            last=self._coordinator.last(),
            artifacts=self._store.artifacts(),
            notes=notes,
        )

    def reports(self) -> tuple[Artifact, ...]:
        """Return the stored artifacts, newest first."""
        return self._store.artifacts()

    def clean(self) -> Cleaned:
        """Delete all artifacts but those of the running session."""
        running = self._coordinator.running()
        return self._store.clean(keep=None if running is None else running.session.id)

    def shut_down(self, *, recycled: bool = False) -> None:
        """Bring this worker's part before the process ends; the last worker out finishes the session.

        Never raises. ``recycled`` says that the server replaces this worker: the session then waits for the successor.
        """
        self._closing.set()
        if self._attended != _NOT_YET:
            self._quietly(self._end_life, recycled)

    def _end_life(self, recycled: bool) -> None:
        if not self._transition.acquire(timeout=SHUTDOWN_PATIENCE):
            logger.warning("profiling: this worker is busy while the process ends; its part of the session is lost")
            return
        try:
            ended, part = self._depart(recycled=recycled)
        finally:
            self._quietly(self._coordinator.leave)
            self.idle = True
            self._transition.release()
        if ended is not None:
            self._quietly(self._collect, ended, part)
        if self._cleanup_on_exit and not recycled and not self._others(None):
            self._quietly(self._store.clean, keep=None)

    def forget(self) -> None:
        """In a forked child of the host: drop the parent's session without a word, and be ready to join as a worker of
        its own."""
        live, self.live, self.idle = self.live, None, False
        self._begin_life()
        self._coordinator.forget()
        if live is not None:
            live.abandon()

    # -- this worker ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._looks += 1
        self._quietly(self._tick, self._looks % _LOOKS_BETWEEN_ORPHAN_CHECKS == 1)

    def _tick(self, check_orphans: bool) -> None:
        with self._transition:
            if self._closing.is_set():
                return
            self._quietly(self._coordinator.join, self._world.worker())
            self._quietly(self._follow)
            live = self.live
            recovered, self._recovered = self._recovered, []
        for order in recovered:
            self._quietly(self._collect, order, None)
        if live is not None and self._world.monotonic() >= live.deadline:
            self._expire(live)
        if check_orphans:
            for order in self._coordinator.orphans():
                self._quietly(self._collect, order, None)
            self._store.sweep()

    def _expire(self, live: Live) -> None:
        try:
            self.stop(by="deadline", session_id=live.session_id)
        except NotRunning:
            pass
        finally:
            with self._transition:
                if self.live is live:
                    self._leave_session()

    def _follow(self) -> None:
        """Do what the published order says; a dead session found on the way is taken over, to be collected by the
        watcher."""
        order = self._coordinator.running()
        live = self.live
        if live is not None and (order is None or order.session.id != live.session_id):
            self._leave_session()
            self._lost = not self._coordinator.ended(live.session_id)
        if order is None or self.live is not None:
            return
        if order.session.id == self._left and not self._is_stale(order):
            return
        with self._coordinator.locked():
            if self._coordinator.running() != order:
                return
            if not self._is_stale(order):
                self._take_part(order, self._engines(order, strict=False))
                return
            ended = self._withdrawn(order, by="recovered")
        if ended is not None:
            self._recovered.append(ended)

    def _publish(self, order: Order) -> None:
        session_id = order.session.id
        started, notes = self._engines(order, strict=True)
        try:
            self._coordinator.report(session_id, PROFILING)
            self._coordinator.publish(order)
        except BaseException:
            for engine in started:
                self._quietly(engine.stop)
            self._quietly(self._coordinator.report, "", IDLE)
            raise
        self._take_part(order, (started, notes))

    def _take_part(self, order: Order, prepared: tuple[list[Engine], list[str]]) -> None:
        started, notes = prepared
        session_id = order.session.id
        late = self._world.monotonic() - max(order.begun, self._attended)
        if late > START_PATIENCE:  # the start has answered without this worker
            notes.append(f"worker {self._world.worker().pid} joined {late:.1f} s late; what it served before is lost")
        self.live = Live(
            session_id,
            order.deadline,
            worker=self._world.worker(),
            engines=started,
            notes=notes,
            slow=order.session.options.slow,
        )
        self._left, self._lost = None, False
        self.idle = False
        self._quietly(self._coordinator.take_part, session_id)
        self._quietly(self._coordinator.report, session_id, PROFILING)

    def _engines(self, order: Order, *, strict: bool) -> tuple[list[Engine], list[str]]:
        return started_engines(self._world, order.session, self._coordinator.spool(order.session.id), strict=strict)

    def _leave_session(self) -> Part | None:
        """Stop this worker's engines and deliver its part; returns the part for a collector in this process."""
        live = self.live
        if live is None:
            return None
        self._quietly(self._coordinator.report, live.session_id, WRITING)
        self.live, self.idle, self._left = None, True, live.session_id
        with span("leave", {"profiling.session.id": live.session_id}):
            part = live.stop()
            self._quietly(self._coordinator.deliver, part)
        self._quietly(self._coordinator.report, "", IDLE)
        return part

    def _depart(self, *, recycled: bool) -> tuple[Order | None, Part | None]:
        """Leave the session; returns the order when this worker, as the last one, must collect."""
        live = self.live
        part = self._leave_session()
        with self._coordinator.locked():
            order = self._coordinator.running()
            if live is None or order is None or order.session.id != live.session_id or self._others(live.session_id):
                return None, None
            if recycled:
                self._coordinator.expect_successor(live.session_id)
                return None, None
            return self._withdrawn(order, by="shutdown"), part

    # -- the others ----------------------------------------------------------------------------------------------------

    def _others(self, session_id: str | None) -> list[WorkerState]:
        """Return who is in a session, or who lives, when this worker is no more."""
        return [state for state in self._coordinator.workers() if session_id in (None, state.session_id)]

    def _is_stale(self, order: Order) -> bool:
        """Tell whether nobody alive takes part any more, or the session is long over its time."""
        if self._world.monotonic() > order.deadline + EXPIRY_GRACE:
            return True
        if any(state.session_id == order.session.id for state in self._coordinator.workers()):
            return False
        return not self._coordinator.successor_expected(order.session.id)

    def _withdrawn(self, order: Order, *, by: str) -> Order | None:
        ended = order.ended(at=self._world.now(), monotonic=self._world.monotonic(), by=by)
        return ended if self._coordinator.withdraw(ended) else None

    def _wait_for_start(self, session_id: str) -> tuple[WorkerState, ...]:
        deadline = self._world.monotonic() + START_PATIENCE
        while True:
            states = self._coordinator.workers()
            if all(state.session_id == session_id for state in states) or self._world.monotonic() > deadline:
                return states
            self._world.sleep(0.01)

    def _wait_for_parts(self, session_id: str) -> None:
        begun = self._world.monotonic()
        while True:
            states = [state.state for state in self._coordinator.workers() if state.session_id == session_id]
            patience = STOP_PATIENCE if PROFILING in states else WRITING_PATIENCE
            if not states or self._world.monotonic() > begun + patience:
                return
            self._world.sleep(0.01)

    def _collect(self, order: Order, own: Part | None) -> Stopped:
        with span("collect", {"profiling.session.id": order.session.id}) as told:
            stopped = self._brought_in(order, own)
            told |= {"profiling.workers": len(stopped.workers), "profiling.artifacts.count": len(stopped.artifacts)}
        self._quietly(self._world.on_stopped, stopped)
        return stopped

    def _brought_in(self, order: Order, own: Part | None) -> Stopped:
        session_id = order.session.id
        settle = self._coordinator.release
        try:
            self._wait_for_parts(session_id)
            mine = own if own is not None and own.session_id == session_id else None
            parts = self._coordinator.parts(session_id, own=mine)
            participants = self._coordinator.participants(session_id)
            settle = self._coordinator.finish
            recording = merged(order.session, parts, participants, self._world.environment())
            return write_artifacts(
                recording,
                parts,
                store=self._store,
                spool=self._coordinator.spool(session_id),
                auto_generate=self._auto_generate,
            )
        except BaseException as error:
            if not isinstance(error, Exception):  # the end of this process: whoever comes next writes it all
                settle = self._coordinator.release
            raise
        finally:
            self._quietly(settle, order)

    # -- words ---------------------------------------------------------------------------------------------------------

    def _nothing_to_stop(self) -> ProfilingError:
        live = self.live
        if live is not None:
            self._leave_session()
            self._lost = not self._coordinator.ended(live.session_id)
            if not self._lost:
                return stopped_elsewhere(live.session_id)
        if self._lost:
            return lost(self._left)
        return NotRunning("no profiling session is running; start one first")
