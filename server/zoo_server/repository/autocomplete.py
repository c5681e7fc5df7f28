"""Completes a model's configuration from its graph, and checks what the configuration states.

    config.pbtxt (or nothing) + graph signature ──complete──> ModelConfig + why
    ModelConfig + graph signature ──settings──> ModelSettings, or ModelLoadError with the reason

Pure: the files have been read before.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo_proto import model_config_pb2
from zoo_server.datatypes import VARIABLE, TensorSpec, by_config
from zoo_server.errors import ModelLoadError
from zoo_server.images.description import Image
from zoo_server.model_config import InputSettings, ModelSettings, OutputSettings
from zoo_server.repository import layout
from zoo_server.repository.config_pbtxt import BACKEND, PLATFORM, version_labels
from zoo_server.repository.image_inputs import image_of, is_of
from zoo_server.repository.ragged import ragged_settings
from zoo_server.repository.scheduling import batching_settings
from zoo_server.repository.sequences import hidden_tensors, sequence_settings

#: As configured.
Tensor = model_config_pb2.ModelInput | model_config_pb2.ModelOutput

#: Rows a derived configuration admits in one request: the zoo's own limit, far above a useful batch.
DERIVED_MAX_BATCH_SIZE = 1024

#: Elements of one row: far beyond what a message carries, and far below what overflows.
MAX_ROW_ELEMENTS = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What the graph itself says."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def batching_of(signature: Signature) -> tuple[bool, str]:
    """Return whether the graph batches, and why: one same symbol must lead every input and output."""
    leading: set[str] = set()
    required = [spec for spec in signature.inputs if not spec.has_default]
    if not required:
        return False, "batching off: the graph has no inputs"
    for spec in (*required, *signature.outputs):
        if not spec.shape:
            return False, f"batching off: '{spec.name}' is a scalar"
        first = spec.shape[0]
        if isinstance(first, int):
            return False, f"batching off: the first dimension of '{spec.name}' is fixed at {first}"
        if first is None:
            return False, f"batching off: the first dimension of '{spec.name}' has no name"
        leading.add(first)
    if len(leading) > 1:
        names = ", ".join(f"'{name}'" for name in sorted(leading))
        return False, f"batching off: the first dimensions have different names ({names})"
    return True, f"batching on: every tensor's first dimension is '{leading.pop()}'"


def complete(
    name: str,
    written: model_config_pb2.ModelConfig | None,
    signature: Signature,
    *,
    batching_written: bool,
) -> tuple[model_config_pb2.ModelConfig, str]:
    """Return the full configuration and one line on what was derived ("" if nothing was).

    `batching_written`: the text speaks of max_batch_size, so that 0 means off and not absent.
    """
    config = model_config_pb2.ModelConfig()
    if written is not None:
        config.CopyFrom(written)
    config.name = name
    derived: list[str] = []
    if not (config.input or config.output or batching_written):
        batches, why = batching_of(signature)
        config.max_batch_size = DERIVED_MAX_BATCH_SIZE if batches else 0
        if batches:
            config.dynamic_batching.SetInParent()
        derived.append(f"max_batch_size {config.max_batch_size} ({why})")
    batched = config.max_batch_size > 0
    not_sent, not_answered = hidden_tensors(config)
    required = [
        spec for spec in signature.inputs if not spec.has_default and spec.name not in not_sent
    ]
    answered = [spec for spec in signature.outputs if spec.name not in not_answered]
    for kind, tensors, specs in (
        ("inputs", config.input, required),
        ("outputs", config.output, answered),
    ):
        if _fill(tensors, specs, signature, batched):
            derived.append(f"{kind} {_summary(tensors)}")
    _fill_defaults(config)
    return config, "; ".join(derived)


def _fill_defaults(config: model_config_pb2.ModelConfig) -> None:
    """Spell out what absence means, as Triton's ModelConfig answers do."""
    config.backend = BACKEND
    config.platform = PLATFORM
    config.default_model_filename = config.default_model_filename or layout.MODEL_FILE
    if config.version_policy.WhichOneof("policy_choice") is None:
        config.version_policy.latest.num_versions = 1


def _fill(tensors: Any, specs: Sequence[TensorSpec], signature: Signature, batched: bool) -> bool:
    """Add the tensors of an empty list, or what listed ones leave out; return whether it did."""
    known = {spec.name: spec for spec in (*signature.inputs, *signature.outputs)}
    absent = not tensors
    if absent:
        for spec in specs:
            tensors.add(name=spec.name)
    changed = absent
    for tensor in tensors:
        if tensor.name not in known:
            continue  # the check names it
        spec = known[tensor.name]
        if not tensor.data_type:
            tensor.data_type = model_config_pb2.DataType.Value(spec.datatype.config)
            changed = True
        if not tensor.dims and len(spec.shape) > batched:
            tensor.dims.extend(_wire_dims(spec)[batched:])
            changed = True
    return changed


def _wire_dims(spec: TensorSpec) -> list[int]:
    return [size if isinstance(size, int) else VARIABLE for size in spec.shape]


def _summary(tensors: Iterable[Tensor]) -> str:
    return ", ".join(
        f"{tensor.name} {model_config_pb2.DataType.Name(tensor.data_type)} {list(tensor.dims)}"
        for tensor in tensors
    )


def settings_of(
    config: model_config_pb2.ModelConfig,
    signature: Signature,
    *,
    version: int,
    read_labels: Callable[[str], tuple[str, ...]],
) -> ModelSettings:
    """Check a completed configuration against the graph; ModelLoadError says where they differ."""
    batched = config.max_batch_size > 0
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    named = {tensor.name for tensor in config.input} | hidden_tensors(config)[0]
    for name, spec in inputs.items():
        if not spec.has_default and name not in named:
            raise ModelLoadError(f"input '{name}' of the graph is missing in {layout.CONFIG_FILE}")
    ragged = ragged_settings(config, inputs, outputs)
    flat = ragged.inputs if ragged is not None else frozenset()
    scattered = ragged.batch_outputs if ragged is not None else {}
    return ModelSettings(
        name=config.name,
        version=version,
        platform=config.platform,
        max_batch_size=config.max_batch_size,
        batching=batching_settings(config),
        sequences=sequence_settings(config, inputs, outputs),
        ragged=ragged,
        response_cache=config.response_cache.enable,
        inputs=tuple(
            _input(tensor, inputs, batched, image_of(config), is_free=tensor.name in flat)
            for tensor in config.input
        ),
        outputs=tuple(
            _output(tensor, outputs, batched, read_labels, is_free=tensor.name in scattered)
            for tensor in config.output
        ),
        config=config.SerializeToString(),
        version_labels=version_labels(config),
    )


def _input(
    tensor: model_config_pb2.ModelInput,
    specs: dict[str, TensorSpec],
    batched: bool,
    image: Image | None,
    *,
    is_free: bool,
) -> InputSettings:
    spec = _spec(tensor, "input", specs)
    if tensor.optional and not spec.has_default:
        raise ModelLoadError(f"input '{spec.name}' cannot be optional: the graph has no default")
    dims, graph_dims = _dims(tensor, spec, "input", batched, is_free=is_free)
    return InputSettings(
        name=spec.name,
        datatype=spec.datatype,
        dims=dims,
        graph_dims=graph_dims,
        optional=tensor.optional,
        image=image if not is_free and is_of(image, spec.datatype, dims) else None,
    )


def _output(
    tensor: model_config_pb2.ModelOutput,
    specs: dict[str, TensorSpec],
    batched: bool,
    read_labels: Callable[[str], tuple[str, ...]],
    *,
    is_free: bool,
) -> OutputSettings:
    spec = _spec(tensor, "output", specs)
    dims, graph_dims = _dims(tensor, spec, "output", batched, is_free=is_free)
    return OutputSettings(
        name=spec.name,
        datatype=spec.datatype,
        dims=dims,
        graph_dims=graph_dims,
        labels=read_labels(tensor.label_filename) if tensor.label_filename else (),
    )


def _spec(tensor: Tensor, kind: str, specs: dict[str, TensorSpec]) -> TensorSpec:
    spec = specs.get(tensor.name)
    if spec is None:
        raise ModelLoadError(
            f"unexpected inference {kind} '{tensor.name}', allowed {kind}s are: {', '.join(specs)}"
        )
    datatype = by_config(model_config_pb2.DataType.Name(tensor.data_type))
    if datatype is not spec.datatype:
        raise ModelLoadError(
            f"unexpected datatype {datatype.config} for inference {kind} '{spec.name}', "
            f"expecting {spec.datatype.config}"
        )
    return spec


def _dims(
    tensor: Tensor, spec: TensorSpec, kind: str, batched: bool, *, is_free: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the wire's and the graph's dimensions without the batch, checked against the graph.

    `is_free`: the graph has the elements of all requests in whatever shape.
    """
    dims = tuple(tensor.dims)
    graph_dims = tuple(tensor.reshape.shape) if tensor.HasField("reshape") else dims
    if _runs(dims) != _runs(graph_dims):
        raise ModelLoadError(f"{kind} '{spec.name}' has different size for dims and reshape")
    actual = _wire_dims(spec)
    if batched and not is_free and (not actual or actual[0] != VARIABLE):
        raise ModelLoadError(
            f"max_batch_size is above 0, but the first dimension of {kind} '{spec.name}' is "
            f"{actual[0] if actual else 'absent'} in the graph: set max_batch_size: 0 and give the "
            "full dims"
        )
    expected = [VARIABLE, *graph_dims] if batched else list(graph_dims)
    if is_free:
        expected = actual
    if len(expected) != len(actual) or any(
        have not in (VARIABLE, want) for have, want in zip(actual, expected, strict=False)
    ):
        raise ModelLoadError(
            f"{kind} '{spec.name}' has shape {actual} in the graph, but {layout.CONFIG_FILE} gives "
            f"{expected}" + (" (with the batch dimension)" if batched else "")
        )
    if math.prod(1 if dim == VARIABLE else dim for dim in dims) > MAX_ROW_ELEMENTS:
        raise ModelLoadError(
            f"{kind} '{spec.name}' of dims {list(dims)} has more than {MAX_ROW_ELEMENTS} elements"
        )
    return dims, graph_dims


def _runs(dims: tuple[int, ...]) -> list[int]:
    """Return the element counts between variable dimensions; a legal reshape keeps them all."""
    counts = [1]
    for dim in dims:
        if dim == VARIABLE:
            counts.append(1)
        else:
            counts[-1] *= dim
    return counts
