"""An HTTP answer that leaves in slices: as one, asyncio and h11 would copy all of it at a time, several times."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

#: What is written at once: a socket takes about as much.
_SLICE = 1 << 19


class SlicedResponse(Response):
    """A response whose body is written slice by slice, as the caller reads it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(self.body) <= _SLICE:
            await super().__call__(scope, receive, send)
            return
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        body = memoryview(self.body)
        for begin in range(0, len(body), _SLICE):
            end = begin + _SLICE
            more = {"type": "http.response.body", "more_body": end < len(body)}
            await send({**more, "body": bytes(body[begin:end])})
