"""Signals tell an application what happens, and a receiver that fails hurts nobody."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from flask_profiling import Profiling
from flask_profiling.model import Artifact, Session, SessionRecording
from flask_profiling.signals import artifact_written, session_started, session_stopped

SIGNALS = {"started": session_started, "written": artifact_written, "stopped": session_stopped}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_ENV", "development")
    monkeypatch.setenv("PROFILING_ENABLED", "true")
    monkeypatch.setenv("PROFILING_HEAP", "false")
    app = Flask("signalled")
    app.add_url_rule("/", view_func=lambda: "hello", endpoint="index")
    Profiling(app)
    return app


@pytest.fixture
def heard() -> Iterator[list[tuple[str, object, dict[str, object]]]]:
    """What was sent: the signal, the sender, the values."""
    events: list[tuple[str, object, dict[str, object]]] = []
    receivers = {name: (lambda sender, name=name, **values: events.append((name, sender, values))) for name in SIGNALS}
    for name, signal in SIGNALS.items():
        signal.connect(receivers[name])
    yield events
    for name, signal in SIGNALS.items():
        signal.disconnect(receivers[name])


def profile(app: Flask) -> dict[str, object]:
    client = app.test_client()
    assert client.post("/debug/profiling/start").status_code == 200
    assert client.get("/").text == "hello"
    stopped = client.post("/debug/profiling/stop")
    assert stopped.status_code == 200, stopped.text
    answer: dict[str, object] = stopped.get_json()
    return answer


def test_a_session_is_told_from_start_to_stop(app: Flask, heard: list[tuple[str, object, dict[str, object]]]) -> None:
    answer = profile(app)
    names = [name for name, _, _ in heard]
    assert names[0] == "started"
    assert names[-1] == "stopped"
    assert names.count("written") == len(answer["artifacts"]) > 0  # type: ignore[arg-type]
    assert all(sender is app for _, sender, _ in heard)
    started, stopped = heard[0][2], heard[-1][2]
    assert isinstance(started["session"], Session)
    assert started["session"].id == answer["sessionId"]
    assert isinstance(stopped["recording"], SessionRecording)
    for name, _, values in heard:
        if name == "written":
            assert isinstance(values["artifact"], Artifact)
            assert isinstance(values["path"], Path)
            assert values["path"].stat().st_size == values["artifact"].size, "it is whole when it is told"


def test_a_receiver_that_fails_is_logged_and_the_others_are_told(
    app: Flask, heard: list[tuple[str, object, dict[str, object]]], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(sender: object, **values: object) -> None:
        raise ZeroDivisionError("a fault of the application")

    for signal in SIGNALS.values():
        signal.connect(broken)
    try:
        with caplog.at_level(logging.ERROR, logger="flask_profiling"):
            profile(app)
    finally:
        for signal in SIGNALS.values():
            signal.disconnect(broken)
    assert {name for name, _, _ in heard} == set(SIGNALS)
    assert "a receiver of" in caplog.text
    assert "a fault of the application" in caplog.text


def test_an_app_hears_only_of_itself(app: Flask, heard: list[tuple[str, object, dict[str, object]]]) -> None:
    own: list[object] = []

    def listen(sender: object, **values: object) -> None:
        own.append(sender)

    other = Flask("other")
    session_started.connect(listen, sender=other)
    try:
        profile(app)
    finally:
        session_started.disconnect(listen)
    assert own == []
    assert heard
