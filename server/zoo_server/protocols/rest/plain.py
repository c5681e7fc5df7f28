"""Two pieces of ASGI without a framework: the token's check, and the page of metrics.

They also serve the metrics port alone, where nothing else of HTTP need be imported.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from zoo_server.errors import Unauthenticated
from zoo_server.protocols.auth import authorised
from zoo_server.protocols.status import status_of

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Paths that need no token: health, as over gRPC (server/zoo_server/protocols/auth.py).
_OPEN = ("/v2/health/live", "/v2/health/ready")


class TokenCheck:
    """Lets only those requests in that bear the token, before anything of them is read."""

    def __init__(self, application: Application, token: bytes) -> None:
        self._application = application
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            headers = [(name.decode("latin-1"), value) for name, value in scope["headers"]]
            try:
                authorised(self._token, headers)
            except Unauthenticated as error:
                _, text = status_of(error, f"HTTP {scope['method']}")
                await _send(
                    send,
                    401,
                    json.dumps({"error": text}).encode(),
                    [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")],
                )
                return
        await self._application(scope, receive, send)


class MetricsPage:
    """GET /metrics."""

    def __init__(self, page: Callable[[], bytes], content_type: str) -> None:
        self._page = page
        self._content_type = content_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        plain = [(b"content-type", b"application/json")]
        if scope["path"] != "/metrics":
            await _send(send, 404, b'{"error":"Not Found"}', plain)
        elif scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, b'{"error":"Method Not Allowed"}', plain)
        else:
            # Of many models it takes a while, and the loop may have requests to answer.
            page = await asyncio.to_thread(self._page)
            await _send(send, 200, page, [(b"content-type", self._content_type.encode())])


async def _send(
    send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
