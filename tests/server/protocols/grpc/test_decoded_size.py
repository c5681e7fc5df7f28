"""The bound on what requests take in memory while they are decoded: its estimate, and on the wire."""

import json
import os
import subprocess
import sys

import grpc
import numpy as np
import pytest

from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as tfs
from zoo_server.config import MAX_DECODED_BYTES, MAX_MESSAGE_BYTES
from zoo_server.errors import InvalidRequest
from zoo_server.protocols import decoded_size
from zoo_server.protocols.grpc.unparsed_request import split
from zoo_server.varint import delimited

#: Strings of two bytes, so many that a mebibyte has no room for twice as many.
SOME = 4000
TOO_MANY = 3 * SOME


def infer(count: int, *, raw: bool = True, text: bytes = b"ab") -> pb.ModelInferRequest:
    """Ask for strings back, sent raw or as typed contents."""
    request = pb.ModelInferRequest(model_name="strings", id="mine")
    tensor = request.inputs.add(name="x", datatype="BYTES", shape=[1, count])
    if raw:
        request.raw_input_contents.append((len(text).to_bytes(4, "little") + text) * count)
    else:
        tensor.contents.bytes_contents.extend([text] * count)
    return request


def predict(count: int, *, kind: str = "list") -> tfs.PredictRequest:
    """Ask for strings back, sent as a list, as content, or as a list that is to be filled up."""
    request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="strings"))
    shape = tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=size) for size in (1, count)])
    tensor = tf.TensorProto(dtype=tf.DT_STRING, tensor_shape=shape)
    if kind == "content":
        tensor.tensor_content = b"\2" * count + b"ab" * count
    else:
        tensor.string_val.extend([b"ab"] * (count if kind == "list" else 1))
    request.inputs["x"].CopyFrom(tensor)
    return request


class Caller:
    """Sends the same strings in one way; `refused` is how the server says no."""

    def __init__(self, wire, way: str) -> None:
        self._wire, self._way = wire, way
        self._predict = wire.channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            tfs.PredictRequest.SerializeToString,
            tfs.PredictResponse.FromString,
        )

    def refused(self, count: int) -> tuple[str, str]:
        """Return status and text, ("OK", "") if it is answered; a stream's status is in its text."""
        way, kind = self._way.split()
        if way == "stream":
            (answer,) = self._wire.stub.ModelStreamInfer(
                iter([infer(count, raw=kind == "raw")]), timeout=20
            )
            assert answer.infer_response.id == "mine"
            return "", answer.error_message
        try:
            if way == "unary":
                self._wire.stub.ModelInfer(infer(count, raw=kind == "raw"), timeout=20)
            else:
                self._predict(predict(count, kind=kind), timeout=20)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""


WAYS = ("unary raw", "unary typed", "stream raw", "stream typed", "predict list",
        "predict content", "predict filled")  # fmt: skip


@pytest.fixture(scope="module")
def tight(tmp_path_factory, graphs, serve):
    """A server that decodes a mebibyte at once, and a model that lets its requests wait a little."""
    path = tmp_path_factory.mktemp("tight")
    for name, kind in (("strings", 8), ("numbers", 1), ("small", 3), ("waits", 8)):
        folder = path / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(graphs.identity(kind, ("batch", "length")))
    (path / "waits" / "config.pbtxt").write_text(
        "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 400000 }"
    )
    with serve(path, max_decoded_bytes=1 << 20) as wire:
        yield wire


def released(wire) -> bool:
    return wire.server.memory_budget.reserved == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_request_that_never_fits_is_refused(way, tight):
    """Alone too large once decoded: the caller's mistake, in words; a smaller one is answered."""
    caller = Caller(tight, way)
    text = "the request would take more than 1048576 bytes of memory once it is decoded"
    refused = caller.refused(TOO_MANY)

    assert refused[0] in ("INVALID_ARGUMENT", "")
    assert text in refused[1]
    assert "--max-decoded-bytes" in refused[1]
    assert caller.refused(SOME)[1] == ""
    until(lambda: released(tight))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_decoded_at_once_is_bounded(way, tight):
    """Beside a request that waits for its run there is no room; once it is answered there is."""
    first = infer(SOME)
    first.model_name = "waits"
    call = tight.stub.ModelInfer.future(first, timeout=20)
    until(lambda: not released(tight))
    caller = Caller(tight, way)
    refused = caller.refused(SOME)
    waited = not call.done()
    call.result()
    until(lambda: released(tight))

    assert waited
    assert refused[0] in ("UNAVAILABLE", "")
    assert "requests being decoded would take more than 1048576 bytes" in refused[1]
    assert "try again later, or raise --max-decoded-bytes" in refused[1]
    assert caller.refused(SOME)[1] == ""


def test_every_end_gives_the_memory_back(tight):
    """A fault found while decoding, a fault found before, and a caller who hangs up."""
    bad = infer(SOME, text=b"\xff\xfe")
    unknown = infer(SOME, raw=False)
    unknown.model_name = "absent"
    for request, text in ((bad, "not valid UTF-8"), (unknown, "unknown model")):
        with pytest.raises(grpc.RpcError, match=text):
            tight.stub.ModelInfer(request, timeout=20)
        until(lambda: released(tight))
    waiting = infer(SOME)
    waiting.model_name = "waits"
    call = tight.stub.ModelInfer.future(waiting, timeout=20)
    until(lambda: not released(tight))
    call.cancel()
    until(lambda: released(tight))

    assert Caller(tight, "unary raw").refused(SOME)[0] == "OK"


def test_raw_numbers_take_none_of_it(tight):
    """Three megabytes of raw numbers pass where one may be decoded."""
    array = np.ones((1, 750_000), np.float32)
    np.testing.assert_array_equal(tight.infer("numbers", x=array)["y"], array)
    assert released(tight)


@pytest.mark.parametrize("field", [b"\x2a\0", b"\x32\0", b"\x3a\0", b"\x2a\x02\x2a\0", b"\x22\0"])
def test_many_small_fields_are_refused_by_what_they_become(field, tight):
    """Two bytes each, and two hundred times as much as values: inputs, outputs, raw contents."""
    ask = tight.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError, match="once it is decoded") as caught:
        ask(b"\x0a\x07strings" + field * 20_000, timeout=20)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_typed_list_of_small_numbers_weighs_what_it_becomes(tight):
    """One byte on the wire is sixteen as an integer of the list and of the array."""
    request = pb.ModelInferRequest(model_name="small")
    tensor = request.inputs.add(name="x", datatype="INT8", shape=[1, 1 << 17])
    tensor.contents.int_contents.extend([1] * (1 << 17))
    with pytest.raises(grpc.RpcError, match="once it is decoded"):
        tight.stub.ModelInfer(request, timeout=20)


def test_the_walk_leaves_many_fields_to_protobuf():
    """What is read without it has a bounded number of fields, and so of spans."""
    head = delimited(1, 1) + b"m"
    assert split(head + b"\x3a\0" * 4096) is not None
    assert split(head + b"\x3a\0" * 4097) is None
    assert split(head * 4096 + b"\x3a\0") is not None
    assert split(head * 4097 + b"\x3a\0") is None


def test_numbers_of_the_largest_message_fit_by_default():
    """Typed or in tensor_content they are two copies, which is what the default has room for."""
    for fields in (decoded_size.INFER_FIELDS, decoded_size.PREDICT_FIELDS):
        by_byte = [
            field.per_byte
            for number, field in _numbers_of(fields)
            if field.per_byte and not field.each
        ]
        assert by_byte
        assert min(by_byte) * MAX_MESSAGE_BYTES + (1 << 20) < MAX_DECODED_BYTES


def _numbers_of(fields, seen=()):
    for number, field in fields.items():
        yield number, field
        if field.fields is not None and id(field.fields) not in seen:
            yield from _numbers_of(field.fields, (*seen, id(field.fields)))


def test_bytes_of_any_kind_have_a_weight():
    """Cut off, nested without end, groups: never an error, and never less than nothing."""
    source = np.random.default_rng(3)
    nested = b""
    for _ in range(200):
        nested = delimited(5, len(nested)) + nested
    for raw in (b"\x2a", b"\x2a\xff", b"\x80" * 20, b"\x0b" + b"\0" * 9, b"\x42", nested):
        assert decoded_size.weigh(raw, decoded_size.INFER_FIELDS, 1 << 40) >= 0
    for size in range(300):
        raw = source.integers(0, 256, size, np.uint8).tobytes()
        assert decoded_size.weigh(raw, decoded_size.PREDICT_FIELDS, 1 << 40) >= 0


#: Runs in a process of its own: forks one child for each kind of message, which decodes one and
#: prints what it weighs and how far its memory rose.
PROGRAM = """
import json, os, re, sys
from pathlib import Path
from zoo_proto import grpc_service_pb2 as pb, tensorflow_serving_pb2 as tfs
from zoo_server import datatypes as tensors
from zoo_server.limits import Reservation
from zoo_server.protocols import decoded_size as decoding
from zoo_server.protocols.tfs import tensors as tensorflow_tensors
from zoo_server.protocols.grpc.infer_request import decode
from zoo_server.protocols.grpc.unparsed_request import split
from zoo_server.varint import delimited
from zoo_server.inference.request import InferRequest
from zoo_server.inference.shared_memory import SharedMemory

N = 1 << 21
def field(number, data): return delimited(number, len(data)) + data
def varint(value): return delimited(1, value)[1:]
def infer(datatype, count, contents=None, raw=None):
    shape = field(3, varint(1) + varint(count))
    tensor = field(1, b"x") + field(2, datatype) + shape
    if contents is not None: tensor += field(5, contents)
    tail = b"" if raw is None else field(7, raw)
    return field(1, b"m") + field(5, tensor) + tail
def predict(kind, count, rest):
    shape = field(2, field(2, b"\\x08" + varint(count)))
    return field(2, field(1, b"x") + field(2, b"\\x08" + bytes([kind]) + shape + rest))
KINDS = {
    "raw strings": lambda: infer(b"BYTES", N // 6, raw=b"\\2\\0\\0\\0ab" * (N // 6)),
    "raw long strings": lambda: infer(b"BYTES", N // 104, raw=(b"d\\0\\0\\0" + b"a" * 100) * (N // 104)),
    "typed strings": lambda: infer(b"BYTES", N // 4, b"B\\2ab" * (N // 4)),
    "typed empty strings": lambda: infer(b"BYTES", N // 2, b"B\\0" * (N // 2)),
    "INT8": lambda: infer(b"INT8", N, field(2, b"\\1" * N)),
    "INT64": lambda: infer(b"INT64", N, field(3, b"\\1" * N)),
    "INT64, large": lambda: infer(b"INT64", N // 8, field(3, (b"\\x81" * 7 + b"\\1") * (N // 8))),
    "FP32": lambda: infer(b"FP32", N // 4, field(6, b"\\1" * N)),
    "inputs": lambda: field(1, b"m") + b"\\x2a\\0" * (N // 2),
    "outputs": lambda: field(1, b"m") + b"\\x32\\0" * (N // 2),
    "raw contents": lambda: b"\\x3a\\0" * (N // 2),
    "predict strings": lambda: predict(7, N // 4, b"B\\2ab" * (N // 4)),
    "predict string content": lambda: predict(7, N // 3, field(4, b"\\2" * (N // 3) + b"ab" * (N // 3))),
    "predict content": lambda: predict(1, N // 4, field(4, b"\\1" * N)),
    "predict filled": lambda: predict(1, N, field(5, b"\\1\\1\\1\\1")),
    "predict INT64": lambda: predict(9, N, field(10, b"\\1" * N)),
}
class Counting:
    limit = 1 << 60
    held = 0
    def add(self, size): self.held += size
def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024
def text(request, keep):
    for tensor in request.inputs:
        if tensor.datatype == "BYTES":
            count, data = tensors.element_count(tensor.shape), tensor.data
            pieces = tensors.parse_pieces(data, count) if isinstance(data, memoryview) else [data]
            parts = [part for piece in pieces for part in piece]
            keep.append(tensors.object_array([part.decode() for part in parts], tensor.shape))
def decoded(kind, raw, reservation, keep):
    if kind.startswith("predict"):
        decoding.reserve_message(reservation, raw, decoding.PREDICT_FIELDS)
        message = tfs.PredictRequest.FromString(raw)
        inputs = [tensorflow_tensors.decode(n, t, reservation.take) for n, t in message.inputs.items()]
        request = InferRequest(id="", inputs=tuple(inputs))
    else:
        parts = split(raw)
        head = raw if parts is None else parts.head
        decoding.reserve_message(reservation, head, decoding.INFER_FIELDS)
        message = pb.ModelInferRequest.FromString(raw if parts is None else parts.head)
        views = None if parts is None else [memoryview(raw)[a:b] for a, b in parts.spans]
        keep.append(message)
        request = decode(message, SharedMemory(enabled=False), views)
        decoding.reserve_strings(reservation, request.inputs)
    text(request, keep)
    keep.append(request)
for kind, build in KINDS.items():
    if os.fork():
        os.wait()
        continue
    raw, keep, counting = build(), [], Counting()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    try:
        decoded(kind, raw, Reservation(counting), keep)
    except Exception as error:
        keep.append(error)
    print(json.dumps([kind, len(raw), counting.held, memory("VmHWM") - before]), flush=True)
    os._exit(0)
"""


def test_the_weight_is_what_decoding_takes():
    """Measured in processes of their own: never more memory than was accounted for, nor far less."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(rows) == 16
    for kind, size, weight, rose in rows:
        assert rose <= weight + (5 << 20), kind
        # Small fields and short strings are taken for larger ones: by less than ten times.
        assert weight <= 10 * (rose + size), kind


def test_no_request_has_so_many_fields():
    """They would be read in one go while everybody waits; lists, packed or not, are one field."""
    with pytest.raises(InvalidRequest, match="more than 65536 fields"):
        decoded_size.weigh(b"\x2a\0" * (1 << 17), decoded_size.INFER_FIELDS, 1 << 40)
    unpacked = b"\x35\0\0\0\0" * (1 << 17)
    contents = delimited(5, len(unpacked)) + unpacked
    raw = delimited(5, len(contents)) + contents

    assert decoded_size.weigh(raw, decoded_size.INFER_FIELDS, 1 << 40) > len(raw)
    assert decoded_size.weigh(b"\x3a\0" * (1 << 17), decoded_size.INFER_FIELDS, 1 << 40) > 0
