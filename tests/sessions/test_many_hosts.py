"""Many hosts over a relay in memory: who begins, who follows, who is named as missing, and a relay that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from flask_profiling.coordination.files import FileCoordinator
from flask_profiling.engines import Engine, EngineOptions
from flask_profiling.errors import AlreadyRunning, CoordinationFailed, DiskFull, EngineBusy, NotRunning, StorageFailed
from flask_profiling.formats import FORMATS
from flask_profiling.model import Session, SessionOptions, WorkerId
from flask_profiling.processes import process_started
from flask_profiling.sessions import ManyHosts, World
from flask_profiling.store import Store
from tests.sessions.machines import CPU, CountingEngine, Time


@dataclass
class Hub:
    """What the relays of all hosts share; ``down`` hosts cannot ask it."""

    time: Time
    order: tuple[Session, float] | None = None
    alive: set[str] = field(default_factory=set)
    joined: dict[str, set[str]] = field(default_factory=dict)
    done: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    machines: list[ManyHosts] = field(default_factory=list)


class MemoryRelay:
    """One host's :class:`flask_profiling.coordination.Relay`."""

    def __init__(self, hub: Hub, host: str) -> None:
        self.host = host
        self._hub = hub

    def _reached(self, what: str) -> Hub:
        self._hub.asked.append(f"{self.host} {what}")
        if self.host in self._hub.down:
            raise CoordinationFailed("the relay cannot be asked")
        return self._hub

    def running(self) -> tuple[Session, float] | None:
        hub = self._reached("running")
        return None if hub.order is None else (hub.order[0], max(0.0, hub.order[1] - hub.time.reading))

    def publish(self, session: Session, *, seconds: float) -> bool:
        hub = self._reached("publish")
        if hub.order is not None:
            return False
        hub.order = (session, hub.time.reading + seconds)
        return True

    def ended(self, session_id: str) -> bool:
        hub = self._reached("ended")
        return session_id in hub.joined and (hub.order is None or hub.order[0].id != session_id)

    def withdraw(self, session_id: str) -> bool:
        hub = self._reached("withdraw")
        if hub.order is None or hub.order[0].id != session_id:
            return False
        hub.order = None
        return True

    def attend(self) -> None:
        self._reached("attend").alive.add(self.host)

    def hosts(self) -> frozenset[str]:
        return frozenset(self._reached("hosts").alive)

    def join(self, session_id: str) -> None:
        self._reached("join").joined.setdefault(session_id, set()).add(self.host)

    def joined(self, session_id: str) -> frozenset[str]:
        return frozenset(self._reached("joined").joined.get(session_id, ()))

    def report(self, session_id: str, names: tuple[str, ...]) -> None:
        self._reached("report").done.setdefault(session_id, {})[self.host] = names

    def done(self, session_id: str) -> Mapping[str, tuple[str, ...]]:
        return dict(self._reached("done").done.get(session_id, {}))

    def forget(self) -> None:
        self._hub.asked.append(f"{self.host} forget")


@dataclass
class Host:
    """One host with one worker."""

    name: str
    sessions: ManyHosts
    engines: list[CountingEngine]
    output: Path
    watchers: list[Callable[[], None]]

    def look(self) -> None:
        """What its two watchers do."""
        self.sessions._listen()
        self.sessions._look()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.output.glob("*prof-*"))


def host(
    hub: Hub, root: Path, name: str, *, engine: Callable[[], CountingEngine] = CountingEngine, pid: int = 1
) -> Host:
    output = root / name
    engines: list[CountingEngine] = []
    watchers: list[Callable[[], None]] = []
    types = {kind: (format.prefix, format.suffix) for kind, format in FORMATS.items()}

    def create(kind: str, options: EngineOptions) -> Engine:
        engines.append(engine())
        return engines[-1]

    sessions = ManyHosts(
        relay=MemoryRelay(hub, name),
        coordinator=FileCoordinator(output, sleep=hub.time.sleep, monotonic=hub.time.monotonic),
        store=Store(output, types=types, max_sessions=20, max_bytes=1 << 30),
        world=World(
            worker=lambda: WorkerId(name, pid, process_started(1)),
            new_id=lambda: f"prof-{name}-0001",
            now=hub.time.now,
            monotonic=hub.time.monotonic,
            sleep=hub.time.sleep,
            create_engine=create,
            start_watcher=watchers.append,
        ),
        auto_generate=False,
        cleanup_on_exit=False,
    )
    hub.machines.append(sessions)
    return Host(name, sessions, engines, output, watchers)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(Time())
    yield hub
    for sessions in hub.machines:  # not at some later collection of garbage, among the descriptors of another test
        sessions.forget()


@pytest.fixture
def pair(hub: Hub, tmp_path: Path) -> tuple[Host, Host]:
    """Two hosts that know of each other and look whenever somebody waits."""
    one, two = host(hub, tmp_path, "one"), host(hub, tmp_path, "two")
    for each in (one, two):
        each.sessions.attend()
        each.look()
    hub.time.meanwhile = two.look
    return one, two


def test_a_start_begins_everywhere_and_a_stop_names_what_each_host_stored(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    started = one.sessions.start(CPU)
    assert started.notes == ()
    assert two.sessions.live is not None
    assert two.sessions.live.session_id == started.session.id == "prof-one-0001"
    stopped = one.sessions.stop()
    assert set(stopped.hosts) == {"one", "two"}
    assert list(stopped.hosts["two"]) == [artifact.filename for artifact in stopped.artifacts]
    assert two.names() == sorted(stopped.hosts["two"])
    assert not any("did not answer" in note for note in stopped.notes)
    assert hub.order is None
    assert two.sessions.idle


def test_any_host_may_stop_and_the_other_ends_too(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    hub.time.meanwhile = one.look
    stopped = two.sessions.stop()
    assert set(stopped.hosts) == {"one", "two"}
    assert one.sessions.idle
    assert len(one.names()) == len(two.names()) > 0


def test_another_host_joins_for_the_time_that_is_left(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    hub.time.meanwhile = lambda: None
    one.sessions.start(CPU)
    hub.time.reading += 20
    left = hub.order[1] - hub.time.reading if hub.order else 0
    two.look()
    assert two.sessions.live is not None
    assert two.sessions.live.deadline == pytest.approx(hub.time.reading + left)


@pytest.mark.parametrize(("left", "joins"), [(0.5, False), (0.6, True)])
def test_a_session_that_is_almost_over_is_not_joined(
    pair: tuple[Host, Host], hub: Hub, left: float, joins: bool
) -> None:
    one, two = pair
    hub.time.meanwhile = lambda: None
    one.sessions.start(CPU)
    assert hub.order is not None
    hub.order = (hub.order[0], hub.time.reading + left)
    two.look()
    assert (two.sessions.live is not None) is joins


def test_a_host_that_lives_and_does_not_answer_the_start_is_named(pair: tuple[Host, Host], hub: Hub) -> None:
    hub.time.meanwhile = lambda: None
    before = hub.time.reading
    started = pair[0].sessions.start(CPU)
    assert started.notes == ("host two lives and did not answer the start; it may join late",)
    assert 3 <= hub.time.reading - before < 4


def test_a_host_that_took_part_and_is_silent_at_the_stop_is_named(pair: tuple[Host, Host], hub: Hub) -> None:
    one, _ = pair
    one.sessions.start(CPU)
    hub.time.meanwhile = lambda: None
    before = hub.time.reading
    stopped = one.sessions.stop()
    assert set(stopped.hosts) == {"one"}
    assert "host two took part and did not answer the stop in time" in stopped.notes
    assert 30 <= hub.time.reading - before < 31
    assert max(hub.time.slept) < 0.1


def test_a_host_that_is_not_seen_any_more_is_named_without_a_wait(pair: tuple[Host, Host], hub: Hub) -> None:
    one, _ = pair
    one.sessions.start(CPU)
    hub.time.meanwhile = lambda: None
    hub.alive.discard("two")
    before = hub.time.reading
    assert "host two took part and did not answer the stop in time" in one.sessions.stop().notes
    assert hub.time.reading - before < 1


def test_a_second_start_is_refused_on_every_host(pair: tuple[Host, Host]) -> None:
    one, two = pair
    one.sessions.start(CPU)
    with pytest.raises(AlreadyRunning, match="prof-one-0001"):
        two.sessions.start(CPU)


def test_of_two_starts_at_once_the_later_is_taken_back(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    hub.time.meanwhile = lambda: None
    one.sessions.start(CPU)
    # As if two had not heard of it yet: nobody told it, and it asks the relay only to publish.
    with pytest.raises(AlreadyRunning, match="prof-one-0001 is running already on another host"):
        two.sessions.start(CPU)
    assert two.sessions.idle
    assert hub.order is not None
    assert hub.order[0].id == "prof-one-0001"


def test_where_the_other_session_is_over_a_moment_later_the_start_is_refused_all_the_same(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, _ = pair
    one.sessions._relay.publish = lambda session, seconds: False  # type: ignore[method-assign]
    with pytest.raises(AlreadyRunning, match="another session is running already on another host"):
        one.sessions.start(CPU)
    assert one.sessions.idle


def test_a_host_that_took_no_part_is_not_waited_for_at_the_stop(pair: tuple[Host, Host], hub: Hub) -> None:
    one, _ = pair
    hub.time.meanwhile = lambda: None
    one.sessions.start(CPU)
    before = hub.time.reading
    assert set(one.sessions.stop().hosts) == {"one"}
    assert hub.time.reading - before < 1


def test_any_worker_of_a_host_stops_the_others_too(pair: tuple[Host, Host], hub: Hub, tmp_path: Path) -> None:
    one, _ = pair
    one.sessions.start(CPU)
    sibling = host(hub, tmp_path, "one", pid=2)
    sibling.sessions.attend()
    look = hub.time.meanwhile

    def meanwhile() -> None:
        one.look()
        look()

    hub.time.meanwhile = meanwhile
    assert set(sibling.sessions.stop().hosts) == {"one", "two"}
    assert hub.order is None


def test_an_ended_session_is_not_joined_again(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    order = hub.order
    one.sessions.stop()
    hub.order = order  # a relay that was asked a moment too early still says so
    two.look()
    one.look()
    assert two.sessions.idle
    assert one.sessions.idle


def test_an_ended_session_is_not_joined_again_though_nothing_of_it_is_left(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    order = hub.order
    one.sessions.stop()
    hub.time.meanwhile = one.look
    two.sessions.start(CPU)
    two.sessions.stop()
    for each in pair:
        each.sessions.clean()
    hub.order = order  # a replica took over that had not heard of the end
    for each in pair:
        each.look()
        assert each.sessions.idle


def test_a_worker_that_was_not_there_knows_from_its_host_that_a_session_is_over(
    pair: tuple[Host, Host], hub: Hub, tmp_path: Path
) -> None:
    one, two = pair
    one.sessions.start(CPU)
    order = hub.order
    one.sessions.stop()
    hub.order = order
    for path in two.output.glob("*prof-*"):  # it knows so without them, too
        path.unlink()
    young = host(hub, tmp_path, "two", pid=2)
    young.sessions.attend()
    young.sessions._catch_up()
    assert young.sessions.idle
    assert young.sessions._over == {"prof-one-0001"}, "it need not look again"
    two.sessions.forget()


def test_what_is_stored_here_of_other_sessions_keeps_nobody_from_the_next(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    one.sessions.stop()
    assert one.names()
    hub.time.meanwhile = one.look
    two.sessions.start(CPU)
    assert one.sessions.live is not None
    assert one.sessions.live.session_id == "prof-two-0001"


def test_what_is_stored_here_is_not_begun_again_by_a_worker_that_knows_of_later_sessions_only(
    pair: tuple[Host, Host], hub: Hub, tmp_path: Path
) -> None:
    one, two = pair
    first = one.sessions.start(CPU).session
    hub.down.add("two")
    two.sessions.stop()
    two.sessions.start(CPU)
    two.sessions.stop()
    stored = two.names()
    young = host(hub, tmp_path, "two", pid=2)
    young.sessions.attend()
    hub.down.clear()
    assert hub.order is not None
    assert hub.order[0] == first
    young.sessions._listen()
    assert young.sessions.idle
    assert two.names() == stored
    two.sessions.forget()


def test_a_host_that_cannot_collect_says_no_once_and_is_asked_no_more(hub: Hub, tmp_path: Path) -> None:
    one, two = host(hub, tmp_path, "one"), host(hub, tmp_path, "two", engine=lambda: CountingEngine(busy=True))
    one.sessions.attend()
    one.sessions.start(CPU)
    with pytest.raises(EngineBusy):
        two.sessions._catch_up()
    made = len(two.engines)
    two.sessions._catch_up()
    assert len(two.engines) == made > 0
    assert hub.joined["prof-one-0001"] == {"one"}


def test_a_relay_that_fails_leaves_this_host_alone_and_says_so(pair: tuple[Host, Host], hub: Hub) -> None:
    one, _ = pair
    hub.down.add("one")
    started = one.sessions.start(CPU)
    assert started.notes == ("the relay cannot be asked; this session covers this host only",)
    stopped = one.sessions.stop()
    assert stopped.notes[-1] == "the relay cannot be asked; other hosts are not in this answer"
    assert stopped.hosts == {}
    assert one.names()


def test_a_session_of_this_host_only_is_not_ended_by_a_relay_that_comes_back_empty(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, _ = pair
    hub.down.add("one")
    one.sessions.start(CPU)
    hub.down.clear()
    one.look()
    assert one.sessions.live is not None
    stopped = one.sessions.stop()
    assert stopped.hosts == {}
    assert stopped.notes[-1] == "this session covered this host only"
    one.look()
    assert not {"one withdraw", "one report"} & set(hub.asked), "nobody waits for it"


def test_a_session_of_this_host_only_that_cannot_be_stored_is_nothing_to_others(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, _ = pair
    hub.down.add("one")
    one.sessions.start(CPU)
    hub.down.clear()
    one.sessions._store.write = no_room  # type: ignore[assignment]
    with pytest.raises(DiskFull):
        one.sessions.stop()
    assert not {"one withdraw", "one report"} & set(hub.asked)


def test_a_host_with_a_session_of_its_own_does_not_say_that_it_joined_another(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, two = pair
    hub.time.meanwhile = lambda: None
    hub.down.add("one")
    one.sessions.start(CPU)
    hub.down.clear()
    session_id = two.sessions.start(CPU).session.id
    one.look()
    assert hub.joined[session_id] == {"two"}
    assert "one" not in hub.done.get(session_id, {})
    two.sessions.stop()
    one.look()
    assert one.sessions.live is not None, "the end of the other one is not its own"


def test_a_host_that_lost_the_relay_in_mid_session_ends_by_itself_and_keeps_its_artifacts(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, two = pair
    one.sessions.start(SessionOptions("cprofile", False, 0, 5.0))
    hub.down.add("two")
    hub.alive.discard("two")
    hub.time.meanwhile = lambda: None
    assert "host two took part and did not answer the stop in time" in one.sessions.stop().notes
    two.look()
    assert two.sessions.live is not None, "what cannot be asked has ended nothing"
    hub.time.reading += 6
    two.look()
    assert two.sessions.idle
    assert two.names() == one.names()
    last = two.sessions.status().last
    assert last is not None
    assert last.ended_by == "deadline"


def test_a_session_that_was_withdrawn_elsewhere_ends_here_and_its_names_are_reported(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, two = pair
    one.sessions.start(CPU)
    hub.order = None
    two.look()
    assert two.sessions.idle
    assert sorted(hub.done["prof-one-0001"]["two"]) == two.names()


def forgotten(hub: Hub) -> None:
    """The relay comes back empty."""
    hub.order = None
    hub.joined.clear()
    hub.alive.clear()
    hub.done.clear()


def test_a_relay_that_comes_back_empty_is_told_again_and_all_hosts_go_on(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    hub.time.reading += 20
    assert two.sessions.live is not None
    left = two.sessions.live.deadline - hub.time.reading
    forgotten(hub)
    two.look()
    assert hub.order is not None
    assert hub.order[1] - hub.time.reading == pytest.approx(left)
    hub.time.reading += 2  # both say that they live, and take part, again
    for _ in range(2):
        one.look()
        two.look()
    stopped = one.sessions.stop()
    assert set(stopped.hosts) == {"one", "two"}
    assert two.sessions.idle
    assert not any("host" in note for note in stopped.notes)


def test_a_session_that_is_almost_over_is_not_told_again(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    assert two.sessions.live is not None
    hub.time.reading = two.sessions.live.deadline - 0.5
    forgotten(hub)
    two.sessions._listen()
    assert hub.order is None
    assert two.sessions.live is not None, "it ends by itself"


def test_where_another_session_took_the_place_of_a_lost_one_each_host_keeps_its_own(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, two = pair
    started = one.sessions.start(CPU)
    forgotten(hub)
    hub.order = (replace(started.session, id="prof-three-0001"), hub.time.reading + 60)
    two.look()
    assert two.sessions.live is not None
    assert two.sessions.live.session_id == "prof-one-0001"
    stopped = two.sessions.stop()
    assert stopped.notes[-1] == "this session covered this host only"
    assert hub.order[0].id == "prof-three-0001"


def test_a_session_that_is_published_while_the_relay_is_asked_is_not_taken_for_lost(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, two = pair
    hub.down.add("one")
    started = one.sessions.start(CPU)
    hub.down.clear()
    relay = one.sessions._relay
    asked = relay.running

    def asked_a_moment_too_early() -> tuple[Session, float] | None:
        relay.running = asked  # type: ignore[method-assign]
        answer = asked()
        one.sessions._published(started.session)
        return answer

    relay.running = asked_a_moment_too_early  # type: ignore[method-assign]
    one.sessions._listen()
    hub.time.meanwhile = one.look
    stopped = two.sessions.stop()
    assert set(stopped.hosts) == {"one", "two"}
    assert one.sessions.idle


def test_an_end_that_the_relay_could_not_be_told_is_told_when_it_answers(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    hub.time.meanwhile = lambda: None
    hub.down.add("one")
    one.sessions.stop()
    two.look()
    assert two.sessions.live is not None
    hub.down.clear()
    one.look()
    two.look()
    assert two.sessions.idle
    assert sorted(hub.done["prof-one-0001"]["one"]) == one.names()
    one.look()
    assert hub.asked.count("one report") == 1, "it is told once"
    one.sessions.start(CPU)
    assert two.sessions.idle, "it has not looked yet"


def test_an_end_by_a_worker_that_never_reached_the_relay_is_told_when_it_answers(
    pair: tuple[Host, Host], hub: Hub, tmp_path: Path
) -> None:
    one, two = pair
    one.sessions.start(CPU)
    hub.down.add("two")
    sibling = host(hub, tmp_path, "two", pid=2)
    sibling.sessions.attend()
    hub.time.meanwhile = two.look
    sibling.sessions.stop()
    assert hub.order is not None
    hub.down.clear()
    sibling.look()
    assert hub.order is None
    one.look()
    assert one.sessions.idle
    assert sorted(hub.done["prof-one-0001"]["two"]) == two.names()


def test_an_end_is_told_again_where_a_relay_that_lost_the_session_is_told_of_it_anew(
    pair: tuple[Host, Host], hub: Hub, tmp_path: Path
) -> None:
    one, two = pair
    one.sessions.start(CPU)
    hub.down.add("two")
    sibling = host(hub, tmp_path, "two", pid=2)
    sibling.sessions.attend()
    hub.order = None
    hub.joined.clear()
    hub.down.clear()
    hub.time.meanwhile = two.look
    assert sibling.sessions.stop().notes[-1] == "this session covered this host only", "as far as it could know"
    for _ in range(3):
        one.look()
        sibling.look()
    one.look()
    assert one.sessions.idle
    assert hub.order is None
    assert set(hub.done["prof-one-0001"]) == {"one", "two"}


def no_room(*arguments: object, **options: object) -> object:
    raise DiskFull("no room; free some")


def test_a_session_that_begins_while_it_is_asked_for_and_cannot_be_stored_fails_as_any_other(
    pair: tuple[Host, Host], hub: Hub
) -> None:
    one, _ = pair
    hub.down.add("one")
    one.sessions.start(CPU)
    coordinator = one.sessions._coordinator
    orders = iter([None])
    running = coordinator.running
    coordinator.running = lambda: next(orders, running())  # type: ignore[method-assign]
    one.sessions._store.write = no_room  # type: ignore[assignment]
    with pytest.raises(DiskFull):
        one.sessions.stop()


def test_a_session_whose_artifacts_cannot_be_stored_is_over_on_all_hosts(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    one.sessions._store.write = no_room  # type: ignore[assignment]
    with pytest.raises(DiskFull):
        one.sessions.stop()
    assert hub.order is None
    two.look()
    assert two.sessions.idle
    assert two.names()


def test_a_session_that_could_not_be_ended_here_goes_on_everywhere(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)

    def read_only(order: object) -> bool:
        raise StorageFailed("the file system is read-only; choose another")

    one.sessions._coordinator.withdraw = read_only  # type: ignore[method-assign]
    with pytest.raises(StorageFailed):
        one.sessions.stop()
    two.look()
    assert hub.order is not None
    assert two.sessions.live is not None


def test_a_report_that_cannot_be_made_does_not_undo_the_end(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    two.look()
    two.sessions._relayed.add("prof-one-0001")
    hub.down.add("two")
    two.sessions._end_here("prof-one-0001")
    assert two.sessions.idle
    assert two.names()
    assert "two" not in hub.done.get("prof-one-0001", {})


def test_where_another_worker_of_the_host_ended_it_that_one_reports(pair: tuple[Host, Host], hub: Hub) -> None:
    one, two = pair
    one.sessions.start(CPU)
    two.sessions._end_here("prof-one-0001")
    hub.done.clear()
    two.sessions._end_here("prof-one-0001")
    assert hub.done == {}


def test_a_stop_where_nothing_runs_on_any_host_is_refused(pair: tuple[Host, Host]) -> None:
    with pytest.raises(NotRunning, match="no profiling session is running"):
        pair[0].sessions.stop()


def test_a_stop_without_a_start_is_refused_though_the_relay_fails(pair: tuple[Host, Host], hub: Hub) -> None:
    hub.down.add("one")
    with pytest.raises(NotRunning):
        pair[0].sessions.stop()


def test_the_relay_is_told_that_this_host_lives_every_two_seconds(hub: Hub, tmp_path: Path) -> None:
    one = host(hub, tmp_path, "one")
    for seconds in (0.0, 1.5, 0.5, 1.0, 1.0):
        hub.time.reading += seconds
        one.sessions._listen()
    assert hub.asked.count("one attend") == 3


def interval_of(watcher: Callable[[], None]) -> float:
    assert isinstance(watcher, partial)
    _, _, interval, _ = watcher.args
    return float(interval)


def test_the_listener_is_started_once_and_anew_in_a_forked_child(hub: Hub, tmp_path: Path) -> None:
    one = host(hub, tmp_path, "one")
    one.sessions.attend()
    one.sessions.attend()
    assert len(one.watchers) == 2  # one for the workers of this host, one for the others
    assert [interval_of(watcher) for watcher in one.watchers] == [0.25, 0.1]
    one.sessions.forget()
    assert hub.asked == ["one forget"]
    one.sessions.attend()
    assert len(one.watchers) == 4
    one.sessions.shut_down()
    one.sessions.attend()
    assert len(one.watchers) == 4


def test_a_worker_that_had_no_thread_to_listen_with_tries_again_at_its_next_request(hub: Hub, tmp_path: Path) -> None:
    one = host(hub, tmp_path, "one")
    tried: list[float] = []

    def start_watcher(watch: Callable[[], None]) -> None:
        tried.append(interval_of(watch))
        if len(tried) in (1, 3):
            raise RuntimeError("can't start new thread")

    one.sessions._world = replace(one.sessions._world, start_watcher=start_watcher)
    for _ in range(4):
        one.sessions.attend()
    assert tried == [0.25, 0.25, 0.1, 0.1], "each until it runs, and no oftener"


def test_a_process_that_ends_before_its_first_request_listens_to_nobody(hub: Hub, tmp_path: Path) -> None:
    one = host(hub, tmp_path, "one")
    one.sessions.shut_down()
    one.sessions.attend()
    assert one.watchers == []


def test_what_a_listener_meets_reaches_nobody(pair: tuple[Host, Host], hub: Hub) -> None:
    hub.down.add("one")
    pair[0].sessions._listen()
    assert pair[0].sessions.idle


def test_a_relay_that_fails_at_the_stop_costs_only_the_others_answer(pair: tuple[Host, Host], hub: Hub) -> None:
    one, _ = pair
    one.sessions.start(CPU)

    def fail(session_id: str) -> bool:
        raise CoordinationFailed("the relay went away")

    one.sessions._relay.withdraw = fail  # type: ignore[method-assign]
    stopped = one.sessions.stop()
    assert stopped.notes[-1] == "the relay went away; other hosts are not in this answer"
    assert stopped.hosts == {}
    assert one.names()


def test_a_worker_that_another_of_its_host_was_faster_than_takes_part_all_the_same(
    pair: tuple[Host, Host], hub: Hub, tmp_path: Path
) -> None:
    one, two = pair
    hub.time.meanwhile = lambda: None
    one.sessions.start(CPU)
    two.look()
    sibling = host(hub, tmp_path, "two", pid=2)
    assert hub.order is not None
    sibling.sessions._begin_here(*hub.order)
    assert "prof-one-0001" in sibling.sessions._relayed
    assert sibling.sessions.live is not None


def test_a_host_says_that_it_takes_part_when_all_its_workers_do(
    pair: tuple[Host, Host], hub: Hub, tmp_path: Path
) -> None:
    one, two = pair
    sibling = host(hub, tmp_path, "two", pid=2)
    sibling.sessions.attend()
    hub.time.meanwhile = lambda: None
    one.sessions.start(CPU)
    said: list[set[str]] = []

    def takes_part() -> None:
        said.append(set(hub.joined["prof-one-0001"]))
        two.sessions._look()

    def hears_of_it_first() -> None:
        hub.time.meanwhile = takes_part
        two.sessions._listen()

    hub.time.meanwhile = hears_of_it_first
    sibling.sessions._listen()
    assert said[0] == {"one"}
    assert hub.joined["prof-one-0001"] == {"one", "two"}
    assert two.sessions.live is not None


def test_a_host_waits_once_for_a_worker_that_does_not_begin(pair: tuple[Host, Host], hub: Hub, tmp_path: Path) -> None:
    one, two = pair
    sibling = host(hub, tmp_path, "two", pid=2)
    sibling.sessions.attend()
    hub.time.meanwhile = lambda: None
    one.sessions.start(CPU)
    two.sessions._listen()
    assert hub.joined["prof-one-0001"] == {"one", "two"}
    hub.time.slept.clear()
    two.sessions._listen()
    assert hub.time.slept == []
