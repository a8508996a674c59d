"""What turning a recording into artifacts costs, by the number of functions.

Run with ``python -m benchmarks.stop_cost``. The call graphs are made up: layered, one to four callers per function,
some recursion, four routes. Prints milliseconds of CPU per format, the median of the rounds and the slowest, and the
sizes of the artifacts.
"""

from __future__ import annotations

import io
import random
import statistics
import sys
import time

from flask_profiling.formats import FORMATS
from flask_profiling.model import (
    CallGraph,
    CallGraphs,
    Cost,
    Function,
    Recording,
    Session,
    SessionOptions,
    SessionRecording,
    WorkerId,
)

SIZES = (100, 1_000, 5_000, 10_000, 20_000)
WRITTEN = ("cpuprofile", "pstats", "dot", "recording")
ROUTES = 4
ROUNDS = 7


def call_graph(size: int, dice: random.Random) -> CallGraph:
    """Return a consistent graph of ``size`` functions: times below a function are the sums of its callees' times."""
    functions = [
        Function(f"/srv/shop/package{place % 50}/module{place % 700}.py", 10 * place + 1, f"function_{place}")
        for place in range(size)
    ]
    callers = [
        dice.sample(range(max(0, place - 200), place), min(place, dice.choice((1, 1, 1, 2, 4))))
        for place in range(size)
    ]
    self_times = [dice.lognormvariate(-11, 2) for _ in range(size)]
    totals = list(self_times)
    edges: dict[tuple[Function, Function], Cost] = {}
    for callee in range(size - 1, 0, -1):
        shares = [dice.random() for _ in callers[callee]]
        for caller, part in zip(callers[callee], shares, strict=True):
            share = part / sum(shares)
            cost = Cost(1 + int(100 * share), 1 + int(100 * share), self_times[callee] * share, totals[callee] * share)
            edges[functions[caller], functions[callee]] = cost
            totals[caller] += cost.total_time
    for place in range(0, size, 40):
        edges[functions[place], functions[place]] = Cost(3, 0, self_times[place] / 2, 0.0)
    calls = [1] * size
    places = {function: place for place, function in enumerate(functions)}
    for (_, callee_function), cost in edges.items():
        calls[places[callee_function]] += cost.calls
    costs = {
        function: Cost(calls[place], calls[place], self_times[place], totals[place])
        for place, function in enumerate(functions)
    }
    return CallGraph(costs, edges)


def recording(size: int) -> SessionRecording:
    """Return a recording of ``size`` functions in all."""
    dice = random.Random(size)
    worker = WorkerId("benchmark", 1, 1)
    session = Session("prof-benchmark", worker, 1e9, SessionOptions("cprofile", False, 0, 60.0), 1e9 + 60, 60.0, "stop")
    graphs = CallGraphs({f"GET /{route}": call_graph(size // ROUTES, dice) for route in range(ROUTES)})
    return SessionRecording(session, (worker,), (), {}, (Recording("cprofile", graphs),), {})


def main() -> None:
    """Measure and print the table."""
    print(f"Python {sys.version.split()[0]}; milliseconds of CPU, median of {ROUNDS} (slowest)")
    print("functions" + "".join(f"{name:>22}" for name in WRITTEN) + f"{'together':>22}")
    for size in SIZES:
        subject = recording(size)
        rounds: dict[str, list[float]] = {name: [] for name in WRITTEN}
        sizes = dict.fromkeys(WRITTEN, 0)
        for _ in range(ROUNDS):
            for name in WRITTEN:
                out = io.BytesIO()
                write = FORMATS[name].writer()
                begin = time.process_time()
                write(subject, out)
                rounds[name].append((time.process_time() - begin) * 1000)
                sizes[name] = out.tell()
        together = [sum(row) for row in zip(*rounds.values(), strict=True)]
        columns = [*rounds.values(), together]
        print(f"{size:>9}" + "".join(f"{statistics.median(row):>14.0f} ({max(row):.0f})".rjust(22) for row in columns))
        print(f"{'bytes':>9}" + "".join(f"{sizes[name]:>22,}" for name in WRITTEN))


if __name__ == "__main__":
    main()
