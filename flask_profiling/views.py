"""The five endpoints: read the request, call the sessions, write JSON; nothing is decided or profiled here.

Every method on the five addresses is answered by us and in JSON, so that the app's own error pages are not needed.
Errors that the app itself raises before our views run stay the app's, but for HTTP errors that it has no page for.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException

from .config import Config, session_options
from .errors import BadRequest, MethodNotAllowed, ProfilingError, TooLarge, TooManyRequests, Unauthorized
from .model import Artifact, Session, SessionOptions, SlowRequest, WorkerId, human_size

if TYPE_CHECKING:
    from .extension import ProfilingState

logger = logging.getLogger("flask_profiling")

BODY_LIMIT = 64 * 1024
QUERY_FIELDS = 100
# Options are flat. Nesting would use up the stack of a thread that has little of it (1 MiB on Alpine), or of any where
# the app has raised the recursion limit (before Python 3.12).
_MOST_BRACKETS = 1000

_CHUNK = 8 * 1024
_SHOWN_NAMES = 5

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address: its method (GET brings HEAD), what it does, and whether calls of it are limited."""

    method: str
    act: Callable[[ProfilingState], Document]
    limited: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method that is answered, for the Allow header."""
        return ("GET", "HEAD", "OPTIONS") if self.method == "GET" else (self.method, "OPTIONS")


def build_blueprint(
    *,
    admit: Callable[[Mapping[str, object]], None],
    limit: Callable[[], None],
    around: Callable[[str, Callable[[], Document]], Document] = lambda name, act: act(),
) -> Blueprint:
    """Make the blueprint of one app.

    ``admit`` is handed the WSGI environment of every request; where an endpoint is limited, ``limit`` is called after
    it. Both raise a ProfilingError to refuse. ``around`` is handed the name of the endpoint and what it does, and
    answers with what that answers.
    """
    blueprint = Blueprint("profiling", __name__)

    def add_routes(state: BlueprintSetupState) -> None:
        for name, endpoint in ENDPOINTS.items():
            full_name = f"{state.name_prefix}.{state.name}.{name}".lstrip(".")
            state.app.view_functions[full_name] = _view(endpoint, admit, limit, partial(around, name))
            for host, subdomain in _places(state):
                # Blueprint.route() cannot say "any method", and what it leaves out would get the app's own 405 page.
                rule = state.app.url_rule_class(
                    f"{state.url_prefix or ''}/{name}", endpoint=full_name, host=host, subdomain=subdomain
                )
                rule.provide_automatic_options = False  # type: ignore[attr-defined]  # Flask's own note to itself
                state.app.url_map.add(rule)

    blueprint.record(add_routes)
    blueprint.register_error_handler(HTTPException, _http_error)
    return blueprint


def _places(state: BlueprintSetupState) -> tuple[tuple[str | None, str | None], ...]:
    """Where the rules stand, as host and subdomain: an app that looks at the Host to find its routes has us on every
    one, for who may ask is the gate's to say."""
    if state.app.url_map.host_matching:
        return (("<host>", None),)
    # Before Flask 3.1 an app with a SERVER_NAME looks at the Host too.
    by_host = getattr(state.app, "subdomain_matching", False) or state.app.config["SERVER_NAME"]
    if by_host and not state.subdomain:
        return ((None, ""), (None, "<host>"))
    return ((None, state.subdomain),)


def _view(
    endpoint: Endpoint,
    admit: Callable[[Mapping[str, object]], None],
    limit: Callable[[], None],
    around: Callable[[Callable[[], Document]], Document],
) -> Callable[..., Response]:
    def view(host: str = "") -> Response:
        try:
            admit(request.environ)
            if request.method == "OPTIONS":
                return _allowed(endpoint.methods)
            if request.method not in endpoint.methods:
                raise MethodNotAllowed(f"no such method here; use {endpoint.method}", allowed=endpoint.methods)
            if endpoint.limited:
                limit()
            return _answer(200, around(partial(endpoint.act, current_app.extensions["profiling"])))
        except ProfilingError as error:
            return _refusal(error)
        except Exception:
            logger.exception("a request to the profiler failed; the app is not affected")
            return _refusal(ProfilingError("the profiler failed; the server's log says more"))

    return view


# -- answers -----------------------------------------------------------------------------------------------------------


def _answer(status: int, document: Document, headers: Mapping[str, str] | None = None) -> Response:
    # Not flask.json: the app may have a JSON provider of its own. ASCII, for a file name may hold what is not text.
    body = json.dumps(document, ensure_ascii=True, allow_nan=False) + "\n"
    return _finished(Response(body, status, mimetype="application/json"), headers or {})


def _allowed(methods: tuple[str, ...]) -> Response:
    response = _finished(Response(status=204), {"Allow": ", ".join(methods)})
    del response.headers["Content-Type"]  # there is no content
    return response


def _finished(response: Response, headers: Mapping[str, str]) -> Response:
    response.headers.update({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers})
    return response


def _refusal(error: ProfilingError) -> Response:
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(error.status, {"success": False, "error": error.code, "message": error.message}, headers)


def _http_error(error: HTTPException) -> Response | HTTPException:
    """Write as JSON what the app raised before our view ran (a login, a limit of its own) and has no page for."""
    if error.code is None or error.response is not None:
        return error
    headers = {name: value for name, value in error.get_headers() if name.lower() not in ("content-type", "allow")}
    code = error.name.lower().replace(" ", "_")
    message = f"the app refused the request before the profiler saw it ({error.code} {error.name}); ask its owner"
    return _answer(error.code, {"success": False, "error": code, "message": message}, headers)


def _start(state: ProfilingState) -> Document:
    started = state.sessions.start(_asked_options(state.config))
    return {
        "success": True,
        "message": "Profiling session started",
        "sessionId": started.session.id,
        "devToolsUrl": started.devtools_url,
        "deadline": iso_time(started.deadline),
        "engines": _engines(started.session.options),
        "workers": [_worker(worker) for worker in started.workers],
        "missing": [_worker(worker) for worker in started.missing],
        "notes": list(started.notes),
    }


def _stop(state: ProfilingState) -> Document:
    _refuse_fields("stop")
    stopped = state.sessions.stop()
    directory = shown_directory(state.config.output_dir)
    hosts = {host: [f"{directory}/{name}" for name in names] for host, names in stopped.hosts.items()}
    slow = stopped.recording.slow_requests()
    return {
        "success": True,
        "message": "Profiling session stopped",
        "sessionId": stopped.session.id,
        **_durations(stopped.session.duration),
        "artifacts": [f"{directory}/{artifact.filename}" for artifact in stopped.artifacts],
        "workers": [_worker(worker) for worker in stopped.workers],
        "missing": [_worker(worker) for worker in stopped.missing],
        "notes": list(stopped.notes),
        **({} if slow is None else {"slowRequests": [_slow(request) for request in slow.requests]}),
        **({"hosts": hosts} if hosts else {}),
    }


def _status(state: ProfilingState) -> Document:
    status = state.sessions.status()
    document: Document = {
        "enabled": True,
        "active": status.session is not None,
        "lastSession": None if status.last is None else _ended(status.last),
        "reports": [{"id": artifact.session_id, **_stored(artifact)} for artifact in status.artifacts],
        "notes": list(status.notes),
    }
    if status.session is not None:
        document["session"] = {
            "id": status.session.id,
            "started": iso_time(status.session.started),
            "deadline": iso_time(status.deadline),
            "state": "collecting" if status.collecting else "profiling",
            "engines": _engines(status.session.options),
        }
        live = state.sessions.live
        if live is not None:
            held = live.memory().items()
            document["memory"] = {
                "pid": live.worker.pid,
                "held": [{"what": what, "size": human_size(size), "sizeBytes": size} for what, size in held],
            }
        document["workers"] = [{**_worker(each.worker), "state": each.state} for each in status.workers]
    return document


def _reports(state: ProfilingState) -> Document:
    artifacts = state.sessions.reports()
    return {"reports": [{"sessionId": artifact.session_id, **_stored(artifact)} for artifact in artifacts]}


def _cleanup(state: ProfilingState) -> Document:
    _refuse_fields("cleanup")
    cleaned = state.sessions.clean()
    return {
        "success": True,
        "message": "Profiling cleanup completed",
        "cleaned": {"reports": cleaned.reports, "sessions": cleaned.sessions},
    }


ENDPOINTS: dict[str, Endpoint] = {
    "start": Endpoint("POST", _start, limited=True),
    "stop": Endpoint("POST", _stop, limited=True),
    "status": Endpoint("GET", _status),
    "reports": Endpoint("GET", _reports),
    "cleanup": Endpoint("DELETE", _cleanup, limited=True),
}


def _ended(session: Session) -> Document:
    return {
        "id": session.id,
        "startTime": iso_time(session.started),
        "endTime": iso_time(session.ended),
        **_durations(session.duration),
        "endedBy": session.ended_by,
    }


def _stored(artifact: Artifact) -> Document:
    return {
        "type": artifact.type,
        "filename": artifact.filename,
        "size": human_size(artifact.size),
        "sizeBytes": artifact.size,
        "created": iso_time(artifact.created),
    }


def _slow(request: SlowRequest) -> Document:
    document = {**replace(request, tree=None).to_json(), "startTime": iso_time(request.started)}
    wanted = {name: value for name, value in document.items() if name not in ("started", "tree", "wallSeconds")}
    return wanted | _durations(request.wall_time)


def _durations(seconds: float | None) -> Document:
    return {"duration": None if seconds is None else human_duration(seconds), "durationSeconds": seconds}


def _worker(worker: WorkerId) -> Document:
    return {"pid": worker.pid, "host": worker.host}


def _engines(options: SessionOptions) -> list[str]:
    chosen = {options.cpu: options.cpu != "off", "heap": options.heap, "allocations": options.allocations > 0}
    return [name for name, is_on in chosen.items() if is_on]


def iso_time(seconds: float | None) -> str | None:
    """Write Unix seconds as ISO 8601 in UTC, such as ``2026-03-01T12:00:00.250Z``; None for what is no date."""
    if seconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):  # a stored time that somebody tampered with
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def human_duration(seconds: float) -> str:
    """Write a duration for people: ``45.2s`` below a minute, else the whole units that are not zero: ``1h 5m 3s``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join(f"{amount}{unit}" for amount, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if amount)


def shown_directory(directory: Path) -> str:
    """Write the output directory as an answer may: relative to the working directory, else by its last name alone."""
    if not directory.is_absolute():
        return directory.as_posix()
    try:
        return directory.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):  # elsewhere, or the working directory is gone
        return directory.name


# -- requests ----------------------------------------------------------------------------------------------------------


def _asked_options(config: Config) -> SessionOptions:
    body, query = _body_fields(), _query_fields()
    if body and query:
        raise BadRequest("nothing was started: both the body and the query hold fields; send them in one of the two")
    return session_options(config, body or query, textual=bool(query))


def _refuse_fields(endpoint: str) -> None:
    names = [*_body_fields(), *_query_fields()]
    if names:
        shown = ", ".join(ascii(name[:40]) for name in names[:_SHOWN_NAMES])
        raise BadRequest(f"{endpoint} takes no fields, found {shown}; leave them out")


def _query_fields() -> dict[str, object]:
    query = request.environ.get("QUERY_STRING") or ""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS)
    except ValueError:
        raise BadRequest(f"the query holds more than {QUERY_FIELDS} fields; send less") from None
    return _unique(pairs)


def _body_fields() -> dict[str, object]:
    body = _body()
    if not body.strip():
        return {}
    if request.mimetype not in ("", "application/json"):
        raise BadRequest("the body is not declared as JSON; send it with Content-Type: application/json")
    try:
        if body.count(b"[") + body.count(b"{") > _MOST_BRACKETS:
            raise RecursionError
        fields = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON that can be read; send an object such as {\"seconds\": 30}") from None
    if isinstance(fields, dict):
        return fields
    raise BadRequest("the body is JSON and not an object; send an object such as {\"seconds\": 30}")


def _body() -> bytes:
    """Read the body up to the bound: what the client says about its length is not relied on, for it may send chunks."""
    too_large = TooLarge(f"the body is larger than {BODY_LIMIT} bytes; send the options alone")
    over_the_apps = TooLarge("the body is larger than the app's MAX_CONTENT_LENGTH; send the options in the query")
    if (request.content_length or 0) > BODY_LIMIT:
        raise too_large
    body = bytearray()
    try:
        while len(body) <= BODY_LIMIT:
            chunk = request.stream.read(min(_CHUNK, BODY_LIMIT + 1 - len(body)))
            if not chunk:
                break
            body += chunk
        # A function of the app that runs before each request may have read it already.
        found = bytes(body) or request.get_data()
    except HTTPException as error:
        raise over_the_apps if error.code == 413 else BadRequest("the body ended too early; send it again") from None
    except Exception:  # each server has errors of its own for chunks that are none
        raise BadRequest("the body cannot be read; send it with a Content-Length") from None
    if len(found) > BODY_LIMIT:
        raise too_large
    return found


def _unique(pairs: list[tuple[str, object]] | list[tuple[str, str]]) -> dict[str, object]:
    fields: dict[str, object] = dict(pairs)
    if len(fields) < len(pairs):
        raise BadRequest("a field is given twice; give it once")
    return fields


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
