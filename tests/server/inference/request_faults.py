"""Faults of a request to infer: what is wrong, the request, its status, the stem of the message."""

from collections.abc import Callable

import grpc

from zoo_proto import grpc_service_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def simple() -> pb.ModelInferRequest:
    """Return a good request for Triton's example model."""
    request = pb.ModelInferRequest(model_name="simple")
    for name in ("INPUT0", "INPUT1"):
        request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
        request.raw_input_contents.append(bytes(64))
    return request


def strings(raw: bytes, shape=(1, 4)) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="identity_bytes", raw_input_contents=[raw])
    request.inputs.add(name="x", datatype="BYTES", shape=shape)
    return request


def typed(model: str, datatype: str, **contents) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[1, 4])
    tensor.contents.SetInParent()
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return request


def changed(change: Callable[[pb.ModelInferRequest], object]) -> pb.ModelInferRequest:
    request = simple()
    change(request)
    return request


def unbatched(shape):
    request = pb.ModelInferRequest(model_name="unbatched", raw_input_contents=[b""])
    request.inputs.add(name="x", datatype="FP32", shape=shape)
    return request


def set_shapes(request, *shapes):
    for tensor, shape in zip(request.inputs, shapes, strict=True):
        tensor.shape[:] = shape


def parameter(key, **value):
    return changed(lambda r: r.parameters[key].CopyFrom(pb.InferParameter(**value)))


def output_parameter(key, **value):
    request = simple()
    output = request.outputs.add(name="OUTPUT0")
    output.parameters[key].CopyFrom(pb.InferParameter(**value))
    return request


FAULTS = {
    "unknown model": (
        changed(lambda r: setattr(r, "model_name", "nope")),
        grpc.StatusCode.NOT_FOUND,
        "Request for unknown model: 'nope' is not found",
    ),
    "unknown model, whatever else is wrong": (
        changed(lambda r: (setattr(r, "model_name", "nope"), r.ClearField("raw_input_contents"))),
        grpc.StatusCode.NOT_FOUND,
        "Request for unknown model",
    ),
    "unknown version": (
        changed(lambda r: setattr(r, "model_version", "7")),
        grpc.StatusCode.NOT_FOUND,
        "Request for unknown model: 'simple' version 7 is not found",
    ),
    "version not a number": (
        changed(lambda r: setattr(r, "model_version", "wrong_specification")),
        INVALID,
        "failed to get model version from specified version string 'wrong_specification'",
    ),
    "version beyond int64": (
        changed(lambda r: setattr(r, "model_version", "9" * 40)),
        INVALID,
        "failed to get model version from specified version string",
    ),
    "version negative": (
        changed(lambda r: setattr(r, "model_version", "-1")),
        INVALID,
        "invalid model version specified '-1'",
    ),
    "missing input": (
        changed(lambda r: (r.inputs.pop(), r.raw_input_contents.pop())),
        INVALID,
        "expected 2 inputs but got 1 inputs for model 'simple'. Got input(s) ['INPUT0'], but missing "
        "required input(s) ['INPUT1']. Please provide all required input(s).",
    ),
    "no input": (
        changed(lambda r: (r.ClearField("inputs"), r.ClearField("raw_input_contents"))),
        INVALID,
        "expected 2 inputs but got 0 inputs for model 'simple'. Got input(s) []",
    ),
    "extra input": (
        changed(
            lambda r: (
                r.inputs.add(name="INPUT2", datatype="INT32", shape=[1, 16]),
                r.raw_input_contents.append(bytes(64)),
            )
        ),
        INVALID,
        "expected 2 inputs but got 3 inputs for model 'simple'",
    ),
    "unknown input": (
        changed(lambda r: setattr(r.inputs[1], "name", "INPUT9")),
        INVALID,
        "unexpected inference input 'INPUT9' for model 'simple'",
    ),
    "duplicate input": (
        changed(lambda r: setattr(r.inputs[1], "name", "INPUT0")),
        INVALID,
        "input 'INPUT0' already exists in request",
    ),
    "unknown output": (
        changed(lambda r: r.outputs.add(name="OUTPUT9")),
        INVALID,
        "unexpected inference output 'OUTPUT9' for model 'simple'",
    ),
    "duplicate output": (
        changed(lambda r: (r.outputs.add(name="OUTPUT0"), r.outputs.add(name="OUTPUT0"))),
        INVALID,
        "output 'OUTPUT0' already exists in request",
    ),
    "wrong datatype": (
        changed(lambda r: setattr(r.inputs[0], "datatype", "FP32")),
        INVALID,
        "inference input 'INPUT0' data-type is 'FP32', but model 'simple' expects 'INT32'",
    ),
    "no such datatype": (
        changed(lambda r: setattr(r.inputs[0], "datatype", "FP31")),
        INVALID,
        "inference input 'INPUT0' data-type is 'FP31', but model 'simple' expects 'INT32'",
    ),
    "wrong shape": (
        changed(lambda r: set_shapes(r, [1, 15], [1, 16])),
        INVALID,
        "unexpected shape for input 'INPUT0' for model 'simple'. Expected [-1,16], got [1,15]",
    ),
    "no batch dimension": (
        changed(lambda r: set_shapes(r, [16], [16])),
        INVALID,
        "inference request batch-size must be <= 8 for 'simple'",
    ),
    "scalar for a batching model": (
        changed(lambda r: set_shapes(r, [], [])),
        INVALID,
        "input 'INPUT0' has no shape but model requires batch dimension for 'simple'",
    ),
    "batch too large": (
        changed(lambda r: set_shapes(r, [9, 16], [9, 16])),
        INVALID,
        "inference request batch-size must be <= 8 for 'simple'",
    ),
    **{
        # 4.4: sizes that wrap around in 32 bits, or whose bytes do in 64, are no batch of theirs.
        f"batch of {size}": (
            changed(lambda r, size=size: set_shapes(r, [size, 16], [size, 16])),
            INVALID,
            f"inference request batch-size must be {'<= 8' if size > 8 else '>= 1'} for 'simple'",
        )
        for size in (2**31, 2**32 + 1, 2**62, 2**63 - 1, -1, -(2**63))
    },
    "batch of none": (
        changed(lambda r: set_shapes(r, [0, 16], [0, 16])),
        INVALID,
        "inference request batch-size must be >= 1 for 'simple'",
    ),
    "batches differ": (
        changed(lambda r: set_shapes(r, [1, 16], [2, 16])),
        INVALID,
        "input 'INPUT1' batch size does not match other inputs for 'simple'",
    ),
    "negative dimension": (
        changed(lambda r: set_shapes(r, [1, -1], [1, 16])),
        INVALID,
        "All input dimensions should be specified for input 'INPUT0' for model 'simple', got [1,-1]",
    ),
    "too few bytes": (
        changed(lambda r: r.raw_input_contents.__setitem__(0, bytes(63))),
        INVALID,
        "input byte size mismatch for input 'INPUT0' for model 'simple'. Expected 64, got 63",
    ),
    "too many bytes": (
        changed(lambda r: r.raw_input_contents.__setitem__(0, bytes(65))),
        INVALID,
        "input byte size mismatch for input 'INPUT0' for model 'simple'. Expected 64, got 65",
    ),
    "no data": (
        changed(lambda r: r.raw_input_contents.pop()),
        INVALID,
        "unable to find data for input tensor 'INPUT1' for model 'simple' in request.",
    ),
    "more data than inputs": (
        changed(lambda r: r.raw_input_contents.append(b"")),
        INVALID,
        "expected 2 raw_input_contents for model 'simple', got 3",
    ),
    "raw and typed": (
        changed(lambda r: r.inputs[0].contents.int_contents.append(1)),
        INVALID,
        "contents field must not be specified when using raw_input_contents for 'INPUT0' for model "
        "'simple'",
    ),
    "typed field of another type": (
        typed("identity_fp32", "FP32", int_contents=[1, 2, 3, 4]),
        INVALID,
        "unexpected explicit tensor data for input tensor 'x' for model 'identity_fp32' of type "
        "'INT32', expected datatype 'FP32'",
    ),
    "FP16 has no typed field": (
        typed("identity_fp16", "FP16", fp32_contents=[1, 2, 3, 4]),
        INVALID,
        "unexpected explicit tensor data for input tensor 'x' for model 'identity_fp16' of type "
        "'FP32', expected datatype 'FP16'",
    ),
    "two typed fields": (
        typed("identity_fp32", "FP32", fp32_contents=[1, 2, 3, 4], fp64_contents=[1]),
        INVALID,
        "unexpected explicit tensor data for input tensor 'x' for model 'identity_fp32', binary data "
        "was already supplied.",
    ),
    "typed field too short": (
        typed("identity_fp32", "FP32", fp32_contents=[1, 2, 3]),
        INVALID,
        "input byte size mismatch for input 'x' for model 'identity_fp32'. Expected 16, got 12",
    ),
    "empty typed contents": (
        typed("identity_fp32", "FP32"),
        INVALID,
        "input byte size mismatch for input 'x' for model 'identity_fp32'. Expected 16, got 0",
    ),
    "INT8 out of range": (
        typed("identity_int8", "INT8", int_contents=[1, 2, 3, 128]),
        INVALID,
        "value 128 of input tensor 'x' for model 'identity_int8' is out of range for datatype 'INT8'",
    ),
    "typed BYTES too few": (
        typed("identity_bytes", "BYTES", bytes_contents=[b"a"]),
        INVALID,
        "expected 4 string elements for inference input 'x' for model 'identity_bytes', got 1",
    ),
    "typed BYTES too many": (
        typed("identity_bytes", "BYTES", bytes_contents=[b"a"] * 6),
        INVALID,
        "unexpected number of string elements 5 for inference input 'x' for model 'identity_bytes', "
        "expecting 4",
    ),
    "BYTES length cut": (
        strings(b"\1\0\0\0a" * 3 + b"\1\0"),
        INVALID,
        "incomplete string length indicator for inference input 'x' for model 'identity_bytes', "
        "expecting 4 bytes but only 2 bytes available",
    ),
    "BYTES length past the end": (
        strings(b"\1\0\0\0a" * 3 + b"\xff\xff\xff\xffa"),
        INVALID,
        "incomplete string data for inference input 'x' for model 'identity_bytes'",
    ),
    "BYTES too many": (
        strings(b"\1\0\0\0a" * 5),
        INVALID,
        "unexpected number of string elements 5 for inference input 'x' for model 'identity_bytes', "
        "expecting 4",
    ),
    "BYTES too few": (
        strings(b"\1\0\0\0a" * 3),
        INVALID,
        "expected 4 string elements for inference input 'x' for model 'identity_bytes', got 3",
    ),
    "BYTES not UTF-8": (
        strings(b"\1\0\0\0\xff" * 4),
        INVALID,
        "is not valid UTF-8",
    ),
    "shape beyond int64": (
        (
            lambda r: (
                r.inputs.add(name="x", datatype="FP32", shape=[2, 2**62]),
                r.raw_input_contents.append(b""),
                r,
            )[-1]
        )(pb.ModelInferRequest(model_name="variable")),
        INVALID,
        "shape holds more than 1152921504606846975 elements for input 'x' for model 'variable'",
    ),
    "empty, but beyond int64": (
        unbatched([0, 2**62]),
        INVALID,
        "shape holds more than 1152921504606846975 elements for input 'x' for model 'unbatched'",
    ),
    "shared memory input": (
        changed(
            lambda r: (
                r.inputs[0]
                .parameters["shared_memory_region"]
                .CopyFrom(pb.InferParameter(string_param="region"))
            )
        ),
        INVALID,
        "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter",
    ),
    "shared memory output": (
        output_parameter("shared_memory_region", string_param="region"),
        INVALID,
        "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter",
    ),
    "classification not a number": (
        output_parameter("classification", string_param="3"),
        INVALID,
        "invalid value type for 'classification' parameter, expected int64_param",
    ),
    "classification of none": (
        output_parameter("classification", int64_param=0),
        INVALID,
        "invalid value for 'classification' parameter, expected >= 0",
    ),
    "classification beyond 32 bits": (
        output_parameter("classification", int64_param=2**40),
        INVALID,
        "invalid value for 'classification' parameter",
    ),
    "reserved parameter": (
        parameter("triton_own", int64_param=1),
        INVALID,
        "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following "
        "keys starting with 'triton_' are allowed: triton_enable_empty_final_response",
    ),
    "final response not a bool": (
        parameter("triton_enable_empty_final_response", int64_param=1),
        INVALID,
        "invalid value type for 'triton_enable_empty_final_response' parameter, expected bool_param.",
    ),
    "sequence_id of a wrong type": (
        parameter("sequence_id", bool_param=True),
        INVALID,
        "invalid value type for 'sequence_id' parameter, expected int64_param or string_param.",
    ),
    "timeout of a wrong type": (
        parameter("timeout", string_param="1"),
        INVALID,
        "invalid value type for 'timeout' parameter, expected int64_param.",
    ),
    "priority negative": (
        parameter("priority", int64_param=-1),
        INVALID,
        "invalid value for 'priority', expected value >= 0.",
    ),
    "parameter without a value": (
        parameter("mine"),
        INVALID,
        "invalid value type for 'mine' parameter",
    ),
}
