"""This worker's share in one running session: its engines, its requests, and the part it brings at the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..engines import Engine, RequestEngine
from ..errors import ProfilingError
from ..model import Part, Recording, RouteTimes, WorkerId, bucket_of

logger = logging.getLogger("flask_profiling")


class Visit:
    """One request on its way through this worker; made by :meth:`Live.begin`, touched by one thread at a time."""

    __slots__ = ("cpu", "cpu_mark", "route", "started", "tokens")

    def __init__(self, route: str, started: float) -> None:
        self.route = route
        self.started = started
        self.cpu = 0.0
        self.cpu_mark = 0.0
        self.tokens: list[tuple[RequestEngine, object]] = []


class _Tally:
    """The requests of one route so far; :class:`RouteTimes` that can still grow."""

    __slots__ = ("buckets", "cpu", "errors", "requests", "wall")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.wall = 0.0
        self.cpu = 0.0
        self.buckets: dict[int, int] = {}

    def add(self, *, wall: float, cpu: float, failed: bool) -> None:
        bucket = bucket_of(wall)
        self.requests += 1
        self.errors += failed
        self.wall += wall
        self.cpu += cpu
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def frozen(self) -> RouteTimes:
        return RouteTimes(self.requests, self.errors, self.wall, self.cpu, dict(self.buckets))


class Live:
    """The running session as this worker lives it.

    ``engines`` are started by the caller. Nothing here raises into a request: an engine that fails is logged once and
    left out.
    """

    def __init__(
        self,
        session_id: str,
        deadline: float,
        *,
        worker: WorkerId,
        engines: Sequence[Engine],
        notes: Sequence[str] = (),
        wall_clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.session_id = session_id
        self.deadline = deadline
        self.worker = worker
        self.engines = tuple(engines)
        self._request_engines = tuple(engine for engine in engines if isinstance(engine, RequestEngine))
        self._failed: set[int] = set()
        self._notes = list(notes)
        self._tallies: dict[str, _Tally] = {}
        self._in_flight = 0
        self._stopped = False
        self._lock = threading.Lock()
        self._wall_clock = wall_clock
        self._cpu_clock = cpu_clock

    def begin(self, route: str) -> Visit:
        """Take a request in; :meth:`resume` must follow in the thread that runs it."""
        with self._lock:
            self._in_flight += 1
        return Visit(route, self._wall_clock())

    def resume(self, visit: Visit) -> None:
        """The calling thread goes on with the request: let the engines see it, last thing before the host's code."""
        visit.cpu_mark = self._cpu_clock()
        if self._stopped:
            return
        for engine in self._request_engines:
            try:
                visit.tokens.append((engine, engine.enter(visit.route)))
            except Exception as error:
                self._log_once(engine, error)

    def pause(self, visit: Visit) -> None:
        """The calling thread leaves the request: first thing after the host's code."""
        tokens = visit.tokens
        while tokens:
            engine, token = tokens.pop()
            try:
                engine.leave(token)
            except Exception as error:
                self._log_once(engine, error)
        visit.cpu += self._cpu_clock() - visit.cpu_mark

    def end(self, visit: Visit, *, failed: bool) -> None:
        """The request is over, its body sent or given up."""
        wall = self._wall_clock() - visit.started
        with self._lock:
            self._in_flight -= 1
            if self._stopped:
                return
            self._tallies.setdefault(visit.route, _Tally()).add(wall=wall, cpu=visit.cpu, failed=failed)

    def end_share(self, visit: Visit) -> None:
        """The visit was a share of a request that is counted elsewhere (an async view in its own thread): add its CPU
        time only."""
        with self._lock:
            self._in_flight -= 1
            if not self._stopped:
                self._tallies.setdefault(visit.route, _Tally()).cpu += visit.cpu

    def stop(self) -> Part:
        """Stop every engine and return this worker's part; called once."""
        with self._lock:
            self._stopped = True
            requests = {route: tally.frozen() for route, tally in self._tallies.items()}
            in_flight = self._in_flight
        recordings = [recording for engine in self.engines if (recording := self._stopped_engine(engine)) is not None]
        if in_flight:
            self._notes.append(
                f"{in_flight} request{'s were' if in_flight > 1 else ' was'} still running in worker {self.worker.pid} "
                "when the session stopped: not counted as requests, and covered only as far as the engine says"
            )
        if self._notes:
            recordings.append(Recording("worker", None, tuple(self._notes)))
        return Part(self.worker, self.session_id, requests, tuple(recordings))

    def abandon(self) -> None:
        """In a forked child: put this process back as it was, and keep nothing."""
        self._stopped = True
        for engine in self.engines:
            with suppress(Exception):
                engine.abandon()

    def _stopped_engine(self, engine: Engine) -> Recording | None:
        try:
            return engine.stop()
        except ProfilingError as error:
            self._notes.append(error.message)
        except Exception as error:
            logger.exception("profiling: an engine failed to stop; its data is lost")
            self._notes.append(
                f"{type(engine).__name__} failed at stop ({type(error).__name__}); its data is lost, see the log"
            )
        return None

    def _log_once(self, engine: RequestEngine, error: Exception) -> None:
        if id(engine) in self._failed:
            return
        self._failed.add(id(engine))
        self._notes.append(
            f"{type(engine).__name__} failed inside a request; what it recorded is incomplete, the log has details"
        )
        logger.warning("profiling: an engine failed inside a request; the request goes on", exc_info=error)
