"""One conversation with DevTools: CDP messages in, messages out; no socket, no thread, and no way to run code.

The methods are those that the Performance, Memory, Console and Sources panels need of a ``node`` target. Commands are
answered in order; what belongs to a command (chunks of a snapshot, notes for the Console) goes before its answer.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import BinaryIO

from ..errors import ProfilingError
from . import messages
from .empty import ALLOCATION_PROFILE, CPU_PROFILE, HEAP_SNAPSHOT
from .messages import Call, Refused
from .sources import Sources
from .target import Target

logger = logging.getLogger("flask_profiling")

CHUNK = 1 << 18
REFUSAL = (
    "EvalError: this is a profiler, not a debugger: it never runs code in the Python process. "
    "Use the Performance and Memory panels."
)
_CONTEXT = 1

# The result of a command in JSON, after any number of events; a command that has none returns the result as text.
Answer = Generator[str, None, str]


class Conversation:
    """What one client and one process say to each other.

    ``recordings`` are the sessions of this client by kind; None stands for one that could not be started. The client
    sees nothing of it and gets an empty profile, after the reason in the Console. ``is_heard`` tells whether the client
    is still there; a snapshot that nobody waits for is given up.
    """

    def __init__(
        self,
        target: Target,
        sources: Sources,
        *,
        is_heard: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._target = target
        self._sources = sources
        self._is_heard = is_heard
        self._now = now
        self._enabled: set[str] = set()
        self._recordings: dict[str, str | None] = {}
        self._seen: set[str | None] = set()
        self._told: set[str] = set()
        self._debugger_id = secrets.token_hex(16)

    def receive(self, frame: str | bytes) -> Generator[str, None, None]:
        """Take one frame and yield the messages that answer it; never raises, whatever the frame is.

        The messages are made while they are asked for: a snapshot of any size takes the memory of one chunk.
        """
        try:
            call = messages.read(frame)
        except Refused as error:
            yield messages.refusal(error)
            return
        try:
            result = yield from self._answer(call)
        except Refused as error:
            yield messages.refusal(Refused(error.code, str(error), id=call.id))
        except Exception:
            logger.exception("profiling: %s of an attached DevTools failed", messages.shown(call.method))
            yield messages.refusal(Refused(messages.SERVER_ERROR, "Internal error; see the server's log", id=call.id))
        else:
            yield messages.reply(call.id, result)

    def close(self) -> None:
        """End what the client began: it is gone, or going."""
        for kind in list(self._recordings):
            session_id = self._recordings.pop(kind)
            if session_id is None:
                continue
            try:
                self._target.stop(session_id)
            except ProfilingError as error:
                logger.warning("profiling: %s", error.message)
            except Exception:
                logger.exception("profiling: the session of a DevTools that went away could not be stopped")

    def _answer(self, call: Call) -> Answer:
        if call.method in _CONSTANT:
            return _CONSTANT[call.method]
        handler = _METHODS.get(call.method)
        if handler is None:
            raise Refused(messages.METHOD_NOT_FOUND, f"'{messages.shown(call.method)}' wasn't found")
        answer = handler(self, call.params)
        return answer if isinstance(answer, str) else (yield from answer)

    # -- Runtime, Debugger ---------------------------------------------------------------------------------------------

    def _enable_runtime(self, params: Mapping[str, object]) -> Answer:
        if "Runtime" not in self._enabled:
            self._enabled.add("Runtime")
            context = {"id": _CONTEXT, "origin": "", "name": self._target.title, "uniqueId": "1"}
            yield messages.event("Runtime.executionContextCreated", {"context": context})
            yield self._said(
                "info",
                f"{self._target.title}: a Python process, attached by flask_profiling. Performance > Record is a "
                "profiling session of all its workers; Memory > Take snapshot shows the Python heap of this one. "
                "Code is never run from here.",
            )
        return "{}"

    def _disable_runtime(self, params: Mapping[str, object]) -> str:
        self._enabled.discard("Runtime")
        return "{}"

    def _enable_debugger(self, params: Mapping[str, object]) -> Answer:
        self._enabled.add("Debugger")
        yield from self._parsed()
        return messages.dumped({"debuggerId": self._debugger_id})

    def _disable_debugger(self, params: Mapping[str, object]) -> str:
        """Forget what was told: DevTools disables this domain while it records, and expects all of it again."""
        self._enabled.discard("Debugger")
        self._told.clear()
        return "{}"

    def _isolate(self, params: Mapping[str, object]) -> str:
        return messages.dumped({"id": self._debugger_id[:16]})

    def _heap_usage(self, params: Mapping[str, object]) -> Answer:
        yield from self._offered()
        used = self._target.memory()
        return messages.dumped({"usedSize": used, "totalSize": used})

    def _refuse_code(self, params: Mapping[str, object]) -> str:
        error = {"type": "object", "subtype": "error", "className": "EvalError", "description": REFUSAL}
        details = {"exceptionId": 1, "text": "Uncaught", "lineNumber": 0, "columnNumber": 0, "exception": error}
        return messages.dumped({"result": error, "exceptionDetails": details})

    def _script_source(self, params: Mapping[str, object]) -> str:
        text = self._sources.text(messages.text(params, "scriptId"))
        if text is None:
            raise Refused(messages.SERVER_ERROR, "No script for id")
        return messages.dumped({"scriptSource": text})

    def _said(self, level: str, text: str) -> str:
        """Return a line for the Console; ``level`` is ``"info"``, ``"warning"`` or ``"error"``."""
        return messages.event(
            "Runtime.consoleAPICalled",
            {
                "type": level,
                "args": [{"type": "string", "value": text}],
                "executionContextId": _CONTEXT,
                "timestamp": self._now() * 1000,
            },
        )

    # -- Profiler ------------------------------------------------------------------------------------------------------

    def _enable_profiler(self, params: Mapping[str, object]) -> str:
        if "Profiler" not in self._enabled:
            self._enabled.add("Profiler")
            self._seen.add(self._last_id())
        return "{}"

    def _disable_profiler(self, params: Mapping[str, object]) -> Answer:
        self._enabled.discard("Profiler")
        yield from self._stopped("cpu")
        return "{}"

    def _sampling_interval(self, params: Mapping[str, object]) -> str:
        messages.number(params, "interval")  # calls are not sampled, so it changes nothing
        return "{}"

    def _start_profile(self, params: Mapping[str, object]) -> Answer:
        yield from self._started("cpu")
        return "{}"

    def _stop_profile(self, params: Mapping[str, object]) -> Answer:
        if "cpu" not in self._recordings:
            raise Refused(messages.SERVER_ERROR, "No recording profiles found")
        profile = self._sources.adopt((yield from self._stopped("cpu")) or CPU_PROFILE)
        yield from self._parsed()
        return f'{{"profile":{profile}}}'

    def _parsed(self) -> Iterator[str]:
        """Tell of the scripts that may be shown and were not told yet."""
        if "Debugger" not in self._enabled:
            return
        for number, script in self._sources.parsed.items():
            if number not in self._told:
                self._told.add(number)
                yield messages.event("Debugger.scriptParsed", script)

    def _last_id(self) -> str | None:
        try:
            ended = self._target.ended()
        except ProfilingError:
            return None
        return None if ended is None else ended.id

    def _offered(self) -> Iterator[str]:
        """Offer the profile of a session that somebody else has stopped since the last look."""
        if "Profiler" not in self._enabled or self._recordings:
            return
        session_id = self._last_id()
        if session_id is None or session_id in self._seen:
            return
        self._seen.add(session_id)
        try:
            found = self._target.profile("cpu", session_id)
        except ProfilingError:
            return
        if found is None:
            return
        profile = self._sources.adopt(found)
        yield from self._parsed()
        location = '{"scriptId":"0","lineNumber":0,"columnNumber":0}'
        name = messages.dumped(session_id)
        params = f'{{"id":{name},"location":{location},"title":{name},"profile":{profile}}}'
        yield f'{{"method":"Profiler.consoleProfileFinished","params":{params}}}'

    # -- sessions ------------------------------------------------------------------------------------------------------

    def _started(self, kind: str) -> Iterator[str]:
        """Start a session for a panel; a refusal goes to the Console, for no panel shows it."""
        if kind in self._recordings:
            return
        try:
            self._recordings[kind] = self._target.start(kind)
        except Exception as error:
            self._recordings[kind] = None
            yield self._said("warning", f"Nothing is recorded: {_reason(error)}")

    def _stopped(self, kind: str) -> Generator[str, None, str | None]:
        """Stop the session of a panel and return its profile, or None where there is none, with the reason said."""
        session_id = self._recordings.pop(kind, None)
        if session_id is None:
            return None
        self._seen.add(session_id)
        try:
            notes = self._target.stop(session_id)
            profile = self._target.profile(kind, session_id)
        except Exception as error:
            yield self._said("error", f"Session {session_id} has no profile: {_reason(error)}")
            return None
        if profile is None:
            notes = (*notes, "The recording is empty: there is no profile among its files.")
        yield self._said("info", "\n".join([f"Session {session_id} is stored like any other.", *notes]))
        return profile

    # -- HeapProfiler --------------------------------------------------------------------------------------------------

    def _disable_heap_profiler(self, params: Mapping[str, object]) -> Answer:
        yield from self._stopped("allocations")
        return "{}"

    def _take_snapshot(self, params: Mapping[str, object]) -> Answer:
        """Send a snapshot; where none can be taken an empty one, for on an error the panel waits for ever."""
        reported = messages.switch(params, "reportProgress")
        is_taken = False
        try:
            with self._target.snapshot(self._is_heard) as file:
                is_taken = True
                yield from _sent(file, reported)
        except Exception as error:
            state = "not complete" if is_taken else "empty"
            yield self._said("error", f"The snapshot is {state}: {_reason(error)}")
            if not is_taken:
                yield from _progress(reported)
                yield messages.event("HeapProfiler.addHeapSnapshotChunk", {"chunk": HEAP_SNAPSHOT})
        return "{}"

    def _start_sampling(self, params: Mapping[str, object]) -> Answer:
        yield from self._started("allocations")
        return "{}"

    def _stop_sampling(self, params: Mapping[str, object]) -> Answer:
        if "allocations" not in self._recordings:
            raise Refused(messages.SERVER_ERROR, "Heap profiler is not sampling")
        return f'{{"profile":{(yield from self._stopped("allocations")) or ALLOCATION_PROFILE}}}'

    def _sampling_profile(self, params: Mapping[str, object]) -> str:
        return f'{{"profile":{ALLOCATION_PROFILE}}}'  # there is nothing to see before the stop

    def _collect_garbage(self, params: Mapping[str, object]) -> str:
        self._target.collect_garbage()
        return "{}"


def _reason(error: Exception) -> str:
    """Return what people are told of a failure; one that is not on purpose is logged."""
    if isinstance(error, ProfilingError):
        return error.message
    logger.error("profiling: an attached DevTools met a fault of ours; the host is not affected", exc_info=error)
    return f"the profiler has a fault ({type(error).__name__}); the server's log has details"


def _progress(reported: bool) -> Iterator[str]:
    """Say that the snapshot is finished: without that, before the first chunk, the panel stays empty."""
    if reported:
        yield messages.event("HeapProfiler.reportHeapSnapshotProgress", {"done": 1, "total": 1, "finished": True})


def _sent(file: BinaryIO, reported: bool) -> Iterator[str]:
    yield from _progress(reported)
    while chunk := file.read(CHUNK):
        text = json.dumps(chunk.decode("ascii"))
        yield f'{{"method":"HeapProfiler.addHeapSnapshotChunk","params":{{"chunk":{text}}}}}'


# what is answered without a thought: commands that change nothing here
_CONSTANT: dict[str, str] = dict.fromkeys(
    (
        "Console.enable",
        "Debugger.setAsyncCallStackDepth",
        "Debugger.setBlackboxPatterns",
        "Debugger.setBreakpointsActive",
        "Debugger.setPauseOnExceptions",
        "Debugger.setSkipAllPauses",
        "HeapProfiler.addInspectedHeapObject",
        "HeapProfiler.enable",
        "HeapProfiler.startTrackingHeapObjects",
        "Runtime.discardConsoleEntries",
        "Runtime.releaseObject",
        "Runtime.releaseObjectGroup",
        "Runtime.runIfWaitingForDebugger",
        "Runtime.setAsyncCallStackDepth",
        "Runtime.setMaxCallStackSizeToCapture",
    ),
    "{}",
) | {
    "Runtime.getProperties": '{"result":[]}',
    "Runtime.globalLexicalScopeNames": '{"names":[]}',
    "Schema.getDomains": '{"domains":[]}',
}

_METHODS: dict[str, Callable[[Conversation, Mapping[str, object]], str | Answer]] = {
    "Debugger.disable": Conversation._disable_debugger,
    "Debugger.enable": Conversation._enable_debugger,
    "Debugger.evaluateOnCallFrame": Conversation._refuse_code,
    "Debugger.getScriptSource": Conversation._script_source,
    "HeapProfiler.collectGarbage": Conversation._collect_garbage,
    "HeapProfiler.disable": Conversation._disable_heap_profiler,
    "HeapProfiler.getSamplingProfile": Conversation._sampling_profile,
    "HeapProfiler.startSampling": Conversation._start_sampling,
    "HeapProfiler.stopSampling": Conversation._stop_sampling,
    "HeapProfiler.stopTrackingHeapObjects": Conversation._take_snapshot,
    "HeapProfiler.takeHeapSnapshot": Conversation._take_snapshot,
    "Profiler.disable": Conversation._disable_profiler,
    "Profiler.enable": Conversation._enable_profiler,
    "Profiler.setSamplingInterval": Conversation._sampling_interval,
    "Profiler.start": Conversation._start_profile,
    "Profiler.stop": Conversation._stop_profile,
    "Runtime.callFunctionOn": Conversation._refuse_code,
    "Runtime.compileScript": Conversation._refuse_code,
    "Runtime.disable": Conversation._disable_runtime,
    "Runtime.enable": Conversation._enable_runtime,
    "Runtime.evaluate": Conversation._refuse_code,
    "Runtime.getHeapUsage": Conversation._heap_usage,
    "Runtime.getIsolateId": Conversation._isolate,
    "Runtime.runScript": Conversation._refuse_code,
}

# what a client may send, and what it may hear unasked
COMMANDS = frozenset(_CONSTANT) | frozenset(_METHODS)
EVENTS = frozenset(
    (
        "Debugger.scriptParsed",
        "HeapProfiler.addHeapSnapshotChunk",
        "HeapProfiler.reportHeapSnapshotProgress",
        "Profiler.consoleProfileFinished",
        "Runtime.consoleAPICalled",
        "Runtime.executionContextCreated",
    )
)
