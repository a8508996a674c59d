"""What counts as application code: not the standard library, site-packages or this package; or what the user names."""

from __future__ import annotations

import os
import site
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType

# What happens in this package is no part of the profiled program.
PACKAGE = str(Path(__file__).parents[1]) + os.sep
# Names of so many files are remembered, then all are asked for again: code may be compiled under ever new ones.
MOST_FILES = 10_000


def application_files(app_paths: Sequence[str] = ()) -> Callable[[str], bool]:
    """Return the judge of file names.

    ``app_paths`` are directories or files: only what lies in them is application code then, even in site-packages.
    """
    named = tuple(_prefix(path) for path in app_paths)
    libraries = tuple(_prefix(path) for path in _library_paths())
    return lambda filename: _judged(filename, named, libraries)


def application_code(app_paths: Sequence[str] = ()) -> Callable[[CodeType], bool]:
    """Return the judge of code objects; the answer for each file is remembered."""
    judge = application_files(app_paths)
    known: dict[str, bool] = {}

    def is_application(code: CodeType) -> bool:
        filename = code.co_filename
        try:
            return known[filename]
        except KeyError:
            if len(known) >= MOST_FILES:
                known.clear()
            known[filename] = answer = judge(filename)
            return answer

    return is_application


def is_own_code(code: CodeType) -> bool:
    """Tell whether code is part of this package."""
    return code.co_filename.startswith(PACKAGE)


def _judged(filename: str, named: tuple[str, ...], libraries: tuple[str, ...]) -> bool:
    if filename.startswith("<"):  # <frozen …>, <string>, namedtuples and the like
        return False
    try:
        path = os.path.realpath(filename)
    except (OSError, ValueError):  # compiled under a name that no file can have, or the working directory is gone
        path = filename
    if path.startswith(PACKAGE):
        return False
    if named:
        return path.startswith(named) or path + os.sep in named
    return not path.startswith(libraries) and f"{os.sep}site-packages{os.sep}" not in path


def _library_paths() -> set[str]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = {sysconfig.get_path(name) for name in names} | {site.getusersitepackages(), os.path.dirname(os.__file__)}
    return {path for path in paths if path}


def _prefix(path: str) -> str:
    return os.path.join(os.path.realpath(path), "")
