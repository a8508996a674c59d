"""Profile the CPU and the memory of a running Flask process; this module holds the public names and nothing else.

They are imported when first used: pytest, for its plugin, and Flask, for its commands, import this package in projects
where nobody profiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import ProfilingError
    from .extension import Measurement, Profiling, profiling_blueprint

__all__ = ["Measurement", "Profiling", "ProfilingError", "__version__", "profiling_blueprint"]

__version__ = "0.1.0"

# public name -> the module it lives in
_HOMES = {
    "Measurement": "extension",
    "Profiling": "extension",
    "ProfilingError": "errors",
    "profiling_blueprint": "extension",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
