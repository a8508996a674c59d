"""Every change of one place that turns a check off: source in, sources out. Nothing is run here (``mutation.py`` does).

A condition that always or never holds, half of an ``and``, ``or`` or ``|`` left out, a comparison turned, ``any`` for
``all``, a bound of ``min`` or ``max`` left out, a ``raise``, a ``return`` out of a block or a call dropped, a handler
(or one of its exceptions) taken away, a number off by one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

_TURNED: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Lt: ast.LtE(), ast.LtE: ast.Lt(), ast.Gt: ast.GtE(), ast.GtE: ast.Gt(), ast.Eq: ast.NotEq(),
    ast.NotEq: ast.Eq(), ast.In: ast.NotIn(), ast.NotIn: ast.In(), ast.Is: ast.IsNot(), ast.IsNot: ast.Is(),
}  # fmt: skip
_OPPOSITE = {"any": "all", "all": "any"}
_Place = ast.expr | ast.stmt


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place: its line, the kind of change, and the whole text after it."""

    line: int
    kind: str
    text: str


def mutants(source: str) -> list[Mutant]:
    """Return every change of ``source``, in the order of its lines; each is valid Python."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    data = source.encode()
    found: dict[str, Mutant] = {}
    for node, kind, instead in _changes(ast.parse(source)):
        assert node.end_lineno is not None and node.end_col_offset is not None
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        text = (data[:begin] + instead.encode() + data[end:]).decode()
        with suppress(SyntaxError):
            compile(text, "mutant", "exec", dont_inherit=True)
            found.setdefault(text, Mutant(node.lineno, kind, text))
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _changes(tree: ast.Module) -> Iterator[tuple[_Place, str, str]]:
    for node in _that_runs(tree):
        if isinstance(node, (ast.If, ast.IfExp)):
            yield from _conditions(node.test)
        if isinstance(node, ast.While):
            yield node.test, "never holds", "False"
        if isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.Try)):
            yield from _ways_out(node)
        if isinstance(node, ast.comprehension):
            for test in node.ifs:
                yield from _conditions(test)
        if isinstance(node, ast.stmt):
            yield from _statement_changes(node)
        if isinstance(node, ast.expr):
            yield from _expression_changes(node)


def _conditions(test: ast.expr) -> Iterator[tuple[_Place, str, str]]:
    # what it would have assigned has to be there for what follows
    kept = next((f"({ast.unparse(node)})" for node in ast.walk(test) if isinstance(node, ast.NamedExpr)), "")
    yield test, "always holds", f"({kept}, True)[1]" if kept else "True"
    yield test, "never holds", f"({kept}, False)[1]" if kept else "False"


def _ways_out(block: ast.If | ast.For | ast.While | ast.With | ast.Try) -> Iterator[tuple[_Place, str, str]]:
    handlers = [handler.body for handler in block.handlers] if isinstance(block, ast.Try) else []
    for body in (block.body, getattr(block, "orelse", []), *handlers):
        for statement in body:
            if isinstance(statement, (ast.Return, ast.Continue, ast.Break)):
                yield statement, f"{type(statement).__name__.lower()} dropped", "pass"


def _statement_changes(node: ast.stmt) -> Iterator[tuple[_Place, str, str]]:
    if isinstance(node, ast.Raise):
        yield node, "raise dropped", "pass"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node, "call dropped", "pass"
    if isinstance(node, ast.Try):
        for handler in node.handlers:
            first, last = handler.body[0], handler.body[-1]
            if not (first is last and isinstance(first, ast.Raise)):
                yield first, "handler raises", f"raise; {ast.unparse(first)}" if _simple(first) else "raise"
            if isinstance(handler.type, ast.Tuple):
                yield from _fewer(handler.type)
    if isinstance(node, ast.With):
        for item in node.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "suppress":
                yield call, "suppress nothing", "suppress()"


def _fewer(types: ast.Tuple) -> Iterator[tuple[_Place, str, str]]:
    for left_out in types.elts:
        kept = ", ".join(ast.unparse(each) for each in types.elts if each is not left_out)
        yield types, "exception left out", f"({kept},)"


def _simple(statement: ast.stmt) -> bool:
    return not hasattr(statement, "body")


def _expression_changes(node: ast.expr) -> Iterator[tuple[_Place, str, str]]:
    if isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        for left_out in node.values:
            kept = word.join(f"({ast.unparse(value)})" for value in node.values if value is not left_out)
            yield node, f"operand of{word}left out".replace("  ", " "), f"({kept})"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd)) and not _is_optional(node):
        for kept_side in (node.left, node.right):
            yield node, "flag left out", f"({ast.unparse(kept_side)})"
    elif isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            operators = [*node.ops[:number], _TURNED[type(operator)], *node.ops[number + 1 :]]
            yield node, "comparison turned", f"({ast.unparse(ast.Compare(node.left, operators, node.comparators))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, "not dropped", f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Call):
        yield from _call_changes(node)
    elif isinstance(node, ast.Constant):
        yield from _constant_changes(node)


def _is_optional(node: ast.BinOp) -> bool:
    """Tell whether it is a type with ``None``, which only a type checker sees wherever it stands."""
    return isinstance(node.right, ast.Constant) and node.right.value is None


def _constant_changes(node: ast.Constant) -> Iterator[tuple[_Place, str, str]]:
    if isinstance(node.value, bool):
        yield node, "truth turned", str(not node.value)
    elif isinstance(node.value, (int, float)):
        yield node, "number raised", repr(node.value + 1)
        yield node, "number lowered", f"({node.value - 1!r})"


def _call_changes(node: ast.Call) -> Iterator[tuple[_Place, str, str]]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name in _OPPOSITE:
        yield node.func, "any for all", _OPPOSITE[name]
    if name in ("min", "max") and len(node.args) > 1:
        for argument in node.args:
            yield node, "bound left out", f"({ast.unparse(argument)})"


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
