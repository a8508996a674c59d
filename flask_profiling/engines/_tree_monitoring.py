"""Calls for recorders on CPython 3.12 and later: ``sys.monitoring``, library code switched off after its first call."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any
from weakref import ref

from ..errors import EngineBusy
from ._appcode import is_own_code
from ._dispatch import TOOL_IDS, free_tool, listen, take_tool
from ._recorder import MOST_FRESH, Recorder

if sys.version_info < (3, 12):
    raise ImportError("sys.monitoring is new in Python 3.12")

monitoring = sys.monitoring


_EVENTS = monitoring.events
_DISABLE = monitoring.DISABLE

# Calls of these run no Python code of their own; nor do classes that nobody can write to, for they are made in C. By
# identity: a class may have a metaclass whose hash is code of the user.
_IN_C = frozenset(map(id, (ClassMethodDescriptorType, MethodDescriptorType, MethodWrapperType, WrapperDescriptorType)))
_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE
_OFTEN_IN_C = 100
_OFTEN = 1_000
_MOST_CLASSES = 10_000

_NO_ENTRIES_NOTE = (
    "Only one monitoring tool was free: library functions are not shown, their time is that of their caller."
)


Callback = Callable[..., object]
Unusual = Callable[[Recorder | None, CodeType, float], object]


class MonitoringHooks:
    """Two tools: one for the application's functions, one for library functions that the application calls.

    The first hears of every function once and switches library locations off. Calls made by application code tell which
    library functions are entered from there; the second tool is switched on for those alone.
    """

    def __init__(
        self,
        current: threading.local,
        is_application: Callable[[CodeType], bool],
        *,
        everything: bool,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._local = current
        # Late: where gevent has patched threads, this names the greenlet. A dict is faster than a local for each event.
        self._current = threading.get_ident
        self._recorders: dict[int, Recorder] = {}
        self._is_application = is_application
        self._everything = everything
        self._clock = clock
        self._tool: int | None = None
        self._entry_tool: int | None = None
        # application code that ran, library functions called from there, and all that was called, by identity
        self._seen: dict[int, CodeType] = {}
        self._entries: dict[int, CodeType] = {}
        self._judged: dict[int, CodeType] = {}
        # classes of which it is known what a call of them, or of their instances, runs; and for places of the
        # application's code what they called last (0 is anything written in C), and how often in a row
        self._classes: dict[int, ref[type]] = {}
        self._places: dict[tuple[int, int], tuple[int, int]] = {}

    def start(self) -> None:
        """Take the tools and switch their events on."""
        self._tool = take_tool()
        if self._tool is None:
            names = " and ".join(str(monitoring.get_tool(tool)) for tool in TOOL_IDS)
            raise EngineBusy(f"all tool ids of sys.monitoring are in use (by {names}); stop one of these tools")
        try:
            if not self._everything:
                self._entry_tool = take_tool()
            self._listen()
        except BaseException:
            self.stop()
            raise

    def _listen(self) -> None:
        tool, entry = self._tool, self._entry_tool
        assert tool is not None
        callbacks = self._for_all_code() if self._everything else self._for_application_code()
        if entry is not None:
            monitoring.register_callback(tool, _EVENTS.CALL, self._on_call(entry))
            started, ended = self._for_library_functions()
            for event in (_EVENTS.PY_START, _EVENTS.PY_RESUME):
                monitoring.register_callback(entry, event, started)
            for event in (_EVENTS.PY_RETURN, _EVENTS.PY_YIELD):
                monitoring.register_callback(entry, event, ended)
        started, ended, thrown, unwound = callbacks
        listen(tool, started=started, thrown=thrown, ended=ended, unwound=unwound)

    def enter(self, recorder: Recorder) -> bool:
        """Feed the calling thread's calls to ``recorder``."""
        self._recorders[self._current()] = recorder
        self._local.recorder = recorder
        return True

    def leave(self) -> None:
        """Feed them to nobody."""
        self._recorders.pop(self._current(), None)
        self._local.recorder = None

    def stop(self) -> tuple[str, ...]:
        """Switch all events off and give the tools back."""
        had_entries = self._entry_tool is not None or self._everything
        for tool, codes in ((self._tool, self._seen), (self._entry_tool, self._entries)):
            if tool is None or monitoring.get_tool(tool) is None:
                continue
            monitoring.set_events(tool, 0)  # first, so that no more code is added
            for code in list(codes.values()):
                monitoring.set_local_events(tool, code, 0)
            free_tool(tool)
        self._tool = self._entry_tool = None
        return () if had_entries else (_NO_ENTRIES_NOTE,)

    # The callbacks are functions with their own names for what they need: each call of application code runs three.

    def _usual(self, first: Unusual, other_end: Unusual) -> tuple[Callback, Callback]:
        """Return what is called as functions start and end, and hands on what is not expected.

        What is expected is done here as ``push`` and ``pop`` of a recorder do it, for calling them would cost as much.
        """
        recorder_of, current, clock, keep_at = self._recorders.get, self._current, self._clock, MOST_FRESH

        def started(code: CodeType, offset: int) -> object:
            now = clock()
            recorder = recorder_of(current())
            if recorder is None:
                return first(recorder, code, now)
            top = recorder.top
            node = top.last.after
            if node.own is not code or recorder.lost:
                return first(recorder, code, now)
            top.self_time += now - recorder.mark
            node.calls += 1
            recorder.top = top.last = node
            if len(recorder.fresh) >= keep_at:
                recorder.keep()
            recorder.fresh.extend((now, node.index))  # see Recorder.move
            recorder.mark = mark = clock()
            node.overhead += mark - now
            return None

        def ended(code: CodeType, offset: int, value: object) -> object:
            now = clock()
            recorder = recorder_of(current())
            if recorder is None or (top := recorder.top).own is not code or recorder.lost:
                return other_end(recorder, code, now)
            top.self_time += now - recorder.mark
            parent: Any = top.parent
            recorder.top = parent
            recorder.fresh.extend((now, parent.index))
            recorder.mark = mark = clock()
            parent.overhead += mark - now
            return None

        return started, ended

    def _for_application_code(  # noqa: C901  # four small functions
        self,
    ) -> tuple[Callback, Callback, Callback, Callback]:
        recorder_of, current, clock = self._recorders.get, self._current, self._clock
        is_application = self._is_application
        seen, entry, tool = self._seen, self._entry_tool, self._tool
        assert tool is not None

        def first(recorder: Recorder | None, code: CodeType, now: float) -> object:
            if recorder is None or id(code) not in seen:
                if not is_application(code):
                    return _DISABLE
                if recorder is None:
                    return None
                seen[id(code)] = code
                if entry is not None:
                    _listen_to(code, tool, _EVENTS.CALL)
            recorder.push_own(code, now)
            return None

        def other_end(recorder: Recorder | None, code: CodeType, now: float) -> object:
            if recorder is None or id(code) not in seen:
                return None if is_application(code) else _DISABLE
            recorder.pop(code, now)
            return None

        started, ended = self._usual(first, other_end)

        # These two must never return DISABLE: it would raise ValueError inside the application.

        def thrown(code: CodeType, offset: int, exception: BaseException) -> None:
            if is_application(code):
                started(code, offset)

        def unwound(code: CodeType, offset: int, exception: BaseException) -> None:
            now = clock()
            recorder = recorder_of(current())
            if recorder is None:
                return
            if id(code) in seen:
                recorder.pop(code, now)
            elif recorder.entries and recorder.entries[-1] == id(sys._getframe(1)):
                recorder.entries.pop()
                recorder.pop(code, now)

        return started, ended, thrown, unwound

    def _on_call(self, entry: int) -> Callback:
        judged, in_c, classes, places = self._judged, _IN_C, self._classes, self._places

        def called(code: CodeType, offset: int, function: Any, argument: object) -> object:
            kind = type(function)
            if kind is FunctionType and id(function.__code__) in judged:
                what, enough = id(function.__code__), _OFTEN
            elif kind is BuiltinFunctionType:
                return _DISABLE
            elif id(kind) in in_c or (kind is type and function.__flags__ & _IMMUTABLE):
                what, enough = 0, _OFTEN_IN_C
            else:
                judging = function if kind is type else kind
                known = classes.get(id(judging))
                if known is None or known() is not judging:
                    self._judge(entry, function, kind, judging)
                return None
            # Something else may be called here later on; after so many calls of the same it is not waited for.
            place = id(code), offset
            last, times = places.get(place, (what, 0))
            times = times + 1 if last == what else 1
            places[place] = what, times
            return None if times < enough else _DISABLE

        return called

    def _judge(self, entry: int, function: Any, kind: type, judging: type) -> None:
        """Hear of what a call of ``function`` runs, where that is library code."""
        events = _EVENTS.PY_START | _EVENTS.PY_RESUME | _EVENTS.PY_RETURN | _EVENTS.PY_YIELD
        for target in _targets(function, kind):
            if id(target) in self._judged:
                continue
            self._judged[id(target)] = target
            if not self._is_application(target) and not is_own_code(target):
                self._entries[id(target)] = target
                _listen_to(target, entry, events)
        if kind is FunctionType or kind is MethodType:
            return
        if len(self._classes) > _MOST_CLASSES:
            self._classes.clear()
        self._classes[id(judging)] = ref(judging)

    def _for_library_functions(self) -> tuple[Callback, Callback]:
        recorder_of, current, clock, seen = self._recorders.get, self._current, self._clock, self._seen

        def started(code: CodeType, offset: int) -> None:
            now = clock()
            recorder = recorder_of(current())
            if recorder is None:
                return
            top = recorder.top.code
            frame = sys._getframe(1)
            caller = frame.f_back
            if top is None or caller is None or caller.f_code is not top or id(top) not in seen:
                return
            recorder.entries.append(id(frame))
            recorder.push(code, now)

        def ended(code: CodeType, offset: int, value: object) -> None:
            now = clock()
            recorder = recorder_of(current())
            if recorder is None or not recorder.entries or recorder.entries[-1] != id(sys._getframe(1)):
                return
            recorder.entries.pop()
            recorder.pop(code, now)

        return started, ended

    def _for_all_code(self) -> tuple[Callback, Callback, Callback, Callback]:
        def first(recorder: Recorder | None, code: CodeType, now: float) -> object:
            if recorder is None:
                return None
            if is_own_code(code):
                return _DISABLE
            recorder.push_own(code, now)
            return None

        def other_end(recorder: Recorder | None, code: CodeType, now: float) -> None:
            if recorder is not None:
                recorder.pop(code, now)

        started, ended = self._usual(first, other_end)

        def thrown(code: CodeType, offset: int, exception: BaseException) -> None:
            # not DISABLE: it would raise ValueError inside the application
            started(code, offset)

        return started, ended, thrown, ended


def _listen_to(code: CodeType, tool: int, events: int) -> None:
    """Let a tool hear of events in this code; to be called by callbacks, so it raises nothing into the application."""
    with suppress(ValueError):  # the tool was given back: the session ended in another thread meanwhile
        monitoring.set_local_events(tool, code, events)


def _targets(function: Any, kind: type) -> list[CodeType]:
    """Return the code that a call of ``function`` runs, as far as it is Python; no code of the user is run for that."""
    if kind is FunctionType:
        return [function.__code__]
    if kind is MethodType:
        inner = function.__func__
        return [inner.__code__] if type(inner) is FunctionType else []
    if kind is type:
        return [
            member.__code__
            for name in ("__new__", "__init__")
            if type(member := _class_member(function, name)) is FunctionType
        ]
    member = _class_member(kind, "__call__")
    return [member.__code__] if type(member) is FunctionType else []


def _class_member(kind: type, name: str) -> Any:
    for base in type.__dict__["__mro__"].__get__(kind):
        members = type.__dict__["__dict__"].__get__(base)
        if name in members:
            member = members[name]
            return member.__func__ if type(member) is staticmethod else member
    return None
