"""What holds for every format in the table, whoever wrote it."""

from __future__ import annotations

import importlib
import io
import json
import marshal
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_profiling.errors import Unavailable
from flask_profiling.formats import FORMATS
from flask_profiling.model import DATA_KINDS, SessionRecording
from tests.components import all_components_required, enforce
from tests.samples import ODD_SAMPLES, SAMPLES, everything

# What a format needs besides the project itself.
NEEDS = {"svg": ("dot",)}

# What to compare where the bytes depend on which objects are the same.
CONTENT: dict[str, Callable[[bytes], object]] = {"pstats": marshal.loads}

writable = pytest.mark.parametrize("name", [name for name, entry in FORMATS.items() if entry.when != "engine"])


def write(name: str, subject: SessionRecording) -> bytes:
    enforce(NEEDS.get(name, ()), all_required=all_components_required())
    out = io.BytesIO()
    FORMATS[name].writer()(subject, out)
    assert not out.closed
    return out.getvalue()


def test_there_is_a_sample_of_every_kind_of_data() -> None:
    kinds = set(DATA_KINDS).union(*(entry.kinds for entry in FORMATS.values()))
    assert kinds <= set(SAMPLES) == set(ODD_SAMPLES)


def test_no_two_formats_share_a_file_name() -> None:
    names = [entry.filename("prof-1") for entry in FORMATS.values()]
    assert len(set(names)) == len(names)
    assert all("/" not in name and name.isascii() for name in names)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_written_at_a_known_moment(name: str) -> None:
    assert FORMATS[name].when in {"stop", "auto", "export", "engine"}


@pytest.mark.parametrize("name", FORMATS)
def test_its_module_and_function_are_there_and_described(name: str) -> None:
    module, _, function = FORMATS[name].entry.partition(":")
    found = importlib.import_module(module)
    assert found.__doc__
    assert getattr(found, function).__doc__


@writable
def test_it_writes_something(name: str) -> None:
    assert write(name, everything(SAMPLES))


@writable
def test_it_writes_the_same_twice_and_changes_nothing(name: str) -> None:
    subject = everything(SAMPLES)
    before = subject.to_json()
    assert write(name, subject) == write(name, subject)
    assert subject.to_json() == before


@writable
def test_it_writes_the_same_for_the_same_recording_read_back(name: str) -> None:
    subject = everything(SAMPLES)
    again = SessionRecording.from_json(json.loads(json.dumps(subject.to_json())))
    content = CONTENT.get(name, bytes)
    assert content(write(name, again)) == content(write(name, subject))


@writable
def test_it_survives_odd_names_and_impossible_numbers(name: str) -> None:
    assert write(name, everything(ODD_SAMPLES))


@writable
def test_it_leaves_no_file_and_says_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(name, everything(SAMPLES))
    write(name, everything(ODD_SAMPLES))
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@writable
def test_without_its_kind_of_data_it_says_what_to_do(name: str) -> None:
    if not FORMATS[name].kinds:
        assert write(name, everything({}))
        return
    with pytest.raises(Unavailable, match="; "):
        write(name, everything({}))


@writable
def test_a_full_disk_is_the_callers_to_handle(name: str) -> None:
    class Full(io.RawIOBase):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    enforce(NEEDS.get(name, ()), all_required=all_components_required())
    with pytest.raises(OSError, match="No space left"):
        FORMATS[name].writer()(everything(SAMPLES), Full())
