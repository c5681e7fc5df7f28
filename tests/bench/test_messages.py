"""The prepared messages: framed as gRPC wants, read back as the answers are."""

import numpy as np
import pytest

from bench.messages import frame, framed_size, request, stream_values, values
from zoo_proto import grpc_service_pb2 as pb


def response(**fields):
    return pb.ModelInferResponse(model_name="m", **fields)


def test_a_body_is_each_message_after_its_five_bytes():
    """Not compressed, then the length, most significant byte first."""
    assert frame([b"ab", b"c"]) == b"\0\0\0\0\x02ab\0\0\0\0\x01c"
    assert framed_size(b"ab") == 7


def test_a_request_carries_its_rows_raw():
    """Shape and bytes are the array's."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    message = pb.ModelInferRequest.FromString(request("m", "x", array))

    assert list(message.inputs[0].shape) == [2, 3]
    assert [array.tobytes()] == list(message.raw_input_contents)


def test_raw_and_typed_answers_read_alike():
    """Servers differ in how they answer."""
    typed = response()
    typed.outputs.add(name="y").contents.fp32_contents.extend([1.5, 2.5])
    raw = response(raw_output_contents=[np.array([1.5, 2.5], np.float32).tobytes()])

    assert values(typed.SerializeToString()).tolist() == [1.5, 2.5]
    assert values(raw.SerializeToString()).tolist() == [1.5, 2.5]


def test_an_error_inside_a_stream_is_an_error():
    """A stream's status is OK though a message of it failed."""
    answer = pb.ModelStreamInferResponse(error_message="no such model")

    with pytest.raises(ValueError, match="no such model"):
        stream_values(answer.SerializeToString())
