"""Conversations: every command that DevTools sends, and everything that it never would."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flask_profiling.inspector import messages, protocol
from flask_profiling.inspector.sources import Sources

from .fakes import PROFILE, Client, FakeTarget, fault


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def client(target: FakeTarget) -> Client:
    return Client(target)


def test_attaching_is_answered_as_devtools_needs_it(client: Client) -> None:
    assert client.result("Profiler.enable") == {}
    events, answer = client.call("Runtime.enable")
    assert [event["method"] for event in events] == ["Runtime.executionContextCreated", "Runtime.consoleAPICalled"]
    assert events[0]["params"]["context"] == {"id": 1, "origin": "", "name": "shop", "uniqueId": "1"}
    assert "Code is never run" in events[1]["params"]["args"][0]["value"]
    assert events[1]["params"]["timestamp"] == 1500
    assert answer["result"] == {}
    assert len(client.result("Debugger.enable")["debuggerId"]) == 32
    assert client.result("Runtime.getIsolateId")["id"]
    assert client.result("Runtime.getHeapUsage") == {"usedSize": 42, "totalSize": 42}
    for method in ("Debugger.setPauseOnExceptions", "Debugger.setBlackboxPatterns", "Runtime.runIfWaitingForDebugger"):
        assert client.result(method) == {}


def test_what_is_told_of_the_protocol_is_answered(client: Client) -> None:
    for method in protocol.COMMANDS:
        error = client.call(method)[1].get("error", {})
        assert error.get("code") != messages.METHOD_NOT_FOUND


def test_the_banner_is_said_once_until_the_domain_is_disabled(client: Client) -> None:
    assert len(client.said("Runtime.enable")) == 1
    assert client.said("Runtime.enable") == []
    client.call("Runtime.disable")
    assert len(client.said("Runtime.enable")) == 1


@pytest.mark.parametrize(
    "method", ["Runtime.evaluate", "Runtime.callFunctionOn", "Runtime.compileScript", "Debugger.evaluateOnCallFrame"]
)
def test_code_is_refused_so_that_the_console_shows_it_in_red(client: Client, method: str) -> None:
    result = client.result(method, expression="1+1")
    assert result["result"]["subtype"] == "error"
    assert result["result"]["className"] == "EvalError"
    assert result["exceptionDetails"]["exception"] == result["result"]
    assert "never runs code" in result["result"]["description"]


@pytest.mark.parametrize(
    "method", ["Network.enable", "Debugger.setScriptSource", "Runtime", "", "__class__", "_answer"]
)
def test_an_unknown_method_is_a_protocol_error(client: Client, method: str) -> None:
    assert client.error(method) == messages.METHOD_NOT_FOUND


def test_a_recording_is_a_session_and_its_artifact_the_answer(client: Client, target: FakeTarget) -> None:
    assert client.result("Profiler.setSamplingInterval", interval=100) == {}
    assert client.result("Profiler.start") == {}
    assert target.running == "prof-1"
    events, answer = client.call("Profiler.stop")
    assert answer["result"]["profile"] == json.loads(PROFILE)
    assert target.running is None
    (note,) = events
    assert note["params"]["type"] == "info"
    assert "prof-1" in note["params"]["args"][0]["value"]
    assert "seen in part" in note["params"]["args"][0]["value"]


def test_a_second_start_of_the_same_client_changes_nothing(client: Client, target: FakeTarget) -> None:
    client.call("Profiler.start")
    assert client.said("Profiler.start") == []
    assert target.started == 1


def test_a_stop_without_a_start_is_a_protocol_error(client: Client) -> None:
    assert client.error("Profiler.stop") == messages.SERVER_ERROR
    assert client.error("HeapProfiler.stopSampling") == messages.SERVER_ERROR


def test_two_clients_record_at_once_and_the_second_is_told_why_it_gets_nothing(target: FakeTarget) -> None:
    first, second = Client(target), Client(target)
    first.call("Profiler.start")
    ((level, text),) = second.said("Profiler.start")
    assert level == "warning"
    assert "already running (prof-1)" in text
    profile = second.result("Profiler.stop")["profile"]
    assert profile["nodes"][0]["children"]
    assert len(profile["samples"]) == len(profile["timeDeltas"]) > 0
    assert profile["endTime"] > profile["startTime"] > 0
    second.conversation.close()
    assert target.running == "prof-1"
    assert first.result("Profiler.stop")["profile"] == json.loads(PROFILE)


def test_a_stop_that_fails_is_an_empty_profile_and_the_reason(client: Client, target: FakeTarget) -> None:
    client.call("Profiler.start")
    target.fault = fault()
    events, answer = client.call("Profiler.stop")
    assert events[0]["params"]["type"] == "error"
    assert "the disk is full" in events[0]["params"]["args"][0]["value"]
    assert answer["result"]["profile"]["samples"]


def test_a_session_without_a_profile_is_said_to_be_empty(client: Client, target: FakeTarget) -> None:
    client.call("Profiler.start")
    target.profiles["prof-1"] = ""
    ((level, text),) = [*client.said("Profiler.stop")]
    assert level == "info"
    assert "prof-1" in text


@pytest.mark.parametrize("ending", ["Profiler.disable", "close"])
def test_a_client_that_goes_away_ends_its_recording(client: Client, target: FakeTarget, ending: str) -> None:
    client.call("Profiler.start")
    if ending == "close":
        client.conversation.close()
    else:
        client.call(ending)
    assert target.running is None
    client.conversation.close()


@pytest.mark.parametrize("error", [fault(), ZeroDivisionError("ours")])
def test_going_away_never_raises(
    client: Client, target: FakeTarget, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    client.call("Profiler.start")
    target.fault = error
    client.conversation.close()
    assert len(caplog.records) == 1


def test_a_fault_of_ours_is_logged_and_answered(
    client: Client, target: FakeTarget, caplog: pytest.LogCaptureFixture
) -> None:
    target.fault = ZeroDivisionError("ours")
    with caplog.at_level(logging.ERROR):
        assert client.error("HeapProfiler.collectGarbage") == messages.SERVER_ERROR
    assert "HeapProfiler.collectGarbage" in caplog.text
    target.fault = None
    assert client.result("HeapProfiler.collectGarbage") == {}
    assert target.collected == 1


@pytest.mark.parametrize("method", ["HeapProfiler.takeHeapSnapshot", "HeapProfiler.stopTrackingHeapObjects"])
def test_a_snapshot_comes_in_chunks_after_its_progress(method: str) -> None:
    content = b'{"snapshot":"' + b"x" * (3 * protocol.CHUNK) + b'"\n}'
    target = FakeTarget(content=content)
    client = Client(target)
    client.call("HeapProfiler.startTrackingHeapObjects")
    events, answer = client.call(method, reportProgress=True)
    assert events[0] == {
        "method": "HeapProfiler.reportHeapSnapshotProgress",
        "params": {"done": 1, "total": 1, "finished": True},
    }
    assert {event["method"] for event in events[1:]} == {"HeapProfiler.addHeapSnapshotChunk"}
    assert "".join(event["params"]["chunk"] for event in events[1:]).encode() == content
    assert len(events) == 5
    assert answer["result"] == {}
    assert target.open_snapshots == 0


def test_a_snapshot_is_made_no_faster_than_it_is_taken() -> None:
    target = FakeTarget(content=b"x" * (100 * protocol.CHUNK))
    answers = Client(target).conversation.receive('{"id":1,"method":"HeapProfiler.takeHeapSnapshot"}')
    next(answers)
    assert target.open_snapshots == 1
    answers.close()  # the client is gone
    assert target.open_snapshots == 0


@pytest.mark.parametrize(
    ("error", "said"), [(fault("no fork here"), "no fork here"), (ZeroDivisionError("ours"), "ZeroDivisionError")]
)
def test_a_snapshot_that_fails_is_an_empty_one_and_the_reason(
    client: Client, target: FakeTarget, error: Exception, said: str
) -> None:
    target.fault = error
    events, answer = client.call("HeapProfiler.takeHeapSnapshot", reportProgress=True)
    assert [event["method"].partition(".")[2] for event in events] == [
        "consoleAPICalled",
        "reportHeapSnapshotProgress",
        "addHeapSnapshotChunk",
    ]
    assert said in events[0]["params"]["args"][0]["value"]
    snapshot = json.loads(events[2]["params"]["chunk"])
    assert len(snapshot["nodes"]) == 5 * snapshot["snapshot"]["node_count"]
    assert len(snapshot["edges"]) == 3 * snapshot["snapshot"]["edge_count"]
    assert answer["result"] == {}


def test_a_snapshot_that_breaks_off_is_said_to_be_incomplete(client: Client, target: FakeTarget) -> None:
    target.content = b"x" * protocol.CHUNK + b"\xff"  # not what a heap engine writes
    events, answer = client.call("HeapProfiler.takeHeapSnapshot")
    assert [event["method"].partition(".")[2] for event in events] == ["addHeapSnapshotChunk", "consoleAPICalled"]
    assert "not complete" in events[1]["params"]["args"][0]["value"]
    assert answer["result"] == {}
    assert target.open_snapshots == 0


def test_a_fault_of_ours_at_start_and_stop_hangs_no_panel(client: Client, target: FakeTarget) -> None:
    target.fault = ZeroDivisionError("ours")
    assert "ZeroDivisionError" in client.said("Profiler.start")[0][1]
    assert client.result("Profiler.stop")["profile"]["samples"]
    target.fault = None
    client.call("Profiler.start")
    target.fault = ZeroDivisionError("ours")
    assert client.result("Profiler.stop")["profile"]["samples"]


def test_allocation_sampling_is_a_session_too(client: Client, target: FakeTarget) -> None:
    assert client.result("HeapProfiler.startSampling", samplingInterval=32768) == {}
    assert target.running == "prof-1"
    assert client.result("HeapProfiler.getSamplingProfile")["profile"]["head"]["children"] == []
    assert client.result("HeapProfiler.stopSampling")["profile"] == json.loads(PROFILE)


def test_allocations_that_cannot_be_sampled_are_an_empty_profile_and_the_reason(target: FakeTarget) -> None:
    client = Client(target)
    target.fault = fault("there is no such engine")
    assert client.said("HeapProfiler.startSampling") == [("warning", "Nothing is recorded: there is no such engine")]
    target.fault = None
    profile = client.result("HeapProfiler.stopSampling")["profile"]
    assert profile["head"]["children"] == []
    assert profile["samples"] == []
    client.call("HeapProfiler.startSampling")
    client.call("HeapProfiler.disable")
    assert target.running is None


def test_a_session_stopped_by_somebody_else_is_offered_once(client: Client, target: FakeTarget) -> None:
    target.last, target.profiles = "prof-old", {"prof-old": PROFILE, "prof-new": PROFILE}
    client.call("Profiler.enable")
    assert client.call("Runtime.getHeapUsage")[0] == []
    target.last = "prof-new"
    ((offer,), _) = client.call("Runtime.getHeapUsage")
    assert offer["method"] == "Profiler.consoleProfileFinished"
    assert offer["params"]["title"] == "prof-new"
    assert offer["params"]["profile"] == json.loads(PROFILE)
    assert client.call("Runtime.getHeapUsage")[0] == []


def test_nothing_is_offered_of_ones_own_or_without_a_profile_or_in_trouble(client: Client, target: FakeTarget) -> None:
    client.call("Profiler.enable")
    client.call("Profiler.start")
    client.call("Profiler.stop")
    assert client.call("Runtime.getHeapUsage")[0] == []
    target.last = "prof-heap-only"
    assert client.call("Runtime.getHeapUsage")[0] == []
    target.last = "prof-3"
    target.fault = fault()
    events, answer = client.call("Runtime.getHeapUsage")
    assert events == []
    assert answer["result"]["usedSize"] == 42


def profile_of(*paths: Path) -> str:
    frames = [{"url": path.as_uri(), "scriptId": str(number), "functionName": "f"} for number, path in enumerate(paths)]
    return json.dumps({"nodes": [{"id": number, "callFrame": frame} for number, frame in enumerate(frames)]})


def test_scripts_are_told_again_whenever_the_debugger_is_enabled(tmp_path: Path, target: FakeTarget) -> None:
    (tmp_path / "app.py").write_text("x = 1\n")
    client = Client(target, sources=Sources(tmp_path))
    client.call("Debugger.enable")
    target.profiles["prof-1"] = profile_of(tmp_path / "app.py")
    client.call("Profiler.start")
    client.call("Debugger.disable")  # as DevTools does while it records
    assert all(event["method"] != "Debugger.scriptParsed" for event in client.call("Profiler.stop")[0])
    ((script,), _) = client.call("Debugger.enable")
    assert script["params"]["url"] == (tmp_path / "app.py").as_uri()
    number = script["params"]["scriptId"]
    assert client.result("Debugger.getScriptSource", scriptId=number) == {"scriptSource": "x = 1\n"}
    assert client.call("Debugger.enable")[0] == []
    assert client.error("Debugger.getScriptSource", scriptId="0") == messages.SERVER_ERROR
    assert client.error("Debugger.getScriptSource", scriptId=1) == messages.INVALID_PARAMS
    assert client.error("Debugger.getScriptSource") == messages.INVALID_PARAMS


KNOWN = sorted({*protocol._METHODS, *protocol._CONSTANT})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
parameters = st.dictionaries(
    st.sampled_from(["interval", "reportProgress", "scriptId", "expression", "objectId"]) | st.text(max_size=3),
    json_values,
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(st.text() | st.binary() | json_values.map(json.dumps))
def test_any_frame_is_answered_with_one_message_of_the_protocol(frame: str | bytes) -> None:
    (answer,) = Client(FakeTarget()).send(frame)
    assert ("error" in answer) != ("result" in answer)


class AnyClients(RuleBasedStateMachine):
    """Two clients that send anything that is known, in any order, with any parameters, and leave when they like."""

    def __init__(self) -> None:
        super().__init__()
        self.target = FakeTarget()
        self.clients = [Client(self.target), Client(self.target)]

    @rule(which=st.integers(0, 1), method=st.sampled_from(KNOWN), params=parameters)
    def command(self, which: int, method: str, params: dict[str, object]) -> None:
        frame = json.dumps({"id": 5, "method": method, "params": params})
        *events, answer = self.clients[which].send(frame)
        assert answer["id"] == 5
        assert ("error" in answer) != ("result" in answer)
        assert answer.get("error", {}).get("code") in (None, messages.INVALID_PARAMS, messages.SERVER_ERROR)
        assert "Internal" not in answer.get("error", {}).get("message", "")
        assert all(set(event) == {"method", "params"} for event in events)

    @rule(which=st.integers(0, 1), taken=st.integers(0, 2))
    def snapshot_that_is_given_up(self, which: int, taken: int) -> None:
        answers = self.clients[which].conversation.receive('{"id":1,"method":"HeapProfiler.takeHeapSnapshot"}')
        for _ in range(taken):
            next(answers, None)
        answers.close()

    @rule(which=st.integers(0, 1))
    def leave(self, which: int) -> None:
        self.clients[which].conversation.close()
        self.clients[which] = Client(self.target)

    @rule()
    def somebody_else_stops(self) -> None:
        if self.target.running is not None:
            self.target.stop(self.target.running)

    @invariant()
    def nothing_leaks(self) -> None:
        assert self.target.open_snapshots == 0
        recorded = [id for client in self.clients for id in client.conversation._recordings.values() if id is not None]
        assert self.target.running is None or recorded.count(self.target.running) == 1

    def teardown(self) -> None:
        for client in self.clients:
            client.conversation.close()
        assert self.target.running is None


TestAnyClients = AnyClients.TestCase
TestAnyClients.settings = settings(max_examples=60, deadline=None)
