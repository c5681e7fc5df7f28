"""The client's retries, deadlines, arguments and answers; against a scripted server."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import pytest

from tests.zoo.client.scripted_server import FakeServer
from zoo.client import AsyncClient, Client, ClientError, errors
from zoo.client.connection import MAX_RETRIES, Connection

Status = grpc.StatusCode


# -- retries and deadlines ------------------------------------------------------------------------


def test_unavailable_is_tried_again(fake: Any, infer: Callable[..., Any]) -> None:
    """Until it is answered."""
    fake.script = [Status.UNAVAILABLE, Status.UNAVAILABLE]
    assert infer(fake.address, "m", [[1, 2]]).tolist() == [[2, 4]]

    assert len(fake.attempts) == 3


def test_the_waits_grow_within_one_deadline(fake: Any, infer: Callable[..., Any]) -> None:
    """Each wait is longer than the last, with its jitter, and all come out of the caller's time."""
    fake.script = [Status.UNAVAILABLE] * 3
    infer(fake.address, "m", [[1, 2]], timeout=30)
    waits = np.diff([at for at, _ in fake.times])
    ends = [at + remaining for at, remaining in fake.times]

    assert 0.05 < waits[0] < waits[1] < waits[2]
    # One moment for all, which the wire rounds: a deadline for each would move by a second or more.
    assert max(ends) - min(ends) < 0.8 < sum(waits)


@pytest.mark.parametrize("retries", [0, 2])
def test_retries_are_as_many_as_asked(retries: int, fake: Any, infer: Callable[..., Any]) -> None:
    """Then the server's own words arrive as Unavailable."""
    fake.script = [Status.UNAVAILABLE] * 9
    with pytest.raises(errors.Unavailable, match="scripted UNAVAILABLE") as caught:
        infer(fake.address, "m", [[1, 2]], retries=retries)

    assert not isinstance(caught.value, errors.Unreachable)
    assert len(fake.attempts) == retries + 1


@pytest.mark.parametrize(("pushback", "attempts"), [("600", 2), ("-1", 1), ("soon", 1)])
def test_the_server_says_when_to_come_again(
    pushback: str, attempts: int, fake: Any, infer: Callable[..., Any]
) -> None:
    """grpc-retry-pushback-ms is the wait; what is no time asks for no other attempt."""
    fake.script = [Status.UNAVAILABLE]
    fake.pushback = pushback
    if attempts == 2:
        infer(fake.address, "m", [[1, 2]], timeout=20)
        (first, _), (second, _) = fake.times
        assert second - first >= 0.6
    else:
        with pytest.raises(errors.Unavailable):
            infer(fake.address, "m", [[1, 2]])
    assert len(fake.attempts) == attempts


def test_retries_outlast_a_restart(infer: Callable[..., Any]) -> None:
    """A server that is away for longer than gRPC's own retries would last is waited for."""
    first = FakeServer()
    infer(first.address, "m", [[1, 2]])
    first.stop()
    back: list[FakeServer] = []
    timer = threading.Timer(4.5, lambda: back.append(FakeServer(port=first.port)))
    timer.start()
    try:
        assert infer(first.address, "m", [[1, 2]], timeout=30).tolist() == [[2, 4]]
    finally:
        timer.join()
        for server in back:
            server.stop()


def test_large_requests_are_tried_again(fake: Any, infer: Callable[..., Any]) -> None:
    """One that is longer than gRPC would keep by default, too."""
    fake.script = [Status.UNAVAILABLE]
    rows = np.ones((200_000, 2), np.float32)

    assert infer(fake.address, "m", rows).sum() == 800_000
    assert len(fake.attempts) == 2


ERRORS = {
    Status.INVALID_ARGUMENT: errors.InvalidArgument,
    Status.FAILED_PRECONDITION: errors.InvalidArgument,
    Status.NOT_FOUND: errors.NotFound,
    Status.UNAUTHENTICATED: errors.Unauthenticated,
    Status.PERMISSION_DENIED: errors.Unauthenticated,
    Status.INTERNAL: ClientError,
    Status.UNIMPLEMENTED: ClientError,
    Status.RESOURCE_EXHAUSTED: ClientError,
}


@pytest.mark.parametrize(("status", "kind"), ERRORS.items(), ids=lambda one: str(one))
def test_other_statuses_are_errors_at_once(
    status: Status, kind: type[ClientError], fake: Any, infer: Callable[..., Any]
) -> None:
    """Not retried, of the class that says what to do, with status and message, and picklable."""
    fake.script = [status]
    with pytest.raises(ClientError) as caught:
        infer(fake.address, "m", [[1, 2]])
    copy = pickle.loads(pickle.dumps(caught.value))

    assert type(caught.value) is type(copy) is kind
    assert (copy.status, copy.message) == (status.name, f"scripted {status.name}")
    assert str(copy) == copy.message
    assert len(fake.attempts) == 1


def test_the_deadline_ends_a_call(fake: Any, infer: Callable[..., Any]) -> None:
    """A server that does not answer is given up, in words."""
    answer = threading.Event()
    fake.script = [answer]
    with pytest.raises(errors.DeadlineExceeded, match=r"no answer from 127.+ within 0\.5 s"):
        infer(fake.address, "m", [[1, 2]], timeout=0.5)
    answer.set()


def test_the_deadline_ends_the_retries(fake: Any, infer: Callable[..., Any]) -> None:
    """A wait that would outlast it is not the caller's to sit out."""
    fake.script = [Status.UNAVAILABLE] * 9
    with pytest.raises(ClientError) as caught:
        infer(fake.address, "m", [[1, 2]], timeout=0.9)

    assert caught.value.status in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
    assert len(fake.attempts) <= 3


def test_nobody_there(infer: Callable[..., Any]) -> None:
    """Unreachable, which is Unavailable, names the address and the cure."""
    with pytest.raises(errors.Unreachable, match=r"no server answers at 127\.0\.0\.1:1: start"):
        infer("127.0.0.1:1", "m", [[1, 2]], retries=0)


@pytest.mark.parametrize("address", ["host.invalid:8001", "host.invalid", "http://127.0.0.1:8001"])
def test_a_host_that_is_none_is_said(address: str, infer: Callable[..., Any]) -> None:
    with pytest.raises(errors.Unreachable, match="cannot be resolved: give HOST:PORT") as caught:
        infer(address, "m", [[1, 2]], retries=0)
    assert address in str(caught.value)


def test_a_port_that_speaks_http_is_no_missing_server(infer: Callable[..., Any]) -> None:
    """The cure is the other port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"127.0.0.1:{server.server_port}"
            with pytest.raises(errors.Unreachable, match=r"does not speak gRPC.*which is 8001"):
                infer(address, "m", [[1, 2]], retries=0)
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(BaseHTTPRequestHandler):
    """Knows no HTTP/2, and logs nothing."""

    def log_message(self, *_: Any) -> None:
        pass


def test_ready_is_false_where_nobody_is(fake: Any) -> None:
    """And where the server says so, which is an answer and not tried again; True once it does."""
    with Client("127.0.0.1:1") as client:
        assert client.ready() is False
    with Client(fake.address) as client:
        fake.script = [Status.UNAVAILABLE]
        assert client.ready() is False
        assert len(fake.attempts) == 1
        assert client.ready() is True


def test_ready_is_false_where_nobody_is_for_asyncio() -> None:
    """The same, awaited; closing a client that never called is nothing."""

    async def run() -> bool:
        async with AsyncClient("127.0.0.1:1"):
            pass
        async with AsyncClient("127.0.0.1:1") as client:
            return await client.ready()

    assert asyncio.run(run()) is False


# -- arguments and answers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"address": ""}, "address is empty"),
        ({"retries": MAX_RETRIES + 1}, "retries is 21; it must lie in 0 to 20"),
        ({"retries": -1}, "retries is -1"),
        ({"timeout": 0}, "timeout is 0; give seconds above 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"token": "a\nb"}, "token has characters that no header can carry"),
    ],
)
def test_arguments_are_checked_at_once(arguments: dict[str, Any], text: str) -> None:
    """ValueError in one line, before anything is sent."""
    with pytest.raises(ValueError, match=text):
        Connection(**{"address": "127.0.0.1:1", **arguments})


def test_the_model_is_asked_once(fake: Any) -> None:
    """What it takes is remembered, and asked again after a refusal, when it may have changed."""
    with Client(fake.address, retries=0) as client:
        for _ in range(3):
            client.infer("m", [[1, 2]])
        fake.script = [Status.INVALID_ARGUMENT]
        with pytest.raises(errors.InvalidArgument):
            client.infer("m", [[1, 2]])
        client.infer("m", [[1, 2]])

    expected = ["ModelMetadata", *["ModelInfer"] * 4, "ModelMetadata", "ModelInfer"]
    assert fake.methods == expected


def test_an_answer_says_who_gave_it(fake: Any) -> None:
    """Model, version and the request's id; typed contents are read like raw ones."""
    for fake.typed in (False, True):
        with Client(fake.address) as client:
            answer = client.infer_answer("m", {"x": [[1, 2]]}, request_id="r1")
        assert (answer.model, answer.version, answer.id) == ("m", "1", "r1")
        assert answer.outputs["y"].tolist() == [[2, 4]]


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ([[1, 2]], ["y"], "model 'pair' has the inputs 'x', 'z': give a mapping by name"),
        ([[1, 2]], None, "model 'pair' has the outputs 'y', 'w': name one of them"),
        ({"q": 1}, None, "model 'pair' has no input 'q', only 'x', 'z'"),
        ({"x": [["a"]]}, None, "input 'x' of model 'pair' takes FP32, and <U1 values are not that"),
        ({"z": [1.5]}, None, "input 'z' of model 'pair' takes INT8, and float64 values are not"),
        ({"z": [128]}, None, "input 'z' of model 'pair' takes INT8, and 128 does not fit"),
    ],
)
def test_what_cannot_be_sent(
    inputs: Any, outputs: Sequence[str] | None, text: str, fake: Any
) -> None:
    """InvalidArgument names the model, the tensor and the cure; nothing is inferred."""
    with Client(fake.address) as client, pytest.raises(errors.InvalidArgument) as caught:
        client.infer("pair", inputs, outputs=outputs)

    assert text in str(caught.value)
    assert "ModelInfer" not in fake.methods


def test_parameters_travel_by_their_type(fake: Any, client: Any) -> None:
    """In the field that the protocol has for it; `priority` as Triton's client sends it."""
    parameters = {
        "flag": True,
        "count": -(2**63),
        "ratio": np.float64(0.5),
        "word": "größe",
        "priority": 2**64 - 1,
        "timeout": 250_000,
    }
    client.infer("m", [[1, 2]], parameters=parameters)
    client.infer_answer("m", [[1, 2]], parameters=parameters)

    for request in fake.requests:
        sent = {
            key: (
                one.WhichOneof("parameter_choice"),
                getattr(one, one.WhichOneof("parameter_choice")),
            )
            for key, one in request.parameters.items()
        }
        assert sent == {
            "flag": ("bool_param", True),
            "count": ("int64_param", -(2**63)),
            "ratio": ("double_param", 0.5),
            "word": ("string_param", "größe"),
            "priority": ("uint64_param", 2**64 - 1),
            "timeout": ("int64_param", 250_000),
        }
    assert len(fake.requests) == 2


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("k", None, "parameter 'k' is None: give a bool, an int, a float or a str"),
        ("k", [1, 2], "parameter 'k' is [1, 2]: give a bool"),
        ("k", b"b", "parameter 'k' is b'b': give a bool"),
        ("k", 2**63, "parameter 'k' is 9223372036854775808: int64_param cannot hold that"),
        ("priority", -1, "parameter 'priority' is -1: uint64_param cannot hold that"),
        ("k", "\ud800", "parameter 'k' is '\\ud800': string_param cannot hold that"),
        (5, 1, "parameter 5 is 1: int64_param cannot hold that"),
    ],
)
def test_parameters_that_cannot_be_sent(
    key: Any, value: Any, text: str, fake: Any, client: Any
) -> None:
    """InvalidArgument names key and value; nothing is inferred."""
    with pytest.raises(errors.InvalidArgument) as caught:
        client.infer("m", [[1, 2]], parameters={key: value})

    assert text in str(caught.value)
    assert not fake.requests
