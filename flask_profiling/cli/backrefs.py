"""``flask profiling report --backrefs CLASS``: what holds the objects of a class in a session's snapshots, drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..archive import of_session, snapshots
from ..errors import Unavailable
from ..exports import picture
from .failure import Failure
from .heap import retained_in, retained_json, show_ways
from .render import plain, say, say_json, sentence
from .stored import STDOUT

if TYPE_CHECKING:
    from ..heapfile import Retained

_NO_FILENAME = re.compile(r"[^\w.-]+")


def backrefs(session: str, class_name: str, output: str | None, directory: Path, *, as_json: bool) -> Path | None:
    """Write ``backrefs-CLASS.dot`` and, where Graphviz is there, ``.svg``; returns the best of them to look at.

    They are beside the session's snapshots, or where ``output`` says. Raises Failure where the session has none, or no
    object of the class.
    """
    found: list[tuple[Path, Retained]] = []
    unknown: Failure | None = None
    for snapshot in _snapshots(session, directory):
        try:
            found.append((snapshot, retained_in(snapshot, class_name)))
        except Failure as failure:  # one of several workers need not have the class
            if failure.code != "unknown_class":
                raise
            unknown = unknown or failure
    if unknown is not None and not found:
        raise unknown
    source = _drawn([retained for _, retained in found])
    if output == STDOUT:
        click.echo(source, nl=False)
        return None
    path = Path(output) if output else found[0][0].parent / f"backrefs-{_NO_FILENAME.sub('_', class_name)}.dot"
    paths, reason = _written(path, source)
    if as_json:
        files = [{"file": str(item), "size": item.stat().st_size} for item in paths]
        say_json({"success": True, "files": files, "retained": [retained_json(retained) for _, retained in found]})
        return paths[-1]
    for snapshot, retained in found:
        if len(found) > 1:
            say(f"\n{plain(snapshot.name)}")
        show_ways(retained, "")
    say("\n" + "\n".join(plain(item) for item in paths))
    if reason:
        say(sentence(f"Not drawn as SVG: {reason}"), err=True)
    return paths[-1]


def _snapshots(session: str, directory: Path) -> list[Path]:
    """Return the snapshots of a session: of each worker, the first in order of its pid."""
    if session.endswith(".heapsnapshot"):
        return [Path(session)]
    chosen = sorted(item.filename for item in of_session(snapshots(directory), session))
    if not chosen:
        raise Failure(
            f"there is no heap snapshot of the session {session[:80]!r} in {directory}; take one: flask profiling heap",
            code="no_snapshot",
        )
    return [directory / filename for filename in chosen]


def _drawn(items: Sequence[Retained]) -> bytes:
    from ..heapfile import write_dot

    text = io.StringIO()
    write_dot(items, text)
    return text.getvalue().encode()


def _written(path: Path, source: bytes) -> tuple[list[Path], str]:
    """Write the graph and its picture, private as the snapshots are; returns the files, and why there is no picture."""
    paths, reason = [path], ""
    try:
        _write(path, source)
        try:
            drawn = picture(source)
        except Unavailable as error:
            reason = error.message
        else:
            paths.append(path.with_suffix(".svg"))
            _write(paths[-1], drawn)
    except OSError as error:
        raise Failure(
            f"{path} cannot be written ({error.strerror}); choose another file with -o", code="unwritable"
        ) from None
    return paths, reason


def _write(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)
