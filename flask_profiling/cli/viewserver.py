"""The loopback server behind ``flask profiling view``: a few pages under a path nobody can guess, and nothing else."""

from __future__ import annotations

import mimetypes
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOOPBACK = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Whatever a viewer is made of, it talks to nobody but us.
_VIEWER_POLICY = "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' data: blob:; form-action 'none'"
_LARGEST_FILE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """The bytes of a page and their media type."""

    data: bytes
    type: str
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """What may be seen: ``pages`` by path below the secret one, and regular files below ``folder``, as ``viewer/…``."""

    pages: Mapping[str, Page]
    folder: Path | None = None

    def page(self, path: str) -> Page | None:
        """Return what is at a path (decoded, no leading slash), or None."""
        found = self.pages.get(path)
        if found is not None or self.folder is None or not path.startswith("viewer/"):
            return found
        return _file(self.folder, path.removeprefix("viewer/"))


def _file(folder: Path, name: str) -> Page | None:
    """Return a regular file below ``folder``; links that lead out of it, pipes and folders are not there."""
    root = folder.resolve()
    try:
        path = (root / (name or "index.html")).resolve()
        if not path.is_relative_to(root) or not stat.S_ISREG(path.stat().st_mode):
            return None
        if path.stat().st_size > _LARGEST_FILE:
            return None
        type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Page(path.read_bytes(), type, _VIEWER_POLICY)
    except (OSError, ValueError):
        return None


class ViewServer(ThreadingHTTPServer):
    """Serves a site on 127.0.0.1 under a random path; another path, Host or method finds nothing."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, site: Site, *, port: int = 0, secret: str | None = None) -> None:
        self.site = site
        self.secret = secret or secrets.token_urlsafe(18)
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.server_address[1])

    @property
    def base(self) -> str:
        """The address that the site's paths are below, with a slash at its end."""
        return f"http://{LOOPBACK}:{self.port}/{self.secret}/"

    def names(self) -> frozenset[str]:
        """Return the values of Host that mean this server: a page elsewhere cannot send one of them."""
        return frozenset(f"{host}:{self.port}" for host in (LOOPBACK, "localhost"))


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    timeout = 30

    def do_GET(self) -> None:
        """Answer with a page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers of a page."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        page = self._page()
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND, "There is nothing here")
            return
        self.send_response(HTTPStatus.OK)
        policy = {"Content-Security-Policy": page.policy} if page.policy else {}
        length = {"Content-Type": page.type, "Content-Length": str(len(page.data))}
        for name, value in {**_HEADERS, **policy, **length}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(page.data)

    def _page(self) -> Page | None:
        if self.headers.get("Host", "").lower() not in self.server.names():
            return None
        _, _, path = unquote(urlsplit(self.path).path).partition("/")
        secret, separator, rest = path.partition("/")
        known = secrets.compare_digest(secret.encode("utf-8", "replace"), self.server.secret.encode())
        return self.server.site.page(rest) if known and separator else None

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the address is a secret."""
