"""Turn off one check at a time in a copy of the code, and see whether a test notices: ``make mutation``. No tests.

The rooms that decide (:data:`ROOMS`) are changed in one place each time (``mutants.py`` says how). Then the tests of
the room run that reach the changed line, the quickest first, and the others of the room only where those see nothing.
A change that no test notices is a *survivor*: either a test is missing, or the line does not matter. Those that cannot
be noticed are listed, each with the reason, in ``equivalents.json``; they do not run.

Outcomes are kept in ``.mutation.jsonl``: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from tests.mutants import Mutant, mutants
from tests.mutation_copy import PACKAGE, PROJECT, Copy

Result = TypeVar("Result")
# room -> its modules, and the tests that answer for each of them
ROOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gates": (("gates.py",), ("tests/test_gates.py",)),
    "store": (("store.py",), ("tests/test_store.py",)),
    "system": (("system/directory.py", "system/_held.py", "system/locks.py"), ("tests/system",)),
    "coordination": (("coordination/*.py",), ("tests/coordination",)),
    "sessions": (("sessions/*.py",), ("tests/sessions",)),
    "config": (("config/*.py",), ("tests/test_config.py",)),
    # how nodes are numbered is seen where they are written
    "model": (("model/*.py",), ("tests/model", "tests/formats/test_heapsnapshot.py")),
}
EQUIVALENTS = PROJECT / "tests" / "equivalents.json"
SCORE = PROJECT / "docs" / "explanation" / "mutation.json"
# every outcome so far, a line each: a run that was stopped goes on where it was
STATE = PROJECT / ".mutation.jsonl"
# the tests that are tried first; most changes die in them
FIRST = 8
OUTCOMES = ("killed", "timeout", "equivalent", "survived", "left")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant: one of :data:`OUTCOMES` (``left``: there was no time for it).

    ``change`` are the lines that differ, ``by`` is the test that noticed, ``key`` stands for the text that ran,
    ``part`` for its function alone, and ``tested`` for all tests of its room.
    """

    room: str
    module: str
    line: int
    kind: str
    outcome: str
    change: str
    by: str
    key: str
    part: str
    tested: str


@dataclass(frozen=True, slots=True)
class Reach:
    """How long each test of a room took, and which tests executed each line of a module."""

    seconds: dict[str, float]
    lines: dict[str, dict[str, list[str]]]

    def of(self, module: str, line: int, text: str) -> list[str]:
        """Return the tests that execute a line (or one that uses what it defines for all), the quickest first."""
        lines = self.lines.get(module, {})
        tests = {test for reached in (line, *users(text, line)) for test in lines.get(str(reached), ())}
        return sorted(tests, key=lambda test: self.seconds[test])


def users(text: str, line: int) -> set[int]:
    """Return the lines that use what an assignment at the top of a module or class defines; in others, none."""
    tree = ast.parse(text)
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    names = {
        target.id
        for body in bodies
        for statement in body
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and holds_line(statement, line)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }
    used = (node for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.Attribute)))
    return {node.lineno for node in used if (node.id if isinstance(node, ast.Name) else node.attr) in names}


def changed_lines(source: str, text: str) -> str:
    """Return the lines that a change takes away and adds, without their places."""
    return "".join(
        line
        for line in difflib.unified_diff(source.splitlines(True), text.splitlines(True), n=0)
        if line[:3] not in ("---", "+++", "@@ ")
    )


def equivalents() -> dict[tuple[str, str], str]:
    """Return why a change (of a module of the package, in its lines) cannot be noticed."""
    return {
        (module, entry["change"]): entry["reason"]
        for module, entries in json.loads(EQUIVALENTS.read_text("utf-8")).items()
        for entry in entries
    }


@dataclass(frozen=True, slots=True)
class Task:
    """A mutant to run."""

    room: str
    module: str
    mutant: Mutant
    change: str
    key: str
    part: str
    tested: str

    def came_out(self, outcome: str, by: str) -> Outcome:
        """Return what became of it."""
        mutant = self.mutant
        place = (self.room, self.module, mutant.line, mutant.kind)
        return Outcome(*place, outcome, self.change, by, self.key, self.part, self.tested)


def all_tasks(rooms: list[str], sample: int, seed: int) -> Iterator[Task]:
    """Yield the mutants of rooms, or ``sample`` of each module where there are more."""
    for room in rooms:
        patterns, tests = ROOMS[room]
        tested = _hash_of(_files(tests))
        for path in sorted(path for pattern in patterns for path in (PROJECT / PACKAGE).glob(pattern)):
            source = path.read_text("utf-8")
            tree = ast.parse(source)
            module = str(path.relative_to(PROJECT))
            found = mutants(source)
            chosen = random.Random(f"{seed} {path.name}").sample(found, min(sample, len(found)))
            for mutant in sorted(chosen, key=found.index):
                change = changed_lines(source, mutant.text)
                key = hashlib.sha256(f"{module} {mutant.text}".encode()).hexdigest()
                part = hashlib.sha256(f"{module} {change} {part_around(tree, mutant.line)}".encode()).hexdigest()
                yield Task(room, module, mutant, change, key, part, tested)


def part_around(tree: ast.Module, line: int) -> str:
    """Return the function that a line is in (or else the statement), and where in it the line is."""
    around = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and holds_line(node, line)]
    functions = [node for node in around if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    part = functions[0] if functions else max(around, key=lambda node: node.lineno)  # walked from the outside
    return f"{line - part.lineno} {ast.unparse(part)}"


def holds_line(node: ast.stmt, line: int) -> bool:
    """Tell whether a statement reaches over a line; its decorators are not of it."""
    return node.lineno <= line <= (node.end_lineno or 0)


def _files(tests: tuple[str, ...]) -> list[Path]:
    every = (PROJECT / "tests").rglob("*.py")
    return sorted(path for path in every if any(PROJECT / test in (path, *path.parents) for test in tests))


def _hash_of(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def reach_of(copy: Copy, room: str) -> Reach:
    """Measure what the tests of a room reach (or read what was measured for the same texts); they must be green."""
    patterns, tests = ROOMS[room]
    modules = sorted(path for pattern in patterns for path in (PROJECT / PACKAGE).glob(pattern))
    kept = STATE.with_suffix(f".{room}-{_hash_of([*modules, *_files(tests)])[:16]}.json")
    if not kept.exists():
        answer = copy.run(tests, patience=900, measured=True)
        assert answer["outcome"] == "survived", answer["said"]
        kept.write_text(json.dumps({"seconds": answer["seconds"], "lines": answer["lines"]}), "ascii")
    return Reach(**json.loads(kept.read_bytes()))


def judged(copy: Copy, task: Task, reach: Reach, killers: Counter[str]) -> Outcome:
    """Run the tests that reach the line, those first that noticed most of the module's other changes; then the rest."""
    every = sorted(reach.seconds, key=lambda test: reach.seconds[test])
    reaching = reach.of(task.module, task.mutant.line, task.mutant.text) or every
    first = sorted(reaching, key=lambda test: -killers[test])[:FIRST]
    second = [test for test in reaching if test not in first]
    if task.room not in copy.warm:
        copy.warm.add(task.room)
        copy.run(ROOMS[task.room][1], patience=300)
    for chosen in (first, second, [test for test in every if test not in reaching]):
        if not chosen:
            continue
        files = sorted({test.partition("::")[0] for test in chosen})
        patience = 8 + 5 * sum(reach.seconds[test] for test in chosen)
        answer = copy.run(files, patience=patience, chosen=chosen, module=task.module, text=task.mutant.text)
        if answer["outcome"] != "survived":
            killers[answer.get("by", "")] += 1
            return task.came_out(answer["outcome"], answer.get("by", "no test in time"))
    return task.came_out("survived", "")


@contextlib.contextmanager
def copies(number: int) -> Iterator[Callable[[Callable[[Copy, Any], Result], Iterable[Any]], Iterator[Result]]]:
    """Make copies; what is returned lets the next free one act on each thing, and yields what comes of it."""
    free: SimpleQueue[Copy] = SimpleQueue()

    def each(act: Callable[[Copy, Any], Result], things: Iterable[Any]) -> Iterator[Result]:
        def borrowed(thing: Any) -> Result:
            copy = free.get()
            try:
                return act(copy, thing)
            finally:
                free.put(copy)

        for future in as_completed([pool.submit(borrowed, thing) for thing in things]):
            yield future.result()

    with contextlib.ExitStack() as stack:
        for _ in range(number):
            copy = Copy(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutation-")))
            stack.callback(copy.close)
            free.put(copy)
        pool = ThreadPoolExecutor(number)
        stack.callback(pool.shutdown, cancel_futures=True)
        yield each


def judge_all(tasks: list[Task], jobs: int, until: float) -> Iterator[Outcome]:
    """Yield the outcomes as they come, from ``jobs`` copies; what is not begun ``until`` then (monotonic) is left."""
    if time.monotonic() > until:
        yield from (task.came_out("left", "") for task in tasks)
        return
    killers: dict[str, Counter[str]] = {task.module: Counter() for task in tasks}
    room_of = {task.module: task.room for task in tasks}

    def meet(copy: Copy, module: str) -> None:
        answer = copy.run(ROOMS[room_of[module]][1], patience=60, module=module, text="raise ImportError('not there')")
        assert answer["outcome"] == "killed", f"the tests of {room_of[module]} do not meet {module}"

    def act(copy: Copy, task: Task) -> Outcome:
        if time.monotonic() > until:
            return task.came_out("left", "")
        return judged(copy, task, reaches[task.room], killers[task.module])

    with copies(jobs) as each:
        reaches = dict(each(lambda copy, room: (room, reach_of(copy, room)), dict.fromkeys(room_of.values())))
        list(each(meet, room_of))
        yield from each(act, tasks)


def main() -> int:
    """Run what the arguments ask for; 0 when no mutant survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", help=f"which rooms ({', '.join(ROOMS)}); all of them by default")
    parser.add_argument("--sample", type=int, default=sys.maxsize, help="at most so many mutants of each module")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    parser.add_argument("--minutes", type=float, default=60.0 * 24, help="begin nothing after that time")
    parser.add_argument("--jobs", type=int, default=2, help="how many copies work at a time")
    parser.add_argument("--afresh", action="store_true", help="forget what an earlier run saw")
    parser.add_argument("--survivors", action="store_true", help="believe what was noticed in the same functions")
    parser.add_argument("--publish", action="store_true", help="write the score into the documentation")
    options = parser.parse_args()
    if options.afresh:
        STATE.unlink(missing_ok=True)
    tasks = list(all_tasks(options.rooms or list(ROOMS), options.sample, options.seed))
    known = _known(believed=options.survivors)
    impossible = equivalents()
    outcomes, left = [], []
    for task in tasks:
        if (task.module, task.change) in impossible:
            outcomes.append(task.came_out("equivalent", ""))
        elif (outcome := known.get((task.key, task.tested)) or known.get((task.part, ""))) is not None:
            outcomes.append(_told(task.came_out(outcome.outcome, outcome.by)))
        else:
            left.append(task)
    # by room, and in no order: what was run when the time is over stands for the rest
    left.sort(key=lambda task: (list(ROOMS).index(task.room), hashlib.sha256(task.key.encode()).digest()))
    with STATE.open("a", encoding="ascii") as state:
        for outcome in judge_all(left, options.jobs, time.monotonic() + 60 * options.minutes) if left else ():
            outcomes.append(_told(outcome))
            if outcome.outcome != "left":
                state.write(json.dumps(asdict(outcome)) + "\n")
                state.flush()
    score = _score(outcomes)
    if options.publish:
        SCORE.write_text(json.dumps(score, indent=2) + "\n", "ascii")
    return int(any(row["survived"] for row in score.values()))


def _known(*, believed: bool) -> dict[tuple[str, str], Outcome]:
    """Return the outcomes of earlier runs by text and tests, or, where they are believed, by function (and ``""``)."""
    lines = STATE.read_text("ascii").splitlines() if STATE.exists() else []
    known = {}
    for outcome in (Outcome(**json.loads(line)) for line in lines):
        known[outcome.key, outcome.tested] = outcome
        if believed and outcome.outcome in ("killed", "timeout"):
            known[outcome.part, ""] = outcome
    return known


def _told(outcome: Outcome) -> Outcome:
    if outcome.outcome == "survived":
        print(f"{outcome.module}:{outcome.line}: {outcome.kind}\n{outcome.change}", flush=True)
    return outcome


def _score(outcomes: list[Outcome]) -> dict[str, dict[str, int]]:
    """Print and return how many mutants of each room there were, and what became of them."""
    score: dict[str, dict[str, int]] = {}
    for room in ROOMS:
        ends = Counter(outcome.outcome for outcome in outcomes if outcome.room == room)
        if ends:
            score[room] = {"mutants": ends.total(), **{outcome: ends[outcome] for outcome in OUTCOMES}}
            print(f"{room}: {', '.join(f'{number} {what}' for what, number in score[room].items())}")
    return score


if __name__ == "__main__":
    sys.exit(main())
