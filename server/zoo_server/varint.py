"""Reads and writes the varints and tags of protobuf's wire format.

    field ──> tag (number << 3 | wire type) ──> varint, 4 or 8 bytes, or a length and so many bytes

Only where a message is walked without being parsed (protocols/grpc/unparsed_request.py,
protocols/decoded_size.py, protocols/tfs/tensors.py, repository/graph_bytes.py).
"""

#: Wire types: a varint, 8 bytes, a length and so many bytes, 4 bytes.
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5

#: The bytes of a value of a fixed size, by its wire type.
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


class TooLong(IndexError):
    """A varint of more bytes than it may have."""


def read_varint(raw: bytes | memoryview, at: int, most: int = 10) -> tuple[int, int]:
    """Return a varint of at most so many bytes, and where it ends; IndexError if it is cut off."""
    byte = raw[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while byte >= 0x80:
        if shift == 7 * most:
            raise TooLong(f"a varint of more than {most} bytes")
        at += 1
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, at + 1


def delimited(number: int, size: int) -> bytes:
    """Return the tag and the length that come before `size` bytes of a field."""
    pieces = bytearray()
    for value in (number << 3 | DELIMITED, size):
        while value >= 0x80:
            pieces.append(value & 0x7F | 0x80)
            value >>= 7
        pieces.append(value)
    return bytes(pieces)
