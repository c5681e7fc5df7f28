"""Encodes a run's outputs as ModelInferResponse; the parts that all answers of a plan share are written once.

    model_name model_version outputs{name datatype shape} | tag length | rows | tag length | rows …
    └──────────── once a plan and shape ────────────────────────────┘

protobuf fields may come in any order, so that an id follows at the end. Outputs whose bytes are not
simply rows of the array (strings, classes, what config.pbtxt reshapes) go the general way.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.inference.execution import Rows, Run
from zoo_server.inference.plan import Plan
from zoo_server.inference.request import OutputRequest, OutputTensor
from zoo_server.model_config import ModelSettings
from zoo_server.protocols.copies import COPIED_AT_ONCE, join
from zoo_server.varint import delimited

_ID, _RAW_OUTPUT = 3, 6

#: Heads kept a plan: where the data decides an output's shape, any number of shapes may come.
_MOST_HEADS = 16


@dataclass(frozen=True, slots=True)
class _Head:
    """What comes before each output's rows, which of the run's outputs it is, and where they go."""

    pieces: tuple[tuple[bytes, int, OutputRequest], ...]
    #: Joins all of an answer.
    join: Callable[[Sequence[bytes | memoryview]], bytes]


def encode(settings: ModelSettings, plan: Plan, rows: Rows, request_id: bytes) -> bytes:
    """Return a ModelInferResponse's bytes: one raw entry an output (docs/protocol.md 2.3).

    InvalidRequest for classes of an output that has none.
    """
    run = rows.run
    head = plan.encoded.get(run.key)
    if head is None:
        if len(plan.encoded) >= _MOST_HEADS:
            plan.encoded.clear()
        head = plan.encoded[run.key] = _head(settings, plan, run)
    if not isinstance(head, _Head):
        return _general(settings, plan, rows, request_id)
    buffers = run.buffers()
    parts: list[bytes | memoryview] = []
    for before, index, requested in head.pieces:
        part, stride = buffers[index]  # type: ignore[misc]  # no strings: _head saw to that
        if rows.end - rows.begin < run.rows:
            part = part[rows.begin * stride : rows.end * stride]
        parts.append(before)
        if requested.destination is None:
            parts.append(part)
        else:
            requested.destination.write(requested.name, part)
    if request_id:
        parts += delimited(_ID, len(request_id)), request_id
    return head.join(parts)


def _head(settings: ModelSettings, plan: Plan, run: Run) -> _Head | bool:
    """Return the pieces before the rows, False where there are none such."""
    tensors: list[OutputTensor] = []
    for output, requested in plan.outputs:
        if (
            requested.classes
            or output.datatype.byte_size is None
            or output.dims != output.graph_dims
        ):
            return False
        shape = run.output(output.name).shape
        if plan.batch_size:
            shape = (plan.batch_size, *shape[1:])
        tensors.append(
            OutputTensor(name=output.name, datatype=output.datatype.wire, shape=shape, raw=b"")
        )
    before = _message(settings, tensors).SerializeToString()
    pieces: list[tuple[bytes, int, OutputRequest]] = []
    nbytes = 0
    for tensor, (_, requested) in zip(tensors, plan.outputs, strict=True):
        index = run.names.index(tensor.name)
        buffer = run.buffers()[index]
        assert buffer is not None  # its elements have a size
        values, stride = buffer
        size = stride * plan.batch_size if plan.batch_size else len(values)
        if requested.destination is not None:
            size = 0  # an entry all the same, so that those after it keep their places
        pieces.append((before + delimited(_RAW_OUTPUT, size), index, requested))
        before = b""
        nbytes += size
    return _Head(tuple(pieces), join if nbytes > COPIED_AT_ONCE else b"".join)


def _general(settings: ModelSettings, plan: Plan, rows: Rows, request_id: bytes) -> bytes:
    tensors = [
        rows.tensor(output, requested.classes, plan.batch_size, requested.destination)
        for output, requested in plan.outputs
    ]
    parts: list[bytes | memoryview] = [_message(settings, tensors).SerializeToString()]
    for tensor in tensors:
        parts += delimited(_RAW_OUTPUT, len(tensor.raw)), tensor.raw
    if request_id:
        parts += delimited(_ID, len(request_id)), request_id
    return join(parts)


def _message(settings: ModelSettings, tensors: Iterable[OutputTensor]) -> pb.ModelInferResponse:
    message = pb.ModelInferResponse(model_name=settings.name, model_version=str(settings.version))
    for tensor in tensors:
        message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return message
