"""Copies without the interpreter's lock are the same bytes."""

import pytest

from zoo_server.protocols.copies import join

LARGE = bytes(range(256)) * (1 << 13)


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"head", b"", b"tail"],
        [LARGE],
        [b"head", LARGE, b"", LARGE[:-1], b"tail"],
        [b"head", memoryview(LARGE)[3:-5], memoryview(bytearray(LARGE)), memoryview(b"")],
    ],
    ids=["nothing", "small", "one", "large", "views"],
)
def test_pieces_are_joined(pieces):
    joined = join(pieces)

    assert type(joined) is bytes
    assert joined == b"".join(pieces)


def test_a_joined_message_is_hashed_and_kept_like_any_other():
    """It was made before it was filled: nothing may remember what it was then."""
    joined = join([LARGE, b"end"])

    assert hash(joined) == hash(LARGE + b"end")
    assert {joined: 1}[LARGE + b"end"] == 1
