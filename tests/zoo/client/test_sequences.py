"""Sequences of the client: what is said of them, and what a failure means for the next step."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from tests.waiting import until
from zoo.client import (
    Answer,
    AsyncClient,
    Client,
    ClientError,
    ModelMetadata,
    TensorMetadata,
    errors,
)
from zoo.client.operations import Inference
from zoo.client.sequence import SequenceState
from zoo_proto import grpc_service_pb2 as pb

Status = grpc.StatusCode


def _said(request: pb.ModelInferRequest) -> tuple[int, bool, bool]:
    """What a request says of its sequence: id, start, end."""
    sent = request.parameters
    assert set(sent) == {"sequence_id", "sequence_start", "sequence_end"}
    return (
        sent["sequence_id"].int64_param,
        sent["sequence_start"].bool_param,
        sent["sequence_end"].bool_param,
    )


def test_a_sequence_says_where_it_begins_and_ends(fake: Any, client: Any) -> None:
    """Start with the first step, end where asked, and then another sequence with an id of its own."""
    one, other = client.sequence("m"), client.sequence("m", version="1")
    assert one.infer([[1, 2]]).tolist() == [[2, 4]]
    assert other.infer({"x": [[3, 4]]}, outputs=["y"], end=True)["y"].tolist() == [[6, 8]]
    assert one.infer_answer([[1, 2]], request_id="r").id == "r"
    one.infer([[1, 2]], end=True)
    one.infer([[1, 2]])
    a, b, _, _, c = ids = [_said(request)[0] for request in fake.requests]

    assert ids == [a, b, a, a, c]
    assert len({a, b, c}) == 3
    assert all(0 < number < 2**63 for number in ids)
    assert [_said(request)[1:] for request in fake.requests] == [
        (True, False),
        (True, True),
        (False, False),
        (False, True),
        (True, False),
    ]
    assert [request.model_version for request in fake.requests] == ["", "1", "", "", ""]


def test_a_step_is_sent_once(fake: Any, client: Any) -> None:
    """The server may have run it before it was UNAVAILABLE; other requests are still tried again."""
    steps = client.sequence("m")
    fake.script = [Status.UNAVAILABLE] * 3
    with pytest.raises(errors.Unavailable, match="scripted UNAVAILABLE"):
        steps.infer([[1, 2]])
    with pytest.raises(errors.Unavailable, match="scripted UNAVAILABLE"):
        client.infer("m", [[1, 2]], parameters={"sequence_id": 7, "sequence_start": True})
    assert len(fake.attempts) == 2

    client.infer("m", [[1, 2]])
    assert len(fake.attempts) == 4


def test_a_lost_sequence_is_not_continued(fake: Any, client: Any) -> None:
    """After a step that may have been counted nothing is sent; another sequence is not concerned."""
    steps = client.sequence("m")
    steps.infer([[1, 2]])
    fake.script = [Status.UNAVAILABLE]
    with pytest.raises(errors.Unavailable):
        steps.infer([[1, 2]])
    for _ in range(2):
        with pytest.raises(errors.SequenceLost) as caught:
            steps.infer([[1, 2]], end=True)
    assert client.sequence("m").infer([[1, 2]]).tolist() == [[2, 4]]

    assert caught.value.status == "ABORTED"
    assert str(caught.value) == (
        "this sequence of model 'm' is lost, begin another: whether the server counted a step that "
        "failed is not known (scripted UNAVAILABLE)"
    )
    assert len(fake.requests) == 3


def test_what_cannot_be_sent_is_no_step(fake: Any, client: Any) -> None:
    """The sequence is where it was, at its start and later; so it is if the model cannot be asked."""
    steps = client.sequence("m")
    for _ in range(2):
        with pytest.raises(errors.InvalidArgument, match="takes FP32"):
            steps.infer([["a"]], end=True)
        with pytest.raises(ValueError, match="timeout is 0"):
            steps.infer([[1, 2]], timeout=0)
        steps.infer([[1, 2]])

    assert [_said(request)[1:] for request in fake.requests] == [(True, False), (False, False)]


def test_a_sequence_takes_one_step_at_a_time(fake: Any) -> None:
    """A second one beside it, whose place in the order nobody knows, is a mistake."""
    answer = threading.Event()
    with Client(fake.address) as client, ThreadPoolExecutor(1) as pool:
        steps = client.sequence("m")
        steps.infer([[1, 2]])
        fake.script = [answer]
        under_way = pool.submit(steps.infer, [[1, 2]])
        until(lambda: len(fake.attempts) == 2)
        with pytest.raises(RuntimeError, match="one step at a time"):
            steps.infer([[1, 2]])
        answer.set()
        under_way.result(20)
        steps.infer([[1, 2]])

    assert len(fake.requests) == 3


def test_a_cancelled_step_loses_the_sequence(fake: Any) -> None:
    """At once, whoever still holds on to the error; and tasks, too, take one step at a time."""
    answer = threading.Event()

    async def run() -> None:
        async with AsyncClient(fake.address) as client:
            steps = client.sequence("m")
            await steps.infer([[1, 2]])
            fake.script = [answer]
            under_way = asyncio.create_task(steps.infer([[1, 2]]))
            await asyncio.to_thread(until, lambda: len(fake.attempts) == 2)
            with pytest.raises(RuntimeError, match="one step at a time"):
                await steps.infer([[1, 2]])
            under_way.cancel()
            try:
                await under_way
            except asyncio.CancelledError:
                with pytest.raises(errors.SequenceLost, match="it was cancelled"):
                    await steps.infer([[1, 2]])

    asyncio.run(run())
    answer.set()
    assert len(fake.requests) == 2


# -- after a failure, without a server ------------------------------------------------------------

METADATA = ModelMetadata(
    name="m",
    versions=("1",),
    platform="",
    inputs=(TensorMetadata(name="x", datatype="FP32", shape=(-1, 2)),),
    outputs=(TensorMetadata(name="y", datatype="FP32", shape=(-1, 2)),),
)
ANSWER = Answer(model="m", version="1", id="", outputs={"y": np.zeros((1, 2), np.float32)})


def _step(
    state: SequenceState, outcome: Answer | ClientError, *, end: bool = False
) -> tuple[Any, ...]:
    """Drive one step without a server; return what it said of its sequence."""
    operation = state.infer_answer([[1, 2]], end)
    call = next(operation)
    if call.method == "ModelMetadata":
        call = operation.send(METADATA)
    assert call.once
    if isinstance(outcome, ClientError):
        with pytest.raises(ClientError):
            operation.throw(outcome)
    else:
        with pytest.raises(StopIteration):
            operation.send(outcome)
    return _said(call.request)


REFUSALS = [
    errors.InvalidArgument("INVALID_ARGUMENT", "unexpected shape"),
    errors.NotFound("NOT_FOUND", "unknown model"),
    errors.Unauthenticated("UNAUTHENTICATED", "no token"),
    errors.Unreachable("UNAVAILABLE", "no server answers"),
]
UNCERTAIN = [
    errors.Unavailable("UNAVAILABLE", "Socket closed"),
    errors.DeadlineExceeded("DEADLINE_EXCEEDED", "no answer"),
    ClientError("INTERNAL", "internal error"),
    ClientError("RESOURCE_EXHAUSTED", "too large"),
    ClientError("CANCELLED", "cancelled"),
]
FORGOTTEN = errors.InvalidArgument(
    "INVALID_ARGUMENT",
    "inference request for sequence 5 to model 'm' must specify the START flag on the first request "
    "of the sequence",
)


@pytest.mark.parametrize("error", REFUSALS, ids=lambda one: type(one).__name__)
def test_a_step_that_was_refused_is_not_counted(error: ClientError) -> None:
    """The server did not run it: the next one goes on where the last one ended, end or not."""
    state = SequenceState(Inference(), "m", "")
    number, *_ = _step(state, ANSWER)

    assert _step(state, error, end=True) == (number, False, True)
    assert _step(state, ANSWER) == (number, False, False)


@pytest.mark.parametrize("error", [*UNCERTAIN, FORGOTTEN], ids=lambda one: one.message[:12])
def test_a_step_that_may_have_been_counted_loses_the_sequence(error: ClientError) -> None:
    """And so does one that the server no longer knows, which says so itself."""
    state = SequenceState(Inference(), "m", "")
    _step(state, ANSWER)
    _step(state, error)
    with pytest.raises(errors.SequenceLost, match="begin another"):
        _step(state, ANSWER)


@pytest.mark.parametrize("error", [*REFUSALS, *UNCERTAIN], ids=lambda one: one.message[:12])
def test_a_first_step_that_failed_may_be_repeated(error: ClientError) -> None:
    """START begins again whatever came of it, under the id whose place the server may have given."""
    state = SequenceState(Inference(), "m", "")
    for end in (False, True):
        number, *_ = first = _step(state, error, end=end)
        assert first == (number, True, end)
        assert _step(state, ANSWER, end=True) == (number, True, True)
