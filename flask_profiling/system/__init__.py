"""What is asked of the file system: private directories with whole files in them; no session, no lock, no artifact."""

from __future__ import annotations

from .calls import System, storage_failure
from .directory import PrivateDirectory

__all__ = ["PrivateDirectory", "System", "storage_failure"]
