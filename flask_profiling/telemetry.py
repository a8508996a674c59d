"""OpenTelemetry, where the host uses it: trace ids of requests. No session logic here, and nothing is ever exported
by us.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

# version, trace id, parent id, flags, and what later versions may add: https://www.w3.org/TR/trace-context/
_TRACEPARENT = re.compile(
    r"[ \t]*(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?[ \t]*", re.ASCII
)
# Where opentelemetry-instrumentation-flask keeps its server span, which is over when the request leaves the app.
_FLASK_SPAN = "opentelemetry-flask.span_key"


def current_trace_id(environ: Mapping[str, object]) -> str:
    """Return the trace that the calling thread's request belongs to, as 32 hexadecimal digits; empty where none does.

    It is that of the current span, else of the span that opentelemetry-instrumentation-flask left in the WSGI
    ``environ``, else the one that the client sent in the W3C header ``traceparent``. Never raises, and imports nothing:
    where the host has not loaded OpenTelemetry there is no span.
    """
    return _of_span(environ) or _of_header(environ.get("HTTP_TRACEPARENT"))


def _of_span(environ: Mapping[str, object]) -> str:
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return ""
    try:
        spans: tuple[Any, ...] = (api.get_current_span(), environ.get(_FLASK_SPAN))
        for span in spans:
            context = None if span is None else span.get_span_context()
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
