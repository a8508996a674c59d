"""Commands about the heap: take snapshots of a running server, compare two of them, find what holds a class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import DamagedData
from ..model import human_size
from . import completion
from .failure import Failure
from .options import json_option, server, server_options, wants_json
from .render import plain, progress, say, say_json, sentence, show_notes, table

if TYPE_CHECKING:
    from ..heapfile import ClassGrowth, Difference, Heap, Retained

_MOST_WAYS = 5
_ANOTHER_PROCESS = 0.5
_SNAPSHOT = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_DOT = click.option(
    "--dot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Also draw what holds the objects, for Graphviz: dot -Tsvg FILE",
)


@click.command(short_help="Take a heap snapshot of every worker.")
@server_options(seconds=300)
@click.pass_context
def heap(ctx: click.Context) -> None:
    """Take a heap snapshot of every worker of the running app, now.

    \b
    Example:
      flask profiling heap
      (use the app)
      flask profiling heap
      flask profiling heap-diff FIRST SECOND
    """
    remote = server(ctx)
    remote.ask(
        "POST",
        "/start",
        fields=("success", "sessionId"),
        doing="Starting a session for the snapshot",
        body={"cpu": "off", "heap": True, "allocations": 0},
    )
    answer = remote.ask("POST", "/stop", fields=("success", "artifacts"), doing="Taking the snapshot of every worker")
    if wants_json(ctx):
        say_json(answer)
        return
    artifacts = answer["artifacts"] if isinstance(answer["artifacts"], list) else []
    snapshots = [plain(path) for path in artifacts if str(path).endswith(".heapsnapshot")]
    show_notes(answer)
    if not snapshots:
        raise Failure("no snapshot was written; the notes say why, or ask: flask profiling doctor", code="no_snapshot")
    for path in snapshots:
        say(f"  {path}")
    say()
    say("Open it in Chrome DevTools: Memory > Load profile.")
    say("Two of one process: flask profiling heap-diff FIRST SECOND")


@click.command("heap-diff", short_help="What grew between two heap snapshots, and what holds it.")
@click.argument("before", type=_SNAPSHOT, shell_complete=completion.snapshots)
@click.argument("after", type=_SNAPSHOT, shell_complete=completion.snapshots)
@click.option(
    "--class", "classes", multiple=True, metavar="NAME", help="Only this class, whatever it grew; repeatable."
)
@click.option("--limit", type=click.IntRange(1), default=15, show_default=True, help="How many classes to show.")
@_DOT
@json_option
@click.pass_context
def heap_diff(
    ctx: click.Context, before: Path, after: Path, classes: Sequence[str], limit: int, dot: Path | None
) -> None:
    """Compare two snapshots of one process: growth by class, and the ways from a root to what is new.

    The files are read here; no server is needed.

    \b
    Example:
      flask profiling heap-diff A.heapsnapshot B.heapsnapshot
    """
    from ..heapfile import difference

    old, new = _loaded(before, edges=False), _loaded(after, edges=True)
    with progress("Comparing"):
        found = difference(old, new, classes=classes, most=limit)
    changes = [change for change in found.classes if not classes or change.class_name in classes]
    _draw(found.retained.values(), dot)
    if wants_json(ctx):
        say_json(_difference_json(found, changes))
        return
    if found.shared < _ANOTHER_PROCESS:
        say(
            sentence(
                f"Note: only {found.shared:.0%} of the first snapshot's objects are in the second: these are snapshots "
                "of two processes (or of long ago), so counts can be compared and what is new cannot be told."
            )
        )
    _show_changes(changes if classes else found.grown(), limit)
    _show_holders(found)
    for retained in found.retained.values():
        show_ways(retained, "new ")
    _told_of(dot)


@click.command("heap-paths", short_help="What holds the objects of a class.")
@click.argument("snapshot", type=_SNAPSHOT, shell_complete=completion.snapshots)
@click.argument("class_name", metavar="CLASS")
@_DOT
@json_option
@click.pass_context
def heap_paths(ctx: click.Context, snapshot: Path, class_name: str, dot: Path | None) -> None:
    """Find the shortest ways from a root to the objects of a class: who keeps them alive.

    \b
    Example:
      flask profiling heap-paths A.heapsnapshot shop.visits.Visit
    """
    found = retained_in(snapshot, class_name)
    _draw([found], dot)
    if wants_json(ctx):
        say_json(retained_json(found))
        return
    show_ways(found, "")
    _told_of(dot)


def retained_in(snapshot: Path, class_name: str) -> Retained:
    """Return what holds the objects of a class in a snapshot's file; raises Failure, which names like classes."""
    from ..heapfile import retained

    loaded = _loaded(snapshot, edges=True)
    with progress("Looking for what holds them"):
        found = retained(loaded, class_name)
    if found is None:
        raise Failure(
            f"there is no class {class_name!r} in {snapshot}{_near(class_name, loaded)}; "
            "classes carry their module, as in shop.visits.Visit",
            code="unknown_class",
        )
    return found


def _loaded(path: Path, *, edges: bool) -> Heap:
    from ..heapfile import load

    try:
        with progress(f"Reading {path.name}"):
            return load(path, edges=edges)
    except DamagedData as error:
        raise Failure(f"{path}: {error.message}", code=error.code) from None
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror}); check its path", code="unreadable") from None


def _near(class_name: str, loaded: Heap) -> str:
    last = class_name.rpartition(".")[2].lower()
    near = sorted(name for name in loaded.class_names if name.rpartition(".")[2].lower() == last)[:3]
    return f" (there is {', '.join(map(plain, near))})" if near else ""


def _show_changes(changes: Sequence[ClassGrowth], limit: int) -> None:
    if not changes:
        say("No class has more objects than before.")
        return
    rows = [
        (
            f"{change.growth:+}",
            str(change.count_before),
            str(change.count_after),
            ("-" if change.size_growth < 0 else "+") + human_size(abs(change.size_growth)),
            plain(change.class_name),
        )
        for change in changes[:limit]
    ]
    say(table(("Growth", "Before", "After", "Bytes", "Class"), rows, right=(0, 1, 2, 3)))
    if len(changes) > limit:
        say(f"… and {len(changes) - limit} more classes (--limit)")


def _show_holders(found: Difference) -> None:
    rows = [
        (str(holder.count), human_size(holder.size), f"{plain(holder.way.text.strip())}  ({plain(holder.class_name)})")
        for holder in found.holders[:_MOST_WAYS]
    ]
    if rows:
        say("\nOlder objects that hold most of what is new:")
        say(table(("New", "Bytes", "Held by"), rows, right=(0, 1), indent="  "))


def show_ways(retained: Retained, new: str) -> None:
    """Print what holds the objects of a class, the commonest ways first."""
    looked = f", {retained.looked_at} looked at" if retained.looked_at < retained.count else ""
    say(f"\n{click.style(plain(retained.class_name), bold=True)}: {retained.count} {new}held by{looked}")
    for way in retained.ways[:_MOST_WAYS]:
        say(f"  {way.count:>6} × {plain(way.text.strip())}")
    if len(retained.ways) > _MOST_WAYS:
        rest = sum(way.count for way in retained.ways[_MOST_WAYS:])
        say(f"  {rest:>6} × {len(retained.ways) - _MOST_WAYS} other ways (--json shows all)")


def _draw(items: Iterable[Retained], dot: Path | None) -> None:
    from ..heapfile import write_dot

    if dot is None:
        return
    try:
        with dot.open("w", encoding="utf-8") as out:
            write_dot(items, out)
    except OSError as error:
        raise Failure(f"{dot} cannot be written ({error.strerror}); name another file", code="unwritable") from None


def _told_of(dot: Path | None) -> None:
    if dot is not None:
        say(f"\nDrawn: {dot}; turn it into a picture with: dot -Tsvg -O {dot}")


def _difference_json(found: Difference, changes: Sequence[ClassGrowth]) -> dict[str, object]:
    return {
        "shared": round(found.shared, 4),
        "classes": [
            {
                "class": change.class_name,
                "before": change.count_before,
                "after": change.count_after,
                "growth": change.growth,
                "sizeGrowth": change.size_growth,
                "added": change.added,
                "removed": change.removed,
            }
            for change in changes
        ],
        "holders": [
            {"path": holder.way.text, "class": holder.class_name, "count": holder.count, "size": holder.size}
            for holder in found.holders
        ],
        "retained": [retained_json(item) for item in found.retained.values()],
    }


def retained_json(item: Retained) -> dict[str, object]:
    """Return what holds the objects of a class, for programs."""
    ways = [
        {"path": way.text, "count": way.count, "steps": [{"label": label, "class": name} for label, name in way.steps]}
        for way in item.ways
    ]
    return {"class": item.class_name, "count": item.count, "lookedAt": item.looked_at, "paths": ways}
