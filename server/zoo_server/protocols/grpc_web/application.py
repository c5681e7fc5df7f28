"""gRPC-Web before the application of the HTTP port: takes the requests that are its own, and answers them.

    request ──> token? ──> body ──> frames ──> handler of the gRPC port ──> frames, trailers
                  └──────────┴────────┴───────────┴──> the status alone, in headers

ModelInfer and Predict take the path that they take on the gRPC port, as calls; other RPCs are answered by the
same handlers, and errors by the same statuses.
"""

import asyncio
import binascii
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from types import SimpleNamespace
from typing import Any

import grpc
from starlette.requests import ClientDisconnect, Request

from zoo_server.errors import Unsupported
from zoo_server.protocols.auth import TokenGuard
from zoo_server.protocols.grpc_web.call import Aborted, StreamCall, UnaryCall, WebCall, WebContext
from zoo_server.protocols.grpc_web.frames import SLICE, decode_text, messages, seconds_of
from zoo_server.protocols.rest.asgi import SEND_AT_ONCE, Application, Receive, Scope, Send
from zoo_server.protocols.rest.bodies import Bodies, Holding, encoding_of
from zoo_server.protocols.rest.infer import INLINE_BUDGET_NS, SMALL_BYTES
from zoo_server.telemetry.server_counts import Refusal, ServerCounts

Metadata = Sequence[tuple[str, str]]

KIND = "application/grpc-web"

#: The same as base64.
TEXT_KIND = "application/grpc-web-text"


class GrpcWeb:
    """Answers the requests whose content type is gRPC-Web's; the rest is the next application's."""

    def __init__(
        self,
        application: Application,
        handlers: Sequence[grpc.GenericRpcHandler],
        guard: TokenGuard | None,
        bodies: Bodies,
        workers: Executor,
        counts: ServerCounts,
    ) -> None:
        """`bodies` accounts for all bodies of the port; `workers` run what may take long."""
        self._application = application
        self._handlers = tuple(handlers)
        self._guard = guard
        self._bodies = bodies
        self._workers = workers
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._application(scope, receive, send)
            return
        request = Request(scope, receive)
        sent = request.headers.get("content-type", "")
        if not sent.startswith(KIND):
            await self._application(scope, receive, send)
            return
        accept = request.headers.get("accept", "")
        text = (accept if accept.startswith(KIND) else sent).startswith(TEXT_KIND)
        metadata: Metadata = request.headers.items()
        handler = self._handler(scope["path"], metadata)
        is_stream = handler is not None and handler.stream_stream is not None
        call = (StreamCall if is_stream else UnaryCall)(metadata, scope.get("client"))
        if handler is not None and handler.response_streaming:
            scope["state"][SEND_AT_ONCE]()
        with self._bodies.holding() as holding:
            try:
                await self._begin(call, handler, request, holding)
            except ClientDisconnect:
                return
            except Aborted:
                pass
            except Exception as error:
                call.fail(error)
            gone = asyncio.ensure_future(receive())
            gone.add_done_callback(lambda _: call.over())
            try:
                await _write(call, send, text)
            finally:
                gone.cancel()
                call.over()

    async def _begin(
        self, call: StreamCall | UnaryCall, handler: Any, request: Request, holding: Holding
    ) -> None:
        """Read a call and hand it to its handler; raises what it is refused with."""
        arrived, path = time.monotonic(), request.scope["path"]
        refused = None if self._guard is None else self._guard(path, call.metadata)
        if refused is not None:
            self._counts.refused(Refusal.TOKEN)
            call.finish(refused[0], refused[1].encode())
            return
        if handler is None:
            call.finish(grpc.StatusCode.UNIMPLEMENTED, b"Method not found!")
            return
        timeout = request.headers.get("grpc-timeout")
        seconds = None if timeout is None else seconds_of(timeout)
        if encoding_of(request) is not None:
            raise Unsupported("compressed bodies are not read over gRPC-Web: send them as they are")
        body = await holding.read(request)
        holding.take(len(body))  # for the message that is made of it
        if seconds is not None:
            call.expire_in(seconds - (time.monotonic() - arrived))
        is_text = request.headers["content-type"].startswith(TEXT_KIND)
        begin = partial(self._open, handler, call, body, path, is_text)
        if len(body) <= SMALL_BYTES:
            begin(INLINE_BUDGET_NS)
        else:
            await asyncio.get_running_loop().run_in_executor(self._workers, begin, 0)

    def _handler(self, path: str, metadata: Metadata) -> Any:
        details: Any = SimpleNamespace(method=path, invocation_metadata=metadata)
        handlers = (handler.service(details) for handler in self._handlers)
        return next((handler for handler in handlers if handler is not None), None)

    def _open(
        self,
        handler: Any,
        call: StreamCall | UnaryCall,
        body: bytes | bytearray,
        path: str,
        is_text: bool,
        budget_ns: int,
    ) -> None:
        """Take the body apart and hand it over, on the loop if it may be held for `budget_ns`."""
        sent = messages(decode_text(body) if is_text else body)
        if isinstance(call, StreamCall):
            call.messages, call.submit = sent, self._workers.submit
            call.burst = handler.stream_stream.burst
            handler.stream_stream.on_stream(call, WebContext(call))
            return
        call.message = _only(sent, path)
        if handler.unary_stream is not None:
            _run(_stream, handler, call)
            return
        burst = getattr(handler.unary_unary, "burst", None)
        if burst is not None:
            burst([call], budget_ns)
        elif budget_ns and getattr(handler.unary_unary, "in_place", False):
            _run(_unary, handler, call)
        else:
            self._workers.submit(_run, _unary, handler, call)


def _only(sent: Iterator[bytes], path: str) -> bytes:
    """Return the one message of a call that has one, as gRPC does."""
    message = next(sent, None)
    if message is None or next(sent, None) is not None:
        raise Unsupported(f'"{path}" requires exactly one request message.')
    return message


def _run(kind: Callable[[Any, UnaryCall], None], handler: Any, call: UnaryCall) -> None:
    try:
        kind(handler, call)
    except Aborted:
        pass
    except Exception as error:
        call.fail(error)


def _unary(handler: Any, call: UnaryCall) -> None:
    read, write = handler.request_deserializer, handler.response_serializer
    request = call.message if read is None else read(call.message)
    answer = handler.unary_unary(request, WebContext(call))
    call.reply(answer if write is None else write(answer))


def _stream(handler: Any, call: UnaryCall) -> None:
    """A handler that gets a function to send with, and whose None ends the stream (Health.Watch)."""

    def send(response: object) -> None:
        if response is None:
            call.finish(None)
        else:
            call.send(handler.response_serializer(response))

    request = handler.request_deserializer(call.message)
    handler.unary_stream(request, WebContext(call), send)


async def _write(call: WebCall, send: Send, text: bool) -> None:
    """Write what a call is answered with, until it ends or nobody reads."""
    headers = [(b"content-type", (TEXT_KIND if text else KIND).encode() + b"+proto")]
    has_headers = False
    while (piece := await call.outgoing.get()) is not None:
        if not has_headers:
            headers += [(name.encode(), value.encode()) for name, value in piece.headers or ()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            has_headers = True
        for at in range(0, len(piece.data), SLICE):
            data = piece.data[at : at + SLICE]
            if text:
                data = binascii.b2a_base64(data, newline=False)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if piece.then is not None:
            piece.then()
        if piece.headers is not None:
            await send({"type": "http.response.body", "body": b""})
            return
