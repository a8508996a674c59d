"""What the shell completes: names of stored sessions, snapshots and baselines; read only, and silent where there is
nothing to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from .. import archive
from ..model import human_size
from .options import output_directory

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _quietly(complete: Complete) -> Complete:
    """A shell shows what a completion prints in the middle of the line, so a failure completes nothing."""

    def completed(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            return complete(ctx, parameter, incomplete)
        except Exception:
            return []

    return completed


@_quietly
def sessions(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the id of a stored session, the newest first, or the path of a file."""
    if Path(incomplete).name != incomplete:
        return [CompletionItem(incomplete, type="file")]
    stored = archive.recordings(_directory(ctx))
    items = [CompletionItem(item.session_id, help=f"recording of {human_size(item.size)}") for item in stored]
    last = [CompletionItem(archive.LAST, help="the newest session")] if items else []
    return [item for item in (*last, *items) if item.value.startswith(incomplete)]


@_quietly
def snapshots(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the path of a stored heap snapshot, the newest first, or of any file."""
    paths = [(str(_directory(ctx) / item.filename), item) for item in archive.snapshots(_directory(ctx))]
    items = [CompletionItem(path, help=human_size(item.size)) for path, item in paths if path.startswith(incomplete)]
    return items or [CompletionItem(incomplete, type="file")]


@_quietly
def baselines(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a saved baseline."""
    names = sorted(path.stem for path in Path(str(ctx.params["folder"])).glob("*.json"))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _directory(ctx: click.Context) -> Path:
    return Path(ctx.params.get("directory") or output_directory())
