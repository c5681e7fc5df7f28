"""Decodes ModelInferRequest to InferRequest.

What a tensor's data may look like is docs/protocol.md 2.2.1 and 2.2.2: one route each, and a field
that matches the datatype. The messages' stems are Triton's (server/src/grpc/infer_handler.cc).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.datatypes import DATA_TYPES, DataType
from zoo_server.errors import InvalidRequest
from zoo_server.inference.request import InferRequest, InputTensor, OutputRequest, TensorData
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.protocols.bulk import Lists
from zoo_server.protocols.packed import array_of, elements_of, numbers
from zoo_server.protocols.parameters import (
    check_output,
    classes_of,
    region_part_of,
    request_parameters,
)

_BY_WIRE = {row.wire: row for row in DATA_TYPES}

_CONTENTS = pb.InferTensorContents.DESCRIPTOR.fields_by_number

#: Which datatype a typed field stands for in messages: the widest that it carries.
_FIELD_TYPE = {
    "bool_contents": "BOOL",
    "int_contents": "INT32",
    "int64_contents": "INT64",
    "uint_contents": "UINT32",
    "uint64_contents": "UINT64",
    "fp32_contents": "FP32",
    "fp64_contents": "FP64",
    "bytes_contents": "BYTES",
}


def decode(
    message: pb.ModelInferRequest,
    memory: SharedMemory,
    raw: Sequence[bytes | memoryview] | None = None,
    lists: Mapping[bytes, Lists] = MappingProxyType({}),
) -> InferRequest:
    """Return the request as values; InvalidRequest for data that no model could take.

    Where a tensor names a region of shared memory: NotFound, Unsupported as SharedMemory.source says.
    `raw`: the raw_input_contents, where they were not parsed (server/zoo_server/protocols/grpc/unparsed_request.py).
    `lists`: typed contents that were taken out of the message (server/zoo_server/protocols/bulk.py).
    """
    parameters = request_parameters(message.parameters) if message.parameters else {}
    return InferRequest(
        id=message.id,
        parameters=parameters,
        inputs=_inputs(message, memory, message.raw_input_contents if raw is None else raw, lists),
        outputs=tuple(_output(output, memory) for output in message.outputs),
    )


def _output(
    output: pb.ModelInferRequest.InferRequestedOutputTensor, memory: SharedMemory
) -> OutputRequest:
    if not output.parameters:
        return OutputRequest(name=output.name)
    classes, part = classes_of(output.parameters), region_part_of(output)
    check_output(part, classes)
    if part is None:
        return OutputRequest(name=output.name, classes=classes)
    destination = memory.destination(part.region, part.offset, part.byte_size)
    return OutputRequest(name=output.name, destination=destination)


def _inputs(
    message: pb.ModelInferRequest,
    memory: SharedMemory,
    raw: Sequence[bytes | memoryview],
    lists: Mapping[bytes, Lists],
) -> tuple[InputTensor, ...]:
    used = 0
    inputs: list[InputTensor] = []
    for tensor in message.inputs:
        part = region_part_of(tensor) if tensor.parameters else None
        data: TensorData
        if part is not None:  # takes no slot of the raw contents (docs/protocol.md 2.2.1)
            if tensor.HasField("contents"):
                raise InvalidRequest(
                    "unexpected 'content' provided when using shared memory for input tensor "
                    f"'{tensor.name}' for model '{message.model_name}'"
                )
            data = memory.source(part.region, part.offset, part.byte_size)
        elif tensor.HasField("contents"):
            if raw:
                raise InvalidRequest(
                    "contents field must not be specified when using raw_input_contents for "
                    f"'{tensor.name}' for model '{message.model_name}'"
                )
            data = _typed_contents(tensor, message.model_name, lists.get(tensor.name.encode(), {}))
        elif used < len(raw):
            data = raw[used]
            used += 1
        else:
            raise InvalidRequest(
                f"unable to find data for input tensor '{tensor.name}' for model "
                f"'{message.model_name}' in request."
            )
        inputs.append(
            InputTensor(
                name=tensor.name, datatype=tensor.datatype, shape=tuple(tensor.shape), data=data
            )
        )
    if used < len(raw):
        # Triton ignores them; a surplus most likely means that data belongs to another input.
        raise InvalidRequest(
            f"expected {used} raw_input_contents for model '{message.model_name}', got {len(raw)}"
        )
    return tuple(inputs)


def _typed_contents(
    tensor: pb.ModelInferRequest.InferInputTensor, model_name: str, lists: Lists
) -> TensorData:
    """Return typed contents as an array, or as BYTES elements (docs/protocol.md 2.2.2)."""
    fields = [_CONTENTS[field.number] for field, _ in tensor.contents.ListFields()]
    fields += [_CONTENTS[number] for number in lists]
    label = f"input tensor '{tensor.name}' for model '{model_name}'"
    if not fields:
        return b""  # legal for a tensor without elements; else its size will not match
    if len(fields) > 1:
        raise InvalidRequest(
            f"unexpected explicit tensor data for {label}, binary data was already supplied."
        )
    name = fields[0].name
    datatype = _BY_WIRE.get(tensor.datatype)
    if datatype is None or datatype.contents != name:
        raise InvalidRequest(
            f"unexpected explicit tensor data for {label} of type '{_FIELD_TYPE[name]}', expected "
            f"datatype '{tensor.datatype}'"
        )
    values: object = lists.get(fields[0].number)
    if values is None:
        values = getattr(tensor.contents, name)
    elif isinstance(values, memoryview):
        if datatype.numpy.kind == "f":
            return values  # as raw contents are
        values = numbers(fields[0], values)
    if datatype.byte_size is None:
        return elements_of(values)
    return _numbers(values, datatype, label)


def _numbers(values: object, datatype: DataType, label: str) -> np.ndarray:
    """Return carrier values as their datatype, if they fit (docs/protocol.md 2.2.2)."""
    if datatype.numpy.kind in "iu" and datatype.numpy.itemsize < 4:
        limits = np.iinfo(datatype.numpy)
        wide = array_of(values, np.dtype(np.int64))
        bad = wide[(wide < limits.min) | (wide > limits.max)]
        if bad.size:
            raise InvalidRequest(
                f"value {bad[0]} of {label} is out of range for datatype '{datatype.wire}'"
            )
        return wide.astype(datatype.numpy)
    return array_of(values, datatype.numpy)
