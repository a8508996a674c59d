"""``make demo``: serve the shop, profile it over HTTP with load on it, and say what was written and how to open it.

What lives here: a client. Everything it does to the server a person could do with curl.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from flask_profiling.errors import ProfilingError
from flask_profiling.model import CallGraph, CallGraphs, Cost, Function, RouteTimes, SessionRecording

EXAMPLES = Path(__file__).resolve().parent
OUTPUT = "profiling"
WIDTH = 80
VISITORS = 4
SECONDS_TO_ANSWER = 30
SECONDS_TO_END = 20
ROUTES_SHOWN = 8
FUNCTIONS_PER_ROUTE = 3

SERVERS = {
    "gunicorn": "-m gunicorn --config {examples}/gunicorn.conf.py --bind 127.0.0.1:{port} shop:create_app()",
    "waitress": "-m waitress --listen 127.0.0.1:{port} --threads 4 --call shop:create_app",
    "werkzeug": "-m flask --app shop run --port {port}",
}

# What one visitor does: method, path, form.
VISIT: tuple[tuple[str, str, Mapping[str, object]], ...] = (
    ("GET", "/", {}),
    ("GET", "/?category=green", {}),
    ("GET", "/products/7", {}),
    ("GET", "/pixel/7.gif", {}),
    ("GET", "/products/12", {}),
    ("GET", "/pixel/12.gif", {}),
    ("GET", "/deals", {}),
    ("GET", "/api/products?query=smoke", {}),
    ("GET", "/api/stock/7", {}),
    ("GET", "/api/recommendations", {}),
    ("POST", "/checkout", {"product": 7, "quantity": 2}),
    ("GET", "/orders/1", {}),
    ("GET", "/visits", {}),
    ("GET", "/api/orders.csv", {}),
)

# End of an artifact's name: how to look at it, where {path} is the file.
HOW_TO_OPEN = {
    ".cpuprofile": "Chrome DevTools: Performance panel, Load profile (the arrow pointing up)",
    ".prof": "snakeviz {path}\npython -m pstats {path}",
    ".dot": "dot -Tsvg -O {path}",
    ".svg": "any browser",
    ".html": "any browser",
    ".heapsnapshot": "Chrome DevTools: Memory panel, Load profile",
    ".heapprofile": "Chrome DevTools: Memory panel, Load profile",
    ".json": "the recording that the table below is read from",
}


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True)
class Shop:
    """The shop as it is being served: where, and by which process."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, method: str, path: str) -> dict[str, object]:
        """One request on a connection of its own; returns the JSON object of a 200 answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            try:
                connection.request(method, path)
                response = connection.getresponse()
                body = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                raise DemoError(f"{method} {path} was not answered: {error!r}.{self.last_words()}") from error
        if response.status != 200:
            more = self.last_words() if response.status >= 500 else ""
            raise DemoError(f"{method} {path} was answered with {response.status}: {sentence(body)}{more}")
        answer: dict[str, object] = json.loads(body)
        return answer

    def last_words(self) -> str:
        """The end of the server's log, to show below a failure."""
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(["", "The server's last words:", *lines]) if lines else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0, or 1 after a sentence on the standard error that says what failed."""
    parser = argparse.ArgumentParser(description="Profile the example shop over HTTP, with load on it.")
    parser.add_argument("--server", choices=SERVERS, default=best_server(), help="default: %(default)s")
    parser.add_argument(
        "--visits", type=int, default=40, help=f"visits of {len(VISIT)} requests each (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=15, help="end the load after this long (default: %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # So that `finally` runs.
    try:
        with tempfile.TemporaryDirectory(prefix="shop-") as scratch, serve(options.server, Path(scratch)) as shop:
            recording, artifacts, sent = profile(shop, visits=options.visits, seconds=options.seconds)
            show_artifacts(artifacts)
            show_routes(recording, sent)
    except (DemoError, ProfilingError, OSError) as error:
        print(f"The demo failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("The demo was interrupted.", file=sys.stderr)
        return 130
    return 0


def profile(shop: Shop, *, visits: int, seconds: float) -> tuple[SessionRecording, list[Path], int]:
    """Run one session with load on the shop; returns its recording, its artifacts and the number of requests sent."""
    started = shop.ask("POST", "/debug/profiling/start")
    step("Start", f"POST /debug/profiling/start   {started['sessionId']}")
    before = time.monotonic()
    sent = put_load(shop, visits=visits, seconds=seconds)
    step("Load", f"{sent} requests by {VISITORS} visitors in {time.monotonic() - before:.1f} s")
    stopped = shop.ask("POST", "/debug/profiling/stop")
    step("Stop", f"POST /debug/profiling/stop    after {stopped['duration']}")
    reports = shop.ask("GET", "/debug/profiling/reports")["reports"]
    assert isinstance(reports, list)
    artifacts = [Path(OUTPUT, report["filename"]) for report in reports if report["sessionId"] == started["sessionId"]]
    step("List", f"GET  /debug/profiling/reports {len(artifacts)} artifacts of this session")
    artifacts.sort(key=lambda path: [*HOW_TO_OPEN, path.suffix].index(path.suffix))
    recordings = [path for path in artifacts if path.name.startswith("recording-")]
    if not recordings:
        raise DemoError(f"The session left no recording in {OUTPUT}; it left {[path.name for path in artifacts]}.")
    return SessionRecording.from_json(json.loads(recordings[0].read_bytes())), artifacts, sent


# Serving


def best_server() -> str:
    """The first of :data:`SERVERS` that is installed; Werkzeug's comes with Flask."""
    installed = (name for name in SERVERS if importlib.util.find_spec(name))
    return next(name for name in installed if name != "gunicorn" or os.name == "posix")


@contextmanager
def serve(server: str, scratch: Path) -> Iterator[Shop]:
    """Start the shop under ``server`` on a free loopback port and wait until it answers; it ends with the block."""
    port = free_port()
    command = [part.format(examples=EXAMPLES, port=port) for part in SERVERS[server].split()]
    log = scratch / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl+C is for the demo, which then ends the server itself.
        )
    shop = Shop(port, process, log)
    try:
        wait_until_it_answers(shop)
        step("Serve", f"http://127.0.0.1:{port}/ on {server}, process {process.pid}")
        yield shop
    finally:
        end(process)


def environment(scratch: Path) -> dict[str, str]:
    """The variables of this shell, without those that steer the shop elsewhere and with those that open the gate."""
    steering = ("FLASK_", "PROFILING_", "SHOP_", "GUNICORN_", "WEB_CONCURRENCY")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    return inherited | {
        "FLASK_ENV": "development",
        "PROFILING_ENABLED": "true",
        "PROFILING_OUTPUT_DIR": OUTPUT,
        "SHOP_DATABASE": f"sqlite:///{scratch / 'shop.sqlite3'}",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_it_answers(shop: Shop) -> None:
    """Return when the first page has been served; raises DemoError when the server ends or takes too long."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while time.monotonic() < deadline:
        if shop.process.poll() is not None:
            raise DemoError(f"The server ended with code {shop.process.returncode} at once.{shop.last_words()}")
        with closing(http.client.HTTPConnection("127.0.0.1", shop.port, timeout=5)) as connection:
            try:
                connection.request("GET", "/")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
        time.sleep(0.1)
    raise DemoError(f"The server did not answer within {SECONDS_TO_ANSWER} s.{shop.last_words()}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, then make it end, with all workers it has."""
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # The server leads a process group of its own.
        process.wait()


# Load


def put_load(shop: Shop, *, visits: int, seconds: float) -> int:
    """Let four visitors at a time go through :data:`VISIT`, until all visits are made or the time is up.

    Every visit keeps one connection alive, so that visits spread over the workers. Returns the number of requests that
    were answered; raises DemoError for an answer that is not 2xx or 3xx.
    """
    deadline = time.monotonic() + seconds

    def come(number: int) -> int:
        sent = 0
        first = number % len(VISIT)
        with closing(http.client.HTTPConnection("127.0.0.1", shop.port, timeout=30)) as connection:
            for method, path, form in VISIT[first:] + VISIT[:first]:
                if time.monotonic() > deadline:
                    break
                visit(connection, method, path, form)
                sent += 1
        return sent

    try:
        with ThreadPoolExecutor(VISITORS) as visitors:
            return sum(visitors.map(come, range(visits)))
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"The server stopped answering: {error!r}.{shop.last_words()}") from error


def visit(connection: http.client.HTTPConnection, method: str, path: str, form: Mapping[str, object]) -> None:
    """One request on a connection that is kept alive."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    connection.request(method, path, urlencode(form) or None, headers)
    response = connection.getresponse()
    response.read()
    if response.status >= 400:
        raise DemoError(f"{method} {path} was answered with {response.status} {response.reason}.")


# Showing


def show_artifacts(artifacts: Sequence[Path]) -> None:
    """Print each file with its size and how to open it."""
    headline("What was written, and how to open it")
    for path in artifacts:
        print(f"  {path}  {size(path.stat().st_size)}")
        for line in HOW_TO_OPEN.get(path.suffix, "any text editor").format(path=path).splitlines():
            print(dim(f"      {line}"))


def show_routes(recording: SessionRecording, sent: int) -> None:
    """Print the hottest functions of each route, the dearest route first, and what the session did not see."""
    found = recording.recording("callgraphs")
    if found is None or not isinstance(found.data, CallGraphs):
        raise DemoError("The recording has no call graphs; was PROFILING_CPU switched off?")
    recorded = sum(times.requests for times in recording.requests.values())
    workers = len(recording.workers)
    headline("Hottest functions per route")
    print(f"  {recorded} of {sent} requests recorded, in {workers} worker{'s' * (workers != 1)}.")
    print("  Time is wall time inside the function itself: computing, and waiting too.")
    print(dim("\n  share       time    calls  function"))
    routes = sorted(found.data.routes.items(), key=lambda item: -self_time(item[1]))
    for route, graph in routes[:ROUTES_SHOWN]:
        times = recording.requests.get(route, RouteTimes())
        mean = times.wall_time / max(times.requests, 1)
        print(f"\n  {bold(route)}  {times.requests} requests, mean {mean * 1000:.1f} ms")
        for function, cost in hottest(graph):
            print(function_line(function, cost, share=cost.self_time / self_time(graph)))
    if rest := routes[ROUTES_SHOWN:]:
        print(f"\n  and {len(rest)} routes more with {sum(self_time(graph) for _, graph in rest):.3f} s together")
    notes = dict.fromkeys([*recording.notes, *found.notes])
    if notes:
        headline("What this session did not see")
    for note in notes:
        print(textwrap.fill(note, WIDTH, initial_indent="  * ", subsequent_indent="    "))


def self_time(graph: CallGraph) -> float:
    """The seconds spent in all functions of a graph together."""
    return sum(cost.self_time for cost in graph.functions.values()) or 1e-9


def hottest(graph: CallGraph) -> list[tuple[Function, Cost]]:
    """The functions of a graph with most time of their own."""
    return sorted(graph.functions.items(), key=lambda item: -item[1].self_time)[:FUNCTIONS_PER_ROUTE]


def function_line(function: Function, cost: Cost, *, share: float) -> str:
    """One line of the table, 80 columns wide."""
    place = "C" if function.file == "~" else f"{'/'.join(Path(function.file).parts[-2:])}:{function.line}"
    start = f"  {share:5.0%} {cost.self_time:8.3f} s {cost.calls:8,}  "
    room = WIDTH - len(start)
    name = function.name if len(function.name) <= room else function.name[: room - 1] + "…"
    gap = room - len(name) - 2
    return f"{start}{name}" + dim(f"  {place[-gap:]:>{gap}}" if gap > 8 else "")


def sentence(body: str) -> str:
    """What an error answer says to people, in JSON or not."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.strip()[:500]


def size(count: int) -> str:
    """A number of bytes as people read it."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def step(name: str, text: str) -> None:
    """One line about what has just been done."""
    print(f"  {bold(f'{name:<6}')} {text}", flush=True)


def headline(text: str) -> None:
    """Begin a part of the output."""
    print(f"\n{bold(text)}\n")


def bold(text: str) -> str:
    """Stand out, on a terminal."""
    return _styled("1", text)


def dim(text: str) -> str:
    """Stand back, on a terminal."""
    return _styled("2", text)


def _styled(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


if __name__ == "__main__":
    sys.exit(main())
