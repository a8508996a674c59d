"""P19: a wall clock that jumps, an app that is wired twice, a server of greenlets."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_profiling.errors import NotRunning
from flask_profiling.sessions import Stopped
from tests.components import requires
from tests.integration.servers import NEEDS, OWN_APP, PREFIX, own_app, serve
from tests.promises.recordings import recordings, requests_of
from tests.sessions.machines import CPU, Time, machine

TWICE = """
from flask_profiling import Profiling, profiling_blueprint
from tests.integration.known_app import create_app as known
def create_app():
    app = known()
    Profiling(app)
    Profiling().init_app(app)
    app.register_blueprint(profiling_blueprint)
    return app
"""


def visits_of(stopped: Stopped) -> int:
    return sum(times.requests for times in stopped.recording.requests.values())


class TestP19OddTimesAndPlaces:
    """Clocks that jump, a second init, greenlets (their exact counts: tests/integration/test_known_truth.py)."""

    @pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
    def test_a_jump_of_the_wall_clock_changes_no_session_and_no_order(self, jump: float, tmp_path: Path) -> None:
        time = Time()
        one, two = machine(tmp_path, pid=1, time=time), machine(tmp_path, pid=2, time=time)
        time.meanwhile = lambda: [worker.sessions._tick(False) for worker in (one, two)]
        one.sessions.attend()
        two.sessions.attend()
        one.sessions.start(CPU)
        one.sessions.stop()
        two.sessions.start(CPU)
        time.wall += jump
        for worker in (one, two):
            worker.sessions._tick(True)
            worker.visit()
        time.reading += 2.0
        stopped = two.sessions.stop()
        assert (visits_of(stopped), stopped.session.ended_by) == (2, "stop")
        assert stopped.session.duration == pytest.approx(2.0, abs=0.1)
        one.sessions.start(CPU)
        third = one.sessions.stop()
        assert one.sessions.status().last == two.sessions.status().last == third.session
        with pytest.raises(NotRunning):
            two.sessions.stop()

    def test_a_second_wiring_changes_nothing(self, tmp_path: Path) -> None:
        with serve("werkzeug", tmp_path, app=OWN_APP, environment=own_app(tmp_path, TWICE)) as server:
            assert server.start().status == 200
            assert server.load(["/dear"] * 10) == [200] * 10
            assert server.stop().status == 200
            assert requests_of(recordings(server)[0], "dear_view") == 10

    @requires(*NEEDS["gevent"])
    def test_greenlets_are_served_while_a_session_starts_and_stops(self, tmp_path: Path) -> None:
        with serve("gevent", tmp_path, workers=1) as server:
            for heap in (False, True):
                assert server.start(heap=heap).status == 200
                assert server.load(["/cheap", "/dear"] * 10) == [200] * 20
                stopped = server.request("POST", f"{PREFIX}/stop", timeout=120)
                assert stopped.status == 200
                recording = server.artifact(stopped, ".json")
                assert recording.is_file()
            assert {requests_of(each, "cheap_view") for each in recordings(server)} == {10}
