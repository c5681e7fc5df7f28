"""The ragged part of config.pbtxt: inputs that are joined without padding, and what describes them to the graph.

The names and meanings are Triton's; what the graph cannot take is refused at load.
"""

from collections.abc import Iterable, Mapping, Sequence

from zoo_proto import model_config_pb2
from zoo_server.datatypes import VARIABLE, TensorSpec, by_config
from zoo_server.errors import ModelLoadError
from zoo_server.model_config import BatchInput, BatchInputKind, BatchOutput, RaggedBatching

ModelConfig = model_config_pb2.ModelConfig

#: What a batch input may be of, and how far its type counts without a gap.
_LARGEST = {"TYPE_INT32": 2**31 - 1, "TYPE_FP32": 2**24}

_KINDS = {
    model_config_pb2.BatchInput.Kind.Value(f"BATCH_{kind.name}"): kind for kind in BatchInputKind
}


def is_ragged(config: ModelConfig) -> bool:
    """Tell whether a configuration speaks of ragged batches."""
    ragged = any(tensor.allow_ragged_batch for tensor in config.input)
    return bool(ragged or config.batch_input or config.batch_output)


def batch_input_names(config: ModelConfig) -> set[str]:
    """Return the inputs of the graph that are made for each batch, and that nobody sends."""
    return {name for batch_input in config.batch_input for name in batch_input.target_name}


def ragged_settings(
    config: ModelConfig, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> RaggedBatching | None:
    """Return how requests are joined; None where all are alike, ModelLoadError where it cannot be."""
    if not is_ragged(config):
        return None
    _check_whole(config)
    sent = {tensor.name: tensor for tensor in config.input}
    for tensor in config.input:
        if tensor.allow_ragged_batch:
            _check_ragged(tensor, inputs)
    _check_once("batch_input", (name for each in config.batch_input for name in each.target_name))
    _check_once("batch_output", (name for each in config.batch_output for name in each.target_name))
    batch_outputs: dict[str, BatchOutput] = {}
    for each in config.batch_output:
        batch_outputs |= _batch_output(each, config, sent, outputs)
    return RaggedBatching(
        inputs=frozenset(tensor.name for tensor in config.input if tensor.allow_ragged_batch),
        batch_inputs=tuple(_batch_input(each, sent, inputs) for each in config.batch_input),
        batch_outputs=batch_outputs,
    )


def _check_whole(config: ModelConfig) -> None:
    """Refuse what ragged batches do not go together with."""
    if not config.max_batch_size:
        raise ModelLoadError(
            "allow_ragged_batch, batch_input and batch_output need a max_batch_size above 0: they speak "
            "of requests that share a run"
        )
    if config.HasField("sequence_batching"):
        raise ModelLoadError(
            "allow_ragged_batch, batch_input and batch_output are not served with sequence_batching"
        )
    if config.response_cache.enable:
        raise ModelLoadError(
            "response_cache is not served with allow_ragged_batch, batch_input or batch_output: an answer "
            "may depend on the requests that it shares a run with"
        )


def _check_ragged(tensor: model_config_pb2.ModelInput, inputs: Mapping[str, TensorSpec]) -> None:
    if tensor.optional or tensor.HasField("reshape"):
        raise ModelLoadError(f"ragged input '{tensor.name}' can be neither optional nor reshaped")
    spec = inputs.get(tensor.name)
    if spec is not None and (len(spec.shape) != 1 or isinstance(spec.shape[0], int)):
        raise ModelLoadError(
            f"configuration expects model provides input with shape [-1] for ragged input "
            f"'{tensor.name}', model provides {_shape_text(spec)}"
        )


def _check_once(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ModelLoadError(f"{what} has the target_name '{name}' twice")
        seen.add(name)


def _source(
    what: str,
    written: model_config_pb2.BatchInput | model_config_pb2.BatchOutput,
    sent: Mapping[str, model_config_pb2.ModelInput],
) -> model_config_pb2.ModelInput:
    """Return the one input that is the source, which every request brings."""
    if len(written.source_input) != 1 or not written.target_name:
        raise ModelLoadError(
            f"{what} expects 1 source_input and a target_name, got {list(written.source_input)} and "
            f"{list(written.target_name)}"
        )
    source = sent.get(written.source_input[0])
    if source is None or source.optional or source.HasField("reshape"):
        raise ModelLoadError(
            f"{what} has the source_input '{written.source_input[0]}', which is no input that every "
            "request brings, or one that is reshaped"
        )
    return source


def _has_columns(spec: TensorSpec, columns: Sequence[int]) -> bool:
    """Tell whether the graph takes any number of elements, or of rows with so many columns."""
    if len(spec.shape) != 1 + len(columns) or isinstance(spec.shape[0], int):
        return False
    return all(
        not isinstance(have, int) or have == want
        for have, want in zip(spec.shape[1:], columns, strict=True)
    )


def _batch_input(
    written: model_config_pb2.BatchInput,
    sent: Mapping[str, model_config_pb2.ModelInput],
    inputs: Mapping[str, TensorSpec],
) -> BatchInput:
    source = _source("batch_input", written, sent)
    # A number that no name has comes from the JSON of a load request alone.
    kind = _KINDS.get(written.kind)
    if kind is None:
        raise ModelLoadError(f"batch_input '{written.target_name[0]}' has kind {written.kind}")
    names = {number: name for name, number in model_config_pb2.DataType.items()}
    type_name = names.get(written.data_type, str(written.data_type))
    if type_name not in _LARGEST:
        raise ModelLoadError(
            f"batch_input '{written.target_name[0]}' has data_type {type_name}: it can be TYPE_INT32 or "
            "TYPE_FP32"
        )
    datatype = by_config(type_name)
    columns = (len(source.dims),) if kind is BatchInputKind.ITEM_SHAPE else ()
    for name in written.target_name:
        spec = inputs.get(name)
        if spec is None or name in sent:
            raise ModelLoadError(
                f"batch_input has the target_name '{name}', which is no input of the graph, or one that "
                "requests bring"
            )
        if not _has_columns(spec, columns) or spec.datatype is not datatype:
            raise ModelLoadError(
                f"batch_input '{name}' is {type_name} of shape {[VARIABLE, *columns]}, but the graph takes "
                f"{spec.datatype.config} of shape {_shape_text(spec)}"
            )
    return BatchInput(
        kind=kind,
        targets=tuple(written.target_name),
        source=source.name,
        datatype=datatype,
        largest=_LARGEST[type_name],
    )


def _batch_output(
    written: model_config_pb2.BatchOutput,
    config: ModelConfig,
    sent: Mapping[str, model_config_pb2.ModelInput],
    outputs: Mapping[str, TensorSpec],
) -> dict[str, BatchOutput]:
    source = _source("batch_output", written, sent)
    if written.kind != model_config_pb2.BatchOutput.BATCH_SCATTER_WITH_INPUT_SHAPE:
        raise ModelLoadError(f"batch_output '{written.target_name[0]}' has kind {written.kind}")
    answered = {tensor.name: tensor for tensor in config.output}
    split = {}
    for name in written.target_name:
        tensor = answered.get(name)
        if tensor is None or name not in outputs or tensor.HasField("reshape"):
            raise ModelLoadError(
                f"batch_output has the target_name '{name}', which is no output, or one that is reshaped"
            )
        if any(dim == VARIABLE for dim in tensor.dims[len(source.dims) :]):
            raise ModelLoadError(
                f"batch_output '{name}' has dims {list(tensor.dims)}, whose variable ones are not all of "
                f"'{source.name}', which has {list(source.dims)}"
            )
        split[name] = BatchOutput(source=source.name, dims=tuple(tensor.dims))
    return split


def _shape_text(spec: TensorSpec) -> str:
    return str([size if isinstance(size, int) else VARIABLE for size in spec.shape])
