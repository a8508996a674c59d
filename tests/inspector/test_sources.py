"""Which source files DevTools may read: those of the app that appear in a profile, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from flask_profiling.inspector.sources import Sources


def profile(*urls: str) -> str:
    frames = [{"url": url, "scriptId": str(number), "functionName": "f"} for number, url in enumerate(urls, 1)]
    return json.dumps({"nodes": [{"id": number, "callFrame": frame} for number, frame in enumerate(frames)]})


def url(path: Path) -> str:
    return "file://" + quote(bytes(path))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "app.py").write_text("x = 1\ny = 2\n")
    (tmp_path / "outside.py").write_text("secret = 1\n")
    return tmp_path / "root"


def shown(root: Path, *paths: Path) -> list[str]:
    sources = Sources(root)
    sources.adopt(profile(*map(url, paths)))
    return [str(script["url"]) for script in sources.parsed.values()]


def test_a_file_of_the_app_in_a_profile_is_shown(root: Path) -> None:
    sources = Sources(root)
    changed = json.loads(sources.adopt(profile("", url(root / "app.py"))))
    assert [node["callFrame"]["scriptId"] for node in changed["nodes"]] == ["1", "2"]
    script = sources.parsed["2"]
    assert script["url"] == url(root / "app.py")
    assert script["endLine"] == 2
    assert sources.text("2") == "x = 1\ny = 2\n"


def test_numbers_mean_the_same_script_in_every_profile(root: Path) -> None:
    sources = Sources(root)
    sources.adopt(profile("", url(root / "app.py")))
    changed = json.loads(sources.adopt(profile("", "other", url(root / "app.py"))))
    numbers = [node["callFrame"]["scriptId"] for node in changed["nodes"]]
    assert len(set(numbers)) == 3
    assert numbers[0] == "1"


def test_without_a_root_a_profile_stays_as_it_is_and_no_file_is_shown(root: Path) -> None:
    sources = Sources(None)
    text = profile(url(root / "app.py"))
    assert sources.adopt(text) is text
    assert sources.parsed == {}
    assert sources.text("1") is None


def test_a_file_outside_the_root_is_not_shown(root: Path) -> None:
    (root / "link.py").symlink_to(root.parent / "outside.py")
    paths = [root.parent / "outside.py", root / ".." / "outside.py", root / "link.py", Path("/etc/passwd")]
    assert shown(root, *paths) == []


def test_a_file_that_is_no_source_is_not_shown(root: Path) -> None:
    (root / ".env").write_text("TOKEN=1\n")
    (root / "folder.py").mkdir()
    (root / "binary.py").write_bytes(b"\xff\xfe\x00")
    (root / "long.py").write_bytes(b"#" * (3 << 20))
    (root / "site-packages").mkdir()
    (root / "site-packages" / "flask.py").write_text("x = 1\n")
    names = [".env", "folder.py", "binary.py", "long.py", "site-packages/flask.py", "missing.py", "a\0b.py"]
    assert shown(root, *(root / name for name in names)) == []


def test_an_odd_name_and_encoding_are_read(root: Path) -> None:
    path = root / "ü 50%.py"
    path.write_bytes("# -*- coding: latin-1 -*-\ns = 'ü'\n".encode("latin-1"))
    sources = Sources(root)
    sources.adopt(profile(url(path)))
    assert "'ü'" in str(sources.text("1"))


def test_a_file_that_moves_outside_later_is_not_shown_any_more(root: Path) -> None:
    sources = Sources(root)
    sources.adopt(profile(url(root / "app.py")))
    assert sources.text("1") is not None
    (root / "app.py").unlink()
    assert sources.text("1") is None
    (root / "app.py").symlink_to(root.parent / "outside.py")
    assert sources.text("1") is None


@pytest.mark.parametrize("number", ["", "0", "99", "../app.py"])
def test_an_unknown_number_is_nothing(root: Path, number: str) -> None:
    sources = Sources(root)
    sources.adopt(profile(url(root / "app.py")))
    assert sources.text(number) is None
