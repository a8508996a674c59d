"""Sessions over many hosts: each host runs its own, a relay carries start and stop between them; no profile travels."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from ..coordination import Coordinator, Order, Relay
from ..errors import AlreadyRunning, CoordinationFailed, NotRunning, ProfilingError, StorageFailed
from ..model import Session, SessionOptions
from .machine import Sessions
from .results import Started, Stopped
from .world import Store, World, repeat

RELAY_INTERVAL = 0.25
ATTENDANCE_INTERVAL = 2.0
START_PATIENCE = 3.0
STOP_PATIENCE = 30.0
# Sessions with less time left than this are not joined any more.
WORTH_JOINING = 0.5


class ManyHosts(Sessions):
    """The sessions of one app on one of many hosts.

    Where the relay does not answer, a session covers this host only, and its notes say so. The relay is asked by a
    thread of its own and by start and stop, never on the way of a request.
    """

    def __init__(
        self,
        *,
        relay: Relay,
        coordinator: Coordinator,
        store: Store,
        world: World,
        auto_generate: bool,
        cleanup_on_exit: bool,
    ) -> None:
        super().__init__(
            coordinator=coordinator,
            store=store,
            world=world,
            auto_generate=auto_generate,
            cleanup_on_exit=cleanup_on_exit,
        )
        self._relay = relay
        self._relayed: set[str] = set()
        self._over: set[str] = set()
        # session -> what this host stored of it: what this worker ended, whoever still takes part in it
        self._ended: dict[str, tuple[str, ...]] = {}
        self._attended_relay_at = float("-inf")
        self._relaying = False

    def start(self, options: SessionOptions, *, session_id: str | None = None) -> Started:
        """Start a session on all hosts; raises what a start on one host raises, AlreadyRunning for any host's."""
        started = super().start(options, session_id=session_id)
        if session_id is not None:  # another host began it
            return started
        try:
            missing = self._published(started.session)
        except AlreadyRunning:
            super().stop(session_id=started.session.id)
            raise
        except CoordinationFailed as error:
            return replace(started, notes=(*started.notes, f"{error.message}; this session covers this host only"))
        notes = [f"host {host} lives and did not answer the start; it may join late" for host in sorted(missing)]
        return replace(started, notes=(*started.notes, *notes))

    def stop(self, *, by: str = "stop", session_id: str | None = None) -> Stopped:
        """Stop the session on all hosts; each stores its own artifacts, and the answer names them by host."""
        unreachable = ""
        try:
            self._catch_up()
        except CoordinationFailed as error:
            unreachable = error.message
        here = self._coordinator.running()
        try:
            stopped = super().stop(by=by, session_id=session_id)
        except StorageFailed:
            if here is not None and self._coordinator.ended(here.session.id):  # it is over, though nothing is stored
                self._note_end(here.session.id, ())
                if here.session.id in self._relayed:
                    self._quietly(self._tell, here.session.id)
            raise
        ended = stopped.session.id
        names = tuple(artifact.filename for artifact in stopped.artifacts)
        self._note_end(ended, names)
        if unreachable:
            return replace(stopped, notes=(*stopped.notes, f"{unreachable}; other hosts are not in this answer"))
        if ended not in self._relayed:
            return replace(stopped, notes=(*stopped.notes, "this session covered this host only"))
        try:
            self._tell(ended)
            hosts, missing = self._stored_elsewhere(ended)
        except CoordinationFailed as error:
            return replace(stopped, notes=(*stopped.notes, f"{error.message}; other hosts are not in this answer"))
        notes = [f"host {host} took part and did not answer the stop in time" for host in sorted(missing)]
        return replace(stopped, hosts=hosts, notes=(*stopped.notes, *notes))

    def forget(self) -> None:
        """In a forked child: see :meth:`Sessions.forget`."""
        self._relaying = False
        self._relay.forget()
        super().forget()

    # -- the relay -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look after the session, as on one host, and listen to the others."""
        if not self._relaying:
            listen = partial(repeat, weakref.ref(self), self._closing, RELAY_INTERVAL, ManyHosts._listen)
            self._world.start_watcher(listen)
            self._relaying = True
        super()._watch()

    def _published(self, session: Session) -> frozenset[str]:
        """Publish a session to the other hosts; returns those that live and did not join in time."""
        relay = self._relay
        if not relay.publish(session, seconds=session.options.seconds):
            running = relay.running()
            name = running[0].id if running else "another session"
            raise AlreadyRunning(f"{name} is running already on another host; stop it, or wait until it ends")
        self._relayed.add(session.id)
        relay.join(session.id)
        others = relay.hosts() - {relay.host}
        self._wait(lambda: others <= relay.joined(session.id), START_PATIENCE)
        return others - relay.joined(session.id)

    def _stored_elsewhere(self, session_id: str) -> tuple[Mapping[str, tuple[str, ...]], frozenset[str]]:
        """Wait for the other hosts; returns what each stored, and who took part and did not answer."""
        relay = self._relay
        self._wait(lambda: relay.joined(session_id) & relay.hosts() <= relay.done(session_id).keys(), STOP_PATIENCE)
        done = relay.done(session_id)
        return done, relay.joined(session_id) - done.keys()

    def _wait(self, condition: Callable[[], bool], patience: float) -> None:
        deadline = self._world.monotonic() + patience
        while not condition() and self._world.monotonic() < deadline:
            self._world.sleep(0.05)

    def _listen(self) -> None:
        self._quietly(self._catch_up)

    def _catch_up(self) -> None:
        """Do here what the other hosts have begun or ended."""
        relay = self._relay
        if self._world.monotonic() >= self._attended_relay_at + ATTENDANCE_INTERVAL:
            relay.attend()
            self._attended_relay_at = self._world.monotonic()
        here = self._coordinator.running()
        # Before the relay is asked: what another thread publishes meanwhile is not taken for lost.
        is_relayed = here is not None and here.session.id in self._relayed
        published = relay.running()
        if published is not None:
            self._tell(published[0].id)
        if here is None:
            self._follow_relay(published)
        elif published is not None and published[0].id == here.session.id:
            self._join(here.session.id)  # again and again: the relay may have forgotten it
        elif is_relayed:
            self._without_order(here)

    def _follow_relay(self, published: tuple[Session, float] | None) -> None:
        if published is None or published[1] <= WORTH_JOINING or published[0].id in self._over:
            return
        # Ended here is ended, whatever a relay that was asked a moment too early, or could not be told, still says.
        if self._coordinator.ended(published[0].id) or self._is_stored(published[0].id):
            self._over.add(published[0].id)
            return
        self._begin_here(*published)

    def _is_stored(self, session_id: str) -> bool:
        return any(artifact.session_id == session_id for artifact in self._store.artifacts())

    def _without_order(self, here: Order) -> None:
        """The relay does not know any more what runs here: another host has ended it, or the relay has lost it."""
        session = here.session
        left = here.deadline - self._world.monotonic()
        if self._relay.ended(session.id):
            self._end_here(session.id)
        elif left > WORTH_JOINING:
            if self._relay.publish(session, seconds=left):
                self._relay.join(session.id)  # at once: else an end before the next look would not be known for one
            else:
                self._relayed.discard(session.id)  # if another host was not just faster, it goes on here alone

    def _note_end(self, session_id: str, names: tuple[str, ...]) -> None:
        self._over.add(session_id)
        self._ended[session_id] = names

    def _tell(self, session_id: str) -> None:
        """Tell the others that this worker ended a session, if it did, and what was stored.

        As often as it is published: who had not heard of the end may have told a relay that lost it.
        """
        names = self._ended.get(session_id)
        if names is not None:
            self._relay.withdraw(session_id)
            self._relay.report(session_id, names)

    def _begin_here(self, session: Session, left: float) -> None:
        try:
            self.start(replace(session.options, seconds=left), session_id=session.id)
        except AlreadyRunning:  # another worker of this host was faster
            pass
        except ProfilingError:
            self._over.add(session.id)
            raise
        self._join(session.id)

    def _join(self, session_id: str) -> None:
        """Say that this host takes part, the first time not before all its workers do, or had the time to."""
        if session_id not in self._relayed:
            self._wait_for_start(session_id)
        self._relayed.add(session_id)
        self._relay.join(session_id)

    def _end_here(self, session_id: str) -> None:
        self._over.add(session_id)
        try:
            stopped = super().stop(session_id=session_id)
        except NotRunning:  # another worker of this host was faster, and reports
            return
        with contextlib.suppress(CoordinationFailed):
            self._relay.report(session_id, tuple(artifact.filename for artifact in stopped.artifacts))
