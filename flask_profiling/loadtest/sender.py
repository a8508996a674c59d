"""Sends a scenario as planned, by threads with a keep-alive connection each, and counts; bounded in time."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from .plan import Plan
from .scenario import Scenario, Step, filled
from .tally import Outcome, Tally, merged

CAPTURE_LIMIT = 1_000_000
# A server that begins again is back within that; one that is gone refuses thousands of requests a second.
PATIENCE_WITHOUT_ANSWER = 3.0
_REFUSED, _TIMED_OUT = ConnectionRefusedError.__name__, TimeoutError.__name__
_CHUNK = 65536
_PAUSE_AFTER_FAILURE, _PAUSE_AFTER_REFUSAL = 0.02, 0.1


@dataclass(frozen=True, slots=True)
class Address:
    """Where the load goes."""

    scheme: str
    host: str
    port: int

    def connect(self, seconds: float) -> http.client.HTTPConnection:
        """Return a connection that is opened with its first request; ``seconds`` bounds each wait."""
        if self.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self.host, self.port, timeout=seconds, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=seconds)


class Load:
    """One load test: :meth:`start` it, look with :meth:`so_far`, :meth:`wait` for its end or :meth:`stop` it.

    ``seconds`` bounds the wait for one answer. An answer with a status of 400 and up is an error, as is none at all.
    """

    def __init__(
        self,
        address: Address,
        scenario: Scenario,
        plan: Plan,
        *,
        seconds: float = 30.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._address = address
        self._scenario = scenario
        self._plan = plan
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._number = 0
        self._begin = 0.0
        self._end = 0.0
        self._late = 0.0
        self._gave_up = ""
        self._last_answer = 0.0
        self._visitors = [_Visitor(self) for _ in range(plan.concurrency)]

    def start(self) -> None:
        """Begin to send."""
        self._begin = self._last_answer = self._clock()
        for visitor in self._visitors:
            visitor.thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``; returns whether all is sent and answered."""
        deadline = self._clock() + seconds
        for visitor in self._visitors:
            visitor.thread.join(max(0.0, deadline - self._clock()))
        return not any(visitor.thread.is_alive() for visitor in self._visitors)

    def stop(self) -> None:
        """Send no more and hang up; returns when every thread has ended."""
        self._over.set()
        for visitor in self._visitors:
            while visitor.thread.is_alive():
                visitor.hang_up()  # again: it may just have been connecting
                visitor.thread.join(0.1)

    def so_far(self) -> tuple[int, int, float]:
        """Return requests, errors and elapsed seconds."""
        tallies = [tally for visitor in self._visitors for tally in list(visitor.tallies.values())]
        return (
            sum(tally.requests for tally in tallies),
            sum(tally.errors for tally in tallies),
            self._clock() - self._begin,
        )

    def outcome(self) -> Outcome:
        """Return what came of it, when all threads have ended."""
        steps = {
            step.label: merged(
                visitor.tallies[step.label] for visitor in self._visitors if step.label in visitor.tallies
            )
            for step in self._scenario.steps
        }
        elapsed = max(self._end, self._begin) - self._begin
        return Outcome(steps, elapsed, self._plan.scheduled(elapsed), self._late, self._gave_up)

    # -- what visitors use ---------------------------------------------------------------------------------------------

    def next(self) -> tuple[int, float] | None:
        """Take the next number and wait until it is due; returns it with the time it was due, or None at the end."""
        with self._lock:
            number = self._number
            due = self._plan.due(number)
            if due is None or self._is_over():
                return None
            self._number += 1
        at = self._begin + due
        if self._plan.rate is None:
            return number, self._clock()
        if self._over.wait(max(0.0, at - self._clock())):
            return None
        with self._lock:
            self._late = max(self._late, self._clock() - at)
        return number, at

    def noted(self, *, answered: bool, reason: str) -> None:
        """Note the end of a request; where nothing was answered for some time, the whole load gives up."""
        now = self._clock()
        with self._lock:
            self._end = max(self._end, now)
            if answered:
                self._last_answer = now
            elif now - self._last_answer > self._patience(reason) and not self._gave_up:
                self._gave_up = f"no request was answered for {now - self._last_answer:.0f} s ({reason})"
                self._over.set()
        if not answered:
            self._over.wait(_PAUSE_AFTER_REFUSAL if reason == _REFUSED else _PAUSE_AFTER_FAILURE)

    def _patience(self, reason: str) -> float:
        return PATIENCE_WITHOUT_ANSWER if reason == _REFUSED else max(PATIENCE_WITHOUT_ANSWER, self._seconds)

    def _is_over(self) -> bool:
        elapsed = self._clock() - self._begin
        return self._over.is_set() or (self._plan.duration is not None and elapsed >= self._plan.duration)


def _without_origin(path: str) -> str:
    """Leave the address out of a captured ``Location``: the load goes where it was sent to, and nowhere else."""
    parts = urlsplit(path)
    return urlunsplit(("", "", parts.path or "/", parts.query, "")) if parts.scheme or parts.netloc else path


class _Visitor:
    """One thread with its connection, its captured values and its counts."""

    def __init__(self, load: Load) -> None:
        self.thread = threading.Thread(target=self._run, name="flask-profiling-load", daemon=True)
        self.tallies: dict[str, Tally] = {}
        self._load = load
        self._connection: http.client.HTTPConnection | None = None
        self._values: dict[str, str] = {}
        self._own = 0

    def hang_up(self) -> None:
        """Make a request that waits for its answer fail now; called by another thread."""
        connected = getattr(self._connection, "sock", None)
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(2)

    def _run(self) -> None:
        load = self._load
        scenario = load._scenario
        while (turn := load.next()) is not None:
            number, due = turn
            step = scenario.step(self._own if scenario.in_order else number)
            self._own += 1
            status, reason = self._visit(step)
            if load._over.is_set() and not status:
                break  # we hung up ourselves
            failed = not status or status >= 400 or bool(reason)
            tally = self.tallies.setdefault(step.label, Tally())
            has_latency = bool(status) or reason == _TIMED_OUT
            tally.add(load._clock() - due if has_latency else None, status=reason or str(status), failed=failed)
            load.noted(answered=bool(status), reason=reason)
            if failed and scenario.in_order:
                self._own, self._values = 0, {}
        self._close()

    def _visit(self, step: Step) -> tuple[int, str]:
        """Send one request; returns the status (0: no answer) and what went wrong, if anything did."""
        try:
            path = _without_origin(filled(step.path, self._values))
            body = None if step.body is None else filled(step.body, self._values).encode()
            headers = {name: filled(value, self._values) for name, value in step.headers}
        except KeyError as error:
            return 0, f"no value for {error.args[0]}"
        for attempt in (1, 2):
            is_fresh = self._connection is None
            try:
                status, answered, content = self._exchange(step, path, body, headers)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._close()
                stale = isinstance(error, (http.client.RemoteDisconnected, ConnectionError)) and not is_fresh
                if stale and attempt == 1 and step.method in ("GET", "HEAD") and not self._load._over.is_set():
                    continue  # the server had closed the idle connection
                return 0, type(error).__name__
            missing = self._keep(step, answered, content)
            return status, f"nothing to capture for {missing}" if missing and status < 400 else ""
        return 0, "closed"

    def _exchange(
        self, step: Step, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._connection is None:
            self._connection = self._load._address.connect(self._load._seconds)
        connection = self._connection
        connection.request(step.method, path, body, {"User-Agent": "flask-profiling-load", **headers})
        response = connection.getresponse()
        content = b""
        while chunk := response.read(_CHUNK):
            if step.captures and len(content) < CAPTURE_LIMIT:
                content += chunk
        if response.will_close:
            self._close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, content

    def _keep(self, step: Step, headers: Mapping[str, str], content: bytes) -> str:
        for capture in step.captures:
            value = capture.value(headers, content)
            if value is None or not value.isprintable():
                return capture.name
            self._values[capture.name] = value
        return ""

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
