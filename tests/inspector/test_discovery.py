"""What chrome://inspect is told, and who is told anything."""

from __future__ import annotations

import pytest

from flask_profiling.errors import DamagedData
from flask_profiling.inspector import discovery
from flask_profiling.inspector.discovery import Entry

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ENTRY = Entry(9229, ID, "shop (pid 812)", "file:///srv/shop")


def test_an_entry_is_listed_as_a_node_target() -> None:
    (listed,) = discovery.listing([ENTRY])
    assert listed["type"] == "node"
    assert listed["title"] == "shop (pid 812)"
    assert listed["webSocketDebuggerUrl"] == f"ws://127.0.0.1:9229/{ID}"
    assert listed["devtoolsFrontendUrl"] == f"devtools://devtools/bundled/js_app.html?ws=127.0.0.1:9229/{ID}"


def test_the_version_names_the_language() -> None:
    assert discovery.version()["Browser"].startswith("python/3.")


def test_the_protocol_has_domains_of_commands_and_events() -> None:
    document = discovery.protocol(["Profiler.stop", "Profiler.start", "Runtime.enable"], ["Runtime.consoleAPICalled"])
    assert document == {
        "version": {"major": "1", "minor": "3"},
        "domains": [
            {"domain": "Profiler", "commands": [{"name": "start"}, {"name": "stop"}], "events": []},
            {"domain": "Runtime", "commands": [{"name": "enable"}], "events": [{"name": "consoleAPICalled"}]},
        ],
    }


def test_an_entry_survives_the_way_through_json() -> None:
    assert Entry.from_json(ENTRY.to_json()) == ENTRY


@pytest.mark.parametrize(
    "change",
    [
        {"port": 0},
        {"port": 70000},
        {"port": "9229"},
        {"id": "../../x"},
        {"id": ID.upper()},
        {"title": 1},
        {"url": None},
    ],
)
def test_a_damaged_entry_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DamagedData):
        Entry.from_json({**ENTRY.to_json(), **change})


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9229", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9229", "127.1.2.3:80", "[::1]:9229"]
)
@pytest.mark.parametrize("origins", [[], ["devtools://devtools"]])
def test_loopback_hosts_and_devtools_are_answered(host: str, origins: list[str]) -> None:
    assert discovery.objection([host], origins) is None


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["example.com"],
        ["example.com:9229"],
        ["localhost6"],
        ["localhost."],
        ["localhost.example.com"],
        ["127.0.0.1.example.com"],
        ["127.1:9229"],
        ["2130706433"],
        ["0.0.0.0:9229"],
        ["[::ffff:127.0.0.1]:9229"],
        ["localhost:99999"],
        ["localhost:"],
        ["localhost\t"],
        ["localhost", "localhost"],
        ["user@localhost"],
    ],
)
def test_any_other_host_is_a_bad_request(hosts: list[str]) -> None:
    objection = discovery.objection(hosts, [])
    assert objection is not None
    assert objection[0] == 400


@pytest.mark.parametrize(
    "origins",
    [
        ["null"],
        [""],
        ["http://localhost:9229"],
        ["https://devtools"],
        ["devtools://other"],
        ["devtools://devtools/"],
        ["devtools://devtools", "http://example.com"],
    ],
)
def test_any_other_origin_is_forbidden(origins: list[str]) -> None:
    objection = discovery.objection(["localhost"], origins)
    assert objection is not None
    assert objection[0] == 403
