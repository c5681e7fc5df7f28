"""A server asked over gRPC-Web, by frames made here."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc

from tests.server.http_callers import HttpAnswer, HttpCaller

INFERENCE = "/inference.GRPCInferenceService/"

CODES = {code.value[0]: code for code in grpc.StatusCode}


def framed(message: bytes, flags: int = 0, size: int | None = None) -> bytes:
    """Return a frame, perhaps with a length that is not its own."""
    return struct.pack(">BI", flags, len(message) if size is None else size) + message


@dataclass(frozen=True)
class WebAnswer:
    """What a call was answered with."""

    code: grpc.StatusCode
    details: str
    messages: list[bytes]
    trailers: dict[str, str]
    http: HttpAnswer


def parsed(answer: HttpAnswer) -> WebAnswer:
    """Take an answer apart; whatever breaks the protocol fails."""
    assert answer.status == 200, (answer.status, answer.body[:200])
    kind, body = answer.headers["content-type"], answer.body
    assert kind in ("application/grpc-web+proto", "application/grpc-web-text+proto")
    if "text" in kind:
        # Each part is padded; a group of four with padding ends one.
        body = b"".join(base64.b64decode(body[at : at + 4]) for at in range(0, len(body), 4))
    messages, trailers = [], dict(answer.headers.items())
    while body:
        flags, size = struct.unpack(">BI", body[:5])
        content, body = body[5 : 5 + size], body[5 + size :]
        assert len(content) == size
        if flags:
            assert (flags, body) == (0x80, b"")
            assert content.endswith(b"\r\n")
            trailers = dict(line.split(": ", 1) for line in content.decode("ascii").splitlines())
        else:
            messages.append(content)
    code = CODES[int(trailers["grpc-status"])]
    return WebAnswer(code, unquote(trailers.get("grpc-message", "")), messages, trailers, answer)


class WebCaller(HttpCaller):
    """Asks one server."""

    def call(self, method: str, *messages: bytes, text: bool = False, **headers: str) -> WebAnswer:
        """Call a method, by its whole path or its name in the inference service."""
        body = b"".join(framed(message) for message in messages)
        return self.send(method, base64.b64encode(body) if text else body, text=text, **headers)

    def send(self, method: str, body: Any, *, text: bool = False, **headers: str) -> WebAnswer:
        """Send a body as it is; a header's name in lower case is metadata of that name."""
        kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
        path = method if method.startswith("/") else INFERENCE + method
        named = {"Content-Type": kind, "Accept": kind, "X-Grpc-Web": "1"}
        named |= {
            name if name.islower() else name.replace("_", "-"): headers[name] for name in headers
        }
        return parsed(self.ask_as_named("POST", path, body, named))
