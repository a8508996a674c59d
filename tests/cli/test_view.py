"""Tests of ``flask profiling view``: one thing to see, for this machine, under an address that nobody can guess."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flask_profiling.cli.viewserver import Page, Site, ViewServer
from tests.cli.archives import OLDER, SESSION, archive, shop
from tests.cli.conftest import Run, Shell
from tests.formats.calls import written


@contextmanager
def served(site: Site) -> Iterator[ViewServer]:
    with ViewServer(site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def get(
    server: ViewServer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.port}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, dict(answer.headers.items())


SITE = Site({"": Page(b"<p>hello", "text/html")})


def test_the_page_is_at_the_secret_path_alone() -> None:
    with served(SITE) as server:
        assert get(server, f"/{server.secret}/")[:2] == (200, b"<p>hello")
        for path in (
            "/",
            "",
            "/x/",
            f"/{server.secret}",
            f"/{server.secret}/x",
            f"/{server.secret[:-1]}/",
            "//",
            "/%ff/",
        ):
            assert get(server, path or "/")[0] == 404


def test_two_servers_have_different_secrets() -> None:
    with ViewServer(SITE) as one, ViewServer(SITE) as other:
        assert one.secret != other.secret
        assert len(one.secret) >= 24


def test_only_loopback_is_listened_on() -> None:
    with ViewServer(SITE) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "localhost.:{port}", "127.0.0.2:{port}"])
def test_another_host_finds_nothing(host: str) -> None:
    with served(SITE) as server:
        assert get(server, f"/{server.secret}/", host=host.format(port=server.port))[0] == 404


def test_localhost_is_this_machine() -> None:
    with served(SITE) as server:
        assert get(server, f"/{server.secret}/", host=f"LOCALHOST:{server.port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(method: str) -> None:
    with served(SITE) as server:
        assert get(server, f"/{server.secret}/", method=method)[0] == 501


def test_answers_are_neither_stored_nor_framed_nor_guessed() -> None:
    with served(SITE) as server:
        status, body, headers = get(server, f"/{server.secret}/", method="HEAD")
    assert (status, body) == (200, b"")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A viewer's folder, with a link out of it and a file beside it."""
    folder = tmp_path / "speedscope"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<p>speedscope")
    (folder / "assets" / "app.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_viewer_is_served_from_its_folder(folder: Path) -> None:
    with served(Site({}, folder)) as server:
        status, body, headers = get(server, f"/{server.secret}/viewer/index.html")
        assert (status, body) == (200, b"<p>speedscope")
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert get(server, f"/{server.secret}/viewer/assets/app.js")[0] == 200
        assert get(server, f"/{server.secret}/viewer/")[1] == b"<p>speedscope"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "..%2fsecret.txt",
        "assets/../../secret.txt",
        "link",
        "pipe",
        "assets",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "x%00y",
        "nosuch",
    ],
)
def test_no_other_file_can_be_read_through_it(folder: Path, path: str) -> None:
    with served(Site({}, folder)) as server:
        assert get(server, f"/{server.secret}/viewer/{path}")[0] == 404


def test_without_a_folder_there_are_no_files() -> None:
    with served(SITE) as server:
        assert get(server, f"/{server.secret}/viewer/index.html")[0] == 404


def fetch(url: str) -> bytes:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", parts.path)
    body = connection.getresponse().read()
    connection.close()
    return body


@pytest.mark.parametrize("name", ["last", "file"])
def test_the_command_shows_a_report_until_it_is_interrupted(shell: Shell, tmp_path: Path, name: str) -> None:
    directory = archive(tmp_path)
    if name == "file":
        name = str(tmp_path / "mine.html")
        Path(name).write_bytes(written("html", shop()))
    process = shell.start("profiling", "view", name, "--no-browser", "--dir", str(directory))
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert process.stdout.readline().startswith("Only this machine can reach it")
        if name == "last":
            assert files_of(fetch(url)) == [f"{directory}/recording-{SESSION}.json"]
        else:
            assert fetch(url) == written("html", shop())
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, rest


def files_of(page: bytes) -> list[str]:
    """Return the files that a report lists, which needs no script: they are in its data."""
    text = page.decode().partition('id="data">')[2].partition("</script>")[0]
    (section,) = json.loads(text)["more"]
    return [row[0] for row in section["rows"]]


def test_without_a_session_it_lists_those_there_are_and_shows_the_newest(shell: Shell, tmp_path: Path) -> None:
    directory = archive(tmp_path)
    (directory / f"heap-{SESSION}.heapsnapshot").write_bytes(b"{}")
    process = shell.start("profiling", "view", "--no-browser", "--dir", str(directory))
    try:
        assert process.stdout is not None
        url, _, *lines = (process.stdout.readline().strip() for _ in range(4))
        listed = [line.split() for line in lines if "prof-" in line]
        assert [(*row[:-4], row[-1]) for row in listed] == [("*", SESSION, "2"), (OLDER, "1")]
        assert files_of(fetch(url)) == [
            f"{directory}/heap-{SESSION}.heapsnapshot",
            f"{directory}/recording-{SESSION}.json",
        ]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_speedscope_is_given_the_profile(shell: Shell, tmp_path: Path, folder: Path) -> None:
    args = ["--viewer", "speedscope", "--speedscope-dir", str(folder), "--no-browser", "--dir", str(archive(tmp_path))]
    process = shell.start("profiling", "view", *args)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        page, _, how = url.partition("#")
        assert fetch(page) == b"<p>speedscope"
        assert how == f"profileURL=../profile&title={SESSION}"
        document = json.loads(fetch(page.replace("viewer/index.html", "profile")))
        assert document == json.loads(written("speedscope", shop()))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--viewer", "speedscope"), "give --speedscope-dir"),
        (("profile-x.cpuprofile",), "add --viewer speedscope"),
        (("nosuch.html",), "cannot be read"),
        (("nosuch",), "nosuch"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(
    run: Run, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    result = run("view", *args, "--no-browser", "--dir", str(archive(tmp_path)))
    assert result.exit_code == 1
    assert said in result.stderr.replace("\n", " ")


def test_a_port_in_use_is_said(run: Run, tmp_path: Path) -> None:
    with ViewServer(SITE) as other:
        result = run("view", "--no-browser", "--port", str(other.port), "--dir", str(archive(tmp_path)))
    assert result.exit_code == 1
    assert f"port {other.port} cannot be used" in result.stderr
