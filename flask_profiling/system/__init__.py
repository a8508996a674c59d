"""What is asked of the file system: private directories, the whole files in them, locks; no session, no artifact."""

from __future__ import annotations

from .calls import System, storage_failure
from .directory import PrivateDirectory
from .locks import CAN_LOCK, try_lock, unlock

__all__ = ["CAN_LOCK", "PrivateDirectory", "System", "storage_failure", "try_lock", "unlock"]
