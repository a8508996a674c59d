"""Exit statuses and the one exception a command ends with; how it is shown is in :mod:`.render`."""

from __future__ import annotations

from collections.abc import Mapping

FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130


class Failure(Exception):
    """A command cannot do what was asked: a sentence (what happened; what to do), a code and an exit status.

    :param answer: the server's own JSON, which ``--json`` prints as it came.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "failed",
        exit_status: int = FAILED,
        answer: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.exit_status = exit_status
        self.answer = answer

    def to_json(self) -> Mapping[str, object]:
        """Return the server's answer, or one of the same shape."""
        return self.answer or {"success": False, "error": self.code, "message": self.message}
