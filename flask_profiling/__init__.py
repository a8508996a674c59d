"""Profile the CPU and the memory of a running Flask process; this module holds the public names and nothing else."""

from __future__ import annotations

from .errors import ProfilingError
from .extension import Measurement, Profiling, profiling_blueprint

__all__ = ["Measurement", "Profiling", "ProfilingError", "__version__", "profiling_blueprint"]

__version__ = "0.1.0"
