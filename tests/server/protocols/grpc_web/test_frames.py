"""Frames, base64 and time-outs that are none: each has a status and words, and costs little."""

from __future__ import annotations

import base64

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.web_callers import framed
from zoo_server.errors import InvalidRequest
from zoo_server.protocols.grpc_web.frames import (
    SLICE,
    TEXT_SLICE,
    decode_text,
    messages,
    seconds_of,
    status_lines,
)

Code = grpc.StatusCode
ONE = framed(b"")

BODIES = {
    "nothing": (b"", Code.UNIMPLEMENTED, "requires exactly one request message"),
    "half a head": (b"\0\0\0", Code.INVALID_ARGUMENT, "begins with 5 bytes: 3 came"),
    "a length that lies": (framed(b"1", size=2), Code.INVALID_ARGUMENT, "announces 2 bytes, and 1"),
    "the longest length": (
        framed(b"1", size=2**32 - 1),
        Code.INVALID_ARGUMENT,
        "announces 4294967295 bytes",
    ),
    "a compressed message": (framed(b"1", 1), Code.UNIMPLEMENTED, "compressed messages"),
    "trailers": (framed(b"a: b\r\n", 0x80), Code.INVALID_ARGUMENT, "has the flags 0x80"),
    "flags of nobody": (framed(b"", 0x7E), Code.INVALID_ARGUMENT, "has the flags 0x7e"),
    "two messages": (ONE + ONE, Code.UNIMPLEMENTED, "requires exactly one request message"),
    "a message and a rest": (ONE + b"\0", Code.INVALID_ARGUMENT, "begins with 5 bytes: 1 came"),
    "what is no message": (framed(b"\xff" * 9), Code.INVALID_ARGUMENT, "cannot be parsed"),
}

TEXTS = {
    "garbage": (b"\x00\xff!!", "no base64"),
    "a line break": (base64.encodebytes(ONE), "no base64"),
    "cut off": (base64.b64encode(ONE)[:-1], "no base64"),
    "padding alone": (b"====", "no base64"),
    "padding everywhere": (b"AA==" * 5000, "more than 1024 parts"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_none(web, name):
    """The same as bytes and as base64; the connection goes on."""
    body, code, words = BODIES[name]
    for answer in (
        web.send("ModelMetadata", body),
        web.send("ModelMetadata", base64.b64encode(body), text=True),
    ):
        assert (answer.code, words in answer.details) == (code, True), answer.details
    assert web.call("ServerLive", b"").code is Code.OK


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_no_base64(web, name):
    """InvalidRequest, in words; also where a worker reads it."""
    body, words = TEXTS[name]
    answer = web.send("ServerLive", body, text=True)
    assert (answer.code, words in answer.details) == (Code.INVALID_ARGUMENT, True)
    assert web.call("ServerLive", b"", text=True).code is Code.OK


def test_a_stream_ends_at_a_frame_that_is_none(web, make_request):
    """What came before it may be answered; its status ends the call."""
    answer = web.send("ModelStreamInfer", framed(b"\xff") + framed(b"1", 1))
    assert answer.code is Code.UNIMPLEMENTED
    assert "compressed messages" in answer.details


@pytest.mark.parametrize("timeout", ["", "1", "S", "-1S", "1s", "123456789S", "1.5S", "٣S", "1 S"])
def test_a_timeout_that_is_none(web, timeout):
    """It is named."""
    if timeout.isascii():
        answer = web.call("ServerLive", b"", Grpc_Timeout=timeout)
        assert answer.code is Code.INVALID_ARGUMENT
        assert "grpc-timeout" in answer.details
    with pytest.raises(InvalidRequest):
        seconds_of(timeout)


def test_timeouts_have_units():
    """From hours to nanoseconds."""
    seen = [seconds_of(f"2{unit}") for unit in "HMSmun"]
    assert seen == pytest.approx([7200, 120, 2, 2e-3, 2e-6, 2e-9])


def test_bodies_have_the_limits_of_rest(repository, graphs, serve):
    """One that is too large is refused, one with a compression of HTTP's as well."""
    from tests.server.web_callers import WebCaller

    repository.add("m", graphs.identity())
    with serve(repository.path, http_port=0, grpc_web=True, max_message_bytes=4096) as wire:
        caller = WebCaller(wire.server.http_address)
        large = caller.call("ServerLive", bytes(5000))
        caller.close()
        caller = WebCaller(wire.server.http_address)
        packed = caller.call("ServerLive", b"", Content_Encoding="gzip")
        caller.close()
    assert (large.code, "exceeds the maximum" in large.details) == (Code.INVALID_ARGUMENT, True)
    assert packed.code is Code.UNIMPLEMENTED


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_messages_come_as_they_were_sent(sent):
    """Whole, in base64, and in base64 with padding behind each."""
    frames = [framed(one) for one in sent]
    assert list(messages(b"".join(frames))) == sent
    whole, parts = base64.b64encode(b"".join(frames)), b"".join(map(base64.b64encode, frames))
    assert list(messages(decode_text(whole))) == sent
    assert list(messages(decode_text(bytearray(parts)))) == sent


@pytest.mark.parametrize("size", [SLICE - 1, SLICE, SLICE + 1, 3 * SLICE + 2])
def test_long_text_is_decoded_in_slices(size):
    """Wherever padding stands among them."""
    data = bytes(range(256)) * (size // 256 + 1)
    for before in (b"", b"A", b"AB"):
        text = base64.b64encode(before) + base64.b64encode(data[:size])
        assert decode_text(text) == before + data[:size]
    assert TEXT_SLICE % 4 == SLICE % 3 == 0


def test_a_status_stands_in_one_line_of_ascii():
    """Whatever the words are."""
    _, (_, said) = status_lines(Code.INTERNAL, "50 % of\r\nX: é")
    assert said == "50 %25 of%0D%0AX: %C3%A9"
    _, (_, said) = status_lines(Code.INTERNAL, "  inputs set: ")
    assert said == "%20%20inputs set:%20"
