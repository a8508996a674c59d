"""The sender against a server whose answers are known: everything sent is counted, and nothing hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flask_profiling.loadtest import Address, Load, Outcome, Plan, Scenario, from_paths, parse_scenario
from tests.ports import free_port


class Known:
    """What the server was asked, and how it answers."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked: list[tuple[str, str, str]] = []
        self.connections = 0
        self.hold = threading.Event()
        self.hold.set()
        self.drop_every = 0


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def address(known: Known) -> Iterator[Address]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with known.lock:
                known.connections += 1

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            with known.lock:
                known.asked.append((self.command, self.path, body))
                number = len(known.asked)
            known.hold.wait(30)
            self.send_response(500 if self.path == "/broken" else 201 if self.command == "POST" else 200)
            content = b'{"id": 7}'
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Location", "http://elsewhere.example/orders/7")
            self.end_headers()
            self.wfile.write(content)
            if known.drop_every and number % known.drop_every == 0:
                self.close_connection = True

        do_GET = do_POST = answer  # noqa: N815 (the standard library names them)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        httpd.block_on_close = False
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Address("http", "127.0.0.1", httpd.server_address[1])
        known.hold.set()
        httpd.shutdown()
        thread.join()


def run(address: Address, scenario: Scenario, plan: Plan) -> Outcome:
    load = Load(address, scenario, plan, seconds=10)
    load.start()
    assert load.wait(30)
    return load.outcome()


def test_every_request_is_sent_and_counted_once(address: Address, known: Known) -> None:
    outcome = run(address, from_paths(["/a=3", "/b"]), Plan(4, requests=200))
    assert {label: tally.requests for label, tally in outcome.steps.items()} == {"GET /a": 150, "GET /b": 50}
    assert len(known.asked) == 200
    assert outcome.total().errors == 0
    assert outcome.throughput() > 0
    assert known.connections <= 4, "connections are kept"


def test_a_connection_that_the_server_closed_is_no_error(address: Address, known: Known) -> None:
    known.drop_every = 7
    outcome = run(address, from_paths(["/a"]), Plan(2, requests=100))
    assert outcome.total().statuses == {"200": 100}


def test_statuses_of_400_and_up_are_errors(address: Address) -> None:
    outcome = run(address, from_paths(["/a", "/broken"]), Plan(2, requests=20))
    assert (outcome.total().errors, outcome.steps["GET /broken"].statuses) == (10, {"500": 10})


def test_steps_are_taken_in_order_with_captured_values(address: Address, known: Known) -> None:
    scenario = parse_scenario(
        b'{"steps": [{"method": "POST", "path": "/new", "json": {"a": 1}, "capture": {"id": {"json": "id"},'
        b' "to": {"header": "Location"}}}, {"path": "/item/${id}"}, {"path": "${to}?x=${id}"}]}',
        "s.json",
    )
    outcome = run(address, scenario, Plan(1, requests=6))
    assert known.asked[:3] == [("POST", "/new", '{"a": 1}'), ("GET", "/item/7", ""), ("GET", "/orders/7?x=7", "")]
    assert known.asked[3:] == known.asked[:3]
    assert outcome.total().errors == 0


def test_a_value_that_is_not_there_is_an_error_and_begins_the_visit_anew(address: Address, known: Known) -> None:
    scenario = parse_scenario(
        b'{"steps": [{"path": "/a", "capture": {"id": {"json": "nothing"}}}, {"path": "/item/${id}"}]}', "s.json"
    )
    outcome = run(address, scenario, Plan(1, requests=3))
    assert outcome.total().statuses == {"nothing to capture for id": 3}
    assert {path for _, path, _ in known.asked} == {"/a"}


def test_an_open_loop_keeps_its_schedule_and_counts_waiting(address: Address, known: Known) -> None:
    known.hold.clear()
    load = Load(address, from_paths(["/a"]), Plan(1, duration=0.5, rate=20), seconds=10)
    load.start()
    threading.Timer(0.4, known.hold.set).start()
    assert load.wait(30)
    outcome = load.outcome()
    assert outcome.scheduled == 10
    assert 2 <= outcome.total().requests <= 10, "what could not be sent in time is not sent later"
    assert outcome.late > 0.2, "the second was due at 0.05 s and could be sent after 0.4 s"
    assert outcome.total().latencies.quantile(0.5) > 0.1, "the time they waited to be sent is in their latency"


def test_a_load_can_be_ended_while_answers_are_awaited(address: Address, known: Known) -> None:
    known.hold.clear()
    load = Load(address, from_paths(["/a"]), Plan(3, duration=60), seconds=60)
    load.start()
    assert not load.wait(0.2)
    load.stop()
    assert load.wait(0)
    assert load.outcome().total().requests == 0, "what was hung up on is not counted"


def test_a_server_that_is_gone_ends_the_load() -> None:
    load = Load(Address("http", "127.0.0.1", free_port()), from_paths(["/"]), Plan(2, duration=60), seconds=1)
    load.start()
    assert load.wait(30)
    outcome = load.outcome()
    assert "ConnectionRefusedError" in outcome.gave_up
    assert outcome.total().errors == outcome.total().requests > 0
