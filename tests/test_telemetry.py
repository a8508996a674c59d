"""Trace ids of requests, and what OpenTelemetry is told about sessions."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from flask import Flask

from flask_profiling.telemetry import current_trace_id
from tests.components import requires

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{PARENT}-01"


class TestTheTraceIdOfARequest:
    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            (HEADER, TRACE),
            (f" \t{HEADER} ", TRACE),
            (f"00-{TRACE}-{PARENT}-00", TRACE),
            (f"01-{TRACE}-{PARENT}-01-more", TRACE),
            (f"00-{TRACE}-{PARENT}-01-more", ""),
            (f"ff-{TRACE}-{PARENT}-01", ""),
            (f"00-{'0' * 32}-{PARENT}-01", ""),
            (f"00-{TRACE}-{'0' * 16}-01", ""),
            (f"00-{TRACE.upper()}-{PARENT}-01", ""),
            (f"00-../../{TRACE[6:]}-{PARENT}-01", ""),
            (f"{HEADER},{HEADER}", ""),
            (f"00-{TRACE}-{PARENT}-01\n", ""),
            (f"00-{TRACE}", ""),
            ("", ""),
            (None, ""),
            (17, ""),
        ],
    )
    def test_it_is_the_client_s_where_no_span_is_current(self, header: object, expected: str) -> None:
        assert current_trace_id({} if header is None else {"HTTP_TRACEPARENT": header}) == expected

    @requires("opentelemetry")
    def test_the_current_span_comes_before_the_header(self) -> None:
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

        span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
        with use_span(span):
            assert current_trace_id({"HTTP_TRACEPARENT": HEADER}) == f"{0xABC:032x}"
        assert current_trace_id({"HTTP_TRACEPARENT": HEADER}) == TRACE

    @requires("opentelemetry")
    def test_a_span_of_another_thread_is_not_taken(self) -> None:
        from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

        seen: list[str] = []
        with use_span(NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False))):
            thread = threading.Thread(target=lambda: seen.append(current_trace_id({})))
            thread.start()
            thread.join()
        assert seen == [""]

    @requires("opentelemetry-flask", "opentelemetry-sdk")
    def test_the_instrumented_app_s_span_is_found_after_the_request_has_left_it(self) -> None:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace import get_current_span

        app = Flask("traced")
        inside: list[str] = []
        app.add_url_rule(
            "/", view_func=lambda: inside.append(f"{get_current_span().get_span_context().trace_id:032x}") or "x"
        )
        after: list[str] = []
        FlaskInstrumentor().instrument_app(app, tracer_provider=TracerProvider(shutdown_on_exit=False))
        inner = app.wsgi_app

        def around(environ, start_response):  # type: ignore[no-untyped-def]
            result = inner(environ, start_response)
            after.append(current_trace_id(environ))
            return result

        app.wsgi_app = around  # type: ignore[method-assign]
        try:
            assert app.test_client().get("/").status_code == 200
        finally:
            FlaskInstrumentor().uninstrument_app(app)
        assert after == inside
        assert len(after[0]) == 32

    def test_a_span_that_fails_leaves_the_header(self) -> None:
        class Broken:
            def get_span_context(self) -> object:
                raise RuntimeError("no context")

        environ = {"HTTP_TRACEPARENT": HEADER, "opentelemetry-flask.span_key": Broken()}
        assert current_trace_id(environ) == TRACE

    def test_it_imports_nothing(self) -> None:
        code = (
            "import sys; from flask_profiling.telemetry import current_trace_id; "
            f"assert current_trace_id({{'HTTP_TRACEPARENT': '{HEADER}'}}) == '{TRACE}'; "
            "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
