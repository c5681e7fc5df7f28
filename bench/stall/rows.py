"""The rows of bench.stall: each is one kind of request that takes long in one way."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import numpy as np

from bench.messages import INFER
from bench.stall.requests import (
    PREDICT,
    Send,
    float_tensor,
    predict,
    raw,
    raw_text,
    rest_echo,
    rest_json,
    rest_loop,
    stream,
    string_tensor,
    turns,
    typed,
    typed_text,
    unary,
)

_REFUSED = grpc.StatusCode.INVALID_ARGUMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of request; `send` sends one and waits for its answer, which may be an error."""

    name: str
    send: Send


def _behind_a_long_run() -> Send:
    """A request that is known to be short, sent while another run holds every thread."""
    long = raw("long", np.zeros((512, 1024), np.float32))
    brief = raw("brief", np.zeros((1, 16), np.float32))

    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(INFER)
        call(brief, timeout=60)
        first = call.future(long, timeout=60)
        time.sleep(0.05)
        others = [call.future(brief, timeout=60) for _ in range(3)]
        for future in (first, *others):
            future.result()

    return send


def _rows_then_steps() -> Send:
    """Both have as many elements; what the first took says nothing of the second."""
    many = raw("lstm", np.zeros((8, 1_000, 1), np.float32))
    long = raw("lstm", np.zeros((1, 8_000, 1), np.float32))

    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(INFER)
        call(many, timeout=60)
        call(long, timeout=60)

    return send


def _cancelled() -> Send:
    """Without an end, and left by its caller; a short one, which is known, waits behind it."""
    endless, short = turns(2**50), turns(1)

    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(INFER)
        future = call.future(endless, timeout=60)
        time.sleep(0.1)
        future.cancel()
        call(short, timeout=60)

    return send


def rows() -> list[Row]:
    """Return every row; the messages are built when a row is about to be sent."""
    table: list[tuple[str, Callable[[], Send]]] = [
        ("text: 8 MB of raw BYTES", lambda: unary(raw_text(8 << 20))),
        ("fields: 2 MB of empty inputs", lambda: unary(b"\x0a\x04echo" + b"\x2a\0" * (1 << 20), expected=_REFUSED)),
        (
            "fp32_contents: 32 MB",
            lambda: unary(typed("echo", "FP32", "fp32_contents", np.zeros(8 << 20, np.float32))),
        ),
        ("gate: a short run behind a long one", _behind_a_long_run),
        (
            "variable: one row of 4 MB, many sines",
            lambda: unary(raw("variable", np.zeros((1, 1 << 20), np.float32))),
        ),
        (
            "int64_contents: 8 MB",
            lambda: unary(
                typed("integers", "INT64", "int64_contents", np.full(4 << 20, 300, np.int64))
            ),
        ),
        (
            "bytes_contents: 4 MB",
            lambda: unary(typed_text(1 << 20)),
        ),
        ("lstm: one sequence of 4 MB", lambda: unary(raw("lstm", np.zeros((1, 1 << 20, 1), np.float32)))),
        ("lstm: many rows, then one long row of as many steps", _rows_then_steps),
        ("loop: its length is in the data", lambda: unary(turns(400_000))),
        ("loop: cancelled after 100 ms", _cancelled),
        ("REST: a loop whose length is in the data", lambda: rest_loop(400_000)),
        ("raw: 16 MB echo", lambda: unary(raw("echo", np.zeros(4 << 20, np.float32)))),
        ("raw: 64 MB echo", lambda: unary(raw("echo", np.zeros(16 << 20, np.float32)))),
        ("stream: 8 MB of raw BYTES", lambda: stream(raw_text(8 << 20))),
        (
            "Predict: 32 MB of float_val",
            lambda: unary(predict("echo", float_tensor(8 << 20)), PREDICT),
        ),
        ("Predict: 4 MB of string_val", lambda: unary(predict("text", string_tensor(1 << 20)), PREDICT)),
        ("REST: 16 MB echo", lambda: rest_echo(16 << 20)),
        ("REST: 4 MB of JSON numbers", lambda: rest_json(700_000)),
    ]  # fmt: skip
    return [Row(name=name, send=_lazily(build)) for name, build in table]


def _lazily(build: Callable[[], Send]) -> Send:
    built: list[Send] = []

    def send(opened: grpc.Channel, port: int) -> object:
        if not built:
            built.append(build())
            return None
        return built[0](opened, port)

    return send
