"""May this happen, here and for this caller? Pure functions of values: no request, environment or clock is read."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .config import Config, flag, shown
from .errors import Forbidden, Unauthorized

OPEN_ENVIRONMENTS = ("development", "staging", "local")

# Proxies set one of these, and many of them a loopback Host of their own.
_FORWARDING = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP", "HTTP_VIA")
_HOST = re.compile(r"(?P<name>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether this app may be profiled at all, and a sentence that says why (or why not, and what to do)."""

    open: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in headers as the client sent them (None: not sent) and the ``scheme`` that the server saw.

    They come from the server itself: what a proxy says about its own client is not believed. That it speaks at all
    (``forwarded``) is: then the Host may be the proxy's own, and whoever asks may be anywhere.
    """

    host: str | None
    origin: str | None
    sec_fetch_site: str | None
    authorization: str | None
    scheme: str
    forwarded: bool = False


def environment_gate(config: Mapping[str, object], environ: Mapping[str, str]) -> Gate:
    """Decide from ``app.config`` and the environment; in doubt the gate is closed.

    Case and white space around a value do not matter. None in ``app.config`` counts as not set; an empty text is set,
    to nothing that opens.
    """
    environments = {
        "app.config['FLASK_ENV']": config.get("FLASK_ENV"),
        "app.config['ENV']": config.get("ENV"),
        "the environment's FLASK_ENV": environ.get("FLASK_ENV"),
    }
    switches = {
        "app.config['PROFILING_ENABLED']": config.get("PROFILING_ENABLED"),
        "the environment's PROFILING_ENABLED": environ.get("PROFILING_ENABLED"),
    }
    objections = [*_against_environment(_set(environments)), *_against_switch(_set(switches))]
    if objections:
        return Gate(False, "; ".join(objections))
    return Gate(True, f"the environment is {_plain(str(next(iter(_set(environments).values()))))} and the switch is on")


def _set(sources: Mapping[str, object]) -> dict[str, object]:
    return {source: value for source, value in sources.items() if value is not None}


def _against_switch(sources: Mapping[str, object]) -> list[str]:
    if not sources:
        return ["PROFILING_ENABLED is not set; set PROFILING_ENABLED=true"]
    said = []
    for source, value in sources.items():
        try:
            said.append(flag(value))
        except ValueError:
            return [f"{source} is {shown(value)}, which is neither true nor false; set it to true"]
    if all(said):
        return []
    if any(said):
        return [f"{' and '.join(sources)} disagree; set both to true, or unset one"]
    return [f"{' and '.join(sources)} {'say' if len(sources) > 1 else 'says'} no; set PROFILING_ENABLED=true"]


def _against_environment(sources: Mapping[str, object]) -> list[str]:
    if not sources:
        return ["FLASK_ENV is unset, which means production; set FLASK_ENV=development"]
    for source, value in sources.items():
        if not isinstance(value, str) or _plain(value) not in OPEN_ENVIRONMENTS:
            return [f"{source} is {shown(value)}; profiling needs {_listed(OPEN_ENVIRONMENTS)}"]
    if len({_plain(str(value)) for value in sources.values()}) == 1:
        return []
    said = ", ".join(f"{source} is {shown(value)}" for source, value in sources.items())
    return [f"the sources of the environment disagree: {said}; set all to the same"]


def caller_of(environ: Mapping[str, object]) -> Caller:
    """Read the caller from a WSGI environment, as it was before Werkzeug's ProxyFix (if in use) changed it."""
    before_proxy_fix = environ.get("werkzeug.proxy_fix.orig")
    original = before_proxy_fix if isinstance(before_proxy_fix, Mapping) else environ

    def header(source: Mapping[str, object], name: str) -> str | None:
        value = source.get(name)
        return value if isinstance(value, str) else None

    return Caller(
        host=header(original, "HTTP_HOST"),
        origin=header(environ, "HTTP_ORIGIN"),
        sec_fetch_site=header(environ, "HTTP_SEC_FETCH_SITE"),
        authorization=header(environ, "HTTP_AUTHORIZATION"),
        scheme=header(original, "wsgi.url_scheme") or "http",
        forwarded=any(name in environ for name in _FORWARDING),
    )


def check_caller(config: Config, caller: Caller) -> None:
    """Let a caller pass or raise Forbidden, or Unauthorized for a token that is missing or wrong.

    Answered are Hosts that are a loopback address (127.0.0.0/8 in four decimal numbers, or ``[::1]``) or ``localhost``,
    with any port, and those of ``PROFILING_ALLOWED_HOSTS`` with the token. What a browser or a proxy says about where a
    request comes from can only forbid it: where there is a token, what came through a proxy needs it.
    """
    read = _host_and_name(caller.host or "")
    if read is None:
        raise Forbidden("the request names no usable Host; send one such as localhost")
    host, name = read
    is_loopback = _is_loopback(name)
    if not is_loopback and host not in config.allowed_hosts and name not in config.allowed_hosts:
        raise Forbidden(
            f"the Host {shown(host)} is not answered; use http://localhost, or list it in PROFILING_ALLOWED_HOSTS"
        )
    _check_site(caller, host, is_loopback)
    is_local = is_loopback and not (caller.forwarded and config.token)
    _check_token(config.token, caller.authorization, required=not is_local)


def names_loopback(host: str) -> bool:
    """Tell whether a Host header names this machine's loopback: ``localhost`` or an address, with any port."""
    read = _host_and_name(host)
    return read is not None and _is_loopback(read[1])


def _host_and_name(header: str) -> tuple[str, str] | None:
    """Return a Host header in small letters, and its name without the port; None for what is no Host."""
    match = _HOST.fullmatch(header)
    if match is None or int(match["port"] or 0) > 65535:
        return None
    return match[0].lower(), match["name"].lower()


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    # Only usual spellings count; 127.1, 0x7f.1, 2130706433 and [::ffff:127.0.0.1] serve nobody but attackers.
    try:
        if name.startswith("["):
            return ipaddress.IPv6Address(name[1:-1]) == ipaddress.IPv6Address("::1")
        return ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False


def _check_site(caller: Caller, host: str, is_loopback: bool) -> None:
    site = caller.sec_fetch_site
    if site is not None and site.strip() not in ("same-origin", "none"):
        raise Forbidden("the request comes from another site's page; open the address itself, or use `flask profiling`")
    # In front of another Host there may be a proxy that speaks TLS, so the scheme that the browser saw is not known.
    schemes = (caller.scheme,) if is_loopback else ("http", "https")
    if caller.origin is not None and caller.origin.lower() not in [f"{scheme}://{host}" for scheme in schemes]:
        raise Forbidden("the request comes from another origin; open the address itself, or use `flask profiling`")


def _check_token(token: str, authorization: str | None, *, required: bool) -> None:
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":  # nothing, or credentials that are meant for the app itself
        if required:
            raise Unauthorized("this Host needs a token; send it as `Authorization: Bearer …` (PROFILING_TOKEN)")
        return
    expected = token.encode()
    # Servers hand headers over as Latin-1; what no server hands over (a test's own text) must not raise either.
    presented = given.strip().encode("latin-1", "backslashreplace")
    if not expected and not required:
        return
    if not expected or not hmac.compare_digest(expected, presented):
        raise Unauthorized("the token is wrong; send the server's PROFILING_TOKEN")


def _plain(value: str) -> str:
    return value.strip().lower()


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
