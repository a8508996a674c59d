"""The inspector: lets Chrome DevTools attach to this process, to record and to look, never to run code.

Importing this room loads nothing optional; ``websockets`` is imported when the endpoint starts.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from ..config import Config
from ..engines import Engine
from ..errors import ConfigurationError
from ..model import SessionOptions
from ..system import PrivateDirectory
from .protocol import Conversation
from .registry import Registry
from .server import Inspector, missing_extra
from .sources import Sources
from .target import Sessions, Target, Wanted

__all__ = ["Inspector", "build"]

_SAMPLED_FRAMES = 16


def build(
    config: Config,
    *,
    name: str,
    root: Path,
    sessions: Sessions,
    open_artifact: Callable[[str], BinaryIO],
    heap_engine: Callable[[Path, Callable[[], bool]], Engine],
) -> Inspector:
    """Make the endpoint of an app; nothing listens before its ``start``.

    ``name`` and ``root`` are the app's; ``open_artifact`` opens a stored file by its name, and ``heap_engine`` makes an
    engine that writes to a directory as long as somebody wants it. Raises ConfigurationError where the package that it
    needs is not installed.
    """
    if find_spec("websockets") is None:
        raise ConfigurationError(f"profiling cannot start; {missing_extra().message}; or unset PROFILING_INSPECTOR")
    state = PrivateDirectory(config.output_dir, ".state")
    frames = config.allocations or _SAMPLED_FRAMES
    calls = tuple(
        SessionOptions(cpu, False, 0, config.max_duration, config.slow_request) for cpu in ("calltree", "cprofile")
    )
    target = Target(
        title=name,
        sessions=sessions,
        wanted={
            "cpu": Wanted(calls, "cpuprofile"),
            "allocations": Wanted((SessionOptions("off", False, frames, config.max_duration),), "heapprofile"),
        },
        open_artifact=open_artifact,
        heap_engine=heap_engine,
        spool=state.child("snapshots"),
    )
    sources = root if config.inspector_sources else None
    return Inspector(
        port=config.inspector_port,
        title=name,
        url=root.resolve().as_uri(),
        registry=Registry(state.child("inspectors")),
        converse=lambda is_heard: Conversation(target, Sources(sources), is_heard=is_heard),
        sweep=target.sweep,
    )
