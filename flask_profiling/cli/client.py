"""Ask a running server over HTTP, bounded in time and size; no terminal and no options are known here.

There is no proxy, no redirect and no cookie: the token goes to the address that was given and nowhere else.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..config import setting_of
from .failure import UNREACHABLE, USAGE, Failure

DEFAULT_URL = "http://127.0.0.1:5000"
DEFAULT_PREFIX = setting_of("PROFILING_URL_PREFIX").default
CONNECT_SECONDS = 5.0
ANSWER_LIMIT = 16 * 1024 * 1024

_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the endpoints are: ``prefix`` is the path in front of ``/status``, empty or with a leading slash."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def origin(self) -> str:
        """The address without a path, as a person would type it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it is this machine, by its loopback."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def private(self) -> bool:
        """Whether nobody on the way can read what is sent: TLS, or it does not leave this machine."""
        return self.scheme == "https" or self.local

    @classmethod
    def parse(cls, url: str, prefix: str | None = None) -> Target:
        """Read an address that may carry the prefix, or, where ``prefix`` is given, what stands in front of it.

        Raises Failure with the usage status and a sentence.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise _unusable(f"it cannot be read ({error})") from None
        if parts.scheme not in ("http", "https"):
            raise _unusable("only http:// and https:// are known")
        if parts.username is not None or parts.password is not None:
            raise _unusable("it must not hold a name or password; a token is read from PROFILING_TOKEN")
        if parts.query or parts.fragment:
            raise _unusable("it must not have a ? or # part")
        if not host or not re.fullmatch(r"[\w.:%-]+", host):
            raise _unusable("it names no host")
        return cls(parts.scheme, host, port or _default_port(parts.scheme), _joined(parts.path, prefix))


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back before anybody looked inside: the status, the headers and the first bytes of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    target: Target,
    method: str,
    path: str,
    *,
    fields: tuple[str, ...],
    body: Mapping[str, object] | None = None,
    token: str = "",
    seconds: float = 30.0,
) -> dict[str, object]:
    """Send one request and return the server's JSON object, which holds at least ``fields``.

    ``seconds`` bounds the whole exchange after connecting. Raises Failure: status 3 where nothing (or nothing that
    speaks HTTP) answers in time, 1 where the server refuses or is not ours, with a sentence that says what to do.
    """
    url = f"{target.origin}{target.prefix}{path}"
    reply = _exchange(target, method, path, body, _headers(token), seconds)
    document = _document(reply.body)
    if document is not None and reply.status == 200 and all(field in document for field in fields):
        return document
    if document is not None and document.get("success") is False and isinstance(document.get("message"), str):
        code = document.get("error")
        raise Failure(str(document["message"]), code=code if isinstance(code, str) else "failed", answer=document)
    raise Failure(f"{method} {url} answered {_explained(reply, document is not None)}", code="foreign_answer")


def _unusable(reason: str) -> Failure:
    return Failure(
        f"the server's address cannot be used: {reason}; give it as --url {DEFAULT_URL}",
        code="usage",
        exit_status=USAGE,
    )


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _joined(path: str, prefix: str | None) -> str:
    path = path.rstrip("/")
    if prefix is None:
        path = path or DEFAULT_PREFIX
    else:
        prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        path = path if path.endswith(prefix) else path + prefix
    if _PATH.fullmatch(path):
        return path
    raise _unusable("its path holds characters that a URL cannot")


def _headers(token: str) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "flask-profiling", "Connection": "close"}
    if not token:
        return headers
    if not _TOKEN.fullmatch(token):
        raise Failure(
            "PROFILING_TOKEN holds spaces, control characters or letters outside ASCII, which no header can carry; "
            "set it to the server's token",
            code="usage",
            exit_status=USAGE,
        )
    return headers | {"Authorization": f"Bearer {token}"}


def _exchange(
    target: Target, method: str, path: str, body: Mapping[str, object] | None, headers: dict[str, str], seconds: float
) -> Reply:
    payload = None if body is None else json.dumps(body).encode("ascii")
    if payload is not None:
        headers = headers | {"Content-Type": "application/json"}
    connection = _connected(target)
    with contextlib.closing(connection), _deadline(connection.sock, seconds) as expired:
        try:
            connection.request(method, target.prefix + path, payload, headers)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            reply = Reply(response.status, headers, response.read(ANSWER_LIMIT + 1))
            # read() with a bound does not mind an early end, and half an answer is not one from a stranger
            if response.length and len(reply.body) <= ANSWER_LIMIT:
                raise http.client.IncompleteRead(reply.body, response.length)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _no_answer(target, seconds, error, late=expired.is_set()) from None
        if expired.is_set():
            raise _no_answer(target, seconds, TimeoutError(), late=True)
        return reply


def _connected(target: Target) -> http.client.HTTPConnection:
    connection: http.client.HTTPConnection
    if target.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(target.host, target.port, timeout=CONNECT_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=CONNECT_SECONDS)
    try:
        connection.connect()
    except (OSError, UnicodeError) as error:
        connection.close()
        raise Failure(_no_connection(target, error), code="unreachable", exit_status=UNREACHABLE) from None
    return connection


@contextlib.contextmanager
def _deadline(connected: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """Hang up after ``seconds``: a socket's own timeout starts again with each byte that drips in."""
    expired = threading.Event()

    def hang_up() -> None:
        expired.set()
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    connected.settimeout(seconds)
    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _no_connection(target: Target, error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {target.origin} is not trusted ({error.verify_message}); "
            "name its authority's file in SSL_CERT_FILE"
        )
    if isinstance(error, ssl.SSLError):
        return f"{target.origin} does not speak TLS; use http://, or the port that serves https"
    if isinstance(error, ConnectionRefusedError):
        return (
            f"no server listens at {target.origin}; start the app with: flask profiling start, "
            "or say where it runs with --url or PROFILING_URL"
        )
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"the host {target.host!r} is not known; check --url and PROFILING_URL"
    if isinstance(error, TimeoutError):
        return f"{target.origin} took no connection within {CONNECT_SECONDS:g} s; check --url, or the firewall between"
    return f"{target.origin} cannot be reached ({error.__class__.__name__}); check --url and PROFILING_URL"


def _no_answer(target: Target, seconds: float, error: Exception, *, late: bool) -> Failure:
    if late or isinstance(error, TimeoutError):
        message = (
            f"{target.origin} gave no whole answer within {seconds:g} s; it may still be at work: "
            "look with flask profiling status, or wait longer with --timeout"
        )
        return Failure(message, code="timeout", exit_status=UNREACHABLE)
    message = (
        f"{target.origin} hung up or does not speak HTTP ({error.__class__.__name__}); "
        "check the scheme (http or https) and the port in --url"
    )
    return Failure(message, code="unreachable", exit_status=UNREACHABLE)


def _document(body: bytes) -> dict[str, object] | None:
    if len(body) > ANSWER_LIMIT:
        return None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _explained(reply: Reply, is_json: bool) -> str:
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    shown = f"{reply.status} {'JSON' if is_json else 'HTML' if kind == 'text/html' else kind or 'without a type'}"
    if "airtunes" in reply.headers.get("server", "").lower():
        return f"{shown}: that is the AirPlay receiver of macOS; serve the app on another port and name it in --url"
    if len(reply.body) > ANSWER_LIMIT:
        return f"more than {ANSWER_LIMIT // 1024 // 1024} MiB: that is not flask_profiling; check --url"
    if 300 <= reply.status < 400:
        where = reply.headers.get("location", "somewhere else")[:200]
        return f"{shown}: a redirect to {where}, which is not followed; give the final address in --url"
    if reply.status == 404:
        return (
            f"{shown}: profiling is closed there (FLASK_ENV unset means production, PROFILING_ENABLED unset means "
            "off), or served under another prefix; start the app with: flask profiling start, or give the prefix with "
            "--prefix or in --url"
        )
    if reply.status in (502, 503, 504):
        return f"{shown}: a proxy that does not reach the app; start the app, or name the app's own address in --url"
    if reply.status in (401, 403, 407):
        return f"{shown}: something in front of the app refuses; name the app's own address in --url"
    return f"{shown}: that is not flask_profiling; check the address and the port in --url"
