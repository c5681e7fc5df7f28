"""BYTES tensors as lists."""

from zoo_server.datatypes import parse_pieces


def parse_bytes(raw: bytes | memoryview, count: int) -> list[bytes]:
    """All elements of a raw buffer."""
    return [element for piece in parse_pieces(raw, count) for element in piece]
