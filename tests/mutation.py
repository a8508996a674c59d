"""Turn off one check at a time in a copy of the code, and see whether a test notices: ``make mutation``. No tests.

The rooms that decide (:data:`ROOMS`) are changed in one place each time: a condition negated, half of an ``and``,
``or`` or ``|`` left out, a comparison turned, a ``raise``, a ``return`` out of a block or a call dropped, a handler
taken away, a number off by one. Then the room's own tests run. A change that no test notices is a *survivor*: its line
is printed, and either a test is missing or the line does not matter.

The copy is on a file system in memory, in a mount namespace in which all else can only be read: code with its
checks turned off meets the hostile names of our own tests there. Without the right to make one (root, or a user
namespace) the changed tests run as the user that called, which is refused to root.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGE = "flask_profiling"
# room -> its modules, and the tests that answer for each of them
ROOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gates": (("gates.py",), ("tests/test_gates.py",)),
    "store": (("store.py",), ("tests/test_store.py",)),
    "system": (("system/directory.py", "system/_held.py", "system/locks.py"), ("tests/system",)),
    "coordination": (("coordination/*.py",), ("tests/coordination",)),
    "sessions": (("sessions/*.py",), ("tests/sessions",)),
}
COPIED = (PACKAGE, "tests", "pyproject.toml", "setup.cfg")
MEMORY = 4 << 30
LOG = "mutation.log"
_TURNED: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Lt: ast.LtE(), ast.LtE: ast.Lt(), ast.Gt: ast.GtE(), ast.GtE: ast.Gt(), ast.Eq: ast.NotEq(),
    ast.NotEq: ast.Eq(), ast.In: ast.NotIn(), ast.NotIn: ast.In(), ast.Is: ast.IsNot(), ast.IsNot: ast.Is(),
}  # fmt: skip
# the copy goes onto a file system in memory; what is mounted at / can only be read from then on
_SHELL = 'mount -t tmpfs tmpfs "$1" && mount -o remount,bind,ro / && shift && exec "$@"'
_NAMESPACE = ("unshare", "--mount", "--propagation", "private", *(() if os.geteuid() == 0 else ("--map-root-user",)))


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place: its line, the kind of change, and the whole text after it."""

    line: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant: ``killed``, ``timeout`` or ``survived``; ``change`` are the lines that differ."""

    module: str
    line: int
    kind: str
    outcome: str
    change: str


# -- changes -----------------------------------------------------------------------------------------------------------


def mutants(source: str) -> list[Mutant]:
    """Return every change of ``source``, in the order of its lines; each is valid Python."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    data = source.encode()
    found = {}
    for node, kind, instead in _changes(ast.parse(source)):
        assert node.end_lineno is not None and node.end_col_offset is not None
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        text = (data[:begin] + instead.encode() + data[end:]).decode()
        with suppress(SyntaxError):
            compile(text, "mutant", "exec", dont_inherit=True)
            found[text] = Mutant(node.lineno, kind, text)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt | ast.excepthandler, str, str]]:
    for node in _that_runs(tree):
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            yield node.test, "condition negated", f"(not ({ast.unparse(node.test)}))"
        if isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.Try)):
            yield from _ways_out(node)
        if isinstance(node, ast.comprehension):
            for test in node.ifs:
                yield test, "condition negated", f"(not ({ast.unparse(test)}))"
        if isinstance(node, ast.stmt):
            yield from _statement_changes(node)
        if isinstance(node, ast.expr):
            yield from _expression_changes(node)


def _ways_out(block: ast.If | ast.For | ast.While | ast.With | ast.Try) -> Iterator[tuple[ast.stmt, str, str]]:
    handlers = [handler.body for handler in block.handlers] if isinstance(block, ast.Try) else []
    for body in (block.body, getattr(block, "orelse", []), *handlers):
        for statement in body:
            if isinstance(statement, (ast.Return, ast.Continue, ast.Break)):
                yield statement, f"{type(statement).__name__.lower()} dropped", "pass"


def _statement_changes(node: ast.stmt) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    if isinstance(node, ast.Raise):
        yield node, "raise dropped", "pass"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node, "call dropped", "pass"
    if isinstance(node, ast.Try):
        for handler in node.handlers:
            first, last = handler.body[0], handler.body[-1]
            if not (first is last and isinstance(first, ast.Raise)):
                yield first, "handler raises", f"raise; {ast.unparse(first)}" if _simple(first) else "raise"
    if isinstance(node, ast.With):
        for item in node.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "suppress":
                yield call, "suppress nothing", "suppress()"


def _simple(statement: ast.stmt) -> bool:
    return not hasattr(statement, "body")


def _expression_changes(node: ast.expr) -> Iterator[tuple[ast.expr, str, str]]:
    if isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        for left_out in node.values:
            kept = word.join(f"({ast.unparse(value)})" for value in node.values if value is not left_out)
            yield node, f"operand of{word}left out".replace("  ", " "), f"({kept})"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd)):
        for kept_side in (node.left, node.right):
            yield node, "flag left out", f"({ast.unparse(kept_side)})"
    elif isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            operators = [*node.ops[:number], _TURNED[type(operator)], *node.ops[number + 1 :]]
            yield node, "comparison turned", f"({ast.unparse(ast.Compare(node.left, operators, node.comparators))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, "not dropped", f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, "truth turned", str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield node, "number raised", repr(node.value + 1)
        yield node, "number lowered", f"({node.value - 1!r})"


def _that_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk without what only a reader or a type checker sees, and without f-strings (their places are not known)."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, ast.JoinedStr):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            yield node
            yield from _that_runs(node)


# -- running -----------------------------------------------------------------------------------------------------------


def work(place: Path, rooms: list[str], sample: int, seed: int) -> Iterator[Outcome]:
    """Yield the outcome of every mutant (of ``sample`` in each module, where there are more) of a copy at ``place``."""
    for name in COPIED:
        source = PROJECT / name
        shutil.copytree(source, place / name) if source.is_dir() else shutil.copy(source, place / name)
    for name in ("hypothesis.strategies", "pytest"):  # what every run needs anyway, once for all children
        importlib.import_module(name)
    os.environ["TMPDIR"] = tempfile.tempdir = str(place)
    os.chdir(place)
    for room in rooms:
        patterns, tests = ROOMS[room]
        # the room's tests must be green as they are, and must notice a room that cannot even be imported
        begun = time.monotonic()
        assert run(tests, 600) == "survived", Path(LOG).read_text("utf-8", "replace")
        patience = 20 + 5 * (time.monotonic() - begun)
        for path in sorted(path for pattern in patterns for path in (place / PACKAGE).glob(pattern)):
            source = path.read_text("utf-8")
            path.write_text("raise ImportError('a room that is not there')")
            assert run(tests, patience) == "killed", f"the tests of {room} do not meet {path.name}"
            own = _own_tests(path, tests, place)
            all_of_it = mutants(source)
            chosen = random.Random(f"{seed} {path.name}").sample(all_of_it, min(sample, len(all_of_it)))
            for mutant in sorted(chosen, key=all_of_it.index):
                path.write_text(mutant.text, "utf-8")
                # most die in the module's own tests; all of the room's run only where those see nothing
                result = run(own, patience) if own else "survived"
                result = run(tests, patience) if result == "survived" else result
                change = "".join(difflib.unified_diff(source.splitlines(True), mutant.text.splitlines(True), n=0))
                shown = "".join(line for line in change.splitlines(True) if line[:3] not in ("---", "+++", "@@ "))
                yield Outcome(str(path.relative_to(place)), mutant.line, mutant.kind, result, shown)
            path.write_text(source, "utf-8")


def _own_tests(module: Path, tests: tuple[str, ...], place: Path) -> tuple[str, ...]:
    """Return the test files that are named after a module."""
    name = f"test_{module.stem.strip('_')}*.py"
    return tuple(str(path.relative_to(place)) for test in tests for path in sorted((place / test).rglob(name)))


def run(tests: tuple[str, ...], patience: float) -> str:
    """Run tests in a child that has imported nothing of ours; ``survived`` means that all of them passed."""
    child = os.fork()
    if child == 0:
        _run_and_exit(tests)
    deadline = time.monotonic() + patience
    while True:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            _end_group(child)
            return "survived" if status == 0 else "killed"
        if time.monotonic() > deadline:
            _end_group(child)
            os.waitpid(child, 0)
            return "timeout"
        time.sleep(0.02)


def _end_group(child: int) -> None:
    """End what the child started and left behind."""
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _run_and_exit(tests: tuple[str, ...]) -> None:
    import pytest

    status = 1
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.path.insert(0, os.getcwd())
        sys.dont_write_bytecode = True
        # seeded: examples that depend on luck would let a mutant survive today and die tomorrow
        options = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=1")
        status = pytest.main([*options, "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(status))


def main() -> int:
    """Run what the arguments ask for; 0 when no mutant survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", help=f"which rooms ({', '.join(ROOMS)}); all of them by default")
    parser.add_argument("--sample", type=int, default=sys.maxsize, help="at most so many mutants of each module")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    parser.add_argument("--json", type=Path, help="write all outcomes there")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rooms = options.rooms or list(ROOMS)
    if options.inside:
        for outcome in work(options.inside, rooms, options.sample, options.seed):
            print(json.dumps(asdict(outcome)), flush=True)
        return 0
    with tempfile.TemporaryDirectory(prefix="mutation-") as place:
        arguments = ["--inside", place, "--sample", str(options.sample), "--seed", str(options.seed), *rooms]
        command = [*_confined(place), sys.executable, str(Path(__file__)), *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            outcomes = [_told(Outcome(**json.loads(line))) for line in worker.stdout]
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1), "utf-8")
    return _summed_up(outcomes) or worker.returncode


def _confined(place: str) -> list[str]:
    """Return what stands before a command so that it can write to ``place`` and nowhere else."""
    if subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0:
        return [*_NAMESPACE, "sh", "-c", _SHELL, "sh", place]
    if os.geteuid() == 0:
        sys.exit("root cannot be kept from the rest of the machine here (no mount namespaces); run it as another user")
    return []


def _told(outcome: Outcome) -> Outcome:
    if outcome.outcome == "survived":
        print(f"{outcome.module}:{outcome.line}: {outcome.kind}\n{outcome.change}", flush=True)
    return outcome


def _summed_up(outcomes: list[Outcome]) -> int:
    survived = Counter(outcome.module for outcome in outcomes if outcome.outcome == "survived")
    for module, total in Counter(outcome.module for outcome in outcomes).items():
        print(f"{module}: {total - survived[module]} of {total} noticed")
    total, noticed = len(outcomes), len(outcomes) - survived.total()
    late = sum(outcome.outcome == "timeout" for outcome in outcomes)
    print(f"all: {noticed} of {total} noticed ({100 * noticed / max(total, 1):.1f} %), {late} of them by no end")
    return int(bool(survived))


if __name__ == "__main__":
    sys.exit(main())
