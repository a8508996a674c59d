from __future__ import annotations

import errno
import os

import pytest

from flask_profiling.errors import DiskFull, StorageFailed
from flask_profiling.system import storage_failure
from flask_profiling.system.calls import has_owners
from tests.faults import without_descriptors


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_every_error_is_a_sentence_of_two_halves_without_a_path(code: int) -> None:
    failure = storage_failure(
        OSError(code, "text", "/secret/path"), "the output directory 'profiling' could not take x"
    )
    first, advice = failure.message.split("; ", 1)
    assert first == f"the output directory 'profiling' could not take x: {os.strerror(code)}"
    assert "PROFILING_OUTPUT_DIR" in advice or "flask profiling clean" in advice or "start a new session" in advice
    assert "secret" not in failure.message
    assert isinstance(failure, DiskFull) is (code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def test_full_disk_has_its_own_status() -> None:
    assert storage_failure(OSError(errno.ENOSPC, ""), "x").status == 507
    assert storage_failure(OSError(errno.EROFS, ""), "x").status == 500


def test_error_without_a_number_is_named_by_its_class() -> None:
    failure = storage_failure(OSError("/secret/path"), "x")
    assert type(failure) is StorageFailed
    assert failure.message == "x: OSError; check the disk, or choose another PROFILING_OUTPUT_DIR"


def test_owners_are_asked_for_only_where_there_are_any() -> None:
    assert has_owners(os)
    assert not has_owners(without_descriptors())
