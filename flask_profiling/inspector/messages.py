"""Messages of the Chrome DevTools Protocol as text: read strictly, written as ASCII; what they mean is not known here.

Source: the "js_protocol.json" of the Chrome DevTools Protocol; errors as JSON-RPC 2.0 numbers them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
SERVER_ERROR = -32000

# V8 keeps the number of a message in 32 bits.
_MOST_ID = 2**31 - 1
# Each level of nesting takes a hundred bytes of C stack or more, and a thread may have little of it (1 MiB on Alpine).
# Python itself bounds it too late for that, or, before 3.12 where the app has raised the recursion limit, not at all.
_MOST_BRACKETS = 2_000
_SHOWN_LENGTH = 60


class Refused(Exception):
    """A message that is answered with a protocol error; ``code`` is its number, the text says why."""

    def __init__(self, code: int, message: str, *, id: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.id = id


@dataclass(frozen=True, slots=True)
class Call:
    """One command of a client."""

    id: int
    method: str
    params: Mapping[str, object]


def read(frame: str | bytes) -> Call:
    """Read one frame as a command; raises Refused for anything else."""
    try:
        if _brackets(frame) > _MOST_BRACKETS:
            raise RecursionError
        document = json.loads(frame)
    except (ValueError, RecursionError):
        raise Refused(PARSE_ERROR, "Message must be a valid JSON") from None
    if not isinstance(document, dict):
        raise Refused(INVALID_REQUEST, "Message must be an object")
    id = document.get("id")
    if not isinstance(id, int) or isinstance(id, bool) or not -_MOST_ID <= id <= _MOST_ID:
        raise Refused(INVALID_REQUEST, "Message must have integer 'id' property")
    method = document.get("method")
    if not isinstance(method, str):
        raise Refused(INVALID_REQUEST, "Message must have string 'method' property", id=id)
    params = document.get("params", {})
    if not isinstance(params, dict):
        raise Refused(INVALID_PARAMS, "'params' must be an object", id=id)
    return Call(id, method, params)


def _brackets(frame: str | bytes) -> int:
    return frame.count("[") + frame.count("{") if isinstance(frame, str) else frame.count(b"[") + frame.count(b"{")


def reply(id: int, result: str) -> str:
    """Write the answer to a command; ``result`` is JSON already."""
    return f'{{"id":{id},"result":{result}}}'


def refusal(error: Refused) -> str:
    """Write a protocol error."""
    document: dict[str, object] = {"error": {"code": error.code, "message": str(error)}}
    if error.id is not None:
        document["id"] = error.id
    return dumped(document)


def event(method: str, params: Mapping[str, object]) -> str:
    """Write an event."""
    return dumped({"method": method, "params": params})


def dumped(document: object) -> str:
    """Write a value as JSON in ASCII, without spaces."""
    return json.dumps(document, ensure_ascii=True, separators=(",", ":"))


def shown(text: str) -> str:
    """Return what a client sent, short enough and plain enough to be repeated to it."""
    plain = ascii(text)[1:-1]
    return plain if len(plain) <= _SHOWN_LENGTH else f"{plain[:_SHOWN_LENGTH]}..."


def switch(params: Mapping[str, object], name: str) -> bool:
    """Return the truth value ``name`` of ``params``, false where it is missing; raises Refused."""
    value = params.get(name, False)
    if isinstance(value, bool):
        return value
    raise Refused(INVALID_PARAMS, f"Invalid parameters: '{name}' must be a boolean")


def text(params: Mapping[str, object], name: str) -> str:
    """Return the text ``name`` of ``params``; raises Refused."""
    value = params.get(name)
    if isinstance(value, str):
        return value
    raise Refused(INVALID_PARAMS, f"Invalid parameters: '{name}' must be a string")


def number(params: Mapping[str, object], name: str) -> float:
    """Return the number ``name`` of ``params``; raises Refused."""
    value = params.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise Refused(INVALID_PARAMS, f"Invalid parameters: '{name}' must be a number")
