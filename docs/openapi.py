"""The five endpoints as an OpenAPI 3.1 description, made from the code's own tables; no page is written here.

``python docs/openapi.py`` prints it. The shapes are written down by hand and held against the answers of a real app by
``tests/test_docs.py``; paths, methods, codes and bounds come from the code, so that they cannot differ.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http import HTTPStatus

from flask_profiling import ProfilingError, __version__
from flask_profiling.config import SETTINGS
from flask_profiling.config.settings import CPU_CHOICES, MOST_FRAMES
from flask_profiling.engines import ENGINES
from flask_profiling.formats import FORMATS
from flask_profiling.views import BODY_LIMIT, ENDPOINTS

Schema = dict[str, object]

DEFAULTS = {setting.key: setting.default for setting in SETTINGS}

SUMMARIES = {
    "start": "Start a session in every worker",
    "stop": "Stop the session, merge what the workers collected and write the artifacts",
    "status": "Tell what runs, what ran last and what is stored",
    "reports": "List the stored artifacts, the newest first",
    "cleanup": "Delete the stored artifacts; those of a running session stay",
}
ANSWERS = {"start": "Started", "stop": "Stopped", "status": "Status", "reports": "Reports", "cleanup": "Cleaned"}
# what every endpoint may answer, and what only those that change something may
ALWAYS = (401, 403, 405, 500)
CHANGING = {
    "start": (400, 409, 413, 429, 501, 503, 507),
    "stop": (400, 409, 413, 429, 503, 507),
    "cleanup": (400, 413, 429, 503, 507),
}
READING = (503, 507)


def errors() -> Iterator[type[ProfilingError]]:
    """Yield every class of the error tree, a class before those below it."""
    waiting = [ProfilingError]
    while waiting:
        kind = waiting.pop()
        yield kind
        waiting += [below for below in reversed(kind.__subclasses__()) if below.__module__ == kind.__module__]


def one(kind: str, meaning: str, **more: object) -> Schema:
    """Return the schema of one value."""
    return {"type": kind, "description": meaning, **more}


def many(items: Schema, meaning: str) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "description": meaning, "items": items}


def shape(properties: dict[str, Schema], meaning: str, *, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object, whose properties are there unless they are named as optional."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": meaning, "properties": properties, "required": required}


def ref(name: str) -> Schema:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """Allow null besides."""
    return {"anyOf": [schema, {"type": "null"}]}


SESSION_ID = one("string", "The id of the session.", pattern="^prof-[0-9a-z-]{4,60}$")
SUCCESS: Schema = {"const": True, "description": "It was done."}
MESSAGE = one("string", "A sentence for people.")
MOMENT = one(
    "string",
    "ISO 8601 in UTC with milliseconds.",
    pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    examples=["2026-03-01T12:00:00.250Z"],
)
NOTES = many(one("string", "A sentence."), "What is missing, late or approximate, in sentences.")
TYPE = one("string", "The artifact's format.", enum=list(FORMATS))
ENGINE_NAMES = many(one("string", "An engine.", enum=list(ENGINES)), "What collects.")
DURATIONS: dict[str, Schema] = {
    "duration": nullable(one("string", "How long it lasted, for people.", examples=["45.2s", "5m"])),
    "durationSeconds": nullable(one("number", "The same in seconds, by a monotonic clock.", minimum=0)),
}
STORED: dict[str, Schema] = {
    "type": TYPE,
    "filename": one("string", "Its name in PROFILING_OUTPUT_DIR."),
    "size": one("string", "Its size for people; 1 KB is 1000 bytes.", examples=["2.4MB"]),
    "sizeBytes": one("integer", "Its size in bytes.", minimum=0),
    "created": MOMENT,
}
WORKER: dict[str, Schema] = {
    "pid": one("integer", "The process id.", minimum=0),
    "host": one("string", "The host's name."),
}


def workers(meaning: str) -> Schema:
    """Return the schema of a list of workers."""
    return many(ref("Worker"), meaning)


def schemas() -> dict[str, Schema]:
    """Return every schema by name."""
    return {
        "Options": options(),
        "Worker": shape(WORKER, "A process that serves the app."),
        "Error": error([kind.code for kind in errors()]),
        "HostError": error(None),
        **answers(),
    }


def options() -> Schema:
    """Return the body of a start, which the query may hold instead."""
    return {
        **shape(
            {
                "cpu": one("string", "How CPU time is collected; PROFILING_CPU if left out.", enum=list(CPU_CHOICES)),
                "heap": one("boolean", "Take a heap snapshot at stop; PROFILING_HEAP if left out."),
                "allocations": one(
                    "integer",
                    "Frames that tracemalloc keeps of each allocation, 0 is off; PROFILING_ALLOCATIONS if left out.",
                    minimum=0,
                    maximum=MOST_FRAMES,
                ),
                "seconds": one(
                    "number",
                    "Stop by itself after so long; at most PROFILING_MAX_DURATION, which it is if left out.",
                    exclusiveMinimum=0,
                ),
                "slow": one(
                    "number",
                    "Keep requests that take so many seconds or longer one by one, 0 is off; PROFILING_SLOW_REQUEST if "
                    "left out.",
                    minimum=0,
                ),
            },
            "What to collect; at least one of cpu, heap and allocations must be on.",
            optional=("cpu", "heap", "allocations", "seconds", "slow"),
        ),
        "additionalProperties": False,
    }


def error(codes: list[str] | None) -> Schema:
    """Return the shape of a refusal; ``codes`` are those it may have (None: the app's own)."""
    code = one("string", "A stable code for programs.", **({} if codes is None else {"enum": codes}))
    success: Schema = {"const": False, "description": "It was not done."}
    sentence = one("string", "What happened; what to do.")
    return shape({"success": success, "error": code, "message": sentence}, "A refusal.")


def answers() -> dict[str, Schema]:
    """Return the schemas of the five answers, and of their parts."""
    running = {
        "id": SESSION_ID,
        "started": MOMENT,
        "deadline": nullable(MOMENT),
        "state": one("string", "Collecting is after the stop, until the artifacts are there.",
                     enum=["profiling", "collecting"]),
        "engines": ENGINE_NAMES,
    }  # fmt: skip
    ended = {
        "id": SESSION_ID,
        "startTime": nullable(MOMENT),
        "endTime": nullable(MOMENT),
        **DURATIONS,
        "endedBy": one("string", "What ended it.", enum=["stop", "deadline", "shutdown", "recovered"]),
    }
    state = one("string", "What the worker does.", enum=["idle", "profiling", "writing"])
    kept = many(one("string", "A path below the output directory."), "The artifacts that were written.")
    hosts: Schema = {
        "type": "object",
        "description": "With PROFILING_COORDINATOR only: what each host stored, on its own disk.",
        "additionalProperties": many(one("string", "A path below that host's output directory."), "Its artifacts."),
    }
    return {
        "Started": shape(
            {
                "success": SUCCESS,
                "message": MESSAGE,
                "sessionId": SESSION_ID,
                "devToolsUrl": nullable(
                    one("string", "Opens Chrome DevTools on this worker; null while PROFILING_INSPECTOR is off.")
                ),
                "deadline": MOMENT,
                "engines": ENGINE_NAMES,
                "workers": workers("Those that take part."),
                "missing": workers("Those that live and did not answer in time; they may join late."),
                "notes": NOTES,
            },
            "A session runs.",
        ),
        "Stopped": shape(
            {
                "success": SUCCESS,
                "message": MESSAGE,
                "sessionId": SESSION_ID,
                **DURATIONS,
                "artifacts": kept,
                "workers": workers("Those that delivered their part."),
                "missing": workers("Those that took part and delivered nothing."),
                "notes": NOTES,
                "slowRequests": many(ref("SlowRequest"), "Where slow requests were to be kept: the slowest first."),
                "hosts": hosts,
            },
            "A session is over and stored.",
            optional=("slowRequests", "hosts"),
        ),
        "SlowRequest": shape(
            {
                "route": one("string", "Its method, rule and endpoint.", examples=["GET /deals [pages.deals]"]),
                "traceId": one(
                    "string", "Of its traceparent, of the current span, else random.", pattern="^[0-9a-f]{32}$"
                ),
                "startTime": nullable(MOMENT),
                **DURATIONS,
                "cpuSeconds": nullable(one("number", "CPU time of its threads; null while it runs.", minimum=0)),
                "status": one("integer", "The status of its answer, 0 where it had none."),
                "isRunning": one("boolean", "Whether it was still running at the stop."),
                "worker": one("integer", "The pid of the worker that served it."),
                "thread": one("string", "The thread that served it."),
            },
            "A request that took too long; its calls are in the recording.",
        ),
        "Running": shape(running, "The running session."),
        "Ended": shape(ended, "A session that is over."),
        "WorkerState": shape({**WORKER, "state": state}, "A live worker and what it does."),
        "Memory": shape(
            {
                "pid": one("integer", "The worker that answers."),
                "held": many(
                    shape(
                        {
                            "what": one("string", "What holds it.", examples=["calltree", "tracemalloc"]),
                            "size": STORED["size"],
                            "sizeBytes": STORED["sizeBytes"],
                        },
                        "A part of it.",
                    ),
                    "By what holds it; what cannot be measured is not here.",
                ),
            },
            "While this worker profiles: the memory that it holds for the session.",
        ),
        "Status": shape(
            {
                "enabled": SUCCESS | {"description": "A closed gate has no endpoints."},
                "active": one("boolean", "Whether a session runs or is being collected."),
                "lastSession": nullable(ref("Ended")),
                "reports": many(shape({"id": SESSION_ID, **STORED}, "An artifact."), "What is stored."),
                "notes": NOTES,
                "session": ref("Running"),
                "workers": many(ref("WorkerState"), "While active: the live workers."),
                "memory": ref("Memory"),
            },
            "What goes on.",
            optional=("session", "workers", "memory"),
        ),
        "Reports": shape(
            {"reports": many(shape({"sessionId": SESSION_ID, **STORED}, "An artifact."), "What is stored.")},
            "What is stored.",
        ),
        "Cleaned": shape(
            {
                "success": SUCCESS,
                "message": MESSAGE,
                "cleaned": shape(
                    {
                        "reports": one("integer", "Files that were deleted.", minimum=0),
                        "sessions": one("integer", "Sessions of which nothing is left.", minimum=0),
                    },
                    "What was deleted.",
                ),
            },
            "The artifacts are deleted.",
        ),
    }


def refusal(status: int) -> Schema:
    """Return the description of an answer with ``status``, which names its codes."""
    codes = [kind.code for kind in errors() if kind.status == status]
    headers: dict[int, tuple[str, str]] = {
        401: ("WWW-Authenticate", "Always ``Bearer``."),
        405: ("Allow", "The methods that exist here."),
        429: ("Retry-After", "Seconds until the next try may succeed."),
    }
    described: Schema = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "content": {"application/json": {"schema": ref("Error")}},
    }
    if status in headers:
        name, meaning = headers[status]
        described["headers"] = {name: {"description": meaning, "schema": {"type": "string"}}}
    return described


def operation(name: str) -> Schema:
    """Return one endpoint's operation."""
    statuses = sorted({*ALWAYS, *CHANGING.get(name, READING)})
    described: Schema = {
        "operationId": name,
        "summary": SUMMARIES[name],
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": ref(ANSWERS[name])}}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses},
            "default": {
                "description": "The app refused the request before the profiler saw it; the code is the error's name.",
                "content": {"application/json": {"schema": ref("HostError")}},
            },
        },
    }
    if name == "start":
        properties = options()["properties"]
        assert isinstance(properties, dict)
        described["description"] = (
            f"The options stand in a JSON body of at most {BODY_LIMIT} bytes or in the query, not in both."
        )
        described["requestBody"] = {"required": False, "content": {"application/json": {"schema": ref("Options")}}}
        described["parameters"] = [
            {"name": field, "in": "query", "required": False, "schema": schema} for field, schema in properties.items()
        ]
    return described


def description() -> Schema:
    """Return the whole description."""
    statuses = sorted({*ALWAYS, *READING, *(status for statuses in CHANGING.values() for status in statuses)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flask-profiling-devtools",
            "version": __version__,
            "description": "Profile a running Flask app. More fields may be added to answers in later versions.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": f"http://127.0.0.1:5000{DEFAULTS['PROFILING_URL_PREFIX']}"}],
        "security": [{}, {"token": []}],
        "paths": {f"/{name}": {endpoint.method.lower(): operation(name)} for name, endpoint in ENDPOINTS.items()},
        "components": {
            "schemas": schemas(),
            "responses": {str(status): refusal(status) for status in statuses},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "PROFILING_TOKEN; required where the Host is not loopback.",
                }
            },
        },
    }


if __name__ == "__main__":
    json.dump(description(), sys.stdout, indent=2)
    sys.stdout.write("\n")
