"""Every fault of a request, over the real wire: status code and the stem of the message."""

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.inference.request_faults import FAULTS, INVALID, simple
from zoo_proto import grpc_service_pb2 as pb


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS.keys())
def test_fault(case, wire):
    """A request that does not fit gets Triton's status and the stem of its message."""
    request, code, stem = case
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.ModelInfer(request)

    assert caught.value.code() is code
    assert stem in caught.value.details()


def test_good_request_is_good(wire):
    """The request that the faults start from is answered."""
    assert len(wire.stub.ModelInfer(simple()).raw_output_contents) == 2


@pytest.mark.parametrize(
    "parameters",
    [
        {"mine": pb.InferParameter(double_param=1.5)},
        {"priority": pb.InferParameter(uint64_param=2)},
        {"timeout": pb.InferParameter(int64_param=10)},
        {"triton_enable_empty_final_response": pb.InferParameter(bool_param=True)},
        {
            "sequence_id": pb.InferParameter(int64_param=42),
            "sequence_start": pb.InferParameter(bool_param=True),
            "sequence_end": pb.InferParameter(bool_param=True),
        },
        {"sequence_id": pb.InferParameter(string_param="mine")},
    ],
    ids=lambda parameters: "+".join(parameters),
)
def test_parameters_that_pass(parameters, wire):
    """Custom, scheduling and sequence parameters are accepted by a stateless model."""
    request = simple()
    for key, value in parameters.items():
        request.parameters[key].CopyFrom(value)

    assert wire.stub.ModelInfer(request).model_version == "1"


def test_the_keys_of_binary_data_mean_nothing_here(wire):
    """2.3: over gRPC they are accepted, of any value, and the answer is raw as ever."""
    request = simple()
    for kind, value in (("bool_param", False), ("int64_param", 0), ("string_param", "no")):
        setattr(request.parameters["binary_data_output"], kind, value)
        for tensor in request.inputs:
            setattr(tensor.parameters["binary_data_size"], kind, value)
        del request.outputs[:]
        output = request.outputs.add(name="OUTPUT0")
        setattr(output.parameters["binary_data"], kind, value)
        answer = wire.stub.ModelInfer(request)

        assert list(answer.raw_output_contents) == [bytes(64)]
        assert not answer.outputs[0].HasField("contents")


def test_request_id_leads_the_message(wire):
    """A fault of a named request says which one it was; the id is echoed by a good one."""
    request = simple()
    request.id = "mine"
    assert wire.stub.ModelInfer(request).id == "mine"
    request.inputs[0].datatype = "FP32"
    with pytest.raises(grpc.RpcError, match=r"\[request id: mine\] inference input"):
        wire.stub.ModelInfer(request)


def test_bytes_that_are_no_message(wire):
    """Garbage instead of a message is INVALID_ARGUMENT, for every RPC."""
    for method in ("ModelInfer", "ModelReady", "RepositoryIndex"):
        call = wire.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        with pytest.raises(grpc.RpcError, match="cannot be parsed as inference") as caught:
            call(b"\xff\xff\xff")
        assert caught.value.code() is INVALID


def test_long_text_does_not_break_the_answer(wire):
    """A name of a megabyte comes back as a status, not as a broken call."""
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.ModelInfer(pb.ModelInferRequest(model_name="x" * 2**20))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(caught.value.details()) <= 2000


MAPPED = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shape=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    datatype=st.sampled_from(["FP32", "BYTES", "", "INT8"]),
    raw=st.lists(st.binary(max_size=40), max_size=3),
    version=st.sampled_from(["", "1", "0", "x", "１"]),
    model=st.sampled_from(["identity_fp32", "identity_bytes", "fixed", "scalar", "unbatched"]),
)
def test_any_request_gets_a_mapped_status(wire, shape, datatype, raw, version, model):
    """Whatever is sent is answered or refused with a status of the table, never UNKNOWN."""
    request = pb.ModelInferRequest(model_name=model, model_version=version, raw_input_contents=raw)
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    answer = wire.stub.ModelInfer.future(request)

    assert answer.code() in MAPPED


def test_numpy_arrays_of_a_good_request(wire):
    """Sum and difference, element by element."""
    first, second = np.arange(32, dtype=np.int32).reshape(2, 16), np.ones((2, 16), np.int32)
    outputs = wire.infer("simple", INPUT0=first, INPUT1=second)

    np.testing.assert_array_equal(outputs["OUTPUT0"], first + second)
    np.testing.assert_array_equal(outputs["OUTPUT1"], first - second)
