"""Inference over HTTP: a body becomes a queued request, and its answer the response.

    loop: body ──> decode ──> queue of the model ──> (loop or worker: the run, and the encoding)
      └──────────── awaits ────────────────────────────────┘

No thread waits for an answer: the thread that ran the model hands the encoded body to the event loop.
Small requests are decoded on the loop, and short runs too are done there (as the fast gRPC transport
does, for the same reason: handing them to a thread costs more than they do); the rest is a worker's.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from zoo_server.dataplane import DataPlane
from zoo_server.errors import InvalidRequest
from zoo_server.inference.execution import Rows
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.plan import Plan
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.protocols.rest.bodies import (
    Bodies,
    compress,
    decompress,
    encoding_of,
    wanted_encoding,
)
from zoo_server.protocols.rest.errors import JSON
from zoo_server.protocols.rest.request_formats import DecodedRequest, RequestFormat
from zoo_server.protocols.rest.sliced_response import SlicedResponse

#: The header that says how much of a body is JSON, in requests and in answers.
LENGTH_HEADER = "inference-header-content-length"

#: A body up to this is decoded on the loop: about as long as handing it to a thread takes.
SMALL_BYTES = 8192

#: JSON above this is read one request at a time: as Python objects it takes ten times its size.
_LARGE_BYTES = 1 << 20

#: The longest run that the loop takes on itself; meanwhile everybody else on HTTP waits.
INLINE_BUDGET_NS = 500_000


class Inference:
    """Answers infer requests."""

    def __init__(self, dataplane: DataPlane, bodies: Bodies, workers: Executor) -> None:
        self._dataplane = dataplane
        self._bodies = bodies
        self._workers = workers
        self._large = asyncio.Semaphore(1)

    async def infer(
        self, request_format: RequestFormat, request: Request, path: Mapping[str, str]
    ) -> Response:
        """Answer one request; raises what zoo_server.errors says can go wrong."""
        arrived = time.perf_counter_ns()
        # The model first: an unknown one is 404 whatever else is wrong, as in Triton.
        if self._dataplane.catalog.is_lazy:
            loop = asyncio.get_running_loop()
            model = await loop.run_in_executor(self._workers, request_format.find, path)
        else:
            model = request_format.find(path)
        encoding = encoding_of(request)
        with self._bodies.holding() as holding:
            body = await holding.read(request)
            caller = _Caller()
            sent = _Body(
                body,
                request.headers.get(LENGTH_HEADER) if request_format.has_bytes else None,
                is_compressed=encoding is not None,
                answer_encoding=wanted_encoding(request.headers.get("accept-encoding", "")),
                arrived_ns=arrived,
                headers=request.headers,
            )
            begin = partial(self._begin, request_format, caller, model, sent)
            if len(body) <= SMALL_BYTES and encoding is None:
                begin(INLINE_BUDGET_NS)
            elif encoding is None and sent.header_length() <= _LARGE_BYTES:
                await self._on_a_worker(begin)
            else:
                async with self._large:
                    await self._on_a_worker(begin)
            return await self._finished(request, caller)

    async def _on_a_worker(self, begin: Callable[[int], None]) -> None:
        # Decoded there; the run is another's, so that this one hears of a caller that hangs up.
        await asyncio.get_running_loop().run_in_executor(self._workers, begin, 0)

    def _begin(
        self,
        request_format: RequestFormat,
        caller: "_Caller",
        model: LoadedModel,
        sent: "_Body",
        inline_budget_ns: int,
    ) -> None:
        """Decode, check and submit."""
        limit = self._bodies.limits.input
        body = decompress(sent.content, limit) if sent.is_compressed else sent.content
        header_length = _header_length(sent.length, len(body))
        if header_length > limit:
            raise InvalidRequest(
                f"request JSON size of {header_length} bytes exceeds the maximum allowed input "
                f"size of {limit} bytes. Use --http-max-input-size to increase the limit."
            )
        decoded = request_format.decode(memoryview(body), header_length, model)

        def queue(plan: Plan) -> _Answer:
            decoded.check(plan)
            kind = _Answer if request_format.has_bytes else _TextAnswer
            return kind(caller, model, decoded, sent)

        self._dataplane.infer(model, decoded.request, queue, inline_budget_ns)

    async def _finished(self, request: Request, caller: "_Caller") -> Response:
        """Wait for the answer, or for the caller to hang up."""
        future = caller.future
        if not future.done():
            gone = asyncio.ensure_future(request.receive())
            try:
                await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
            if not future.done():
                caller.is_gone = True
                raise ClientDisconnect
        return future.result()


@dataclass(frozen=True, slots=True)
class _Body:
    """A request's body as it came, and what its headers say of it."""

    content: bytes | bytearray
    #: LENGTH_HEADER's text.
    length: str | None
    is_compressed: bool
    #: The compression of the answer, None for none.
    answer_encoding: str | None
    arrived_ns: int
    headers: Headers

    def header_length(self) -> int:
        """Return how much of the body is JSON, if it is not compressed."""
        return _header_length(self.length, len(self.content))


class _Caller:
    """Who waits for one answer, on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Response] = self._loop.create_future()
        self.is_gone = False

    def hand_over(self, outcome: Response | Exception) -> None:
        """Give the caller its answer, or what went wrong, from any thread."""
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._settle(outcome)
            return
        with suppress(RuntimeError):  # if the loop has ended, and with it the connection
            self._loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: Response | Exception) -> None:
        if self.future.done():
            return
        if isinstance(outcome, Response):
            self.future.set_result(outcome)
        elif not self.is_gone:
            self.future.set_exception(outcome)


class _Answer(QueuedRequest):
    """One request on its way through the queue, and how its answer is written."""

    __slots__ = ("_caller", "_decoded", "_encoding", "_headers", "_model")

    short_bytes = 1 << 12  # as JSON, written one by one, or compressed

    def __init__(
        self, caller: _Caller, model: LoadedModel, decoded: DecodedRequest, sent: _Body
    ) -> None:
        super().__init__(sent.arrived_ns, nbytes=len(sent.content))
        self._caller = caller
        self._model = model
        self._decoded = decoded
        self._encoding = sent.answer_encoding
        self._headers = sent.headers

    def request_id(self) -> str:
        return self._decoded.request.id

    def header(self, name: str) -> str:
        return self._headers.get(name, "")

    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits for the answer."""
        return self._caller.is_gone

    def answer(self, rows: Rows) -> None:
        """Encode, on the thread that ran, and hand over."""
        try:
            response = self._response(rows)
        except Exception as error:
            self.fail(error)
            return
        self._caller.hand_over(response)

    def fail(self, error: Exception) -> None:
        """Hand over what went wrong."""
        self._caller.hand_over(error)

    def _response(self, rows: Rows) -> Response:
        body, header_length = self._decoded.encode(self._model.settings, self.plan, rows)
        headers = {}
        if header_length is not None:
            headers[LENGTH_HEADER] = str(header_length)
        if self._encoding is not None:
            body = compress(body, self._encoding)
            headers["content-encoding"] = self._encoding
        kind = JSON if header_length is None else "application/octet-stream"
        return SlicedResponse(body, headers=headers, media_type=kind)


class _TextAnswer(_Answer):
    """One whose numbers are written with as few digits as tell them, which takes longer."""

    __slots__ = ()

    short_bytes = 1 << 10


def _header_length(text: str | None, size: int) -> int:
    """Return how much of a body of `size` bytes is JSON: all of it, unless the header says."""
    if text is None:
        return size
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise InvalidRequest(f"Unable to parse Inference-Header-Content-Length, got: {text[:40]}")
    if text.startswith("-") or int(text[:20]) > size:
        raise InvalidRequest(
            f"inference header size should be in range (0, {size}), got: {text[:40]}"
        )
    return int(text[:20])
