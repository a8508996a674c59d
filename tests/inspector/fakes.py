"""A target with nothing behind it, and a client that reads answers; no tests."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from flask_profiling.errors import AlreadyRunning, ProfilingError
from flask_profiling.inspector.protocol import EVENTS, Conversation
from flask_profiling.inspector.sources import Sources
from flask_profiling.model import Session, SessionOptions, WorkerId

PROFILE = (
    '{"nodes":[{"id":1,"callFrame":{"url":"","scriptId":"1","functionName":"(root)"},"children":[]}],"samples":[1]}'
)


class FakeTarget:
    """What :class:`flask_profiling.inspector.target.Target` answers; ``fault``, once set, is raised by every call.

    One session runs at a time; ``content`` is the snapshot, which ``takes_for_ever`` until nobody wants it;
    ``profiles`` are the artifacts by session.
    """

    title = "shop"

    def __init__(self, *, content: bytes = b'{"snapshot":{}}') -> None:
        self.content = content
        self.running: str | None = None
        self.started = 0
        self.collected = 0
        self.open_snapshots = 0
        self.takes_for_ever = False
        self.profiles: dict[str, str] = {}
        self.last: str | None = None
        self.fault: Exception | None = None

    def start(self, kind: str) -> str:
        self._fail()
        if self.running is not None:
            raise AlreadyRunning(f"profiling is already running ({self.running}); stop it")
        self.started += 1
        self.running = f"prof-{self.started}"
        return self.running

    def stop(self, session_id: str) -> tuple[str, ...]:
        self._fail()
        if self.running != session_id:
            return ("It was stopped before.",)
        self.running, self.last = None, session_id
        self.profiles.setdefault(session_id, PROFILE)
        return ("seen in part",)

    def profile(self, kind: str, session_id: str) -> str | None:
        self._fail()
        return self.profiles.get(session_id)

    def ended(self) -> Session | None:
        self._fail()
        if self.last is None:
            return None
        return Session(self.last, WorkerId("alpha", 1, 1), 0.0, SessionOptions("calltree", False, 0, 1.0))

    @contextmanager
    def snapshot(self, is_wanted: Callable[[], bool]) -> Iterator[BinaryIO]:
        self._fail()
        self.open_snapshots += 1
        try:
            while self.takes_for_ever and is_wanted():
                time.sleep(0.02)
            yield io.BytesIO(self.content)
        finally:
            self.open_snapshots -= 1

    def collect_garbage(self) -> None:
        self._fail()
        self.collected += 1

    def memory(self) -> int:
        return 42

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault


class Client:
    """One conversation; every answer is checked to be a message of the protocol."""

    def __init__(self, target: Any, *, sources: Sources | None = None) -> None:
        self.conversation = Conversation(target, sources or Sources(None), now=lambda: 1.5)
        self.calls = 0

    def send(self, frame: str | bytes) -> list[dict[str, Any]]:
        return [json.loads(message) for message in self.conversation.receive(frame)]

    def call(self, method: str, **params: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the events, and the answer."""
        self.calls += 1
        *events, answer = self.send(json.dumps({"id": self.calls, "method": method, "params": params}))
        assert answer["id"] == self.calls
        assert all(event["method"] in EVENTS for event in events)
        return events, answer

    def result(self, method: str, **params: object) -> dict[str, Any]:
        result: dict[str, Any] = self.call(method, **params)[1]["result"]
        return result

    def error(self, method: str, **params: object) -> int:
        code: int = self.call(method, **params)[1]["error"]["code"]
        return code

    def said(self, method: str, **params: object) -> list[tuple[str, str]]:
        """Return the lines for the Console that come with an answer."""
        events = self.call(method, **params)[0]
        return [
            (event["params"]["type"], event["params"]["args"][0]["value"])
            for event in events
            if event["method"] == "Runtime.consoleAPICalled"
        ]


def fault(text: str = "the disk is full; delete something") -> ProfilingError:
    return ProfilingError(text)
