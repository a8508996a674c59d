"""The V8 sampling heap profile that Chrome DevTools' Memory panel and speedscope read: a tree of call stacks with
bytes.

The shape is ``HeapProfiler.SamplingHeapProfile`` of the Chrome DevTools Protocol. Bytes are what was allocated during
the session and was still alive at stop (growth); what shrank shows as nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import Unavailable
from ..model import Allocations, Frame, SessionRecording
from . import _chrome
from ._collected import notes

_PIECES_PER_WRITE = 5000
_UNTOLD = "(no route told)"
_NOWHERE = '{"functionName":%s,"scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1}'


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the sites of a recording as ``{"head": node, "samples": […], "notes": […]}`` in ASCII.

    A node is ``{callFrame, selfSize, id, children}``, its line 0-based; a sample is one site: ``{size, nodeId,
    ordinal}``. Frames of one line in a row are one; a function that is further up on its stack already is called
    ``f (recursion 1)`` there. Where stacks are known to belong to routes, the first level are these. Raises Unavailable
    where no allocations were recorded.
    """
    allocations = recording.data(Allocations)
    if allocations is None:
        raise Unavailable("this session recorded no allocations; start one with allocations=10 (frames)")
    tree = _Tree(allocations)
    pieces: list[str] = ['{"head":']
    for piece in tree.text():
        pieces.append(piece)
        if len(pieces) == _PIECES_PER_WRITE:
            out.write("".join(pieces).encode("ascii"))
            pieces.clear()
    tail = {"samples": tree.samples(), "notes": notes(recording)}
    pieces.append("," + json.dumps(tail, separators=(",", ":"))[1:] + "\n")
    out.write("".join(pieces).encode("ascii"))


class _Tree:
    """The stacks as a tree; node 0 is the root, a parent's number is smaller than its children's."""

    def __init__(self, allocations: Allocations) -> None:
        self._frames = [_NOWHERE % '"(root)"']
        self._sizes = [0]
        self._children: list[dict[str, int]] = [{}]
        self._call_frames: dict[tuple[Frame, int], str] = {}
        self._scripts: dict[str, int] = {}
        for stack, amount in allocations.sites.items():
            node = self._top(allocations.routes.get(stack, _UNTOLD)) if allocations.routes else 0
            seen: Counter[str] = Counter()
            above: Frame | None = None
            for frame in stack:
                if frame == above:  # a generator expression and the line it stands in, or a function that calls itself
                    continue
                above = frame
                plain = self._call_frame(frame, 0)
                node = self._below(node, self._call_frame(frame, seen[plain]) if plain in seen else plain)
                seen[plain] += 1
            self._sizes[node] += max(0, amount.size_growth)
        if allocations.rest_sites:
            node = self._top(f"({allocations.rest_sites} smaller sites)")
            self._sizes[node] += max(0, allocations.rest.size_growth)

    def _top(self, title: str) -> int:
        """Return the node below the root that stands for no function: a route, or what is left over."""
        return self._below(0, _NOWHERE % json.dumps(title))

    def _below(self, parent: int, call_frame: str) -> int:
        known = self._children[parent].get(call_frame)
        if known is not None:
            return known
        node = self._children[parent][call_frame] = len(self._frames)
        self._frames.append(call_frame)
        self._sizes.append(0)
        self._children.append({})
        return node

    def _call_frame(self, frame: Frame, again: int) -> str:
        """Return the call frame of a function that is on the stack ``again`` times already.

        DevTools adds up the bytes below all frames that are called alike, also where one is below the other (its guard
        against that forgets the callers), and would show several times what there is: so an inner one has a name of its
        own.
        """
        known = self._call_frames.get((frame, again))
        if known is None:
            url = _chrome.url_of(frame.file)
            name = frame.name or f"({frame.file.replace(chr(92), '/').rpartition('/')[2]}:{frame.line})"
            document = {
                "functionName": f"{name} (recursion {again})" if again else name,
                "scriptId": str(self._scripts.setdefault(frame.file, len(self._scripts) + 1)),
                "url": url,
                "lineNumber": max(frame.line - 1, 0) if url else -1,
                "columnNumber": 0 if url else -1,
            }
            known = self._call_frames[frame, again] = json.dumps(document, separators=(",", ":"))
        return known

    def text(self) -> Iterator[str]:
        """Yield the JSON of the tree; a damaged recording may hold stacks of any depth, so nothing recurses."""
        waiting: list[int | str] = [0]
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                yield item
                continue
            yield f'{{"callFrame":{self._frames[item]},"selfSize":{self._sizes[item]},"id":{item + 1},"children":['
            waiting.append("]}")
            children = list(self._children[item].values())
            for number, child in enumerate(reversed(children), 1):
                waiting.append(child)
                if number < len(children):
                    waiting.append(",")

    def samples(self) -> list[dict[str, int]]:
        """Return a sample for each node that holds something."""
        held = [(node, size) for node, size in enumerate(self._sizes) if size]
        return [{"size": size, "nodeId": node + 1, "ordinal": ordinal} for ordinal, (node, size) in enumerate(held, 1)]
