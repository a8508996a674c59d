"""The two gates: may this app be profiled, and may this caller ask; in doubt both are closed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_profiling.config import Config, load
from flask_profiling.errors import Forbidden, Unauthorized
from flask_profiling.gates import OPEN_ENVIRONMENTS, Caller, caller_of, check_caller, environment_gate, names_loopback

ON = {"PROFILING_ENABLED": True}


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


# -- the environment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", OPEN_ENVIRONMENTS)
@pytest.mark.parametrize("source", ["FLASK_ENV", "ENV", "variable"])
def test_each_source_opens_for_each_open_environment(environment: str, source: str) -> None:
    config = ON if source == "variable" else {**ON, source: environment}
    environ = {"FLASK_ENV": environment} if source == "variable" else {}
    gate = environment_gate(config, environ)
    assert gate.open
    assert environment in gate.reason


@pytest.mark.parametrize("spelling", ["Development", "DEVELOPMENT", " development ", "development\n"])
def test_case_and_white_space_do_not_matter(spelling: str) -> None:
    assert environment_gate(ON, {"FLASK_ENV": spelling}).open


@pytest.mark.parametrize(
    "environment",
    [
        "production",
        "Production",
        "prod",
        "dev",
        "test",
        "testing",
        "",
        " ",
        "develop ment",
        "\u017ftaging",
        "development;",
    ],
)
@pytest.mark.parametrize("source", ["FLASK_ENV", "ENV", "variable"])
def test_anything_else_in_any_source_closes(environment: str, source: str) -> None:
    opening = {"FLASK_ENV": "development", "ENV": "development"}
    config: dict[str, object] = {**ON, **opening}
    environ = {"FLASK_ENV": "development"}
    if source == "variable":
        environ["FLASK_ENV"] = environment
    else:
        config[source] = environment
    gate = environment_gate(config, environ)
    assert not gate.open
    assert "profiling needs development, staging or local" in gate.reason


@pytest.mark.parametrize("value", [True, 1, b"development", ["development"], Hostile()], ids=range(5))
def test_an_environment_that_is_no_text_closes(value: object) -> None:
    assert not environment_gate({**ON, "FLASK_ENV": value}, {}).open


def test_unset_means_production() -> None:
    gate = environment_gate(ON, {})
    assert gate.reason == "FLASK_ENV is unset, which means production; set FLASK_ENV=development"
    assert not gate.open
    assert not environment_gate({**ON, "FLASK_ENV": None, "ENV": None}, {}).open


@pytest.mark.parametrize(
    ("config", "environ"),
    [
        ({"FLASK_ENV": "development"}, {"FLASK_ENV": "staging"}),
        ({"ENV": "development"}, {"FLASK_ENV": "local"}),
        ({"ENV": "development", "FLASK_ENV": "local"}, {}),
    ],
)
def test_two_open_environments_that_disagree_close(config: dict[str, object], environ: dict[str, str]) -> None:
    gate = environment_gate({**ON, **config}, environ)
    assert not gate.open
    assert "disagree" in gate.reason


@pytest.mark.parametrize("value", [True, "true", "1", "yes", "on", "ON", 1])
def test_the_switch_is_on_in_many_words(value: object) -> None:
    assert environment_gate({"PROFILING_ENABLED": value}, {"FLASK_ENV": "local"}).open
    assert environment_gate({}, {"FLASK_ENV": "local", "PROFILING_ENABLED": str(value)}).open


@pytest.mark.parametrize("value", [False, "false", "0", "no", "off", "", "False", 0])
def test_the_switch_is_off_in_many_words(value: object) -> None:
    environ = {"FLASK_ENV": "local"}
    for gate in (
        environment_gate({"PROFILING_ENABLED": value}, environ),
        environment_gate({}, {**environ, "PROFILING_ENABLED": str(value)}),
    ):
        assert not gate.open
        assert "says no; set PROFILING_ENABLED=true" in gate.reason


@pytest.mark.parametrize("value", ["maybe", "ja", 2, 1.0, b"true", [], Hostile()], ids=range(7))
def test_a_switch_that_cannot_be_read_closes_and_says_so(value: object) -> None:
    gate = environment_gate({"PROFILING_ENABLED": value}, {"FLASK_ENV": "local"})
    assert not gate.open
    assert "neither true nor false" in gate.reason


@pytest.mark.parametrize(("config", "variable"), [(True, "false"), (False, "true"), (True, ""), ("on", "0")])
def test_switches_that_disagree_close(config: object, variable: str) -> None:
    gate = environment_gate({"PROFILING_ENABLED": config}, {"FLASK_ENV": "local", "PROFILING_ENABLED": variable})
    assert not gate.open
    assert "disagree; set both to true" in gate.reason


def test_switches_that_agree_in_other_words_open() -> None:
    assert environment_gate({"PROFILING_ENABLED": True}, {"FLASK_ENV": "local", "PROFILING_ENABLED": "yes"}).open


def test_no_switch_is_off() -> None:
    gate = environment_gate({"PROFILING_ENABLED": None}, {"FLASK_ENV": "local"})
    assert not gate.open
    assert gate.reason == "PROFILING_ENABLED is not set; set PROFILING_ENABLED=true"


def test_all_reasons_are_given_at_once() -> None:
    reason = environment_gate({}, {}).reason
    assert "FLASK_ENV is unset" in reason
    assert "PROFILING_ENABLED is not set" in reason


def test_a_reason_is_one_line_of_ascii_and_short() -> None:
    gate = environment_gate({"PROFILING_ENABLED": "x\ny" * 999}, {"FLASK_ENV": "\r\nroot logged in \u2028" * 99})
    assert gate.reason.isascii()
    assert gate.reason.isprintable()
    assert len(gate.reason) < 400


word = st.one_of(st.text(), st.sampled_from(["development", "Local", "staging", "production", "true", "1", "off"]))
setting = st.one_of(st.none(), st.integers(), st.booleans(), word)


@given(
    st.dictionaries(st.sampled_from(["FLASK_ENV", "ENV", "PROFILING_ENABLED"]), setting),
    st.dictionaries(st.sampled_from(["FLASK_ENV", "PROFILING_ENABLED"]), word),
)
def test_the_gate_opens_exactly_where_all_that_is_set_agrees(
    config: dict[str, object], environ: dict[str, str]
) -> None:
    names = [config.get("FLASK_ENV"), config.get("ENV"), environ.get("FLASK_ENV")]
    said = {str(name).strip().lower() for name in names if name is not None}
    switches = [config.get("PROFILING_ENABLED"), environ.get("PROFILING_ENABLED")]
    switched = {str(switch).strip().lower() for switch in switches if switch is not None}
    expected = (
        len(said) == 1 and said <= set(OPEN_ENVIRONMENTS) and bool(switched) and switched <= {"true", "1", "on", "yes"}
    )
    assert environment_gate(config, environ).open is expected


# -- the caller --------------------------------------------------------------------------------------------------------

PLAIN = load({}, {})
GUARDED = load({"PROFILING_ALLOWED_HOSTS": "staging.example,10.0.0.7:8000,[fd00::1]", "PROFILING_TOKEN": "s3cret"}, {})
HERE = Caller("localhost:5000", None, None, None, "http")
THERE = Caller("staging.example", None, None, "Bearer s3cret", "http")


def passes(config: Config, caller: Caller) -> bool:
    try:
        check_caller(config, caller)
    except Forbidden:
        return False
    return True


LOOPBACK = [
    "localhost",
    "localhost:5000",
    "LOCALHOST",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.8.9.10:65535",
    "[::1]",
    "[::1]:5000",
    "[0:0:0:0:0:0:0:1]",
]
FOREIGN = [
    "",
    " ",
    "example.com",
    "localhost.",
    "localhost.example.com",
    "localhost6",
    "notlocalhost",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "127.0.0.1.nip.io",
    "128.0.0.1",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "::1",
    "[::1",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::1%25lo]",
    "[::2]",
    "user@localhost",
    "localhost@evil.example",
    "evil.example#localhost",
    "localhost/",
    "http://localhost",
    "localhost:",
    "localhost:x",
    "localhost:65536",
    "localhost:99999",
    "localhost:5000:5000",
    "localhost, evil.example",
    "localhost,localhost",
    "localhost\x00",
    "localhost\n",
    " localhost",
    "localhost ",
    "\u217cocalhost",
    "\uff11\uff12\uff17.0.0.1",
    "\u0661\u0662\u0667.0.0.1",
    "127.0.0.1:\u0665",
    "xn--localhost",
    "x" * 100_000,
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_loopback_host_is_answered(host: str) -> None:
    check_caller(PLAIN, replace(HERE, host=host))
    assert names_loopback(host) is True


@pytest.mark.parametrize("host", [None, *FOREIGN])
def test_any_other_host_is_refused(host: str | None) -> None:
    with pytest.raises(Forbidden) as caught:
        check_caller(PLAIN, replace(HERE, host=host))
    assert caught.value.status == 403
    assert len(caught.value.message) < 200
    assert caught.value.message.isascii()
    assert host is None or names_loopback(host) is False


def test_an_allowed_host_in_other_letters_is_another_host() -> None:
    # The Kelvin sign becomes a k when it is made small.
    allowed = load({"PROFILING_ALLOWED_HOSTS": "kiosk.example", "PROFILING_TOKEN": "s3cret"}, {})
    check_caller(allowed, replace(THERE, host="kiosk.example"))
    assert not passes(allowed, replace(THERE, host="\u212aiosk.example"))


@pytest.mark.parametrize(("length", "shown"), [(58, "'" + "x" * 58 + "'"), (59, "'" + "x" * 59 + "...")])
def test_a_long_value_is_cut_in_a_reason(length: int, shown: str) -> None:
    assert f"is {shown}; profiling needs" in environment_gate({**ON, "FLASK_ENV": "x" * length}, {}).reason


@pytest.mark.parametrize(
    "host", ["staging.example", "Staging.Example", "staging.example:8443", "10.0.0.7:8000", "[fd00::1]:80", "[fd00::1]"]
)
def test_an_allowed_host_is_answered_with_the_token(host: str) -> None:
    check_caller(GUARDED, replace(THERE, host=host))


@pytest.mark.parametrize("host", ["10.0.0.7", "10.0.0.7:8001", "www.staging.example", "staging.example.", "staging"])
def test_an_allowed_host_is_taken_exactly(host: str) -> None:
    assert not passes(GUARDED, replace(THERE, host=host))


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer s3cre", "Bearer s3cret2"]
)
def test_an_allowed_host_without_the_token_is_refused_with_401(authorization: str | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        check_caller(GUARDED, replace(THERE, authorization=authorization))
    assert caught.value.status == 401
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("authorization", ["Basic s3cret", "s3cret", "Bearers3cret", "Digest Bearer s3cret"])
def test_only_a_bearer_token_counts(authorization: str) -> None:
    assert not passes(GUARDED, replace(THERE, authorization=authorization))


@pytest.mark.parametrize("authorization", ["bearer s3cret", "BEARER s3cret", "Bearer  s3cret "])
def test_the_word_bearer_is_read_in_any_case(authorization: str) -> None:
    check_caller(GUARDED, replace(THERE, authorization=authorization))


def test_from_loopback_the_token_is_optional_and_a_wrong_one_is_refused() -> None:
    check_caller(GUARDED, HERE)
    check_caller(GUARDED, replace(HERE, authorization="Bearer s3cret"))
    check_caller(GUARDED, replace(HERE, authorization="Basic dXNlcjpwYXNz"))
    with pytest.raises(Unauthorized):
        check_caller(GUARDED, replace(HERE, authorization="Bearer wrong"))
    with pytest.raises(Unauthorized):
        check_caller(GUARDED, replace(HERE, authorization="Bearer "))


def test_where_there_is_no_token_a_presented_one_does_not_matter() -> None:
    check_caller(PLAIN, replace(HERE, authorization="Bearer anything"))


def test_an_empty_token_never_opens_another_host() -> None:
    careless = replace(GUARDED, token="")
    for authorization in (None, "Bearer ", "Bearer", "Bearer x"):
        with pytest.raises(Unauthorized):
            check_caller(careless, replace(THERE, authorization=authorization))


@pytest.mark.parametrize("token", ["s\xe9cret", "\u20ac", "\udcff", "\x00", "s3cret\x00"])
def test_a_token_of_odd_letters_is_wrong_and_nothing_worse(token: str) -> None:
    with pytest.raises(Unauthorized):
        check_caller(GUARDED, replace(THERE, authorization=f"Bearer {token}"))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "SAME-ORIGIN", "none, cross-site", "?"])
def test_another_sites_page_is_refused_by_the_browsers_word(site: str) -> None:
    with pytest.raises(Forbidden, match="another site"):
        check_caller(PLAIN, replace(HERE, sec_fetch_site=site))


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_browsers_word_alone_does_not_excuse_a_foreign_origin(site: str) -> None:
    check_caller(PLAIN, replace(HERE, sec_fetch_site=site))
    assert not passes(PLAIN, replace(HERE, sec_fetch_site=site, origin="http://evil.example"))


@pytest.mark.parametrize("origin", ["http://localhost:5000", "HTTP://LOCALHOST:5000"])
def test_the_own_origin_passes(origin: str) -> None:
    check_caller(PLAIN, replace(HERE, origin=origin))


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost",
        "http://localhost:5001",
        "https://localhost:5000",
        "http://localhost:5000.evil.example",
        "http://evil.example/http://localhost:5000",
        "http://127.0.0.1:5000",
        "http://localhost:5000/",
        "http://localhost:5000 http://evil.example",
        "localhost:5000",
        "file://",
        "chrome-extension://abc",
    ],
)
def test_another_origin_is_refused(origin: str) -> None:
    with pytest.raises(Forbidden, match="another origin"):
        check_caller(PLAIN, replace(HERE, origin=origin))


def test_an_allowed_host_may_be_behind_a_proxy_that_speaks_tls() -> None:
    check_caller(GUARDED, replace(THERE, origin="https://staging.example"))
    check_caller(GUARDED, replace(THERE, origin="http://staging.example"))
    assert not passes(GUARDED, replace(THERE, origin="https://evil.example"))


def test_a_foreign_page_learns_nothing_about_the_token() -> None:
    with pytest.raises(Forbidden) as caught:
        check_caller(GUARDED, replace(THERE, origin="http://evil.example", authorization="Bearer wrong"))
    assert not isinstance(caught.value, Unauthorized)


text = st.one_of(
    st.none(), st.text(), st.sampled_from(["localhost", "[::1]", "Bearer s3cret", "none", "http://localhost"])
)


@given(st.builds(Caller, text, text, text, text, st.sampled_from(["http", "https", ""])))
def test_no_caller_makes_the_gate_raise_anything_else(caller: Caller) -> None:
    if passes(GUARDED, caller):
        assert caller.host is not None
        assert caller.sec_fetch_site in (None, "none", "same-origin") or caller.sec_fetch_site.strip() == "none"


# -- reading the caller ------------------------------------------------------------------------------------------------

ENVIRON = {
    "HTTP_HOST": "localhost",
    "HTTP_ORIGIN": "http://localhost",
    "HTTP_SEC_FETCH_SITE": "none",
    "HTTP_AUTHORIZATION": "Bearer x",
    "wsgi.url_scheme": "https",
}


def test_a_caller_is_read_from_the_headers() -> None:
    assert caller_of(ENVIRON) == Caller("localhost", "http://localhost", "none", "Bearer x", "https")
    assert caller_of({}) == Caller(None, None, None, None, "http")


def test_what_a_proxy_forwards_is_not_read() -> None:
    forwarded = {"HTTP_X_FORWARDED_HOST": "localhost", "HTTP_FORWARDED": "host=localhost", "SERVER_NAME": "localhost"}
    assert caller_of({**ENVIRON, **forwarded, "HTTP_HOST": "evil.example"}).host == "evil.example"
    assert caller_of(forwarded).host is None


def test_what_proxy_fix_changed_is_read_as_it_was() -> None:
    original = {"HTTP_HOST": "evil.example", "wsgi.url_scheme": "http", "REMOTE_ADDR": "10.0.0.1"}
    caller = caller_of({**ENVIRON, "werkzeug.proxy_fix.orig": original})
    assert (caller.host, caller.scheme) == ("evil.example", "http")
    assert caller_of({**ENVIRON, "werkzeug.proxy_fix.orig": {"HTTP_HOST": None}}).host is None


def test_a_header_that_is_no_text_is_not_there() -> None:
    assert caller_of({"HTTP_HOST": 5, "werkzeug.proxy_fix.orig": "x"}).host is None


@pytest.mark.parametrize(
    "header", ["HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP", "HTTP_VIA"]
)
def test_a_proxy_that_writes_a_loopback_host_makes_nobody_local(header: str) -> None:
    caller = caller_of({"HTTP_HOST": "127.0.0.1:8000", header: "203.0.113.9", "wsgi.url_scheme": "http"})
    guarded = load({"PROFILING_TOKEN": "s3cret"}, {})
    with pytest.raises(Unauthorized):
        check_caller(guarded, caller)
    check_caller(guarded, replace(caller, authorization="Bearer s3cret"))


def test_a_forwarding_header_alone_keeps_nobody_out_who_would_be_local() -> None:
    check_caller(load({}, {}), caller_of({"HTTP_HOST": "localhost", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}))
