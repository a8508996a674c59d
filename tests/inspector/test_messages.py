"""CDP messages: what is a command, and how the rest is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flask_profiling.inspector import messages
from flask_profiling.inspector.messages import Call, Refused
from tests.pythons import run_alone


def test_a_command_is_read() -> None:
    assert messages.read('{"id":7,"method":"A.b","params":{"x":1}}') == Call(7, "A.b", {"x": 1})
    assert messages.read(b'{"id":-1,"method":"A.b"}') == Call(-1, "A.b", {})


@pytest.mark.parametrize("depth", [1 << 18, 9_000, 2_000])
def test_no_nesting_ends_a_process_whose_recursion_limit_was_raised(tmp_path: Path, depth: int) -> None:
    finished = run_alone(
        f"""
        import sys
        import threading
        from flask_profiling.inspector import messages
        def read():
            for frame in ("[" * {depth}, '{{"":' * {depth}, b"[" * {depth}, b'{{"":' * {depth}):
                try:
                    messages.read(frame)
                except messages.Refused as error:
                    print(error.code)
        sys.setrecursionlimit(10**6)
        threading.stack_size(512 << 10)  # half of what a thread has on Alpine
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        """,
        tmp_path,
    )
    assert finished.stdout.split() == [str(messages.PARSE_ERROR)] * 4, (finished.returncode, finished.stderr)


@pytest.mark.parametrize(
    ("frame", "code", "id"),
    [
        ("", messages.PARSE_ERROR, None),
        ("{", messages.PARSE_ERROR, None),
        (b"\xff\xfe\x00", messages.PARSE_ERROR, None),
        ("[" * 100_000, messages.PARSE_ERROR, None),
        ('{"id":' + "1" * 10_000 + "}", messages.PARSE_ERROR, None),
        ("[]", messages.INVALID_REQUEST, None),
        ("null", messages.INVALID_REQUEST, None),
        ('{"method":"A.b"}', messages.INVALID_REQUEST, None),
        ('{"id":"1","method":"A.b"}', messages.INVALID_REQUEST, None),
        ('{"id":true,"method":"A.b"}', messages.INVALID_REQUEST, None),
        ('{"id":1e9999,"method":"A.b"}', messages.INVALID_REQUEST, None),
        ('{"id":99999999999,"method":"A.b"}', messages.INVALID_REQUEST, None),
        ('{"id":3}', messages.INVALID_REQUEST, 3),
        ('{"id":3,"method":null}', messages.INVALID_REQUEST, 3),
        ('{"id":3,"method":"A.b","params":[]}', messages.INVALID_PARAMS, 3),
        ('{"id":3,"method":"A.b","params":null}', messages.INVALID_PARAMS, 3),
    ],
)
def test_anything_else_is_refused_with_its_code(frame: str | bytes, code: int, id: int | None) -> None:
    with pytest.raises(Refused) as raised:
        messages.read(frame)
    assert raised.value.code == code
    assert raised.value.id == id
    refusal = json.loads(messages.refusal(raised.value))
    assert refusal["error"]["code"] == code
    assert refusal.get("id") == id


def test_what_is_written_is_ascii_without_spaces() -> None:
    assert messages.event("A.b", {"x": "ü\ud800"}) == '{"method":"A.b","params":{"x":"\\u00fc\\ud800"}}'
    assert messages.reply(1, '{"a":2}') == '{"id":1,"result":{"a":2}}'


def test_what_a_client_sent_is_repeated_short_and_plain() -> None:
    assert messages.shown("A.b") == "A.b"
    assert messages.shown("\n\x1b[31mü") == "\\n\\x1b[31m\\xfc"
    assert len(messages.shown("x" * 1000)) < 70


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (messages.switch, [True, False], [1, "true", None, []]),
        (messages.text, ["", "x"], [1, None, True]),
        (messages.number, [1, 2.5], ["1", None, True]),
    ],
)
def test_parameters_are_read_by_their_type(read: object, good: list[object], bad: list[object]) -> None:
    assert callable(read)
    for value in good:
        assert read({"x": value}, "x") == value
    for value in bad:
        with pytest.raises(Refused) as raised:
            read({"x": value}, "x")
        assert raised.value.code == messages.INVALID_PARAMS


def test_a_missing_switch_is_off() -> None:
    assert messages.switch({}, "x") is False
