"""Session commands against a server whose answers are known: what is asked, what is printed, how it ends."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import STATUS, FakeServer, Run, lines_within

MOMENT = "2026-11-23T02:46:49.123Z"
RUNNING = {
    **STATUS,
    "active": True,
    "session": {
        "id": "prof-7f3a",
        "started": MOMENT,
        "deadline": "2026-11-23T02:51:49.123Z",
        "engines": ["cprofile", "heap"],
    },
    "workers": [{"pid": 812, "state": "running"}, {"pid": 813, "state": "running"}],
}
FILES = [
    {"sessionId": "prof-new", "type": "heapsnapshot", "filename": "heap-prof-new.heapsnapshot", "size": "12.0MB",
     "sizeBytes": 12_000_000, "created": "2026-11-23T02:46:50.000Z"},
    {"sessionId": "prof-new", "type": "cpuprofile", "filename": "profile-prof-new.cpuprofile", "size": "2.4MB",
     "sizeBytes": 2_400_000, "created": MOMENT},
    {"sessionId": "prof-old", "type": "pstats", "filename": "profile-prof-old.prof", "size": "1.0KB", "sizeBytes": 1000,
     "created": "2026-11-22T09:00:00.000Z"},
]  # fmt: skip
STARTED = {"success": True, "message": "Profiling session started", "sessionId": "prof-7f3a", "devToolsUrl": None}
STOPPED = {
    "success": True,
    "message": "Profiling session stopped",
    "sessionId": "prof-7f3a",
    "duration": "45.2s",
    "artifacts": ["profiling/profile-prof-7f3a.cpuprofile", "profiling/profile-prof-7f3a.prof"],
}


def test_status_of_an_idle_server(run: Run, fake: FakeServer) -> None:
    last = {"id": "prof-7f3a", "startTime": MOMENT, "endTime": MOMENT, "duration": "45.2s"}
    fake.on("GET /status", {**STATUS, "lastSession": last, "reports": FILES})
    result = run("status", "--url", fake.url)
    assert result.exit_code == 0
    assert result.output == (
        f"Profiling is on and idle at {fake.url}.\n\n"
        "  Last     prof-7f3a, 45.2s, ended 2026-11-23 02:46:49 UTC\n"
        "  Reports  3 files, 14.4MB\n"
    )


def test_status_of_a_running_session(run: Run, fake: FakeServer) -> None:
    fake.on("GET /status", RUNNING)
    result = run("status", "--url", fake.url)
    assert result.exit_code == 0
    assert "A session is running" in result.output
    assert "Session  prof-7f3a" in result.output
    assert "Ends     2026-11-23 02:51:49 UTC at the latest" in result.output
    assert "Workers  812 running, 813 running" in result.output
    assert lines_within(result.output, 80) == []


@pytest.mark.parametrize(
    ("answer", "step"),
    [
        (STATUS, "Next: flask profiling start-session"),
        (RUNNING, "flask profiling stop-session"),
        ({**STATUS, "reports": FILES}, "Next: list the files with: flask profiling reports"),
    ],
)
def test_the_group_alone_shows_the_status_and_the_next_step(
    run: Run, fake: FakeServer, answer: dict[str, object], step: str
) -> None:
    fake.on("GET /status", answer)
    result = run("--url", fake.url)
    assert result.exit_code == 0
    assert step in result.output
    assert "flask profiling help" in result.output


def test_the_group_alone_says_how_to_start_where_nothing_runs(run: Run, closed_port: int) -> None:
    result = run("--url", f"127.0.0.1:{closed_port}")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "start the app with: flask profiling start" in result.stderr
    assert "flask profiling help" in result.stderr


@pytest.mark.parametrize(
    ("args", "body"),
    [
        ((), {}),
        (("--cpu", "off", "--heap"), {"cpu": "off", "heap": True}),
        (("--no-heap", "--allocations", "0", "--seconds", "2.5"), {"heap": False, "allocations": 0, "seconds": 2.5}),
        (("--slow", "0"), {"slow": 0.0}),
    ],
)
def test_start_session_sends_what_was_given_and_nothing_else(
    run: Run, fake: FakeServer, args: tuple[str, ...], body: dict[str, object]
) -> None:
    fake.on("POST /start", STARTED)
    result = run("start-session", *args, "--url", fake.url)
    assert result.exit_code == 0
    assert json.loads(fake.requests[0][2]) == body
    assert "Started prof-7f3a." in result.output
    assert "flask profiling stop-session" in result.output


def test_start_session_prints_where_devtools_attaches(run: Run, fake: FakeServer) -> None:
    fake.on("POST /start", {**STARTED, "devToolsUrl": "devtools://devtools/bundled/js_app.html?ws=127.0.0.1:9229/x"})
    assert (
        "DevTools: devtools://devtools/bundled/js_app.html?ws=127.0.0.1:9229/x\n"
        in run("start-session", "--url", fake.url).output
    )


def test_stop_session_lists_its_files_and_how_to_open_them(run: Run, fake: FakeServer) -> None:
    fake.on("POST /stop", {**STOPPED, "notes": ["worker 814 did not deliver"]})
    result = run("stop-session", "--url", fake.url)
    assert result.exit_code == 0
    assert result.output == (
        "Stopped prof-7f3a after 45.2s.\n"
        "Note: worker 814 did not deliver\n"
        "\n"
        "  profiling/profile-prof-7f3a.cpuprofile\n"
        "  profiling/profile-prof-7f3a.prof\n"
        "\n"
        "  Open         With\n"
        "  .cpuprofile  Chrome DevTools: Performance > Load profile\n"
        "  .prof        python -m pstats FILE, or snakeviz FILE\n"
    )


def test_stop_session_without_files_says_so(run: Run, fake: FakeServer) -> None:
    fake.on("POST /stop", {**STOPPED, "artifacts": []})
    assert run("stop-session", "--url", fake.url).output.endswith("It wrote no files.\n")


def test_reports_are_grouped_by_session_newest_first(run: Run, fake: FakeServer) -> None:
    fake.on("GET /reports", {"reports": FILES})
    result = run("reports", "--url", fake.url)
    assert result.output == (
        "prof-new  2026-11-23 02:46:49 UTC\n"
        "  Type            Size  File\n"
        "  cpuprofile     2.4MB  profile-prof-new.cpuprofile\n"
        "  heapsnapshot  12.0MB  heap-prof-new.heapsnapshot\n"
        "\n"
        "prof-old  2026-11-22 09:00:00 UTC\n"
        "  Type     Size  File\n"
        "  pstats  1.0KB  profile-prof-old.prof\n"
        "\n"
        "3 files of 2 sessions, 14.4MB.\n"
    )


def test_the_newest_session_stays_the_first_though_the_clock_was_put_back(run: Run, fake: FakeServer) -> None:
    earlier = [{**file, "created": "2026-11-21T09:00:00.000Z"} for file in FILES[:2]]
    fake.on("GET /reports", {"reports": [*earlier, FILES[2]]})
    output = run("reports", "--url", fake.url).output
    assert output.index("prof-new") < output.index("prof-old")


def test_reports_that_are_not_there_lead_on(run: Run, fake: FakeServer) -> None:
    fake.on("GET /reports", {"reports": []})
    assert run("reports", "--url", fake.url).output == "There are no reports yet. Next: flask profiling start-session\n"


def test_clean_with_yes_deletes(run: Run, fake: FakeServer) -> None:
    fake.on("DELETE /cleanup", {"success": True, "message": "done", "cleaned": {"reports": 3, "sessions": 1}})
    result = run("clean", "--yes", "--url", fake.url)
    assert (result.exit_code, result.output) == (0, "Deleted 3 reports of 1 session.\n")


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_clean_asks_nobody_where_there_is_nobody(run: Run, fake: FakeServer, args: tuple[str, ...]) -> None:
    fake.on("DELETE /cleanup", {"success": True, "message": "done", "cleaned": {"reports": 3, "sessions": 1}})
    result = run("clean", *args, "--url", fake.url)
    assert result.exit_code == 0
    assert [request for request, _, _ in fake.requests] == ["DELETE /debug/profiling/cleanup"]


@pytest.mark.parametrize(
    ("args", "request_line", "answer"),
    [
        (("status",), "GET /status", RUNNING),
        ((), "GET /status", RUNNING),
        (("start-session",), "POST /start", STARTED),
        (("stop-session",), "POST /stop", STOPPED),
        (("reports",), "GET /reports", {"reports": FILES}),
        (("clean", "--yes"), "DELETE /cleanup", {"success": True, "cleaned": {"reports": 0, "sessions": 0}}),
    ],
)
def test_json_is_the_servers_own(
    run: Run, fake: FakeServer, args: tuple[str, ...], request_line: str, answer: dict[str, object]
) -> None:
    fake.on(request_line, answer)
    result = run(*args, "--json", "--url", fake.url)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == answer
    assert result.stderr == ""


def test_a_refusal_is_a_sentence_on_stderr_and_status_1(run: Run, fake: FakeServer) -> None:
    fake.on(
        "POST /stop",
        {"success": False, "error": "not_running", "message": "no session is running; start one"},
        status=409,
    )
    result = run("stop-session", "--url", fake.url)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: no session is running; start one\n")


def test_a_refusal_as_json_is_the_servers_own(run: Run, fake: FakeServer) -> None:
    refusal = {"success": False, "error": "not_running", "message": "no session is running; start one"}
    fake.on("POST /stop", refusal, status=409)
    result = run("stop-session", "--url", fake.url, "--json")
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (1, refusal, "")


def test_an_unreachable_server_as_json(run: Run, closed_port: int) -> None:
    result = run("status", "--json", "--url", f"127.0.0.1:{closed_port}")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"] == "unreachable"


def test_the_token_is_sent_and_never_printed(run: Run, fake: FakeServer) -> None:
    fake.on(
        "GET /status", {"success": False, "error": "unauthorized", "message": "the token is wrong; set it"}, status=401
    )
    result = run("status", "--url", fake.url, env={"PROFILING_TOKEN": "hunter2"})
    assert fake.requests[0][1]["Authorization"] == "Bearer hunter2"
    assert result.exit_code == 1
    assert "hunter2" not in result.output


def test_a_token_that_would_travel_in_the_clear_is_pointed_out(run: Run, closed_port: int) -> None:
    result = run("status", "--url", f"http://0.0.0.0:{closed_port}", env={"PROFILING_TOKEN": "hunter2"})
    assert "PROFILING_TOKEN travels to" in result.stderr
    assert "hunter2" not in result.output


def test_address_and_prefix_come_from_the_environment_too(run: Run, fake: FakeServer) -> None:
    result = run("status", env={"PROFILING_URL": fake.url, "PROFILING_URL_PREFIX": "/internal"})
    assert [request for request, _, _ in fake.requests] == ["GET /internal/status"]
    assert result.exit_code == 1


def test_options_before_the_command_count_and_those_after_it_win(run: Run, fake: FakeServer, closed_port: int) -> None:
    fake.on("GET /status", STATUS)
    elsewhere = f"127.0.0.1:{closed_port}"
    assert run("--url", fake.url, "status").exit_code == 0
    assert run("--url", elsewhere, "status", "--url", fake.url, env={"PROFILING_URL": elsewhere}).exit_code == 0


@pytest.mark.parametrize(
    "args", [("--timeout", "0"), ("--timeout", "nan"), ("--timeout", "inf"), ("--timeout", "soon")]
)
def test_a_timeout_is_a_number_of_seconds(run: Run, args: tuple[str, ...]) -> None:
    result = run("status", *args)
    assert result.exit_code == 2
    assert "is not a number of seconds" in result.output


@pytest.mark.parametrize(
    "answer",
    [
        {"enabled": True, "active": True},
        {"enabled": True, "active": True, "session": 7, "workers": "none", "reports": {"a": 1}, "lastSession": []},
        {
            "enabled": True,
            "active": False,
            "lastSession": {"id": "\x1b[2J"},
            "reports": [1, None, {"sizeBytes": "big"}],
        },
        {"enabled": True, "active": True, "session": {"engines": "cprofile"}, "workers": [{}, 3]},
    ],
)
def test_a_status_of_another_shape_is_shown_as_far_as_it_goes(
    run: Run, fake: FakeServer, answer: dict[str, object]
) -> None:
    fake.on("GET /status", answer)
    result = run("status", "--url", fake.url)
    assert result.exit_code == 0
    assert "\x1b" not in result.output
