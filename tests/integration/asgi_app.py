"""The app of known calls behind ASGI: what hypercorn and uvicorn serve through asgiref. No tests."""

from __future__ import annotations

import asyncio

from asgiref.wsgi import WsgiToAsgi

from tests.integration.known_app import cheap, create_app, dear

flask_app = create_app()


@flask_app.get("/twice")
async def twice_view() -> str:
    total = cheap()
    await asyncio.sleep(0.003)  # other requests run on the loop meanwhile
    return str(total + dear())


app = WsgiToAsgi(flask_app)
