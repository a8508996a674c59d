"""What keeps a fault of ours from the host: actions whose failure is logged, once of each kind; no session logic."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import ProfilingError

logger = logging.getLogger("flask_profiling")


def containment() -> Callable[..., None]:
    """Return a function that runs an action (with the arguments that follow it) and lets no failure out.

    A failure on purpose is logged by its sentence, any other with its traceback; each of them once.
    """
    said: set[str] = set()

    def quietly(action: Callable[..., object], *arguments: object, **named: object) -> None:
        try:
            action(*arguments, **named)
        except ProfilingError as error:
            if error.message not in said:
                said.add(error.message)
                logger.warning("profiling: %s", error.message)
        except Exception as error:
            kind = f"{type(error).__name__} in {getattr(action, '__name__', action)}"
            if kind not in said:
                said.add(kind)
                logger.exception("profiling: %s; the host is not affected", kind)

    return quietly
