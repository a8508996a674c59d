"""The signals that an application can listen to, and how they are sent: a receiver that fails is logged and contained.

The sender is the app. They are sent in the worker that started the session, and in the one that collected it::

    @artifact_written.connect
    def ship(app, artifact, path): ...
"""

from __future__ import annotations

import logging

from blinker import Namespace, Signal

logger = logging.getLogger("flask_profiling")

_namespace = Namespace()

session_started = _namespace.signal(
    "profiling-session-started", "A session was started: ``session`` (model.Session), ``workers`` that take part."
)
session_stopped = _namespace.signal(
    "profiling-session-stopped",
    "A session is over and its artifacts are whole: ``session``, ``artifacts``, ``recording`` (SessionRecording).",
)
artifact_written = _namespace.signal(
    "profiling-artifact-written", "An artifact is whole: ``artifact`` (model.Artifact), ``path`` (pathlib.Path)."
)


def tell(signal: Signal, sender: object, **values: object) -> None:
    """Call every receiver; what one raises is logged, and neither the others nor the caller notice."""
    if not signal.receivers:
        return
    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **values)
        except Exception:
            logger.exception("profiling: a receiver of %s failed; the session is not affected", signal)
