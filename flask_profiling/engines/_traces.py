"""What tracemalloc holds, added up by call stack: pure counting, run in a forked child where that is possible.

tracemalloc gives one row per living block: domain, size, stack (newest frame first, as ``(file, line)``), depth of the
whole stack.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from _tracemalloc import _get_traces
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from types import CodeType, FrameType, FunctionType

from ..model.memory import Allocations, Amount, Frame, Stack
from ._appcode import PACKAGE

# newest frame first
RawStack = tuple[tuple[str, int], ...]
Trace = tuple[int, int, RawStack, int]
Sums = dict[RawStack, tuple[int, int]]

# Every request comes in through the one, and an async view runs inside the other: neither tells that a frame is ours.
# What is older than a request runs the server, which may be a command of ours.
_DOOR, _AROUND_VIEWS = PACKAGE + "middleware.py", PACKAGE + "extension.py"


def taken(*, stop: bool) -> tuple[Sums, int]:
    """Return what is alive by stack, and the bytes that are the profiler's own; ``stop`` ends tracing before they
    are added up."""
    traces: Sequence[Trace] = _get_traces()  # type: ignore[assignment]  # tuples of four since Python 3.9
    if stop:
        tracemalloc.stop()
    return without_own(add_up(traces))


def add_up(traces: Sequence[Trace]) -> Sums:
    """Return the bytes and blocks of each stack.

    tracemalloc hands out one object per stack, so identity does most of the work and few stacks are ever compared.
    """
    found: dict[int, list[int]] = {}
    stacks: dict[int, RawStack] = {}
    for _, size, stack, _ in traces:
        key = id(stack)
        try:
            sums = found[key]
        except KeyError:
            stacks[key] = stack
            found[key] = [size, 1]
        else:
            sums[0] += size
            sums[1] += 1
    added: Sums = {}
    for key, (size, count) in found.items():
        known = added.get(stacks[key], (0, 0))
        added[stacks[key]] = (known[0] + size, known[1] + count)
    return added


def without_own(sums: Sums) -> tuple[Sums, int]:
    """Return the stacks of the program, and the bytes that were allocated in our code or for it."""
    kept = {stack: amount for stack, amount in sums.items() if not _is_own(stack)}
    return kept, sum(size for stack, (size, _) in sums.items() if stack not in kept)


def _is_own(stack: RawStack) -> bool:
    if stack[0][0] == tracemalloc.__file__:
        return True
    if stack[0][0].startswith(PACKAGE):
        return True
    within = takewhile(lambda file: file != _DOOR, (file for file, _ in stack))
    return any(file.startswith(PACKAGE) and file != _AROUND_VIEWS for file in within)


def to_rows(sums: Sums) -> list[object]:
    """Return sums as JSON values: ``[[size, count, file, line, file, line, …]]``, a file as an index into the last
    item."""
    files: dict[str, int] = {}
    rows: list[object] = [
        [size, count, *(cell for file, line in stack for cell in (files.setdefault(file, len(files)), line))]
        for stack, (size, count) in sums.items()
    ]
    return [*rows, list(files)]


def from_rows(rows: Sequence[Sequence[int]], files: Sequence[str]) -> Sums:
    """Read what :func:`to_rows` wrote, its last item apart."""
    return {tuple(zip((files[index] for index in row[2::2]), row[3::2], strict=True)): (row[0], row[1]) for row in rows}


def compared(
    before: Sums, after: Sums, *, frames: int, from_nothing: bool, views: Mapping[str, Iterable[CodeType]]
) -> Allocations:
    """Return the sites with their growth, the smallest added up, the others with the names of their functions.

    A stack belongs to the route of the outermost of the ``views`` (code by route) that runs in it.
    """
    amounts: dict[RawStack, Amount] = {}
    for stack in {**after, **before}:
        (old, olds), (new, news) = before.get(stack, (0, 0)), after.get(stack, (0, 0))
        amounts[stack] = Amount(new, news, new - old, news - olds)
    nameless = {tuple(Frame(*line, "") for line in reversed(stack)): amount for stack, amount in amounts.items()}
    largest = Allocations(frames, from_nothing, nameless).bounded()
    names = function_names(frame[:2] for stack in largest.sites for frame in stack)
    lines = lines_of(views)
    sites: dict[Stack, Amount] = {}
    routes: dict[Stack, str] = {}
    for site, amount in largest.sites.items():
        named = tuple(Frame(file, line, names.get((file, line), "")) for file, line, _ in site)
        sites[named] = amount
        route = next((lines[frame[:2]] for frame in named if frame[:2] in lines), None)
        if route is not None:
            routes[named] = route
    return Allocations(frames, from_nothing, sites, largest.rest, largest.rest_sites, routes)


def lines_of(views: Mapping[str, Iterable[CodeType]]) -> Mapping[tuple[str, int], str]:
    """Return the route of each line of the views and of the functions inside them.

    The first line of a longer view is left out: it runs when the function is made. So is what several routes share.
    """
    found: dict[tuple[str, int], set[str]] = {}
    for route, codes in views.items():
        for view in codes:
            lines = {line for code in _with_inner([view]) for _, _, line in code.co_lines() if line}
            for line in lines - {view.co_firstlineno} or lines:
                found.setdefault((view.co_filename, line), set()).add(route)
    return {line: route for line, (route, *others) in found.items() if not others}


def function_names(lines: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], str]:
    """Return the plain names of the functions in which the lines stand, as far as their code is alive.

    No line table of another file is read. The first line of a function belongs to it only where no other claims it: it
    is where the function around it makes it.
    """
    wanted = set(lines)
    # many pieces of code share a name like <string>
    files = {file for file, _ in wanted if not file.startswith("<") or file.startswith("<frozen ")}
    names: dict[tuple[str, int], str] = {}
    for code in sorted(_alive(files), key=lambda code: code.co_firstlineno):
        for line in {line for _, _, line in code.co_lines() if line}:
            place = (code.co_filename, line)
            if place in wanted and (line != code.co_firstlineno or place not in names):
                names[place] = code.co_name
    return names


def _alive(files: set[str]) -> list[CodeType]:
    """Return the code in these files of all functions, and of what is running."""
    waiting = [value.__code__ for value in gc.get_objects() if type(value) is FunctionType]
    for frame in sys._current_frames().values():
        step: FrameType | None = frame
        while step is not None:
            waiting.append(step.f_code)
            step = step.f_back
    return _with_inner(code for code in waiting if code.co_filename in files)


def _with_inner(codes: Iterable[CodeType]) -> list[CodeType]:
    """Return these pieces of code and those inside them, each once."""
    waiting = list(codes)
    found: dict[int, CodeType] = {}
    while waiting:
        code = waiting.pop()
        if id(code) not in found:
            found[id(code)] = code
            waiting.extend([value for value in code.co_consts if type(value) is CodeType])
    return list(found.values())
