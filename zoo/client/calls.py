"""RPCs as values: the request and the decoder of the answer, independent of the transport.

Client and AsyncClient differ in how they send a Call, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

import numpy as np

from zoo.client import parameters
from zoo.client.arrays import Array, from_raw, to_array
from zoo.client.errors import ClientError, InvalidArgument
from zoo.client.parameters import Parameter
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import model_config_pb2
from zoo_server import datatypes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One procedure's name, its request, and what its response means."""

    method: str
    request: Any
    read: Callable[[Any], T]
    #: Whether it must not be sent twice: a step of a sequence changes what the server keeps.
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorMetadata:
    """One input or output; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """A model's inputs and outputs, and its versions that are ready."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class RequestOptions(TypedDict, total=False):
    """What may go with an inference, besides the model and its inputs."""

    #: The latest version that serves, unless it is named.
    version: str
    #: The names of those wanted, None for all.
    outputs: Sequence[str] | None
    request_id: str
    parameters: Mapping[str, Parameter] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """An inference as its caller describes it, before the model's metadata is known."""

    model: str
    inputs: ArrayLike | Mapping[str, ArrayLike]
    version: str = ""
    #: Those wanted, None for all.
    outputs: Sequence[str] | None = None
    request_id: str = ""
    parameters: Mapping[str, Parameter] | None = None
    #: How many classes of each output to return in place of its values, 0 for the values.
    classes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One inference's outputs by name, and the version that gave them."""

    model: str
    version: str
    id: str
    #: Numbers are read-only views of the message; strings are objects of bytes.
    outputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """One class of a classification: its value, its index, and its label if the model has any."""

    value: float
    index: int
    label: str


def server_ready() -> Call[bool]:
    """Return the call that says whether every model that should be is loaded."""
    return Call("ServerReady", pb.ServerReadyRequest(), lambda answer: bool(answer.ready))


def model_ready(model: str, version: str) -> Call[bool]:
    """Return the call that says whether a model can answer; an unknown one cannot."""
    request = pb.ModelReadyRequest(name=model, version=version)
    return Call("ModelReady", request, lambda answer: bool(answer.ready))


def models() -> Call[tuple[str, ...]]:
    """Return the call for the names of the models that are ready."""
    request = pb.RepositoryIndexRequest(ready=True)
    return Call(
        "RepositoryIndex", request, lambda index: tuple(sorted({m.name for m in index.models}))
    )


def config(model: str, version: str) -> Call[model_config_pb2.ModelConfig]:
    """Return the call for a model's configuration."""
    request = pb.ModelConfigRequest(name=model, version=version)
    return Call("ModelConfig", request, lambda answer: answer.config)


def metadata(model: str, version: str) -> Call[ModelMetadata]:
    """Return the call for a model's inputs, outputs and versions."""
    return Call("ModelMetadata", pb.ModelMetadataRequest(name=model, version=version), _metadata)


def infer(known: ModelMetadata, request: InferenceRequest) -> Call[Answer]:
    """Return the call for outputs; InvalidArgument if the inputs cannot be what the model takes."""
    message = pb.ModelInferRequest(
        model_name=known.name, model_version=request.version, id=request.request_id
    )
    parameters.write(message.parameters, request.parameters or {})
    specs = {tensor.name: tensor for tensor in known.inputs}
    for name, value in _by_name(known, request.inputs).items():
        if name not in specs:
            raise _invalid(f"model '{known.name}' has no input '{name}', only {_list(specs)}")
        try:
            wire = datatypes.by_wire(specs[name].datatype)
            array = to_array(value, wire)
        except ValueError as error:
            raise _invalid(f"input '{name}' of model '{known.name}' {error}") from None
        message.inputs.add(name=name, datatype=wire.wire, shape=array.shape)
        message.raw_input_contents.append(_raw(wire, array))
    for name in request.outputs or ():
        output = message.outputs.add(name=name)
        if request.classes:
            parameters.write(output.parameters, {"classification": request.classes})
    return Call("ModelInfer", message, _answer, once="sequence_id" in message.parameters)


def in_sequence(call: Call[Answer], sequence_id: int, *, start: bool, end: bool) -> Call[Answer]:
    """Return an inference as a step of a sequence."""
    flags = {"sequence_id": sequence_id, "sequence_start": start, "sequence_end": end}
    parameters.write(call.request.parameters, flags)
    return replace(call, once=True)


def only_output(known: ModelMetadata, outputs: Sequence[str] | None) -> str:
    """Return the one output that an answer without names is; InvalidArgument if there are more."""
    names = list(outputs) if outputs is not None else [tensor.name for tensor in known.outputs]
    if len(names) != 1:
        raise _invalid(f"model '{known.name}' has the outputs {_list(names)}: name one of them")
    return names[0]


def classes_of(array: Array) -> list[list[Class]]:
    """Read a classification output, a row each: elements are `value:index[:label]`."""
    rows = array if array.ndim == 2 else array.reshape(1, -1)
    return [[_class(element) for element in row] for row in rows.tolist()]


def _class(element: bytes) -> Class:
    value, index, label = ([*element.decode().split(":", 2), ""])[:3]
    return Class(value=float(value), index=int(index), label=label)


def _by_name(
    known: ModelMetadata, inputs: ArrayLike | Mapping[str, ArrayLike]
) -> Mapping[str, ArrayLike]:
    if isinstance(inputs, Mapping):
        return inputs
    if len(known.inputs) != 1:
        names = _list([tensor.name for tensor in known.inputs])
        raise _invalid(f"model '{known.name}' has the inputs {names}: give a mapping by name")
    return {known.inputs[0].name: inputs}


def _raw(wire: datatypes.DataType, array: Array) -> bytes:
    if wire.wire == "BF16":
        return np.ascontiguousarray(array).tobytes()
    return datatypes.to_raw(wire, array)


def _metadata(answer: Any) -> ModelMetadata:
    return ModelMetadata(
        name=answer.name,
        versions=tuple(answer.versions),
        platform=answer.platform,
        inputs=tuple(_tensor(tensor) for tensor in answer.inputs),
        outputs=tuple(_tensor(tensor) for tensor in answer.outputs),
    )


def _tensor(tensor: Any) -> TensorMetadata:
    return TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tuple(tensor.shape))


def _answer(response: Any) -> Answer:
    try:
        outputs = _outputs(response)
    except ValueError as error:
        raise ClientError(
            "INTERNAL", f"the answer of model '{response.model_name}' cannot be read: {error}"
        ) from None
    return Answer(
        model=response.model_name,
        version=response.model_version,
        id=response.id,
        outputs=outputs,
    )


def _outputs(response: Any) -> dict[str, Array]:
    """Read raw contents, as Triton and we answer, or typed ones, as MLServer and KServe may."""
    if response.raw_output_contents:
        pairs = zip(response.outputs, response.raw_output_contents, strict=True)
        return {
            tensor.name: from_raw(datatypes.by_wire(tensor.datatype), tuple(tensor.shape), raw)
            for tensor, raw in pairs
        }
    return {tensor.name: _array_of(tensor) for tensor in response.outputs}


def _array_of(tensor: Any) -> Array:
    wire = datatypes.by_wire(tensor.datatype)
    if wire.contents is None:
        raise ValueError(f"output '{tensor.name}' is {wire.wire}, which has no typed contents")
    values = list(getattr(tensor.contents, wire.contents))
    if wire.byte_size is None:
        return datatypes.object_array(values, tuple(tensor.shape))
    return np.array(values, wire.numpy).reshape(tuple(tensor.shape))


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument("INVALID_ARGUMENT", message)


def _list(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
