"""Profiling: wires an app to its sessions; it decides nothing itself and keeps no app (Flask starts in this row)."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, current_app, has_app_context, request

from . import lifecycle, signals, telemetry
from .config import Config, SettingRow, describe, flag, load, session_options, setting_of
from .coordination.files import FileCoordinator
from .engines import Engine, EngineOptions, create
from .errors import ConfigurationError, ProfilingError
from .formats import FORMATS, filenames
from .gates import caller_of, check_caller, environment_gate
from .middleware import RequestWatch, following
from .model import Session, SessionOptions, WorkerId
from .processes import process_started
from .sessions import ManyHosts, Sessions, Started, Stopped, World
from .store import Store
from .viewcode import view_code

if TYPE_CHECKING:
    from .inspector import Inspector

logger = logging.getLogger("flask_profiling")

EXTENSION = "profiling"
_URL_PREFIX = setting_of("PROFILING_URL_PREFIX")
CODE_ROUTE = "(code)"
# field of an endpoint's answer -> attribute of its span, and what of the field it says
_TOLD: dict[str, tuple[str, Callable[[Any], telemetry.Value]]] = {
    "sessionId": ("profiling.session.id", str),
    "durationSeconds": ("profiling.duration_s", float),
    "workers": ("profiling.workers", len),
    "artifacts": ("profiling.artifacts.count", len),
    "reports": ("profiling.artifacts.count", len),
}
_PACKAGES = ("flask-profiling-devtools", "flask", "werkzeug", "jinja2", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class ProfilingState:
    """What stands in ``app.extensions["profiling"]`` of an app whose gate is open."""

    config: Config
    sessions: Sessions
    inspector: Inspector | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """How an app stands before anything is wired: is the gate open and why, every setting, and the mistakes in one
    text (empty: none)."""

    is_open: bool
    reason: str
    settings: tuple[SettingRow, ...]
    mistakes: str


class Measurement:
    """What ``with profiling.session()`` yields: ``session_id`` at once, ``result`` (artifacts, recording, notes; None
    where there is none) after the block."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.result: Stopped | None = None


class Profiling:
    """The extension: ``Profiling(app)``, or ``Profiling()`` and ``init_app(app)`` in an application factory.

    Where the gate is closed (production, or ``PROFILING_ENABLED`` unset) nothing at all is registered.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._apps: weakref.WeakSet[Flask] = weakref.WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, *, url_prefix: str | None = None) -> None:
        """Register the endpoints and the request hook on ``app`` if the gate is open; a second call changes nothing.

        ``url_prefix`` wins over ``PROFILING_URL_PREFIX``. Raises ConfigurationError, naming every mistake at once.
        """
        gate = environment_gate(app.config, os.environ)
        if not gate.open:
            logger.log(logging.WARNING if _asked_for(app) else logging.DEBUG, "profiling stays closed: %s", gate.reason)
        elif not isinstance(app.extensions.get(EXTENSION), ProfilingState):
            _refuse_clash(app)
            _wire(app, url_prefix)
        self._apps.add(app)

    @contextmanager
    def session(self, *, app: Flask | None = None, **options: object) -> Iterator[Measurement]:
        """Profile the block, in the calling thread, as a session of its own; options as in ``POST start``, such as
        ``cpu="calltree"``.

        The app is ``current_app``, or the only one of this extension. Raises what a start raises (AlreadyRunning
        among others), and ProfilingError where the gate is closed. After the block nothing is raised: where its session
        was over before (its deadline, a stop elsewhere) or cannot be stored, that is logged, and ``result`` stays None.
        """
        state = self._state(app)
        sessions = state.sessions
        started = sessions.start(session_options(state.config, options, textual=False))
        measurement = Measurement(started.session.id)
        live = sessions.live
        try:
            if live is None:
                raise ProfilingError("the session was stopped before the block began; start it again")
            visit = live.begin(CODE_ROUTE, trace_of=telemetry.trace_source({}))
            live.resume(visit)
            failed = True
            try:
                yield measurement
                failed = False
            finally:
                live.pause(visit)
                live.end(visit, failed=failed)
        finally:
            try:
                measurement.result = sessions.stop(session_id=measurement.session_id)
            except ProfilingError as error:  # not raised: it would take the place of what the block raised
                logger.warning("session %s has no result for its block: %s", measurement.session_id, error)

    def heap_snapshot(self, *, app: Flask | None = None) -> Stopped:
        """Take a heap snapshot of every worker, now, as a session of its own.

        The result's ``artifacts`` are the files (one a worker; none where none could be written: ``notes`` say why).
        The app is ``current_app``, or the only one of this extension. Raises what a start raises (AlreadyRunning among
        others).
        """
        state = self._state(app)
        options = session_options(state.config, {"cpu": "off", "heap": True, "allocations": 0}, textual=False)
        started = state.sessions.start(options)
        return state.sessions.stop(session_id=started.session.id)

    def _state(self, app: Flask | None) -> ProfilingState:
        if app is None and has_app_context():
            app = current_app._get_current_object()  # type: ignore[attr-defined]
        if app is None:
            # A closed app is asked only where there is no other: to say why it is closed.
            opened = [each for each in self._apps if EXTENSION in each.extensions] or list(self._apps)
            app = opened[0] if len(opened) == 1 else None
        if app is None:
            raise ProfilingError("no app was given and none is current; pass app=, or push an app context")
        state = app.extensions.get(EXTENSION)
        if isinstance(state, ProfilingState):
            return state
        gate = environment_gate(app.config, os.environ)
        raise ProfilingError(gate.reason if not gate.open else "this app has no profiling; call Profiling(app) first")


def examine(config: Mapping[str, object], environ: Mapping[str, str]) -> Condition:
    """Say how an app with this ``app.config`` would stand in this environment; nothing is wired and nothing raised."""
    from . import ratelimit

    gate = environment_gate(config, environ)
    mistakes = ""
    try:
        load(config, environ, checks=ratelimit.CHECKS)
    except ConfigurationError as error:
        mistakes = error.message
    return Condition(gate.open, gate.reason, describe(config, environ, checks=ratelimit.CHECKS), mistakes)


class _ProfilingBlueprint(Blueprint):
    """``app.register_blueprint(profiling_blueprint)`` is ``Profiling(app)``; where the gate is closed it registers
    nothing. What hangs on it (``before_request``, ``after_request``, ``teardown_request``) counts, in every app."""

    def register(self, app: Flask, options: dict[str, Any]) -> None:  # type: ignore[override]  # a Flask is an App
        """Wire the app instead of registering this blueprint; ``url_prefix`` may be given, and follows a parent's."""
        Profiling().init_app(app, url_prefix=options.get("url_prefix"))


# The prefix counts in a parent blueprint alone, below the parent's own; PROFILING_URL_PREFIX is not known there.
profiling_blueprint = _ProfilingBlueprint(EXTENSION, __name__, url_prefix=str(_URL_PREFIX.default))


def _asked_for(app: Flask) -> bool:
    """Tell whether anybody tried to switch profiling on: only then a closed gate is worth a line in the log."""
    for value in (app.config.get("PROFILING_ENABLED"), os.environ.get("PROFILING_ENABLED")):
        try:
            if value is not None and flag(value):
                return True
        except ValueError:
            return True
    return False


def _refuse_clash(app: Flask) -> None:
    """Say that the name is taken, rather than do nothing, or fail with words that are not about us."""
    for taken, what in ((app.extensions, "extension"), (app.blueprints, "blueprint")):
        if EXTENSION in taken:
            raise ConfigurationError(
                f"profiling cannot start: the app has another {what} called {EXTENSION!r}; rename or remove that one"
            )


def _wire(app: Flask, url_prefix: str | None) -> None:
    from . import ratelimit, views

    config = load(app.config, os.environ, checks=ratelimit.CHECKS)
    config = replace(config, url_prefix=_prefix(config, url_prefix))
    store = Store(
        config.output_dir,
        types=filenames(),
        max_sessions=config.max_sessions,
        max_bytes=config.max_bytes,
    )
    world = World(
        worker=_worker,
        new_id=_new_id,
        environment=_environment,
        engine_options=partial(_engine_options, app, config),
        devtools_url=lambda: None if inspector is None else inspector.url,
        on_started=partial(_announce_start, app),
        on_stopped=partial(_announce_stop, app, config.output_dir),
    )
    sessions = _sessions(app, config, store, world)
    inspector = _inspector(app, config, sessions, store) if config.inspector else None
    blueprint = views.build_blueprint(
        admit=lambda environ: check_caller(config, caller_of(environ)),
        limit=ratelimit.RateLimit(app, config).check,
        around=_traced,
    )
    # What hangs on the public blueprint counts, such as a login: left out, it would let everybody in unseen.
    for hooks in ("before_request_funcs", "after_request_funcs", "teardown_request_funcs"):
        getattr(blueprint, hooks).update(getattr(profiling_blueprint, hooks))
    app.register_blueprint(blueprint, url_prefix=config.url_prefix)
    app.blueprints[EXTENSION] = profiling_blueprint  # others know it by identity: csrf.exempt(profiling_blueprint)
    app.extensions[EXTENSION] = ProfilingState(config, sessions, inspector)
    own_paths = frozenset(f"{config.url_prefix}/{name}" for name in views.ENDPOINTS)

    def first_request() -> None:
        lifecycle.process.watch_signals()
        sessions.attend()
        if inspector is not None:
            inspector.start()

    app.wsgi_app = RequestWatch(app, sessions, own_paths=own_paths, first_request=first_request)  # type: ignore[method-assign]
    app.async_to_sync = following(app.async_to_sync, sessions)  # type: ignore[method-assign,assignment]
    lifecycle.process.look_after(sessions)
    if inspector is not None:
        lifecycle.process.look_after(inspector)
    lifecycle.process.watch_signals()


def _prefix(config: Config, given: str | None) -> str:
    """Return where the endpoints are: what code says wins, which may be the root too."""
    if given is None:
        return config.url_prefix
    try:
        return "" if given in ("", "/") else str(_URL_PREFIX.parse(given))
    except ValueError:
        mistake = f"profiling cannot start: url_prefix is {_URL_PREFIX.shown(given)}; it must be {_URL_PREFIX.allowed}"
        raise ConfigurationError(mistake) from None


def _sessions(app: Flask, config: Config, store: Store, world: World) -> Sessions:
    coordinator = FileCoordinator(config.output_dir)
    ends = {"auto_generate": config.auto_generate, "cleanup_on_exit": config.cleanup_on_exit}
    if not config.coordinator:
        return Sessions(coordinator=coordinator, store=store, world=world, **ends)
    from .coordination.redis import RedisRelay

    # Two servers on one machine are two hosts, if they store in two places.
    place = blake2b(os.fsencode(config.output_dir.absolute()), digest_size=3).hexdigest()
    relay = RedisRelay(
        config.coordinator, prefix=f"flask_profiling:{app.import_name}", host=f"{socket.gethostname()}-{place}"
    )
    return ManyHosts(relay=relay, coordinator=coordinator, store=store, world=world, **ends)


def _inspector(app: Flask, config: Config, sessions: Sessions, store: Store) -> Inspector:
    """Make the endpoint for DevTools; nothing of it is imported where the switch is off."""
    from .inspector import build

    def heap_engine(spool: Path, is_wanted: Callable[[], bool]) -> Engine:
        options = SessionOptions("off", heap=True, allocations=0, seconds=config.max_duration)
        told = _engine_options(app, config, Session("devtools", _worker(), 0.0, options), spool)
        return create("heap", replace(told, is_wanted=is_wanted))

    return build(
        config,
        name=app.name,
        root=Path(app.root_path),
        sessions=sessions,
        open_artifact=store.open,
        heap_engine=heap_engine,
    )


def _traced(name: str, act: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Let what an endpoint does be a span, which says as much of the answer as fits."""
    with telemetry.span(name, {}, environ=request.environ) as told:
        answer = act()
        told.update((key, of(answer[field])) for field, (key, of) in _TOLD.items() if answer.get(field) is not None)
    return answer


def _announce_start(app: Flask, started: Started) -> None:
    signals.tell(signals.session_started, app, session=started.session, workers=started.workers)


def _announce_stop(app: Flask, directory: Path, stopped: Stopped) -> None:
    telemetry.count_session(stopped.session, stopped.artifacts)
    for artifact in stopped.artifacts:
        path = directory / artifact.filename
        signals.tell(signals.artifact_written, app, artifact=artifact, path=path)
    signals.tell(
        signals.session_stopped,
        app,
        session=stopped.session,
        artifacts=stopped.artifacts,
        recording=stopped.recording,
    )


def _worker() -> WorkerId:
    pid = os.getpid()
    return WorkerId(socket.gethostname(), pid, process_started(pid))


def _new_id() -> str:
    return f"prof-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def _engine_options(app: Flask, config: Config, session: Session, spool: Path) -> EngineOptions:
    return EngineOptions(
        session.id,
        spool,
        allocation_frames=session.options.allocations,
        heap_values=config.heap_values,
        app_paths=config.app_paths,
        scope=config.scope,
        write_heap=FORMATS["heapsnapshot"].heap_writer(),
        views=lambda: view_code(app.view_functions, app.url_map.iter_rules()),
    )


def _environment() -> Mapping[str, str]:
    versions = {"python": platform.python_version(), "implementation": platform.python_implementation()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
