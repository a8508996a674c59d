"""The settings table: what it reads, what it refuses, what it shows, and the options of a start."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.config import (
    CLI_VARIABLES,
    SETTINGS,
    Config,
    Setting,
    describe,
    flag,
    load,
    session_options,
    setting_of,
    shown,
)
from flask_profiling.errors import BadRequest, ConfigurationError
from flask_profiling.model import SessionOptions

DEFAULTS = Config(
    enabled=False,
    output_dir=Path("profiling"),
    auto_generate=False,
    cpu="cprofile",
    scope="app",
    app_paths=(),
    slow_request=0.0,
    heap=True,
    heap_values="redacted",
    allocations=0,
    max_duration=300.0,
    max_sessions=20,
    max_bytes=1024**3,
    cleanup_on_exit=False,
    allowed_hosts=(),
    token="",
    rate_limit="30 per minute",
    limiter="own",
    coordinator="",
    inspector=False,
    inspector_port=9229,
    inspector_sources=False,
    url_prefix="/debug/profiling",
)


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def mistake(config: dict[str, object], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(config, environ or {})
    return caught.value.message


# -- the table ---------------------------------------------------------------------------------------------------------


def test_nothing_configured_gives_the_published_defaults() -> None:
    assert load({}, {}) == DEFAULTS


def test_the_table_has_a_row_for_every_field_of_config_and_no_other() -> None:
    assert [setting.field for setting in SETTINGS] == [field.name for field in dataclasses.fields(Config)]
    assert all(setting.key == f"PROFILING_{setting.field.upper()}" for setting in SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_default_and_example_of_every_setting_are_read_in_the_type_of_its_field(setting: Setting) -> None:
    expected = get_type_hints(Config)[setting.field]
    expected = getattr(expected, "__origin__", expected)
    for text in (setting.default, setting.example):
        assert type(setting.parse(text)) is (expected if expected is not Path else type(Path()))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_is_described_by_sentences(setting: Setting) -> None:
    assert setting.meaning.endswith(".")
    assert setting.allowed
    assert setting.example != setting.default


def test_every_setting_is_named_once() -> None:
    keys = [setting.key for setting in SETTINGS]
    assert len(keys) == len(set(keys))
    assert not set(keys) & set(CLI_VARIABLES)
    assert [setting_of(key).key for key in keys] == keys


# -- where values come from --------------------------------------------------------------------------------------------


def test_app_config_wins_over_the_environment_value_by_value() -> None:
    config = load({"PROFILING_CPU": "off"}, {"PROFILING_CPU": "calltree", "PROFILING_HEAP": "no"})
    assert (config.cpu, config.heap) == ("off", False)


def test_none_in_app_config_is_not_set() -> None:
    assert load({"PROFILING_CPU": None}, {"PROFILING_CPU": "calltree"}).cpu == "calltree"
    assert load({"PROFILING_CPU": None}, {}).cpu == "cprofile"


def test_an_empty_variable_is_not_set_but_for_switches() -> None:
    config = load({}, {"PROFILING_MAX_DURATION": "", "PROFILING_CPU": "", "PROFILING_HEAP": ""})
    assert (config.max_duration, config.cpu, config.heap) == (300.0, "cprofile", False)


def test_an_empty_text_in_app_config_is_a_value() -> None:
    assert "PROFILING_URL_PREFIX is '' in app.config" in mistake({"PROFILING_URL_PREFIX": ""})


# -- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, 1, "true", "TRUE", " True ", "1", "yes", "on", "On"])
def test_yes_in_many_words(value: object) -> None:
    assert flag(value) is True


@pytest.mark.parametrize("value", [False, 0, "false", "False", "0", "no", "NO", "off", "", "  "])
def test_no_in_many_words(value: object) -> None:
    assert flag(value) is False


@pytest.mark.parametrize("value", ["maybe", "2", 2, -1, 1.0, 0.0, None, [], b"true", "tru\u0435", "\uff11"])
def test_what_is_neither_yes_nor_no_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        flag(value)


def test_a_number_too_long_to_write_is_no_switch() -> None:
    with pytest.raises(ValueError):
        flag(10**5000)


GOOD: list[tuple[str, object, object]] = [
    ("ALLOCATIONS", "25", 25),
    ("ALLOCATIONS", " 25 ", 25),
    ("ALLOCATIONS", 100, 100),
    ("MAX_DURATION", "2.5", 2.5),
    ("MAX_DURATION", ".5", 0.5),
    ("MAX_DURATION", 60, 60.0),
    ("MAX_DURATION", 0.25, 0.25),
    ("MAX_DURATION", 604800, 604800.0),
    ("MAX_SESSIONS", 1, 1),
    ("MAX_SESSIONS", 100_000, 100_000),
    ("MAX_BYTES", 5, 5),
    ("MAX_BYTES", 1, 1),
    ("MAX_BYTES", 2**63 - 1, 2**63 - 1),
    ("MAX_BYTES", "1073741824", 2**30),
    ("MAX_BYTES", "1GiB", 2**30),
    ("MAX_BYTES", "1 gib", 2**30),
    ("MAX_BYTES", "500MB", 500_000_000),
    ("MAX_BYTES", "1.5KiB", 1536),
    ("MAX_BYTES", "7b", 7),
    ("MAX_BYTES", "2TB", 2 * 10**12),
    ("CPU", " CallTree", "calltree"),
    ("HEAP_VALUES", "full", "full"),
    ("LIMITER", "host", "host"),
    ("OUTPUT_DIR", "/var/tmp/x", Path("/var/tmp/x")),
    ("OUTPUT_DIR", Path("a/b"), Path("a/b")),
    ("OUTPUT_DIR", "../profiles", Path("../profiles")),
    ("OUTPUT_DIR", " var/profiling\n", Path("var/profiling")),
    ("APP_PATHS", os.pathsep.join(("src/shop", "", " lib ")), ("src/shop", "lib")),
    ("APP_PATHS", [Path("src/shop"), "lib", ""], ("src/shop", "lib")),
    ("TOKEN", "s3cr3t!~", "s3cr3t!~"),
    ("TOKEN", "fromfile\n", "fromfile"),
    ("RATE_LIMIT", " 5 per second ", "5 per second"),
    ("COORDINATOR", "redis://:pass@host:6379/0", "redis://:pass@host:6379/0"),
    ("COORDINATOR", "rediss://host", "rediss://host"),
    ("INSPECTOR_PORT", "0", 0),
    ("INSPECTOR_PORT", 65535, 65535),
    ("URL_PREFIX", "/x", "/x"),
    ("URL_PREFIX", "/a/b.c-d_e~f/", "/a/b.c-d_e~f"),
]


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_a_good_value_is_read(name: str, value: object, expected: object) -> None:
    assert getattr(load({f"PROFILING_{name}": value}, {}), name.lower()) == expected


@pytest.mark.parametrize(
    "value",
    [
        "b.example,A.example:8000",
        "A.example:8000  b.example",
        ["b.example", " a.example:8000 "],
        {"b.example", "a.example:8000"},
    ],
)
def test_allowed_hosts_are_a_list_or_text_in_any_case(value: object) -> None:
    config = load({"PROFILING_ALLOWED_HOSTS": value, "PROFILING_TOKEN": "t"}, {})
    assert config.allowed_hosts == ("a.example:8000", "b.example")


BAD: list[tuple[str, object]] = [
    ("ENABLED", "maybe"),
    ("HEAP", "ja"),
    ("HEAP", 2),
    ("ALLOCATIONS", -1),
    ("ALLOCATIONS", 101),
    ("ALLOCATIONS", True),
    ("ALLOCATIONS", "1.0"),
    ("ALLOCATIONS", 1.0),
    ("ALLOCATIONS", "٣"),
    ("ALLOCATIONS", "1_0"),
    ("ALLOCATIONS", "9" * 5000),
    ("MAX_DURATION", 0),
    ("MAX_DURATION", -5),
    ("MAX_DURATION", float("nan")),
    ("MAX_DURATION", float("inf")),
    ("MAX_DURATION", 10**400),
    ("MAX_DURATION", True),
    ("MAX_DURATION", "1e3"),
    ("MAX_DURATION", "."),
    ("MAX_DURATION", "nan"),
    ("MAX_DURATION", "5m"),
    ("MAX_SESSIONS", 0),
    ("MAX_SESSIONS", 100_001),
    ("MAX_BYTES", 0),
    ("MAX_BYTES", True),
    ("MAX_BYTES", 2**63),
    ("MAX_BYTES", "1\u212aB"),
    ("MAX_BYTES", "0.1B"),
    ("MAX_BYTES", "1 G"),
    ("MAX_BYTES", "999999999999999TiB"),
    ("MAX_BYTES", "-1GiB"),
    ("CPU", "cprofiler"),
    ("CPU", 1),
    ("HEAP_VALUES", "all"),
    ("LIMITER", ""),
    ("APP_PATHS", 5),
    ("APP_PATHS", ["src", 5]),
    ("OUTPUT_DIR", ""),
    ("OUTPUT_DIR", "  "),
    ("OUTPUT_DIR", "."),
    ("OUTPUT_DIR", "/"),
    ("OUTPUT_DIR", ".."),
    ("OUTPUT_DIR", "a/.."),
    ("OUTPUT_DIR", "a\0b"),
    ("OUTPUT_DIR", b"profiling"),
    ("OUTPUT_DIR", 5),
    ("ALLOWED_HOSTS", "*"),
    ("ALLOWED_HOSTS", "*.example.com"),
    ("ALLOWED_HOSTS", "http://example.com"),
    ("ALLOWED_HOSTS", "example.com/x"),
    ("ALLOWED_HOSTS", "user@example.com"),
    ("ALLOWED_HOSTS", "example.com."),
    ("ALLOWED_HOSTS", [5]),
    ("ALLOWED_HOSTS", 5),
    ("TOKEN", "two words"),
    ("TOKEN", "t\u00e9ken"),
    ("TOKEN", 12345),
    ("RATE_LIMIT", 5),
    ("COORDINATOR", "http://host"),
    ("COORDINATOR", "redis://"),
    ("COORDINATOR", "redis:///0"),
    ("INSPECTOR_PORT", -1),
    ("INSPECTOR_PORT", 65536),
    ("URL_PREFIX", "debug"),
    ("URL_PREFIX", "/"),
    ("URL_PREFIX", "//evil"),
    ("URL_PREFIX", "/a/../b"),
    ("URL_PREFIX", "/./a"),
    ("URL_PREFIX", "/<path:x>"),
    ("URL_PREFIX", "/a b"),
    ("URL_PREFIX", "/a?b"),
    ("URL_PREFIX", 5),
    ("CPU", Hostile()),
    ("HEAP", Hostile()),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=range(len(BAD)))
def test_a_bad_value_is_refused_by_name_with_what_is_allowed(name: str, value: object) -> None:
    message = mistake({f"PROFILING_{name}": value})
    setting = next(setting for setting in SETTINGS if setting.key == f"PROFILING_{name}")
    assert re.search(rf"^  PROFILING_{name} is .+ in app\.config; it must be ", message, re.MULTILINE)
    assert setting.allowed in message
    assert f"PROFILING_{name}={setting.example}" in message
    assert len(message) < 600
    assert message.isascii()


def test_all_mistakes_are_in_one_message() -> None:
    message = mistake(
        {"PROFILING_HEAP": "maybe", "PROFILING_CPU": "x", "PROFILING_CPUU": 1}, {"PROFILING_MAX_BYTES": "lots"}
    )
    assert message.startswith("profiling cannot start; correct 4 settings:\n")
    assert "PROFILING_HEAP is 'maybe' in app.config" in message
    assert "PROFILING_CPU is 'x' in app.config" in message
    assert "PROFILING_MAX_BYTES is 'lots' in the environment" in message
    assert "'PROFILING_CPUU' in app.config is not a setting; did you mean PROFILING_CPU?" in message


def test_one_mistake_is_told_as_one() -> None:
    assert mistake({"PROFILING_CPU": "x"}).startswith("profiling cannot start; correct one setting:\n")


def test_a_long_value_is_cut_and_what_fits_is_whole() -> None:
    assert shown("x" * 58) == f"'{'x' * 58}'"
    assert shown("x" * 59) == f"'{'x' * 59}..."


def test_a_mistake_in_a_value_cannot_forge_a_line() -> None:
    message = mistake({"PROFILING_CPU": "x\n  PROFILING_HEAP is fine"})
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("TOKEN", "hunter2 hunter2"),
        ("TOKEN", ["hunter2"]),
        ("COORDINATOR", "http://user:hunter2@host/0"),
        ("COORDINATOR", "http://user:hun?hunter2@host/0"),
        ("COORDINATOR", "http://host?password=hunter2"),
        ("COORDINATOR", "http://host?password=p@hunter2"),
        ("COORDINATOR", "hunter2@host"),
    ],
)
def test_a_secret_is_never_shown(name: str, secret: object) -> None:
    assert "hunter2" not in mistake({f"PROFILING_{name}": secret})
    assert "hunter2" not in repr(describe({f"PROFILING_{name}": secret}, {}))


def test_a_secret_is_not_in_the_repr_of_config() -> None:
    config = load({"PROFILING_TOKEN": "hunter2", "PROFILING_COORDINATOR": "redis://:hunter2@h"}, {})
    assert "hunter2" not in repr(config)


def test_allowed_hosts_need_a_token() -> None:
    assert "PROFILING_TOKEN is '' by default; it must be set where PROFILING_ALLOWED_HOSTS is" in mistake(
        {"PROFILING_ALLOWED_HOSTS": "staging.example"}
    )
    assert load({"PROFILING_ALLOWED_HOSTS": "staging.example", "PROFILING_TOKEN": "t"}, {}).token == "t"


def test_a_token_that_cannot_be_is_not_said_to_be_missing() -> None:
    message = mistake({"PROFILING_ALLOWED_HOSTS": "staging.example", "PROFILING_TOKEN": "two words"})
    assert "PROFILING_TOKEN is (hidden) in app.config; it must be text of visible ASCII characters" in message


def test_a_token_of_white_space_is_no_token() -> None:
    assert "PROFILING_TOKEN" in mistake({"PROFILING_ALLOWED_HOSTS": "staging.example", "PROFILING_TOKEN": "  "})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("OUTPUTDIR", "OUTPUT_DIR"),
        ("ENABLE", "ENABLED"),
        ("CPUS", "CPU"),
        ("TOKENS", "TOKEN"),
        ("ALLOWED_HOST", "ALLOWED_HOSTS"),
    ],
)
def test_a_misspelt_name_is_a_mistake_in_both_sources(name: str, near: str) -> None:
    for message in (mistake({f"PROFILING_{name}": "x"}), mistake({}, {f"PROFILING_{name}": "x"})):
        assert f"did you mean PROFILING_{near}?" in message


def test_another_unknown_name_is_a_mistake_in_app_config_alone() -> None:
    assert "'PROFILING_ZZZZZ' in app.config is not a setting; remove it" in mistake({"PROFILING_ZZZZZ": "1"})
    assert load({}, {"PROFILING_ZZZZZ": "1", "PROFILING_TEST_REQUIRE_ALL": "1"}) == DEFAULTS


def test_names_of_the_command_line_and_of_others_are_left_alone() -> None:
    names = dict.fromkeys(CLI_VARIABLES, "x")
    assert load({"OTHER": 1, 5: 6, "profiling_x": 1, **names}, {"PROFILINGX": "y", **names}) == DEFAULTS


def test_a_check_from_outside_lands_in_the_same_message() -> None:
    def refuse(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ConfigurationError, match=r"correct 2 (.|\n)*PROFILING_HEAP(.|\n)*RATE_LIMIT is 'often'"):
        load({"PROFILING_RATE_LIMIT": "often", "PROFILING_HEAP": "x"}, {}, checks={"PROFILING_RATE_LIMIT": refuse})
    rows = {row.key: row.problem for row in describe({}, {}, checks={"PROFILING_RATE_LIMIT": refuse})}
    assert rows["PROFILING_RATE_LIMIT"].startswith("it must be a rate limit such as ")


def test_a_check_is_handed_the_parsed_text() -> None:
    seen: list[str] = []
    load({"PROFILING_RATE_LIMIT": " 5/second "}, {}, checks={"PROFILING_RATE_LIMIT": seen.append})
    assert seen == ["5/second"]


# -- describing --------------------------------------------------------------------------------------------------------


def test_every_setting_is_described_with_its_source() -> None:
    rows = {row.key: row for row in describe({"PROFILING_CPU": "off"}, {"PROFILING_TOKEN": "t", "PROFILING_HEAP": "x"})}
    assert list(rows) == [setting.key for setting in SETTINGS]
    assert (rows["PROFILING_CPU"].value, rows["PROFILING_CPU"].source) == ("off", "app.config")
    assert (rows["PROFILING_TOKEN"].value, rows["PROFILING_TOKEN"].source) == ("(hidden)", "environment")
    assert (rows["PROFILING_ALLOWED_HOSTS"].value, rows["PROFILING_ALLOWED_HOSTS"].source) == ("(empty)", "default")
    assert rows["PROFILING_HEAP"].problem == "it must be true or false"
    assert rows["PROFILING_CPU"].problem == ""


@pytest.mark.parametrize(
    ("value", "described"),
    [
        ("redis://me:hunter2@h:1/0?x=y", "redis://***@h:1/0?***"),
        ("redis://h:1/0?x=y", "redis://h:1/0?***"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("localhost", "localhost"),
        (5, "5"),
    ],
)
def test_an_address_is_described_without_its_password(value: object, described: str) -> None:
    rows = {row.key: row.value for row in describe({"PROFILING_COORDINATOR": value}, {})}
    assert rows["PROFILING_COORDINATOR"] == described


@pytest.mark.parametrize(
    ("value", "described"),
    [("it's", "it's"), ('"a"', '"a"'), ("", "(empty)"), (11, "11"), (["a"], "['a']"), ("x" * 99, f"'{'x' * 59}...")],
)
def test_a_value_is_described_without_the_quotes_around_it_alone(value: object, described: str) -> None:
    rows = {row.key: row.value for row in describe({"PROFILING_CPU": value}, {})}
    assert rows["PROFILING_CPU"] == described


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.binary(max_size=5),
    st.lists(st.text(max_size=5)),
)


@given(st.dictionaries(st.sampled_from([setting.key for setting in SETTINGS]), anything))
def test_no_value_makes_reading_raise_anything_else(config: dict[str, object]) -> None:
    rows = describe(config, {})
    try:
        loaded = load(config, {})
    except ConfigurationError as error:
        assert any(row.problem for row in rows)
        assert error.message.isascii()
        return
    assert not any(row.problem for row in rows)
    assert 0 < loaded.max_duration <= 604800


# -- the options of a start --------------------------------------------------------------------------------------------


def test_a_start_without_wishes_is_as_configured() -> None:
    config = load({"PROFILING_CPU": "calltree", "PROFILING_HEAP": False, "PROFILING_ALLOCATIONS": 3}, {})
    assert session_options(config, {}, textual=False) == SessionOptions("calltree", False, 3, 300.0)


def test_wishes_are_read_in_their_types() -> None:
    values = {"cpu": "off", "heap": True, "allocations": 5, "seconds": 2, "slow": 1}
    assert session_options(DEFAULTS, values, textual=False) == SessionOptions("off", True, 5, 2.0, 1.0)


def test_wishes_of_a_query_are_read_from_text() -> None:
    values = {"cpu": "sampling", "heap": "no", "allocations": "5", "seconds": "2.5", "slow": "0.25"}
    assert session_options(DEFAULTS, values, textual=True) == SessionOptions("sampling", False, 5, 2.5, 0.25)


def test_which_requests_are_slow_is_as_configured_and_may_be_switched_off() -> None:
    config = load({}, {"PROFILING_SLOW_REQUEST": "0.5"})
    assert session_options(config, {}, textual=False).slow == 0.5
    assert session_options(config, {"slow": 0}, textual=False).slow == 0.0
    assert session_options(DEFAULTS, {"slow": "0"}, textual=True).slow == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cpu", "cprofiler"),
        ("cpu", None),
        ("cpu", ["off"]),
        ("heap", "true"),
        ("heap", 1),
        ("heap", None),
        ("allocations", True),
        ("allocations", -1),
        ("allocations", 101),
        ("allocations", 1.0),
        ("allocations", "1"),
        ("allocations", 10**400),
        ("seconds", 0),
        ("seconds", -1),
        ("seconds", 300.5),
        ("seconds", True),
        ("seconds", "5"),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("seconds", 10**400),
        ("seconds", {}),
        ("slow", -0.5),
        ("slow", False),
        ("slow", "1"),
        ("slow", float("nan")),
        ("slow", 7 * 24 * 3600 + 1),
    ],
)
def test_a_wrong_wish_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(BadRequest, match=rf"nothing was started; {name} is .+, it must be "):
        session_options(DEFAULTS, {name: value}, textual=False)


@pytest.mark.parametrize(
    ("name", "value"), [("heap", "x"), ("allocations", "1.5"), ("seconds", "nan"), ("seconds", "")]
)
def test_a_wrong_wish_in_a_query_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=rf"nothing was started; {name} is .+, it must be "):
        session_options(DEFAULTS, {name: value}, textual=True)


def test_unknown_fields_and_wrong_ones_are_all_named() -> None:
    with pytest.raises(BadRequest, match=r"unknown: 'foo', 'bar\\n', use cpu, heap, .*; heap is 5.*; seconds is 'x'"):
        session_options(DEFAULTS, {"foo": 1, "seconds": "x", "bar\n": 2, "heap": 5}, textual=False)


def test_the_bound_of_seconds_is_the_configured_one() -> None:
    config = load({"PROFILING_MAX_DURATION": 10}, {})
    assert session_options(config, {"seconds": 10}, textual=False).seconds == 10.0
    with pytest.raises(BadRequest, match=r"at most 10 \(PROFILING_MAX_DURATION\)"):
        session_options(config, {"seconds": 11}, textual=False)


def test_a_start_of_nothing_is_refused() -> None:
    with pytest.raises(BadRequest, match="all off; turn at least one"):
        session_options(DEFAULTS, {"cpu": "off", "heap": False}, textual=False)


@pytest.mark.parametrize(
    "values",
    [
        {"cpu": "cprofile", "heap": False, "allocations": 0},
        {"cpu": "off", "heap": True, "allocations": 0},
        {"cpu": "off", "heap": False, "allocations": 1},
    ],
)
def test_one_of_cpu_heap_and_allocations_is_enough(values: dict[str, object]) -> None:
    config = load({"PROFILING_ALLOCATIONS": 3}, {})
    options = session_options(config, values, textual=False)
    assert values == {"cpu": options.cpu, "heap": options.heap, "allocations": options.allocations}


def test_of_many_unknown_fields_five_are_named() -> None:
    with pytest.raises(BadRequest, match="unknown: 'a', 'b', 'c', 'd', 'e', use cpu, heap, "):
        session_options(DEFAULTS, dict.fromkeys("abcdefg", 1), textual=False)


def test_a_refusal_stays_short_whatever_was_sent() -> None:
    with pytest.raises(BadRequest) as caught:
        session_options(DEFAULTS, {**{"x" * 999 + str(n): 1 for n in range(99)}, "cpu": "y" * 9999}, textual=False)
    assert len(caught.value.message) < 700


@given(
    st.dictionaries(
        st.one_of(st.sampled_from(["cpu", "heap", "allocations", "seconds", "slow"]), st.text(max_size=5)),
        st.one_of(anything, st.sampled_from(["cprofile", "off", "true", "5"])),
    ),
    st.booleans(),
)
def test_no_wish_makes_reading_raise_anything_else(values: dict[str, object], textual: bool) -> None:
    try:
        options = session_options(DEFAULTS, values, textual=textual)
    except BadRequest:
        return
    assert options.cpu in ("cprofile", "calltree", "sampling", "off")
    assert isinstance(options.heap, bool)
    assert 0 <= options.allocations <= 100
    assert 0 < options.seconds <= 300
    assert 0 <= options.slow <= 7 * 24 * 3600
