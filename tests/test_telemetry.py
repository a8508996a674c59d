"""Trace ids of requests, and what OpenTelemetry is told about sessions."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_profiling import Profiling, telemetry
from flask_profiling.archive import load
from flask_profiling.errors import BadRequest
from flask_profiling.telemetry import current_trace_id, trace_source
from tests.components import missing, requires
from tests.pythons import run_alone

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{PARENT}-01"
PREFIX = "/debug/profiling"


class Spans:
    """What the one tracer provider of this process exported; one that fails on demand is among its processors."""

    def __init__(self) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        spans = self
        spans.failing = ""

        class Failing(SpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                if spans.failing == "start":
                    raise RuntimeError("no start")

            def on_end(self, span: Any) -> None:
                if spans.failing == "end":
                    raise OSError("no end")

        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(Failing())
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        trace.set_tracer_provider(self.provider)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.all() if span.name == name]

    def all(self) -> tuple[Any, ...]:
        return self.exporter.get_finished_spans()


@pytest.fixture(scope="module")
def tracing() -> Spans:
    return Spans()


@pytest.fixture
def spans(tracing: Spans) -> Iterator[Spans]:
    tracing.exporter.clear()
    yield tracing
    tracing.failing = ""
    tracing.exporter.clear()


@pytest.fixture(scope="module")
def metering() -> Any:
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    return reader


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("FLASK_ENV", "development")
    app = Flask("traced")
    app.config.update(PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR=str(tmp_path / "out"), PROFILING_HEAP=False)
    app.config.update(PROFILING_TOKEN="a-secret-token-that-nobody-may-see", PROFILING_RATE_LIMIT="1000 per minute")
    app.add_url_rule("/", view_func=lambda: "hello", endpoint="index")
    Profiling(app)
    return app


def ask(app: Flask, method: str, name: str, **headers: str) -> Any:
    headers["Authorization"] = f"Bearer {app.config['PROFILING_TOKEN']}"
    return app.test_client().open(f"{PREFIX}/{name}", method=method, headers=headers)


def use_everything(app: Flask) -> None:
    for step in ("POST start", "GET status", "POST stop", "GET reports", "DELETE cleanup"):
        method, _, name = step.partition(" ")
        answer = ask(app, method, name)
        assert answer.status_code == 200, answer.text
        if name == "start":
            assert app.test_client().get("/").status_code == 200


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

    def test_it_is_asked_for_later_where_something_could_tell(self) -> None:
        later = trace_source({"HTTP_TRACEPARENT": HEADER})
        assert later is not None
        assert later() == TRACE

    def test_it_imports_nothing(self) -> None:
        code = (
            "import sys; from flask_profiling.telemetry import current_trace_id, trace_source; "
            f"assert current_trace_id({{'HTTP_TRACEPARENT': '{HEADER}'}}) == '{TRACE}'; "
            "assert trace_source({}) is None; "
            "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@requires("opentelemetry-sdk")
class TestSpans:
    def test_each_endpoint_is_one_and_a_stop_says_where_its_time_went(self, app: Flask, spans: Spans) -> None:
        use_everything(app)
        by_id = {span.context.span_id: span for span in spans.all()}
        tree = sorted((span.name, by_id[span.parent.span_id].name if span.parent else "") for span in by_id.values())
        assert tree == [
            ("flask_profiling.cleanup", ""),
            ("flask_profiling.collect", "flask_profiling.stop"),
            ("flask_profiling.leave", "flask_profiling.stop"),
            ("flask_profiling.merge", "flask_profiling.collect"),
            ("flask_profiling.reports", ""),
            ("flask_profiling.start", ""),
            ("flask_profiling.status", ""),
            ("flask_profiling.stop", ""),
            ("flask_profiling.write", "flask_profiling.collect"),
        ]

    def test_they_say_what_session_it_was_and_what_came_of_it(self, app: Flask, spans: Spans) -> None:
        use_everything(app)
        (start,), (stop,) = spans.named("flask_profiling.start"), spans.named("flask_profiling.stop")
        session = start.attributes["profiling.session.id"]
        assert session.startswith("prof-")
        assert dict(start.attributes) == {"profiling.session.id": session, "profiling.workers": 1}
        assert stop.attributes["profiling.session.id"] == session
        assert stop.attributes["profiling.artifacts.count"] == 4
        assert stop.attributes["profiling.duration_s"] > 0
        (collect,) = spans.named("flask_profiling.collect")
        assert dict(collect.attributes) == {
            "profiling.session.id": session,
            "profiling.workers": 1,
            "profiling.artifacts.count": 4,
        }

    def test_they_hold_no_path_and_no_secret(self, app: Flask, spans: Spans, tmp_path: Path) -> None:
        use_everything(app)
        ask(app, "POST", "stop")
        text = " ".join(span.to_json() for span in spans.all())
        assert "flask_profiling.stop" in text
        assert str(tmp_path) not in text
        assert app.config["PROFILING_TOKEN"] not in text

    def test_a_span_of_ours_continues_the_trace_that_the_client_sent(self, app: Flask, spans: Spans) -> None:
        from opentelemetry.trace import SpanKind

        ask(app, "GET", "status", traceparent=HEADER)
        (status,) = spans.all()
        assert status.kind is SpanKind.SERVER
        assert f"{status.context.trace_id:032x}" == TRACE
        assert f"{status.parent.span_id:016x}" == PARENT

    @requires("opentelemetry-flask")
    @pytest.mark.parametrize("order", ["instrumented first", "profiling first"])
    def test_it_is_a_child_of_the_instrumented_app_s_own_span(
        self, order: str, spans: Spans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor
        from opentelemetry.trace import SpanKind

        monkeypatch.setenv("FLASK_ENV", "development")
        app = Flask("traced")
        app.config.update(PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR=str(tmp_path), PROFILING_HEAP=False)
        app.config.update(PROFILING_TOKEN="")
        instrument = partial(FlaskInstrumentor().instrument_app, tracer_provider=spans.provider)
        for wire in (instrument, Profiling) if order == "instrumented first" else (Profiling, instrument):
            wire(app)
        app.add_url_rule("/", view_func=lambda: "hello", endpoint="index")
        try:
            ask(app, "POST", "start", traceparent=HEADER)
            app.test_client().get("/")
            ask(app, "POST", "stop")
        finally:
            FlaskInstrumentor().uninstrument_app(app)
        servers = [span for span in spans.all() if span.kind is SpanKind.SERVER]
        # older instrumentations leave the method out
        assert [span.name.split()[-1] for span in servers] == [f"{PREFIX}/start", "/", f"{PREFIX}/stop"]
        (start,), (stop,) = spans.named("flask_profiling.start"), spans.named("flask_profiling.stop")
        assert (start.parent.span_id, stop.parent.span_id) == (servers[0].context.span_id, servers[2].context.span_id)
        assert f"{start.context.trace_id:032x}" == TRACE

    def test_a_refusal_has_its_code_and_is_no_error_of_the_server(self, app: Flask, spans: Spans) -> None:
        from opentelemetry.trace import StatusCode

        assert ask(app, "POST", "stop").status_code == 409
        (stop,) = spans.all()
        assert dict(stop.attributes) == {"error.type": "not_running"}
        assert stop.status.status_code is StatusCode.UNSET
        assert stop.events == ()

    def test_a_failure_of_ours_is_an_error_and_its_text_is_kept_to_ourselves(
        self, app: Flask, spans: Spans, tmp_path: Path
    ) -> None:
        from opentelemetry.trace import StatusCode

        (tmp_path / "out").write_text("in the way")
        assert ask(app, "POST", "start").status_code == 500
        (start,) = spans.all()
        assert dict(start.attributes) == {"error.type": "storage_failed"}
        assert (start.status.status_code, start.status.description) == (StatusCode.ERROR, None)

    @pytest.mark.parametrize("moment", ["start", "end"])
    def test_a_tracer_that_fails_costs_nothing_but_its_spans(
        self, moment: str, app: Flask, spans: Spans, caplog: pytest.LogCaptureFixture
    ) -> None:
        telemetry._said.clear()
        spans.failing = moment
        with caplog.at_level(logging.WARNING):
            use_everything(app)
        said = [record for record in caplog.records if "OpenTelemetry failed" in record.getMessage()]
        assert len(said) == 1
        from opentelemetry.trace import get_current_span

        assert not get_current_span().get_span_context().is_valid

    def test_a_propagator_that_fails_costs_nothing_but_its_spans(
        self, app: Flask, spans: Spans, caplog: pytest.LogCaptureFixture
    ) -> None:
        from opentelemetry import propagate
        from opentelemetry.propagators.textmap import TextMapPropagator

        class Failing(TextMapPropagator):
            def extract(self, *_: Any, **__: Any) -> Any:
                raise ValueError("no header is good enough")

            def inject(self, *_: Any, **__: Any) -> None:
                raise ValueError("nor is this one")

            @property
            def fields(self) -> set[str]:
                return set()

        telemetry._said.clear()
        before = propagate.get_global_textmap()
        propagate.set_global_textmap(Failing())
        try:
            with caplog.at_level(logging.WARNING):
                use_everything(app)
        finally:
            propagate.set_global_textmap(before)
        assert len([record for record in caplog.records if "OpenTelemetry failed" in record.getMessage()]) == 1
        assert spans.named("flask_profiling.start") == []


class TestTheWayFromATraceToItsProfile:
    def test_the_recording_holds_the_traces_of_the_slowest_requests(self, app: Flask, tmp_path: Path) -> None:
        ask(app, "POST", "start")
        client = app.test_client()
        client.get("/")
        for number in range(1, 15):
            client.get("/", headers={"traceparent": f"00-{number:032x}-{PARENT}-01"})
        ask(app, "POST", "stop")
        times = load("last", tmp_path / "out").requests["GET / [index]"]
        assert times.requests == 15
        assert len(times.traced) == 10
        assert {request.trace_id for request in times.traced} <= {f"{number:032x}" for number in range(1, 15)}
        assert [request.wall_time for request in times.traced] == sorted(
            (request.wall_time for request in times.traced), reverse=True
        )
        assert all(request.cpu_time > 0 for request in times.traced)

    def test_a_trace_id_finds_its_session(self, app: Flask, tmp_path: Path) -> None:
        sessions = []
        for number in (1, 2, 3):
            ask(app, "POST", "start")
            app.test_client().get("/", headers={"traceparent": f"00-{number:032x}-{PARENT}-01"})
            sessions.append(ask(app, "POST", "stop").get_json()["sessionId"])
        assert load(f"{2:032x}", tmp_path / "out").session.id == sessions[1]
        with pytest.raises(BadRequest, match="no recording in .* holds the trace"):
            load(f"{4:032x}", tmp_path / "out")

    @requires("opentelemetry-flask", "opentelemetry-sdk")
    def test_a_trace_that_begins_in_the_app_is_held_too(
        self, spans: Spans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        monkeypatch.setenv("FLASK_ENV", "development")
        app = Flask("traced")
        app.config.update(PROFILING_ENABLED=True, PROFILING_OUTPUT_DIR=str(tmp_path), PROFILING_HEAP=False)
        app.config.update(PROFILING_TOKEN="")
        app.add_url_rule("/", view_func=lambda: "hello", endpoint="index")
        Profiling(app)
        FlaskInstrumentor().instrument_app(app, tracer_provider=spans.provider)
        try:
            ask(app, "POST", "start")
            app.test_client().get("/")
            ask(app, "POST", "stop")
        finally:
            FlaskInstrumentor().uninstrument_app(app)
        (traced,) = load("last", tmp_path).requests["GET / [index]"].traced
        (span,) = [span for span in spans.all() if span.name in ("GET /", "/")]  # older instrumentations have no method
        assert traced.trace_id == f"{span.context.trace_id:032x}"


@requires("opentelemetry-sdk")
def test_sessions_and_bytes_are_counted(app: Flask, spans: Spans, metering: Any) -> None:
    ask(app, "POST", "start")
    app.test_client().get("/")
    stopped = ask(app, "POST", "stop").get_json()
    reports = {each["type"]: each["sizeBytes"] for each in ask(app, "GET", "reports").get_json()["reports"]}
    (resource,) = metering.get_metrics_data().resource_metrics
    (scope,) = (scope for scope in resource.scope_metrics if scope.scope.name == "flask_profiling")
    found = {metric.name: metric for metric in scope.metrics}
    duration, written = found["flask_profiling.session.duration"], found["flask_profiling.artifacts.written"]
    assert (duration.unit, written.unit) == ("s", "By")
    point = duration.data.data_points[-1]
    assert dict(point.attributes) == {"profiling.ended_by": "stop", "profiling.cpu": "cprofile"}
    assert point.max >= stopped["durationSeconds"] > 0
    sizes = {point.attributes["profiling.artifact.type"]: point.value for point in written.data.data_points}
    assert {type_: sizes[type_] >= size > 0 for type_, size in reports.items()} == dict.fromkeys(reports, True)


SESSION = """
    import sys
    {before}
    from flask import Flask
    from flask_profiling import Profiling

    app = Flask("plain")
    app.config.update(PROFILING_ENABLED=True, PROFILING_HEAP=False)
    app.add_url_rule("/", view_func=lambda: "hello")
    profiling = Profiling(app)
    client = app.test_client()
    header = {{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
    assert client.post("/debug/profiling/start", headers=header).status_code == 200
    assert client.get("/", headers=header).status_code == 200
    stopped = client.post("/debug/profiling/stop", headers=header)
    assert stopped.status_code == 200, stopped.text
    assert len(stopped.get_json()["artifacts"]) == 4
    print(sorted(name for name in sys.modules if name.startswith("opentelemetry")) {after})
"""


@pytest.mark.parametrize(
    ("before", "after", "variables"),
    [
        pytest.param("", "", {}, id="nobody has loaded it"),
        pytest.param("sys.modules['opentelemetry'] = None", "== ['opentelemetry'] and []", {}, id="not installed"),
        pytest.param(
            "sys.modules['opentelemetry'] = None",
            "== ['opentelemetry'] and []",
            {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"},
            id="wanted and not installed",
        ),
        pytest.param("import opentelemetry.trace", "and []", {}, id="no provider"),
        pytest.param(
            "import opentelemetry.trace",
            "and []",
            {"OTEL_PYTHON_TRACER_PROVIDER": "there-is-none", "OTEL_PROPAGATORS": "nor-this"},
            id="impossible provider",
        ),
    ],
)
def test_a_session_needs_no_telemetry(before: str, after: str, variables: dict[str, str], tmp_path: Path) -> None:
    if "import" in before and missing("opentelemetry"):
        pytest.skip(str(missing("opentelemetry")))
    finished = run_alone(SESSION.format(before=before, after=after), tmp_path, **variables, FLASK_ENV="development")
    assert (finished.returncode, finished.stdout) == (0, "[]\n"), finished.stderr
