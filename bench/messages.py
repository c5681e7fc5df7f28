"""The messages that are sent, and a plain client that sends one request and reads the answer.

h2load counts HTTP answers and knows no gRPC status: what it is given to send is first, and again
afterwards, sent by a real client.
"""

import math
import struct
from collections.abc import Iterable, Sequence

import grpc
import numpy as np

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto.grpc_service_pb2_grpc import GRPCInferenceServiceStub

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"

UNLIMITED = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]

#: What gRPC puts before each message: whether it is compressed, and its length.
_PREFIX = struct.Struct(">BI")


def request(model: str, name: str, array: np.ndarray) -> bytes:
    """Return a serialised ModelInferRequest with one FP32 input, raw."""
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name=name, datatype="FP32", shape=array.shape)
    message.raw_input_contents.append(array.tobytes())
    serialised: bytes = message.SerializeToString()
    return serialised


def request_in_region(model: str, name: str, shape: Sequence[int], region: str) -> bytes:
    """Return the same whose input lies in a region of shared memory, from its beginning."""
    message = pb.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name=name, datatype="FP32", shape=shape)
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = 4 * math.prod(shape)
    serialised: bytes = message.SerializeToString()
    return serialised


def register(port: int, region: str, key: str, size: int) -> None:
    """Have a server map a region of shared memory."""
    request = pb.SystemSharedMemoryRegisterRequest(name=region, key=key, byte_size=size)
    with channel(port) as opened:
        GRPCInferenceServiceStub(opened).SystemSharedMemoryRegister(request, timeout=20)


def frame(messages: Iterable[bytes]) -> bytes:
    """Return the body of one HTTP/2 request that carries the messages."""
    return b"".join(_PREFIX.pack(0, len(message)) + message for message in messages)


def framed_size(message: bytes) -> int:
    """Return the bytes that a message is in a body."""
    return _PREFIX.size + len(message)


def channel(port: int) -> grpc.Channel:
    """Open a channel that sends and takes messages of any size; close it after use."""
    return grpc.insecure_channel(f"127.0.0.1:{port}", UNLIMITED)


def call(port: int, message: bytes, seconds: float = 20) -> bytes:
    """Ask once; grpc.RpcError for any status but OK."""
    with channel(port) as opened:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(INFER)
        return ask(message, timeout=seconds)


def call_stream(port: int, messages: Sequence[bytes], seconds: float = 20) -> list[bytes]:
    """Ask on one stream; return the answers. grpc.RpcError for any status but OK."""
    with channel(port) as opened:
        ask: grpc.StreamStreamMultiCallable[bytes, bytes] = opened.stream_stream(STREAM_INFER)
        return list(ask(iter(messages), timeout=seconds))


def values(answer: bytes) -> np.ndarray:
    """Return the only output of an answer, raw or (as MLServer and KServe answer) typed; flat."""
    response = pb.ModelInferResponse.FromString(answer)
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[0], np.float32)
    return np.array(response.outputs[0].contents.fp32_contents, np.float32)


def stream_values(answer: bytes) -> np.ndarray:
    """Return the only output of a stream's answer; ValueError if it carries an error."""
    response = pb.ModelStreamInferResponse.FromString(answer)
    if response.error_message:
        raise ValueError(response.error_message)
    return values(response.infer_response.SerializeToString())
