"""OpenTelemetry, where the host uses it: spans, metrics and trace ids. No session logic here; nothing is exported or
configured by us.

The API package alone is used, and only where the host has loaded it, or names a provider in its environment: without
that there can be no provider, so that importing it would cost memory for nothing. What fails in a tracer, an exporter
or a propagator is logged once, and neither a session nor a request notices.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from . import __version__
from .errors import ProfilingError
from .model import Artifact, Session

logger = logging.getLogger("flask_profiling")

NAME = "flask_profiling"

Value = str | int | float
Told = dict[str, Value]

_PROVIDERS = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")
# version, trace id, parent id, flags, and what later versions may add: https://www.w3.org/TR/trace-context/
_TRACEPARENT = re.compile(
    r"[ \t]*(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?[ \t]*", re.ASCII
)
# Where opentelemetry-instrumentation-flask keeps its server span, which is over when the request leaves the app.
_FLASK_SPAN = "opentelemetry-flask.span_key"
_said: set[str] = set()


@contextmanager
def span(name: str, told: Mapping[str, Value], *, environ: Mapping[str, object] | None = None) -> Iterator[Told]:
    """Let the block, or each call of the function that this decorates, be the span ``flask_profiling.<name>``, with the
    attributes ``told`` and those that the block adds to the yielded mapping.

    Its parent is the current span. Where there is none and ``environ`` is the WSGI environment of a request, it is a
    server span, and its parent the one that the client named. What the block raises goes on: the span has its
    ``error.type``, never its text, and the status *error* where the fault is the server's.
    """
    attributes = dict(told)
    end = _contained(partial(_begin, f"{NAME}.{name}", environ)) if _is_in_use() else None
    if end is None:
        yield attributes
        return
    try:
        yield attributes
    except BaseException as error:
        _contained(partial(end, attributes, error))
        raise
    _contained(partial(end, attributes, None))


def count_session(session: Session, artifacts: Iterable[Artifact]) -> None:
    """Record a session that is over: ``flask_profiling.session.duration`` in ``s``, and what was written, by type, as
    ``flask_profiling.artifacts.written`` in ``By``; never raises."""
    if not _is_in_use():
        return
    ended = {"profiling.ended_by": session.ended_by or "unknown", "profiling.cpu": session.options.cpu}

    def record() -> None:
        duration, written = _instruments()
        if session.duration is not None:
            duration.record(session.duration, ended)
        for artifact in artifacts:
            written.add(artifact.size, {"profiling.artifact.type": artifact.type})

    _contained(record)


def trace_source(environ: Mapping[str, object]) -> Callable[[], str] | None:
    """Return what :func:`current_trace_id` will be for this request, to be called later; None where there is nothing
    that could tell."""
    if "HTTP_TRACEPARENT" in environ or "opentelemetry.trace" in sys.modules:
        return partial(current_trace_id, environ)
    return None


def current_trace_id(environ: Mapping[str, object]) -> str:
    """Return the trace that the calling thread's request belongs to, as 32 hexadecimal digits; empty where none does.

    It is that of the current span, else of the span that opentelemetry-instrumentation-flask left in the WSGI
    ``environ``, else the one that the client sent in the W3C header ``traceparent``. Never raises, and imports nothing:
    where the host has not loaded OpenTelemetry there is no span.
    """
    return _of_span(environ) or _of_header(environ.get("HTTP_TRACEPARENT"))


def _is_in_use() -> bool:
    return "opentelemetry.trace" in sys.modules or any(name in os.environ for name in _PROVIDERS)


def _begin(name: str, environ: Mapping[str, object] | None) -> Callable[[Told, BaseException | None], None]:
    """Start a span and make it the current one; returns what ends it."""
    from opentelemetry import context, propagate, trace

    parent = context.get_current()
    kind = trace.SpanKind.INTERNAL
    if environ is not None and not trace.get_current_span(parent).get_span_context().is_valid:
        parent, kind = propagate.extract(_headers(environ), parent), trace.SpanKind.SERVER
    started, reading = time.time_ns(), time.perf_counter_ns()
    begun = trace.get_tracer(NAME, __version__).start_span(name, parent, kind, start_time=started)
    token = context.attach(trace.set_span_in_context(begun, parent))

    def end(attributes: Told, error: BaseException | None) -> None:
        context.detach(token)
        try:
            begun.set_attributes(attributes)
            if error is not None:
                code, status = _code_and_status(error)
                begun.set_attribute("error.type", code)
                if status >= 500:
                    begun.set_status(trace.StatusCode.ERROR)
        finally:
            # As long as it took: by the wall clock, which may be set meanwhile, it could end before it began.
            begun.end(started + time.perf_counter_ns() - reading)

    return end


def _code_and_status(error: BaseException) -> tuple[str, int]:
    return (error.code, error.status) if isinstance(error, ProfilingError) else (type(error).__name__, 500)


def _headers(environ: Mapping[str, object]) -> dict[str, str]:
    """Return the request's headers under their names in lower case, as propagators look them up."""
    return {
        key[5:].replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_") and isinstance(value, str)
    }


@lru_cache(maxsize=1)
def _instruments() -> tuple[Any, Any]:
    from opentelemetry import metrics

    meter = metrics.get_meter(NAME, __version__)
    return (
        meter.create_histogram(f"{NAME}.session.duration", "s", "How long profiling sessions ran."),
        meter.create_counter(f"{NAME}.artifacts.written", "By", "How many bytes of artifacts were written."),
    )


def _contained(action: Callable[[], Any]) -> Any:
    """Return what the action returns, or None where it fails: each kind of failure is logged once."""
    try:
        return action()
    except Exception as error:
        kind = type(error).__name__
        if kind not in _said:
            _said.add(kind)
            logger.exception("profiling: OpenTelemetry failed (%s); it is left out, sessions and requests go on", kind)
        return None


def _of_span(environ: Mapping[str, object]) -> str:
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return ""
    try:
        spans: tuple[Any, ...] = (api.get_current_span(), environ.get(_FLASK_SPAN))
        for found in spans:
            context = None if found is None else found.get_span_context()
            if context is not None and context.is_valid:
                return f"{context.trace_id:032x}"
    except Exception:  # a span of somebody else's making; without it there is still the header
        pass
    return ""


def _of_header(header: object) -> str:
    found = _TRACEPARENT.fullmatch(header) if isinstance(header, str) else None
    if found is None or (found[1] == "00" and found[3]):
        return ""
    return found[2]
