"""HTTP/1.1 as uvicorn speaks it, with {"error": …} where it answers without the application.

Imported once the HTTP ports are started, as all of HTTP; h11 is what uvicorn itself stands on.
"""

import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEADERS = [(b"content-type", b"application/json"), (b"connection", b"close")]


class JsonErrors(H11Protocol):
    """One connection."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        # uvicorn's own refusal is plain text: it is told of no limit, and this class keeps it.
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._application, self.app = self.app, self._bounded

    async def _bounded(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 503 if there are too many connections, or requests that outlive theirs."""
        most = self._most
        if most is None or max(len(self.connections), len(self.tasks)) <= most:
            await self._application(scope, receive, send)
            return
        body = _error(f"more than {most} HTTP connections: try again later")
        headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP, and close; just close where an answer went out already."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = _error(msg)
            headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _error(text: str) -> bytes:
    return json.dumps({"error": text}, separators=(",", ":")).encode()
