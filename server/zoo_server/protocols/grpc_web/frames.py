"""The frames of gRPC-Web: a byte of flags, four of length, and a message or the trailers.

As text all of it is base64, in one part or in several that are padded each.
"""

import binascii
import re
import struct
from collections.abc import Iterable, Iterator
from urllib.parse import quote

import grpc

from zoo_server.errors import InvalidRequest, Unsupported
from zoo_server.protocols.copies import join

_HEAD = struct.Struct(">BI")
_COMPRESSED, _TRAILERS = 0x01, 0x80

#: Text is decoded and encoded in slices, for the interpreter's lock is held meanwhile; four bytes of it are three.
TEXT_SLICE = 4 << 16
SLICE = TEXT_SLICE // 4 * 3

#: Parts with padding that a body may have: a client that ends each of its frames so has few.
_MOST_PARTS = 1024

#: Seconds of each unit of the header grpc-timeout, which has up to eight digits.
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")

#: What stands in grpc-message as it is: printable ASCII but for the sign of an escape.
_OUTER_SPACES = re.compile("^ +| +$")
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def messages(body: bytes | bytearray) -> Iterator[bytes]:
    """Yield the messages of a body; raises what is wrong with a frame when it is its turn."""
    view, at = memoryview(body), 0
    while at < len(view):
        if len(view) - at < _HEAD.size:
            raise InvalidRequest(
                f"a frame of gRPC-Web begins with {_HEAD.size} bytes: {len(view) - at} came"
            )
        flags, size = _HEAD.unpack_from(view, at)
        at += _HEAD.size
        if flags == _COMPRESSED:
            raise Unsupported(
                "compressed messages are not read over gRPC-Web: send them as they are"
            )
        if flags:
            raise InvalidRequest(
                f"a frame of gRPC-Web has the flags 0x{flags:02x}: a request has messages alone, with 0x00"
            )
        if size > len(view) - at:
            raise InvalidRequest(
                f"a frame of gRPC-Web announces {size} bytes, and {len(view) - at} came"
            )
        yield join((view[at : at + size],))
        at += size


def frame(message: bytes) -> bytes:
    """Return a message's frame."""
    return join((_HEAD.pack(0, len(message)), message))


def trailers_frame(lines: Iterable[tuple[str, str]]) -> bytes:
    """Return the frame that ends an answer."""
    block = "".join(f"{name}: {value}\r\n" for name, value in lines).encode()
    return _HEAD.pack(_TRAILERS, len(block)) + block


def status_lines(code: grpc.StatusCode, details: str) -> list[tuple[str, str]]:
    """Return a status as trailers have it."""
    lines = [("grpc-status", str(code.value[0]))]
    if details:
        message = quote(details, safe=_PLAIN)
        # A header may neither begin nor end with spaces.
        message = _OUTER_SPACES.sub(lambda spaces: "%20" * len(spaces[0]), message)
        lines.append(("grpc-message", message))
    return lines


def decode_text(text: bytes | bytearray) -> bytes:
    """Return the bytes that base64 stands for; InvalidRequest if it is none."""
    pieces, begin, parts = [], 0, 0
    while begin < len(text):
        end = begin + TEXT_SLICE
        padding = text.find(b"=", begin, end)
        if padding >= 0:
            parts += 1
            end = padding + 1 + (begin - padding - 1) % 4  # the end of its group of four
        if parts > _MOST_PARTS:
            raise InvalidRequest(f"the base64 of gRPC-Web has more than {_MOST_PARTS} parts")
        try:
            pieces.append(binascii.a2b_base64(text[begin:end], strict_mode=True))
        except binascii.Error as error:
            raise InvalidRequest(f"the body is no base64 of gRPC-Web: {error}") from None
        begin = end
    return join(pieces)


def seconds_of(timeout: str) -> float:
    """Return what the header grpc-timeout says; InvalidRequest if it is none."""
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise InvalidRequest(
            f"the header grpc-timeout is up to eight digits and a unit (H, M, S, m, u, n), got: {timeout[:40]!r}"
        )
    return int(match[1]) * _UNITS[match[2]]
