"""Profile the CPU and the memory of a running Flask process; this module holds the public names and nothing else."""

from __future__ import annotations

__version__ = "0.1.0"
