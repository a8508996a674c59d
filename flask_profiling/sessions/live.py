"""This worker's share in one running session: its engines, its requests, and the part it brings at the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from ..engines import Engine, MeasuredEngine, RequestEngine, SingleRequestEngine
from ..errors import ProfilingError
from ..model import Part, Recording, RouteTimes, WorkerId, bucket_of
from ..model.requests import MOST_TRACED, TracedRequest, slowest_traced
from .pauses import Pauses
from .slow import WITHOUT_CALLS, Finished, SlowLog

logger = logging.getLogger("flask_profiling")

# The part of the wall time of all requests from which on collecting garbage is worth a sentence.
_MUCH_COLLECTING = 0.05


class Visit:
    """One request on its way through this worker; made by :meth:`Live.begin`, touched by one thread at a time.

    ``trace_of`` tells its trace id; ``single`` is what an engine knows it by that tells requests apart, and ``weight``
    about how many bytes that holds; ``shares`` are those parts of it that run in other threads.
    """

    __slots__ = (
        "cpu",
        "cpu_mark",
        "place",
        "route",
        "shares",
        "single",
        "started",
        "thread",
        "tokens",
        "trace_of",
        "weight",
    )

    def __init__(self, route: str, started: float, trace_of: Callable[[], str] | None = None) -> None:
        self.route = route
        self.started = started
        self.trace_of = trace_of
        self.cpu = 0.0
        self.cpu_mark: float | None = None
        self.place: tuple[int, str | None] | None = None
        self.tokens: list[tuple[RequestEngine, object]] = []
        self.thread = ""
        self.single: object = None
        self.weight = 0
        self.shares: list[Visit] = []


class _Tally:
    """The requests of one route so far; :class:`RouteTimes` that can still grow."""

    __slots__ = ("buckets", "cpu", "errors", "requests", "traced", "wall")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.wall = 0.0
        self.cpu = 0.0
        self.buckets: dict[int, int] = {}
        self.traced: tuple[TracedRequest, ...] = ()

    def add(self, *, wall: float, cpu: float, failed: bool) -> None:
        bucket = bucket_of(wall)
        self.requests += 1
        self.errors += failed
        self.wall += wall
        self.cpu += cpu
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def frozen(self) -> RouteTimes:
        return RouteTimes(self.requests, self.errors, self.wall, self.cpu, dict(self.buckets), self.traced)


class Live:
    """The running session as this worker lives it.

    ``engines`` are started by the caller. Requests that take ``slow`` seconds or longer are kept one by one (0: none).
    Nothing here raises into a request: an engine that fails is logged once and left out.
    """

    def __init__(
        self,
        session_id: str,
        deadline: float,
        *,
        worker: WorkerId,
        engines: Sequence[Engine],
        notes: Sequence[str] = (),
        slow: float = 0.0,
        wall_clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.session_id = session_id
        self.deadline = deadline
        self.worker = worker
        self.engines = tuple(engines)
        self._request_engines: tuple[RequestEngine, ...] = tuple(
            engine for engine in engines if isinstance(engine, RequestEngine)
        )
        self._slow = SlowLog(slow) if slow > 0 else None
        single = next((engine for engine in engines if isinstance(engine, SingleRequestEngine)), None)
        self._single = None if self._slow is None else single
        self._open: dict[int, Visit] = {}
        self._failed: set[int] = set()
        self._notes = list(notes)
        self._tallies: dict[str, _Tally] = {}
        self._in_flight = 0
        self._stopped = False
        self._lock = threading.Lock()
        self._wall_clock = wall_clock
        self._cpu_clock = cpu_clock
        # which route each thread (or greenlet) works on; asked late: where gevent has patched threads, it names these
        self._at_work: dict[int, str] = {}
        self._current = threading.get_ident
        self._pauses = Pauses(self._at_work, wall_clock)
        self._pauses.start()

    def begin(self, route: str, *, trace_of: Callable[[], str] | None = None) -> Visit:
        """Take a request in; :meth:`resume` must follow in the thread that runs it."""
        visit = Visit(route, self._wall_clock(), trace_of)
        with self._lock:
            self._in_flight += 1
            if self._slow is not None:
                visit.thread = threading.current_thread().name
                self._open[id(visit)] = visit
        return visit

    def resume(self, visit: Visit) -> None:
        """The calling thread goes on with the request: let the engines see it, last thing before the host's code."""
        visit.cpu_mark = self._cpu_clock()
        if self._stopped:
            return
        thread, routes = self._current(), self._at_work
        visit.place = thread, routes.get(thread)
        routes[thread] = visit.route
        for engine in self._request_engines:
            try:
                token = engine.enter(visit.route) if engine is not self._single else self._entered(visit)
                visit.tokens.append((engine, token))
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
        if visit.place is not None:
            thread, before = visit.place
            visit.place = None
            if before is None:
                self._at_work.pop(thread, None)
            else:
                self._at_work[thread] = before
        if visit.cpu_mark is not None:  # else it never came to the host's code
            visit.cpu += self._cpu_clock() - visit.cpu_mark
            visit.cpu_mark = None

    def end(self, visit: Visit, *, failed: bool, status: int = 0) -> None:
        """The request is over, its body sent or given up; ``status`` is that of its answer (0: it had none)."""
        wall = self._wall_clock() - visit.started
        traced = () if visit.trace_of is None else self._traced(visit, wall)
        with self._lock:
            self._in_flight -= 1
            self._open.pop(id(visit), None)
            is_counted = not self._stopped
            if is_counted:
                tally = self._tallies.get(visit.route)
                if tally is None:
                    tally = self._tallies[visit.route] = _Tally()
                tally.add(wall=wall, cpu=visit.cpu, failed=failed)
                if traced:
                    tally.traced = slowest_traced((*tally.traced, *traced))
        if is_counted and self._slow is not None:
            self._settle(visit)
            if wall >= self._slow.threshold:
                self._keep(self._slow, visit, wall=wall, status=status, is_running=False)
        visit.trace_of = None  # it may know the request, which may know the visit

    def _traced(self, visit: Visit, wall: float) -> tuple[TracedRequest, ...]:
        """Return the request with its trace, if it has one and is among the slowest of its route."""
        tally = self._tallies.get(visit.route)
        if tally is not None and len(tally.traced) == MOST_TRACED and wall <= tally.traced[-1].wall_time:
            return ()
        trace_id = _trace_id(visit)
        cpu = sum(part.cpu for part in (visit, *visit.shares))
        return (TracedRequest(wall, cpu, trace_id),) if trace_id else ()

    def begin_share(self, route: str, *, of: Visit | None) -> Visit:
        """Take in a part of a request that runs in another thread (an async view): of the visit ``of``, where that is
        known."""
        share = Visit(route, self._wall_clock())
        with self._lock:
            self._in_flight += 1
        if of is not None:
            of.shares.append(share)
        return share

    def end_share(self, visit: Visit) -> None:
        """A share is over; the request is counted elsewhere, so add its CPU time only."""
        with self._lock:
            self._in_flight -= 1
            if self._stopped:
                return
            self._tallies.setdefault(visit.route, _Tally()).cpu += visit.cpu
        self._settle(visit)

    def memory(self) -> dict[str, int]:
        """Return the bytes that this worker holds for the session by what holds them, of engines that know."""
        measured = [engine.memory() for engine in self.engines if isinstance(engine, MeasuredEngine)]
        return {what: size for sizes in measured for what, size in sizes.items()}

    def stop(self) -> Part:
        """Stop every engine and return this worker's part; called once."""
        with self._lock:
            self._stopped = True
            requests = self._requests()
            in_flight = self._in_flight
            still_open = list(self._open.values())
        recordings = [recording for engine in self.engines if (recording := self._stopped_engine(engine)) is not None]
        if self._slow is not None:
            recordings.append(self._slow_requests(self._slow, still_open))
        if in_flight:
            self._notes.append(
                f"{in_flight} request{'s were' if in_flight > 1 else ' was'} still running in worker {self.worker.pid} "
                "when the session stopped: not counted as requests, and covered only as far as the engine says"
            )
        if self._notes:
            recordings.append(Recording("worker", None, tuple(self._notes)))
        return Part(self.worker, self.session_id, requests, tuple(recordings))

    def _requests(self) -> dict[str, RouteTimes]:
        """Return the times of each route, and say so where collecting garbage is much of them."""
        pauses = self._pauses
        pauses.stop()
        requests = {route: tally.frozen() for route, tally in self._tallies.items()}
        if pauses.share({route: times.wall_time for route, times in requests.items()}) >= _MUCH_COLLECTING:
            within = sum(pauses.by_route.values())
            often = "once" if pauses.number == 1 else f"{pauses.number} times"
            self._notes.append(
                f"worker {self.worker.pid}: the garbage collector ran {often} and took "
                f"{pauses.seconds:.3f} s, {within:.3f} s of it inside requests, as part of whatever triggered it"
            )
        return {route: replace(times, gc_time=pauses.by_route.get(route, 0.0)) for route, times in requests.items()}

    def abandon(self) -> None:
        """In a forked child: put this process back as it was, and keep nothing."""
        self._stopped = True
        self._pauses.stop()
        for engine in self.engines:
            with suppress(Exception):
                engine.abandon()

    # -- requests one by one -------------------------------------------------------------------------------------------

    def _entered(self, visit: Visit) -> object:
        """Let the engine see this request for itself; its route is known only now."""
        assert self._single is not None
        if visit.single is None:
            visit.single = self._single.begin_request(visit.route)
        return self._single.enter_request(visit.single)

    def _settle(self, visit: Visit) -> None:
        """Let the engine add the request to its route, if it has seen it."""
        if self._single is None or visit.single is None:
            return
        try:
            visit.weight = self._single.end_request(visit.single)
        except Exception as error:
            visit.single = None
            self._log_once(self._single, error)

    def _keep(self, slow: SlowLog, visit: Visit, *, wall: float, status: int, is_running: bool) -> None:
        parts = (visit, *visit.shares)
        slow.offer(
            Finished(
                route=visit.route,
                trace_id=_trace_id(visit),
                wall_time=wall,
                cpu_time=None if is_running else sum(part.cpu for part in parts),
                status=status,
                thread=visit.thread,
                is_running=is_running,
                handles=tuple(part.single for part in parts if part.single is not None),
                weight=sum(part.weight for part in parts),
            )
        )

    def _slow_requests(self, slow: SlowLog, still_open: Sequence[Visit]) -> Recording:
        """Return the slow requests; what runs longer than allowed already is one, as far as it came."""
        for visit in still_open:
            wall = self._wall_clock() - visit.started
            if wall >= slow.threshold:
                self._settle(visit)
                self._keep(slow, visit, wall=wall, status=0, is_running=True)
        notes = () if self._single is not None or not self._request_engines else (WITHOUT_CALLS,)
        try:
            return Recording("slowrequests", slow.frozen(self._single), notes)
        except Exception as error:
            logger.exception("profiling: the calls of slow requests are lost")
            lost = f"the calls of slow requests are lost ({type(error).__name__}); the log has details"
            return Recording("slowrequests", slow.frozen(None), (*notes, lost))

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
        with suppress(Exception):  # a request that is out of stack or memory has none left for logging
            logger.warning("profiling: an engine failed inside a request; the request goes on", exc_info=error)


def _trace_id(visit: Visit) -> str:
    with suppress(Exception):  # the host's tracing is not ours to judge
        return visit.trace_of() if visit.trace_of is not None else ""
    return ""
