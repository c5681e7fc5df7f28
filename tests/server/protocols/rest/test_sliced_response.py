"""A large answer leaves in slices, a small one as it is."""

import asyncio

import pytest

from zoo_server.protocols.rest.sliced_response import SlicedResponse


def _sent(body):
    messages = []

    async def send(message):
        messages.append(message)

    async def receive():
        raise AssertionError("the body of the request is not asked for")

    scope = {"type": "http", "method": "POST"}
    response = SlicedResponse(body, headers={"x": "y"}, media_type="application/octet-stream")
    asyncio.run(response(scope, receive, send))
    return messages


@pytest.mark.parametrize("size", [0, 5, 1 << 19, (1 << 19) + 1, (5 << 19) - 1, 5 << 19])
def test_the_body_is_the_same(size):
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    start, *pieces = _sent(body)

    assert start["status"] == 200
    assert (b"content-length", str(size).encode()) in start["headers"]
    assert (b"x", b"y") in start["headers"]
    assert b"".join(piece["body"] for piece in pieces) == body
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [
        False
    ]
    assert max(len(piece["body"]) for piece in pieces) <= 1 << 19
