"""The endpoint that DevTools connects to, on 127.0.0.1, by the ``websockets`` library; what messages mean is not known
here."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from ..errors import MissingExtra, ProfilingError
from . import discovery
from .discovery import HOST, Entry
from .protocol import COMMANDS, EVENTS, Conversation
from .registry import Registry

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.sync.server import Server, ServerConnection

logger = logging.getLogger("flask_profiling")

# Attached clients; and those that have not said yet what they want, of which the oldest give way to new ones.
MOST_CLIENTS = 16
MOST_WAITING = 16
MOST_FRAME_BYTES = 1 << 20
SEND_PATIENCE = 30
_PORTS_TRIED = 50
_END_PATIENCE = 1.0
# The first byte of Linux's ``struct tcp_info``: the connection stands in both directions.
_ESTABLISHED = 1
# How often a waiting thread looks whether the app is still there, and the wanted port free.
_LOOK_SECONDS = 1.0


class Inspector:
    """The endpoint of one worker: :meth:`start` when it serves, :meth:`shut_down` when it ends.

    ``port`` is the wanted one (0: any free one); where it is taken, the next free one is used, and the wanted one too
    as soon as whoever had it is gone: chrome://inspect looks there and nowhere else. ``converse`` begins a conversation
    with a client, and is given what tells whether that is still there; ``sweep`` removes what earlier ones left.
    Nothing here raises into the host.
    """

    def __init__(
        self,
        *,
        port: int,
        title: str,
        url: str,
        registry: Registry,
        converse: Callable[[Callable[[], bool]], Conversation],
        sweep: Callable[[], object] = lambda: None,
    ) -> None:
        self._port = port
        self._title = title
        self._url = url
        self._registry = registry
        self._converse = converse
        self._sweep = sweep
        self._begin_life()

    def _begin_life(self) -> None:
        self._transition = threading.Lock()
        self._entry: Entry | None = None
        self._listeners: list[socket.socket] = []
        self._handle: Callable[[socket.socket, object], None] | None = None
        self._sockets: set[socket.socket] = set()
        self._waiting: dict[socket.socket, None] = {}
        self._attached: set[socket.socket] = set()
        self._closing = threading.Event()
        self._started = False

    @property
    def url(self) -> str | None:
        """The address that opens DevTools on this process, or None while nothing listens."""
        return None if self._entry is None else self._entry.frontend

    def start(self, *, announce: Callable[[str], object] | None = None) -> None:
        """Listen; once per process, and never raises: what stands in the way is logged.

        ``announce`` takes the sentence that tells where; without it, that is logged too.
        """
        with self._transition:
            if self._started or self._closing.is_set():
                return
            self._started = True
            try:
                self._sweep()
                self._listen()
            except (ProfilingError, OSError, RuntimeError) as error:
                logger.warning("profiling: DevTools cannot attach: %s", error)
                return
        entry = self._entry
        if entry is None:
            return
        moved = f" (port {self._port} is taken)" if self._port not in (0, entry.port) else ""
        text = f"DevTools may attach to pid {os.getpid()}{moved}: {entry.frontend}"
        if announce is not None:
            announce(text)
        else:  # a warning, as an open port is one, and the first thing that its user looks for
            logger.warning("profiling: %s", text)

    def shut_down(self, *, recycled: bool = False) -> None:
        """Close the port and hang up on every client; never raises. A conversation ends what its client began."""
        self._closing.set()
        # A signal may have interrupted the very thread that holds the lock: it is waited for, but not for ever.
        is_ours = self._transition.acquire(timeout=_END_PATIENCE)
        try:
            listeners, self._listeners = self._listeners, []
            self._entry = self._handle = None
        finally:
            if is_ours:
                self._transition.release()
        if not listeners:
            return
        self._registry.leave()
        for listener in listeners:
            # Closing a socket does not wake the thread that waits on it at once; a connection does.
            with suppress(OSError):
                socket.create_connection(listener.getsockname(), _END_PATIENCE).close()
            listener.close()
        for client in list(self._sockets):
            _hang_up(client)
        # Their threads put away what they made (they are daemons, and end with the process): a moment for that.
        deadline = time.monotonic() + _END_PATIENCE
        while self._sockets and time.monotonic() < deadline:
            time.sleep(0.02)

    def forget(self) -> None:
        """In a forked child of the host: leave the parent its port and its clients, and be ready to listen anew."""
        inherited = [*self._listeners, *self._sockets]
        self._registry.forget()
        self._begin_life()
        for each in inherited:
            with suppress(OSError):
                each.close()

    # -- the port ------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._handle = self._handler()
        listener = _bound(self._port)
        self._wait_on(listener)
        entry = Entry(listener.getsockname()[1], str(uuid.uuid4()), f"{self._title} (pid {os.getpid()})", self._url)
        try:
            self._registry.enter(entry)
        except (ProfilingError, OSError) as error:
            logger.warning("profiling: only port %d lists this process for DevTools: %s", entry.port, error)
        self._entry = entry

    def _wait_on(self, listener: socket.socket) -> None:
        """Let a thread accept connections; it knows the endpoint as long as there is an app that keeps it.

        Raises RuntimeError where no thread can be had, the listener closed.
        """
        listener.settimeout(_LOOK_SECONDS)
        arguments = (weakref.ref(self), listener, self._registry)
        try:
            threading.Thread(target=_accept, args=arguments, name="flask-profiling-inspector", daemon=True).start()
        except RuntimeError:
            listener.close()
            raise
        self._listeners.append(listener)

    def look_at_port(self) -> None:
        """Listen on the wanted port too, where it has become free; called by the thread that waits anyway."""
        with self._transition:
            entry = self._entry
            if self._closing.is_set() or entry is None or len(self._listeners) > 1 or self._port in (0, entry.port):
                return
            try:
                self._wait_on(_bound_to(self._port))
            except (OSError, RuntimeError):  # taken, or no descriptor or thread is left; the next look may find one
                return
        logger.info("profiling: pid %d answers DevTools on port %d now", os.getpid(), self._port)

    def _handler(self) -> Callable[[socket.socket, object], None]:
        """Return what serves one connection, from its first byte to its last."""
        try:
            from websockets.sync.server import serve
        except ImportError:
            raise missing_extra() from None
        # serve() wants a socket, and this one never listens: connections are accepted here, where they are counted.
        unused = socket.socket()
        unused.close()
        server = serve(
            self._serve,
            sock=unused,
            process_request=self._respond,
            compression=None,
            server_header=None,
            max_size=MOST_FRAME_BYTES,
            logger=_silent(),
        )
        _close_wakers(server)
        return server.handler

    def take_in(self, client: socket.socket, address: object) -> bool:
        """Serve a client in a thread of its own, if there is room; false where the endpoint is closed."""
        handle = self._handle
        if self._closing.is_set() or handle is None:
            client.close()
            return False
        waiting = list(self._waiting)
        for oldest in waiting[: max(0, len(waiting) - MOST_WAITING + 1)]:
            self._waiting.pop(oldest, None)
            _hang_up(oldest)
        if len(self._sockets) >= MOST_CLIENTS + 2 * MOST_WAITING:  # those that were hung up on are slow to go
            client.close()
            return True
        self._sockets.add(client)
        self._waiting[client] = None
        _bound_sending(client)
        thread = threading.Thread(
            target=self._attend, args=(handle, client, address), name="flask-profiling-devtools", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._let_go(client)
            client.close()
        return True

    def _attend(self, handle: Callable[[socket.socket, object], None], client: socket.socket, address: object) -> None:
        try:
            handle(client, address)
        except Exception:
            logger.exception("profiling: a connection of DevTools failed; the host is not affected")
        finally:
            self._let_go(client)

    def _let_go(self, client: socket.socket) -> None:
        self._waiting.pop(client, None)
        self._attached.discard(client)
        self._sockets.discard(client)

    # -- one connection ------------------------------------------------------------------------------------------------

    def _respond(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a plain HTTP request; None lets the WebSocket handshake go on."""
        headers = request.headers
        objection = discovery.objection(headers.get_all("Host"), headers.get_all("Origin"))
        if objection is not None:
            return connection.respond(*objection)
        if getattr(request, "method", "GET") != "GET":  # older versions of the library know no other
            return connection.respond(405, "There is only GET.\n")
        entry = self._entry
        path = request.path.partition("?")[0]
        if entry is None:
            return connection.respond(503, "The process is ending.\n")
        if path == f"/{entry.id}":
            return self._admit(connection)
        if path in ("/json", "/json/", "/json/list"):
            return _json(connection, discovery.listing([entry, *self._registry.others()]))
        if path == "/json/version":
            return _json(connection, discovery.version())
        if path == "/json/protocol":
            return _json(connection, discovery.protocol(COMMANDS, EVENTS))
        return connection.respond(404, "There is /json/list, /json/version and /json/protocol.\n")

    def _admit(self, connection: ServerConnection) -> Response | None:
        """Count a client among the attached ones, if there is room."""
        if len(self._attached) >= MOST_CLIENTS:
            return connection.respond(503, "Too many clients are attached; close one.\n")
        self._attached.add(connection.socket)
        self._waiting.pop(connection.socket, None)
        return None

    def _serve(self, connection: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        conversation = self._converse(partial(_is_there, connection))
        try:
            for frame in connection:
                with closing(conversation.receive(frame)) as answers:
                    for message in answers:
                        connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            conversation.close()


def missing_extra() -> MissingExtra:
    """Return the error that names what to install."""
    return MissingExtra.of("websockets", extra="inspector", purpose="the live DevTools endpoint (PROFILING_INSPECTOR)")


def _close_wakers(server: Server) -> None:
    """Close what the library opens to be woken: its own loop never runs."""
    for name in ("shutdown_watcher", "shutdown_notifier"):
        waker = getattr(server, name, None)
        if isinstance(waker, int):  # a pipe, before version 17 of the library
            os.close(waker)
        elif waker is not None:
            waker.close()


def _accept(inspector: weakref.ref[Inspector], listener: socket.socket, registry: Registry) -> None:
    """Take clients in until the endpoint is closed, or dropped with its app (one of many in a test run)."""
    while True:
        client: socket.socket | None = None
        address: object = None
        try:
            client, address = listener.accept()
        except TimeoutError:
            pass
        except OSError:
            if listener.fileno() < 0:
                return
            # The process has no descriptor left for the client, who waits: once there is one, it is answered.
            time.sleep(_LOOK_SECONDS)
        alive = inspector()
        if alive is None:
            break
        if client is not None and not alive.take_in(client, address):
            return
        alive.look_at_port()
        del alive
    registry.leave()
    listener.close()
    if client is not None:
        client.close()


def _bound(port: int) -> socket.socket:
    """Return a listening socket on the first free port from ``port`` on; any free one where all those are taken."""
    candidates = range(port, min(port + _PORTS_TRIED, 65536)) if port else ()
    for candidate in candidates:
        with suppress(OSError):
            return _bound_to(candidate)
    return _bound_to(0)


def _bound_to(port: int) -> socket.socket:
    """Return a listening socket on a port (0: any); raises OSError where it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(MOST_CLIENTS)
    except OSError:
        listener.close()
        raise
    return listener


def _bound_sending(client: socket.socket) -> None:
    """Let a client that does not read be given up after a while, so that no thread waits for it for ever."""
    if os.name == "posix":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_PATIENCE, 0))


def _hang_up(client: socket.socket) -> None:
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _is_there(connection: ServerConnection) -> bool:
    """Tell whether the client of an open connection still listens.

    The kernel is asked too, where it tells (Linux): the library reads no further while many messages wait.
    """
    from websockets.protocol import State

    if connection.protocol.state is not State.OPEN:
        return False
    try:
        return connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED
    except AttributeError:
        return True
    except OSError:
        return False


def _silent() -> logging.Logger:
    """Return a logger that says nothing: hostile and broken clients are no news to the host."""
    return logging.Logger("flask_profiling.inspector", logging.CRITICAL + 1)  # noqa: LOG001  # nobody can turn it up


def _json(connection: ServerConnection, document: object) -> Response:
    response = connection.respond(200, json.dumps(document, indent=2) + "\n")
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json; charset=UTF-8"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
