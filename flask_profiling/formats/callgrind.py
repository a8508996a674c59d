"""The callgrind format that KCachegrind opens: each function's own time, and each call with all that it took.

The grammar is https://valgrind.org/docs/manual/cl-format.html; the cost is in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ..model import NO_COST, CallGraph, CallTree, Cost, Function, SessionRecording
from ._collected import call_graphs, call_tree, counts_calls, notes, plausible, readable


def write(recording: SessionRecording, out: BinaryIO) -> None:
    """Write the functions of all routes together; raises Unavailable where no calls were recorded.

    Where the tree was recorded, routes are functions too, with the time of the framework around their views.
    """
    tree = call_tree(recording)
    graph = call_graphs(recording).total() if tree is None else _with_routes(tree)
    head = ["# callgrind format", "version: 1", "creator: flask-profiling", f"cmd: {recording.session.id}"]
    head += [f"desc: Note: {_line(note)}" for note in notes(recording)]
    total = sum(map(_cost, graph.functions.values()))
    head += ["positions: line", "event: ns : Nanoseconds", "events: ns", f"summary: {total}", ""]
    out.write("\n".join(head).encode() + b"\n")
    out.writelines(record.encode() for record in _records(graph, is_counted=tree is None or counts_calls(tree)))
    out.write(f"totals: {total}\n".encode())


def _with_routes(tree: CallTree) -> CallGraph:
    """Return the call graph of a tree in which a route calls what runs directly below it."""
    graph = tree.graphs().total()
    functions, edges = dict(graph.functions), dict(graph.edges)
    totals = tree.total_times()
    routes = {node: Function("", 0, tree.name(node)) for node in tree.roots()}
    for node, route in routes.items():
        cost = Cost(tree.calls[node], tree.calls[node], tree.self_times[node], totals[node])
        functions[route] = functions.get(route, NO_COST) + cost
    for node, parent in enumerate(tree.parents):
        if parent in routes:
            edge = (routes[parent], tree.functions[tree.labels[node]])
            cost = Cost(tree.calls[node], tree.calls[node], tree.self_times[node], totals[node])
            edges[edge] = edges.get(edge, NO_COST) + cost
    return CallGraph(functions, edges)


def _records(graph: CallGraph, *, is_counted: bool) -> Iterator[str]:
    files, names = _Numbers(), _Numbers()
    callees: dict[Function, list[tuple[Function, Cost]]] = {function: [] for function in graph.functions}
    for (caller, callee), cost in graph.edges.items():
        callees[caller].append((callee, cost))
    for function, cost in graph.functions.items():
        lines = [f"fl={files.of(function.file)}", f"fn={names.of(_name(function))}"]
        lines.append(f"{max(function.line, 0)} {_cost(cost)}")
        for callee, of_calls in callees[function]:
            # A callee's cost includes what it called.
            lines += [f"cfi={files.of(callee.file)}", f"cfn={names.of(_name(callee))}"]
            lines += [f"calls={of_calls.calls if is_counted else 0} {max(callee.line, 0)}"]
            lines.append(f"{max(function.line, 0)} {round(plausible(of_calls.total_time) * 1e9)}")
        yield "\n".join(lines) + "\n\n"


def _cost(cost: Cost) -> int:
    return round(plausible(cost.self_time) * 1e9)


def _name(function: Function) -> str:
    """Return a name that is unique within its file: tools add up functions of one name."""
    return f"{function.name}:{function.line}" if function.line else function.name


def _line(text: str) -> str:
    return " ".join(readable(text).split()) or "(nameless)"


class _Numbers(dict[str, int]):
    """Names by number: ``(3) name`` where it is used first, ``(3)`` from then on."""

    def of(self, name: str) -> str:
        """Return the name as the grammar wants it."""
        text = _line(name or "~")
        if text in self:
            return f"({self[text]})"
        self[text] = len(self) + 1
        return f"({self[text]}) {text}"
