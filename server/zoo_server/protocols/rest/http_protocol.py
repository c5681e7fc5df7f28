"""uvicorn's HTTP/1.1, with {"error": …} as the answer to invalid HTTP.

uvicorn has no setting for that answer. Imported once the HTTP ports are started, as all of HTTP; h11
is what uvicorn itself stands on.
"""

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from zoo_server.protocols.rest.errors import JSON, error_body


class JsonErrors(H11Protocol):
    """One connection."""

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP, and close; just close where an answer went out already."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = error_body(msg)
            headers = [
                ("content-type", JSON),
                ("connection", "close"),
                ("content-length", str(len(body))),
            ]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
