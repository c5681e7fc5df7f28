"""ASGI without a framework: the types, the limit of connections, the check of the token, the metrics page.

They also serve the metrics port alone, where nothing else of HTTP need be imported.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from zoo_server.errors import PermissionDenied, Unauthenticated
from zoo_server.protocols.auth import Right, Tokens
from zoo_server.protocols.rest.errors import JSON, error_body, error_response
from zoo_server.telemetry.server_counts import Refusal, ServerCounts

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: In a scope's state: an application calls it before an answer whose parts come one after the other, since
#: a connection keeps an answer back until it is whole.
SEND_AT_ONCE = "send_at_once"

#: Returns the right that a method of a path needs, None for none.
RightOf = Callable[[str, str], Right | None]


class ConnectionLimitMiddleware:
    """Answers 503 while there are more connections than may be; uvicorn's own answer is plain text."""

    def __init__(self, application: Application, most: int, count: Callable[[], int]) -> None:
        """`count` returns how many connections there are."""
        self._application = application
        self._most = most
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._count() <= self._most:
            await self._application(scope, receive, send)
            return
        text = f"more than {self._most} HTTP connections: try again later"
        headers = {"content-type": JSON, "connection": "close"}
        await respond(send, 503, error_body(text), headers)


class TokenCheck:
    """Lets only those requests in whose token has the right, before anything of them is read."""

    def __init__(
        self, application: Application, tokens: Tokens, right_of: RightOf, counts: ServerCounts
    ) -> None:
        self._application = application
        self._tokens = tokens
        self._right_of = right_of
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(name.decode("latin-1"), value) for name, value in scope["headers"]]
            try:
                self._tokens.check(headers, self._right_of(scope["method"], scope["path"]))
            except (Unauthenticated, PermissionDenied) as error:
                self._counts.refused(Refusal.TOKEN)
                await respond(send, *error_response(error, f"HTTP {scope['method']}"))
                return
        await self._application(scope, receive, send)


def right_to_read(_: str, __: str) -> Right:
    """The right that the metrics' port asks for."""
    return Right.READ


class MetricsPage:
    """GET /metrics."""

    def __init__(self, page: Callable[[], bytes], content_type: str) -> None:
        self._page = page
        self._content_type = content_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] != "/metrics":
            await respond(send, 404, error_body("Not Found"), {"content-type": JSON})
        elif scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, error_body("Method Not Allowed"), {"content-type": JSON})
        else:
            # Of many models it takes a while, and the loop may have requests to answer.
            page = await asyncio.to_thread(self._page)
            await respond(send, 200, page, {"content-type": self._content_type})


async def respond(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a whole answer."""
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    lines.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
