"""Nodes and samples as the JSON that Chrome calls a CPU profile; where tree and samples come from is not known here.

The shape is ``Profiler.Profile`` of the Chrome DevTools Protocol. Node 0 of a :class:`Profile` is the root.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import PurePosixPath, PureWindowsPath
from typing import BinaryIO
from urllib.parse import quote

from ..model import Function

_NODES_PER_WRITE = 2000

# Microseconds; see _moment().
_START = 2**40


@dataclass(frozen=True, slots=True)
class Profile:
    """A call tree and when each of its nodes was running.

    ``functions[n]`` is what node ``n`` runs, ``parents[n]`` its caller (always a smaller number; that of node 0 means
    nothing), ``reasons[n]`` a remark on the node (or empty). Sample ``i`` says that node ``samples[i]`` was on top of
    the stack from ``times[i]`` to ``times[i + 1]``, in whole microseconds after the start; ``times`` never falls and
    has one item more than ``samples``. ``notes`` are sentences for whoever reads the file.
    """

    functions: Sequence[Function]
    parents: Sequence[int]
    reasons: Sequence[str]
    samples: Sequence[int]
    times: Sequence[int]
    notes: Sequence[str] = ()


def write_profile(profile: Profile, out: BinaryIO) -> None:
    """Write ``profile`` as one line of ASCII, beginning with ``{"nodes":[``, which older DevTools demand.

    Moments are off by up to a microsecond, which does not add up.
    """
    out.write(b'{"nodes":[')
    nodes = _nodes(profile)
    separator = ""
    while batch := list(islice(nodes, _NODES_PER_WRITE)):
        out.write((separator + ",".join(batch)).encode("ascii"))
        separator = ","
    moments = [_moment(time) for time in profile.times]
    tail = {
        "startTime": _START,
        "endTime": moments[-1] + 1,
        # The root takes over at the end, because DevTools guesses how long the last sample lasts.
        "samples": [*(node + 1 for node in profile.samples), 1],
        "timeDeltas": [after - before for before, after in pairwise([_START, *moments])],
        "notes": list(profile.notes),
    }
    out.write(b"]," + json.dumps(tail, separators=(",", ":")).encode("ascii")[1:] + b"\n")


def families(parents: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return each node's eldest child and its next younger sibling; 0 (which is nobody's child) where there is none."""
    eldest = [0] * len(parents)
    younger = [0] * len(parents)
    for node in range(len(parents) - 1, 0, -1):
        parent = parents[node]
        younger[node] = eldest[parent]
        eldest[parent] = node
    return eldest, younger


def _moment(time: int) -> int:
    """Return the moment, in microseconds, that stands for ``time`` microseconds after the start.

    DevTools divides moments by 1000, subtracts them and multiplies by 1000 again, and takes a call that seems to begin
    before its elder sibling ended (by a billionth) for the sibling's callee, with wrong times for all three. From 2**40
    on, for twelve days, the roundings of such floats cancel for moments whose thousandth lies within a quarter of the
    floats' spacing (2**-22) of a float: those with ``moment * 2**19 % 125`` close to 0. So we keep to them.
    """
    return _START + time + _TO_GOOD_MOMENT[time % 125]


def _to_good_moment(time: int) -> int:
    offsets = (0, -1, 1)
    return next(offset for offset in offsets if abs((_START + time + offset) * 2**19 % 125 - 62.5) > 31)


_TO_GOOD_MOMENT = tuple(_to_good_moment(time) for time in range(125))


def _nodes(profile: Profile) -> Iterator[str]:
    """Yield the JSON of each node; ids are the nodes' numbers plus one."""
    eldest, younger = families(profile.parents)
    hits = [0] * len(profile.functions)
    for node in profile.samples:
        hits[node] += 1
    hits[0] += 1  # the sample that ends the profile
    frames = _Frames()
    remarks = {reason: f',"deoptReason":{json.dumps(reason)}' for reason in set(profile.reasons)} | {"": ""}
    rows = zip(profile.functions, hits, eldest, profile.reasons, strict=True)
    for node, (function, hit, child, reason) in enumerate(rows, 1):
        children = []
        while child:
            children.append(str(child + 1))
            child = younger[child]
        yield (
            f'{{"id":{node},"callFrame":{frames.of(function)},"hitCount":{hit},'
            f'"children":[{",".join(children)}]{remarks[reason]}}}'
        )


class _Frames:
    """The JSON of call frames, made once per function.

    Some DevTools add up frames by name and script, whatever their line: so a second function of one name in one file
    gets a script of its own.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Function, str]] = {}
        self._known: dict[Function, str] = {}
        self._scripts: dict[str, int] = {}
        self._names: set[tuple[int, str]] = set()

    def of(self, function: Function) -> str:
        """Return the ``callFrame`` object of ``function``."""
        seen = self._seen.get(id(function))  # comparing functions costs as much as writing a node
        if seen is not None:
            return seen[1]
        frame = self._known.get(function)
        if frame is None:
            frame = self._known[function] = self._made(function)
        self._seen[id(function)] = (function, frame)
        return frame

    def _made(self, function: Function) -> str:
        script = self._scripts.setdefault(function.file, len(self._scripts) + 1)
        if (script, function.name) in self._names:
            script = self._scripts[f"{function.file}:{function.line}"] = len(self._scripts) + 1
        self._names.add((script, function.name))
        url = url_of(function.file)
        frame = {
            "functionName": function.name,
            "scriptId": str(script),
            "url": url,
            "lineNumber": max(function.line - 1, 0) if url else -1,
            "columnNumber": 0 if url else -1,
        }
        return json.dumps(frame, separators=(",", ":"))


def url_of(file: str) -> str:
    """Return the ``file:`` URL of an absolute path, nothing for C functions, other names (``<string>``) as they are."""
    if file in ("", "~"):
        return ""
    if PurePosixPath(file).is_absolute():
        return "file://" + quote(_on_disk(file))
    if PureWindowsPath(file).is_absolute():
        return "file:///" + quote(file.replace("\\", "/"), safe="/:", errors="surrogatepass")
    return file


def _on_disk(file: str) -> bytes:
    """Return a path as a file system has it, where bytes that are no UTF-8 are one half of a surrogate pair each."""
    try:
        return file.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no file has this name
        return file.encode("utf-8", "surrogatepass")
