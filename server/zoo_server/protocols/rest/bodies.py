"""HTTP bodies: reading within limits, and compression both ways.

What a stranger can make the server hold is bounded three times: by the size of one body, by the size
of what it decompresses to, and by all bodies that are under way together.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request

from zoo_server.config import ServerConfig
from zoo_server.errors import InvalidRequest, QueueFull, Unsupported

#: What Content-Encoding may say, and what zlib calls it.
_WINDOWS = {"gzip": 31, "deflate": 15}

#: Either form, told apart by its first bytes, as Triton does.
_ANY_WINDOW = 47

_STEP = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """In bytes."""

    #: One body as it comes.
    body: int
    #: All bodies under way together; one that is larger alone is refused for good.
    in_flight: int
    #: The JSON of one request, and one body once decompressed.
    input: int

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """Return those of a configuration."""
        return cls(
            body=config.max_message_bytes,
            in_flight=config.max_http_bytes_in_flight,
            input=config.http_max_input_size,
        )


class Bodies:
    """Reads the bodies of requests; used by the event loop only."""

    def __init__(self, limits: BodyLimits) -> None:
        self.limits = limits
        self._bytes = 0

    @contextmanager
    def holding(self) -> Iterator["Holding"]:
        """Account for one request's body for as long as the block runs."""
        holding = Holding(self)
        try:
            yield holding
        finally:
            self._bytes -= holding.size

    def take(self, size: int) -> None:
        """Account for so many more bytes; QueueFull if all bodies together are too many."""
        if self._bytes + size > self.limits.in_flight:
            raise QueueFull(
                f"HTTP bodies under way would exceed {self.limits.in_flight} bytes: try again later, "
                "or raise --max-http-bytes-in-flight"
            )
        self._bytes += size


class Holding:
    """One request's body."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0

    def take(self, size: int) -> None:
        """Account for so many bytes more; QueueFull if all bodies together would be too many."""
        self._bodies.take(size)
        self.size += size

    async def read(self, request: Request, limit: int | None = None) -> bytes | bytearray:
        """Return the body as it came; InvalidRequest if it is larger than `limit`."""
        limits = self._bodies.limits
        limit = min(limits.body if limit is None else limit, limits.in_flight)
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:20]) > limit:
            raise _too_large(announced[:20], limit)
        chunks = request.stream()
        first = b""
        joined: bytearray | None = None
        async for chunk in chunks:
            if self.size + len(chunk) > limit:
                raise _too_large(f"more than {limit}", limit)
            self.take(len(chunk))
            if joined is not None:
                joined += chunk
            elif first:
                # One array for all: thousands of small pieces would cost more than their bytes.
                joined = bytearray(first)
                joined += chunk
            else:
                first = chunk
        return first if joined is None else joined


def _too_large(size: str, limit: int) -> InvalidRequest:
    return InvalidRequest(
        f"request body size of {size} bytes exceeds the maximum allowed value of {limit} bytes"
    )


def encoding_of(request: Request) -> str | None:
    """Return the body's compression, None for none; Unsupported for an unknown one."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in _WINDOWS:
        raise Unsupported("Unsupported compression type")
    return encoding


def decompress(body: bytes | bytearray, limit: int) -> bytes:
    """Return what a gzip or deflate body holds; InvalidRequest if it is broken or too much."""
    engine = zlib.decompressobj(_ANY_WINDOW)
    pieces: list[bytes] = []
    total = 0
    data: bytes | bytearray = body
    try:
        while not engine.eof:
            # One byte more than there is room for tells a bomb from a body that just fits.
            piece = engine.decompress(data, min(_STEP, limit - total + 1))
            total += len(piece)
            if total > limit:
                raise InvalidRequest(
                    f"Decompressed data size exceeds the maximum allowed value of {limit} bytes. "
                    "Use --http-max-input-size to increase the limit."
                )
            data = engine.unconsumed_tail
            if not piece and not data:
                break
            pieces.append(piece)
    except zlib.error as error:
        raise InvalidRequest(f"the compressed body cannot be decompressed: {error}") from None
    if not engine.eof or engine.unused_data:
        raise InvalidRequest(
            "the compressed body cannot be decompressed: it is cut short or longer"
        )
    return b"".join(pieces)


def wanted_encoding(accept: str) -> str | None:
    """Return the compression that an Accept-Encoding header weighs highest, None for none."""
    best, best_weight = "identity", 0.0
    for offer in accept.split(","):
        name, _, rest = offer.strip().partition(";")
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            continue
        name = name.strip().lower()
        if (name in _WINDOWS or name == "identity") and weight > best_weight:
            best, best_weight = name, weight
    return None if best == "identity" else best


def compress(body: bytes, encoding: str) -> bytes:
    """Return a body compressed."""
    engine = zlib.compressobj(wbits=_WINDOWS[encoding])
    return engine.compress(body) + engine.flush()
