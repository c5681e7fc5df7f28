"""Reads an ensemble from its configuration, and checks it against the models that it is made of.

    config.pbtxt ──steps──> EnsembleStep…        names: each tensor made once, before it is taken
    steps + settings of their models ──check──>  datatypes, shapes, batch sizes

Pure: the models are loaded by whoever calls. The rules are Triton's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from zoo_proto import model_config_pb2
from zoo_server.datatypes import VARIABLE, DataType, by_config
from zoo_server.errors import ModelLoadError
from zoo_server.model_config import (
    Batching,
    EnsembleStep,
    InputSettings,
    ModelSettings,
    OutputSettings,
)
from zoo_server.repository import layout
from zoo_server.repository.config_pbtxt import ENSEMBLE, ModelConfig, version_labels

#: Settings of a model that runs; an ensemble's models have their own.
_NOT_OF_ENSEMBLES = (
    "instance_group", "optimization", "model_warmup",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor between steps, as its first mention says; `dims` with the batch dimension."""

    datatype: DataType
    dims: tuple[int, ...]
    where: str


def steps_of(config: ModelConfig) -> tuple[EnsembleStep, ...]:
    """Return an ensemble's steps, in an order in which they can run; none of any other model.

    ModelLoadError says what is wrong with them.
    """
    if config.platform != ENSEMBLE:
        return ()
    for field in _NOT_OF_ENSEMBLES:
        if field in {present.name for present, _ in config.ListFields()}:
            raise ModelLoadError(f"{field} cannot be given for an ensemble: its models have theirs")
    if config.ensemble_scheduling.max_inflight_requests:
        raise ModelLoadError("max_inflight_requests bounds decoupled models, which are not served")
    steps = tuple(
        EnsembleStep(
            model=step.model_name,
            version=str(step.model_version) if step.model_version > 0 else "",
            inputs=dict(step.input_map),
            outputs=dict(step.output_map),
        )
        for step in config.ensemble_scheduling.step
    )
    _check_steps(steps)
    for kind, tensors in (("input", config.input), ("output", config.output)):
        if not tensors:
            raise ModelLoadError(
                f"an ensemble must specify its {kind}s: {layout.CONFIG_FILE} has none"
            )
        for tensor in tensors:
            if not tensor.data_type or not tensor.dims:
                raise ModelLoadError(
                    f"ensemble {kind} '{tensor.name}' must have data_type and dims"
                )
            if tensor.HasField("reshape"):
                raise ModelLoadError(f"ensemble {kind} '{tensor.name}' cannot be reshaped")
    if any(tensor.optional for tensor in config.input):
        raise ModelLoadError("inputs of an ensemble cannot be optional")
    inputs = [tensor.name for tensor in config.input]
    _check_makers(steps, inputs, [tensor.name for tensor in config.output])
    return _in_order(steps, inputs)


def _check_steps(steps: Sequence[EnsembleStep]) -> None:
    if not steps:
        raise ModelLoadError("an ensemble must have at least one step in ensemble_scheduling")
    for number, step in enumerate(steps, 1):
        if not layout.is_plain_name(step.model):
            raise ModelLoadError(f"step {number} must have the model_name of a model")
        if not step.inputs or not step.outputs:
            kind = "output_map" if step.inputs else "input_map"
            raise ModelLoadError(f"step {number} (model '{step.model}') must have an {kind}")


def _check_makers(
    steps: Sequence[EnsembleStep], inputs: Iterable[str], outputs: Iterable[str]
) -> None:
    """Each tensor has one maker, and each of the ensemble's inputs a taker."""
    makers = dict.fromkeys(inputs, "an input of the ensemble")
    for step in steps:
        for tensor in step.outputs.values():
            maker = f"an output of model '{step.model}'"
            if tensor in makers:
                raise ModelLoadError(
                    f"ensemble tensor '{tensor}' is produced twice: it is {makers[tensor]} and {maker}"
                )
            makers[tensor] = maker
    for step in steps:
        for name, tensor in step.inputs.items():
            if tensor not in makers:
                raise ModelLoadError(
                    f"ensemble tensor '{tensor}', input '{name}' of model '{step.model}', is never "
                    "produced: no input of the ensemble and no output_map has it"
                )
    produced = {tensor for step in steps for tensor in step.outputs.values()}
    consumed = {tensor for step in steps for tensor in step.inputs.values()}
    for output in outputs:
        if output not in produced:
            raise ModelLoadError(
                f"ensemble output '{output}' is never produced: no output_map has it"
            )
    for name in inputs:
        if name not in consumed:
            raise ModelLoadError(f"ensemble input '{name}' is never used: no input_map has it")


def _in_order(steps: Sequence[EnsembleStep], inputs: Iterable[str]) -> tuple[EnsembleStep, ...]:
    ready, order, left = set(inputs), list[EnsembleStep](), list(steps)
    while left:
        able = [step for step in left if ready.issuperset(step.inputs.values())]
        if not able:
            models = ", ".join(f"'{step.model}'" for step in left)
            raise ModelLoadError(
                f"the steps form a cycle: each of {models} waits for another's output"
            )
        order += able
        ready |= {tensor for step in able for tensor in step.outputs.values()}
        left = [step for step in left if step not in able]
    return tuple(order)


def ensemble_settings(
    name: str,
    written: ModelConfig,
    steps: tuple[EnsembleStep, ...],
    models: Sequence[ModelSettings],
    *,
    version: int,
    read_labels: Callable[[str], tuple[str, ...]],
) -> ModelSettings:
    """Return an ensemble's settings; `models` are the steps', in order.

    ModelLoadError says where a tensor does not fit. An output without labels has those of the model
    that makes it.
    """
    config = _completed(name, written)
    _check_tensors(config, steps, models)
    labels = _labels(steps, models)
    return ModelSettings(
        name=name,
        version=version,
        platform=ENSEMBLE,
        max_batch_size=config.max_batch_size,
        batching=Batching(max_rows=max(1, config.max_batch_size)),
        response_cache=config.response_cache.enable,
        inputs=tuple(_input_settings(tensor) for tensor in config.input),
        outputs=tuple(
            _output_settings(
                tensor,
                read_labels(tensor.label_filename)
                if tensor.label_filename
                else labels.get(tensor.name, ()),
            )
            for tensor in config.output
        ),
        config=config.SerializeToString(),
        version_labels=version_labels(config),
    )


def _completed(name: str, written: ModelConfig) -> ModelConfig:
    """Return the configuration with what Triton fills in."""
    config = ModelConfig()
    config.CopyFrom(written)
    config.name = name
    config.platform = ENSEMBLE
    config.model_transaction_policy.SetInParent()  # as Triton answers the configuration of one
    if config.version_policy.WhichOneof("policy_choice") is None:
        config.version_policy.latest.num_versions = 1
    return config


def _input_settings(tensor: model_config_pb2.ModelInput) -> InputSettings:
    dims = tuple(tensor.dims)
    return InputSettings(
        name=tensor.name, datatype=_datatype(tensor.data_type), dims=dims, graph_dims=dims
    )


def _output_settings(
    tensor: model_config_pb2.ModelOutput, labels: tuple[str, ...]
) -> OutputSettings:
    dims = tuple(tensor.dims)
    return OutputSettings(
        name=tensor.name,
        datatype=_datatype(tensor.data_type),
        dims=dims,
        graph_dims=dims,
        labels=labels,
    )


def _check_tensors(
    config: ModelConfig, steps: Sequence[EnsembleStep], models: Sequence[ModelSettings]
) -> None:
    batch = (VARIABLE,) if config.max_batch_size else ()
    known: dict[str, _Tensor] = {}
    for kind, tensors in (("input", config.input), ("output", config.output)):
        for tensor in tensors:
            known[tensor.name] = _Tensor(
                _datatype(tensor.data_type), (*batch, *tensor.dims), f"as the ensemble's {kind}"
            )
    for step, model in zip(steps, models, strict=True):
        if model.sequences is not None:
            raise ModelLoadError(
                f"model '{step.model}' takes sequences, which no step of an ensemble can be"
            )
        if model.max_batch_size < config.max_batch_size:
            raise ModelLoadError(
                f"the ensemble allows batches of {config.max_batch_size}, but its model "
                f"'{step.model}' only allows {model.max_batch_size}"
            )
        required = [tensor.name for tensor in model.inputs if not tensor.optional]
        for name in required:
            if name not in step.inputs:
                raise ModelLoadError(
                    f"input '{name}' of model '{step.model}' is not in its input_map"
                )
        batched = model.max_batch_size > 0
        inputs = {tensor.name: tensor for tensor in model.inputs}
        _check_mapped(step.model, "input", step.inputs, inputs, batched, known)
        outputs = {tensor.name: tensor for tensor in model.outputs}
        _check_mapped(step.model, "output", step.outputs, outputs, batched, known)


def _check_mapped(
    model: str,
    kind: str,
    mapped: Mapping[str, str],
    tensors: Mapping[str, InputSettings] | Mapping[str, OutputSettings],
    batched: bool,
    known: dict[str, _Tensor],
) -> None:
    """Compare what a step takes or gives with what is known of the ensemble's tensors, and add to that."""
    for name, tensor in mapped.items():
        if name not in tensors:
            have = ", ".join(f"'{one}'" for one in tensors)
            raise ModelLoadError(f"model '{model}' has no {kind} '{name}', only {have}")
        one = tensors[name]
        dims = ((VARIABLE,) if batched else ()) + one.dims
        here = _Tensor(one.datatype, dims, f"as {kind} '{name}' of model '{model}'")
        there = known.setdefault(tensor, here)
        if there.datatype is not here.datatype:
            raise ModelLoadError(
                f"ensemble tensor '{tensor}' has datatype {there.datatype.config} {there.where}, but "
                f"{here.datatype.config} {here.where}"
            )
        if len(there.dims) != len(here.dims) or any(
            a != b and VARIABLE not in (a, b) for a, b in zip(there.dims, here.dims, strict=True)
        ):
            raise ModelLoadError(
                f"ensemble tensor '{tensor}' has shape {list(there.dims)} {there.where}, but "
                f"{list(here.dims)} {here.where} (with the batch dimension, where there is one)"
            )


def _labels(
    steps: Sequence[EnsembleStep], models: Sequence[ModelSettings]
) -> dict[str, tuple[str, ...]]:
    """Return the labels of each tensor that a step makes."""
    return {
        step.outputs[output.name]: output.labels
        for step, model in zip(steps, models, strict=True)
        for output in model.outputs
        if output.name in step.outputs
    }


def _datatype(number: int) -> DataType:
    return by_config(model_config_pb2.DataType.Name(number))
