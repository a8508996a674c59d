"""Nodes and samples as the JSON that Chrome calls a CPU profile; where tree and samples come from is not known here.

The shape is ``Profiler.Profile`` of the Chrome DevTools Protocol. Node 0 of a :class:`Profile` is the root.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath, PureWindowsPath
from typing import BinaryIO
from urllib.parse import quote

from ..model import Function

_NODES_PER_WRITE = 2000


@dataclass(frozen=True, slots=True)
class Profile:
    """A call tree and when each of its nodes was running.

    ``functions[n]`` is what node ``n`` runs, ``parents[n]`` its caller (always a smaller number; that of node 0 means
    nothing), ``reasons[n]`` a remark that DevTools shows beside it (or empty). Sample ``i`` says that node
    ``samples[i]`` was on top of the stack from ``times[i]`` to ``times[i + 1]``, in whole microseconds after ``start``
    (Unix time, in microseconds too); ``times`` has one item more than ``samples``. ``notes`` are sentences for people.
    """

    functions: Sequence[Function]
    parents: Sequence[int]
    reasons: Sequence[str]
    samples: Sequence[int]
    times: Sequence[int]
    start: int
    notes: Sequence[str] = ()


def write_profile(profile: Profile, out: BinaryIO) -> None:
    """Write ``profile`` as one line of ASCII, beginning with ``{"nodes":[``, which older DevTools demand."""
    out.write(b'{"nodes":[')
    separator = ""
    for text in _batches(_nodes(profile), _NODES_PER_WRITE):
        out.write((separator + text).encode("ascii"))
        separator = ","
    # The root takes over at the end: DevTools has to guess how long the last sample lasts.
    samples = [*(node + 1 for node in profile.samples), 1]
    deltas = [profile.times[0], *(after - before for before, after in pairwise(profile.times))]
    start = max(profile.start, 1)
    tail = {
        "startTime": start,
        "endTime": start + profile.times[-1] + 1,
        "samples": samples,
        "timeDeltas": deltas,
        "notes": list(profile.notes),
    }
    out.write(b"]," + json.dumps(tail, separators=(",", ":")).encode("ascii")[1:] + b"\n")


def _batches(texts: Iterable[str], size: int) -> Iterator[str]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield ",".join(batch)
            batch = []
    if batch:
        yield ",".join(batch)


def _nodes(profile: Profile) -> Iterator[str]:
    """Yield the JSON of each node; ids are the nodes' numbers plus one."""
    children: list[list[str]] = [[] for _ in profile.functions]
    for node in range(1, len(profile.parents)):
        children[profile.parents[node]].append(str(node + 1))
    hits = [0] * len(profile.functions)
    for node in profile.samples:
        hits[node] += 1
    frames = _Frames()
    for node, function in enumerate(profile.functions):
        reason = profile.reasons[node]
        remark = f',"deoptReason":{json.dumps(reason)}' if reason else ""
        yield (
            f'{{"id":{node + 1},"callFrame":{frames.of(function)},"hitCount":{hits[node]},'
            f'"children":[{",".join(children[node])}]{remark}}}'
        )


class _Frames:
    """The JSON of call frames, made once per function.

    DevTools adds up frames by name and script, whatever their line: so a second function of one name in one file gets a
    script of its own.
    """

    def __init__(self) -> None:
        self._known: dict[Function, str] = {}
        self._scripts: dict[str, int] = {}
        self._names: set[tuple[int, str]] = set()

    def of(self, function: Function) -> str:
        """Return the ``callFrame`` object of ``function``."""
        frame = self._known.get(function)
        if frame is None:
            frame = self._known[function] = self._made(function)
        return frame

    def _made(self, function: Function) -> str:
        script = self._scripts.setdefault(function.file, len(self._scripts) + 1)
        if (script, function.name) in self._names:
            script = self._scripts[f"{function.file}:{function.line}"] = len(self._scripts) + 1
        self._names.add((script, function.name))
        place = max(function.line - 1, 0), 0
        url = url_of(function.file)
        if not url:
            place = -1, -1
        return json.dumps(
            {
                "functionName": function.name,
                "scriptId": str(script),
                "url": url,
                "lineNumber": place[0],
                "columnNumber": place[1],
            },
            separators=(",", ":"),
        )


def url_of(file: str) -> str:
    """Return the ``file:`` URL of an absolute path, nothing for C functions, other names (``<string>``) as they are."""
    if file in ("", "~"):
        return ""
    if PurePosixPath(file).is_absolute():
        return "file://" + quote(file, errors="surrogatepass")
    if PureWindowsPath(file).is_absolute():
        return "file:///" + quote(file.replace("\\", "/"), safe="/:", errors="surrogatepass")
    return file
