"""The known app in a host that traces its own memory, and says how."""

from __future__ import annotations

import tracemalloc

from flask import Flask

from tests.integration import known_app

tracemalloc.start(7)


def create_app() -> Flask:
    """Make the app; ``/tracing`` tells whether tracing goes on, and how deep."""
    app = known_app.create_app()

    @app.get("/tracing")
    def tracing() -> dict[str, object]:
        traced = tracemalloc.get_object_traceback(known_app.BLOCKS[0]) if known_app.BLOCKS else None
        return {
            "on": tracemalloc.is_tracing(),
            "frames": tracemalloc.get_traceback_limit(),
            "traced": traced is not None,
        }

    return app
