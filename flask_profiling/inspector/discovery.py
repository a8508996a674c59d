"""How DevTools finds the process: the JSON that chrome://inspect polls, and who may ask; no socket and no file here."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import DamagedData
from ..gates import names_loopback
from ..model import _json

HOST = "127.0.0.1"
ORIGIN = "devtools://devtools"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One worker as DevTools lists it: the port of its own, the secret path, its title, and where its code is."""

    port: int
    id: str
    title: str
    url: str

    @property
    def frontend(self) -> str:
        """The address that opens DevTools on this worker, as it is. Any further parameter breaks its Memory panel."""
        return f"devtools://devtools/bundled/js_app.html?ws={HOST}:{self.port}/{self.id}"

    def to_json(self) -> dict[str, object]:
        """Return the fields by name."""
        return {"port": self.port, "id": self.id, "title": self.title, "url": self.url}

    @classmethod
    def from_json(cls, value: object) -> Entry:
        """Read what :meth:`to_json` wrote; raises DamagedData."""
        document = _json.mapping(value)
        port, id = _json.count(document.get("port")), _json.text(document.get("id"))
        if not 0 < port < 65536 or not _ID.fullmatch(id):
            raise DamagedData("a worker's address for DevTools is damaged; it is ignored")
        return cls(port, id, _json.text(document.get("title")), _json.text(document.get("url")))


def listing(entries: Iterable[Entry]) -> list[dict[str, str]]:
    """Return the answer to ``GET /json/list``; the type must be ``node``, else the Performance panel fails."""
    return [
        {
            "description": "a Flask process, served by flask_profiling",
            "devtoolsFrontendUrl": entry.frontend,
            "id": entry.id,
            "title": entry.title,
            "type": "node",
            "url": entry.url,
            "webSocketDebuggerUrl": f"ws://{HOST}:{entry.port}/{entry.id}",
        }
        for entry in entries
    ]


def version() -> Mapping[str, str]:
    """Return the answer to ``GET /json/version``."""
    return {"Browser": f"python/{platform.python_version()}", "Protocol-Version": "1.1"}


def protocol(commands: Iterable[str], events: Iterable[str]) -> Mapping[str, object]:
    """Return the answer to ``GET /json/protocol`` of these commands and events.

    Clients such as chrome-remote-interface make their methods of it. Parameters are those of the Chrome DevTools
    Protocol and not described.
    """
    domains: dict[str, dict[str, list[dict[str, str]]]] = {}
    for kind, names in (("commands", commands), ("events", events)):
        for name in sorted(names):
            domain, _, member = name.partition(".")
            domains.setdefault(domain, {"commands": [], "events": []})[kind].append({"name": member})
    version = {"major": "1", "minor": "3"}
    return {"version": version, "domains": [{"domain": domain, **members} for domain, members in domains.items()]}


def objection(hosts: Sequence[str], origins: Sequence[str]) -> tuple[int, str] | None:
    """Return status and sentence for a request that is refused, from its Host and Origin headers, or None.

    The Host must name this machine's loopback (a page that rebinds its own name to 127.0.0.1 is another); the Origin
    must be that of DevTools, or missing (a program that is no browser).
    """
    if len(hosts) != 1 or not names_loopback(hosts[0]):
        return 400, "The Host must be localhost or a loopback address.\n"
    if any(origin != ORIGIN for origin in origins):
        return 403, "Only DevTools may connect.\n"
    return None
