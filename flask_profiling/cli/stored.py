"""What commands on stored sessions share: where these are, which one is meant, and where results go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from ..exports import Export, keep
from . import completion
from .failure import USAGE, Failure
from .options import output_directory

Command = TypeVar("Command", bound=Callable[..., object])
STDOUT = "-"

session_argument = click.argument(
    "session", default="last", metavar="[SESSION]", shell_complete=completion.sessions
)

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=output_directory,
    metavar="PATH",
    help="Where the sessions are stored  [env: PROFILING_OUTPUT_DIR; default: profiling]",
)

output_option = click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write here instead of beside the session; - is stdout.",
)

request_option = click.option(
    "--request",
    metavar="N|TRACE",
    help="One slow request alone: 1 is the slowest, or its trace id or how that begins (see: flask profiling slow).",
)


def save(exported: Sequence[Export], output: str | None, directory: Path) -> list[Path]:
    """Store exports beside their session, or write them where ``output`` says; returns the files.

    Several of them have their number in front of the suffix of ``output``. Raises Failure where a file cannot be
    written.
    """
    if output is None:
        return [directory / keep(item, directory).filename for item in exported]
    if output == STDOUT:
        if len(exported) > 1:
            raise Failure("several files do not fit into stdout; give -o FILE", code="usage", exit_status=USAGE)
        click.echo(exported[0].data, nl=False)
        return []
    path = Path(output)
    paths = [path.with_name(f"{path.stem}.{item.number}{path.suffix}") if item.number else path for item in exported]
    for place, item in zip(paths, exported, strict=True):
        try:
            place.write_bytes(item.data)
        except OSError as error:
            raise Failure(
                f"{place} cannot be written ({error.strerror}); choose another file", code="storage"
            ) from None
    return paths
