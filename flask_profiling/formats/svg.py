"""The call graph as an SVG picture, rendered by Graphviz in a child process; the graph comes from the dot format."""

from __future__ import annotations

import io
import shutil
import subprocess
from typing import BinaryIO

from ..errors import Unavailable
from ..model import SessionRecording
from . import dot

# Seconds. A pruned graph takes well under one.
_TIMEOUT = 20.0

_INSTEAD = "install Graphviz (for example: apt install graphviz), or open the .dot file elsewhere"


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the rendered call graph; raises Unavailable where no calls were recorded or no renderer works."""
    source = io.BytesIO()
    dot.write(recording, source)
    out.write(render(source.getvalue()))


def render(dot_source: bytes, *, allow_pygraphviz: bool = False, timeout: float = _TIMEOUT) -> bytes:
    """Return ``dot_source`` as SVG, rendered by the ``dot`` command within ``timeout`` seconds; raises Unavailable.

    ``allow_pygraphviz`` permits the package of that name where there is no command. It runs C code on the graph in this
    process, so a server must not allow it.
    """
    command = shutil.which("dot")
    if command is not None:
        return _run([command, "-Tsvg"], dot_source, timeout)
    if allow_pygraphviz:
        return _render_in_process(dot_source)
    raise Unavailable(f"the picture needs Graphviz, and there is no 'dot' command on PATH; {_INSTEAD}")


def _run(command: list[str], dot_source: bytes, timeout: float) -> bytes:
    try:
        # On a timeout, run() kills the child and waits for it.
        done = subprocess.run(command, input=dot_source, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"'dot' did not finish within {timeout:g} s; open the .dot file elsewhere") from error
    except OSError as error:
        raise Unavailable(f"'dot' could not be run ({error.strerror}); {_INSTEAD}") from error
    if done.returncode == 0 and b"<svg" in done.stdout:
        return done.stdout
    said = done.stderr.decode("utf-8", "replace").strip()[:200] or f"exit status {done.returncode}"
    raise Unavailable(f"'dot' failed on the call graph ({said}); {_INSTEAD}")


def _render_in_process(dot_source: bytes) -> bytes:
    try:
        import pygraphviz
    except ImportError as error:
        raise Unavailable(
            "the picture needs Graphviz: there is no 'dot' command on PATH and no package 'pygraphviz'; "
            "install Graphviz, or run: pip install 'flask-profiling-devtools[svg]'"
        ) from error
    picture: bytes = pygraphviz.AGraph(string=dot_source.decode("utf-8")).draw(format="svg", prog="dot")
    return picture
