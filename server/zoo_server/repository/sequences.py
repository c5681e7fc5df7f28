"""The sequence part of config.pbtxt: control inputs, and the states that a sequence keeps.

The names and meanings are Triton's; what the graph contradicts is refused at load, not at run.
"""

import math
from collections.abc import Mapping

from zoo_proto import model_config_pb2
from zoo_server.datatypes import VARIABLE, TensorSpec, by_config
from zoo_server.errors import ModelLoadError
from zoo_server.model_config import Control, ControlKind, Sequences, State
from zoo_server.repository.ragged import batch_input_names
from zoo_server.repository.scheduling import instances_of

ModelConfig = model_config_pb2.ModelConfig

#: What one sequence may keep from one request to the next.
_MAX_STATE_BYTES = 1 << 28

_KINDS = {
    "CONTROL_SEQUENCE_START": ControlKind.START,
    "CONTROL_SEQUENCE_END": ControlKind.END,
    "CONTROL_SEQUENCE_READY": ControlKind.READY,
    "CONTROL_SEQUENCE_CORRID": ControlKind.CORRELATION_ID,
}
_VALUE_FIELDS = (
    ("int32_false_true", "TYPE_INT32"),
    ("fp32_false_true", "TYPE_FP32"),
    ("bool_false_true", "TYPE_BOOL"),
)


def hidden_tensors(config: ModelConfig) -> tuple[set[str], set[str]]:
    """Return the inputs and outputs of the graph that clients do not see."""
    sequences = config.sequence_batching
    inputs = {control.name for control in sequences.control_input}
    return (
        inputs | batch_input_names(config) | {state.input_name for state in sequences.state},
        {state.output_name for state in sequences.state},
    )


def sequence_settings(
    config: ModelConfig, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> Sequences | None:
    """Return how requests belong together; ModelLoadError where the graph says otherwise."""
    if not config.HasField("sequence_batching"):
        return None
    written = config.sequence_batching
    slots = written.oldest.max_candidate_sequences if written.HasField("oldest") else 0
    most = (slots or max(1, config.max_batch_size)) * instances_of(config)
    batched = config.max_batch_size > 0
    idle = written.max_sequence_idle_microseconds * 1000
    return Sequences(
        controls=tuple(
            _control(each.name, control, inputs, batched)
            for each in written.control_input
            for control in each.control
        ),
        states=tuple(_state(state, inputs, outputs, batched) for state in written.state),
        **({"idle_ns": idle} if idle else {}),
        most=most,
    )


def _control(
    name: str,
    control: model_config_pb2.ModelSequenceBatching.Control,
    specs: Mapping[str, TensorSpec],
    batched: bool,
) -> Control:
    kind = _KINDS[type(control).Kind.Name(control.kind)]
    spec = _graph_tensor("control input", name, specs)
    if kind is ControlKind.CORRELATION_ID:
        return Control(
            input=name, kind=kind, datatype=spec.datatype, dims=_dims_of_one(spec, batched)
        )
    for field, type_name in _VALUE_FIELDS:
        values = getattr(control, field)
        if len(values) == 2:
            if spec.datatype.config != type_name:
                raise ModelLoadError(
                    f"control input '{name}' gives {field}, but is {spec.datatype.config} in the "
                    "graph"
                )
            return Control(
                input=name,
                kind=kind,
                datatype=spec.datatype,
                dims=_dims_of_one(spec, batched),
                values=(values[0], values[1]),
            )
    raise ModelLoadError(f"control input '{name}' must give a value for false and one for true")


def _state(
    state: model_config_pb2.ModelSequenceBatching.State,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    batched: bool,
) -> State:
    before = _graph_tensor("state input", state.input_name, inputs)
    after = _graph_tensor("state output", state.output_name, outputs)
    datatype = by_config(model_config_pb2.DataType.Name(state.data_type))
    if not before.datatype is after.datatype is datatype:
        raise ModelLoadError(
            f"state '{state.input_name}' is {before.datatype.config} in the graph, its output is "
            f"{after.datatype.config}, and config.pbtxt says {datatype.config}"
        )
    dims = tuple(state.dims)
    actual = before.shape[batched:]
    if len(actual) != len(dims) or any(
        isinstance(have, int) and want not in (VARIABLE, have)
        for have, want in zip(actual, dims, strict=True)
    ):
        raise ModelLoadError(
            f"state '{state.input_name}' has shape {list(actual)} in the graph, but config.pbtxt "
            f"gives {list(dims)}"
        )
    if any(initial.data_file for initial in state.initial_state):
        raise ModelLoadError(
            f"initial_state of '{state.input_name}' names a data_file: only zero_data is served"
        )
    first = _first_dims(state)
    if math.prod(first) * (before.datatype.byte_size or 1) > _MAX_STATE_BYTES:
        raise ModelLoadError(
            f"state '{state.input_name}' of dims {list(dims)} would take more than "
            f"{_MAX_STATE_BYTES} bytes a sequence"
        )
    return State(
        input=state.input_name, output=state.output_name, datatype=before.datatype, dims=first
    )


def _first_dims(state: model_config_pb2.ModelSequenceBatching.State) -> tuple[int, ...]:
    """Return the dimensions that a state begins with: 1 for a variable one unless it is given."""
    dims = tuple(state.dims)
    if not any(initial.dims for initial in state.initial_state):
        return tuple(1 if dim == VARIABLE else dim for dim in dims)
    first = tuple(state.initial_state[0].dims)
    if len(first) != len(dims) or any(
        have < 0 or want not in (VARIABLE, have) for have, want in zip(first, dims, strict=True)
    ):
        raise ModelLoadError(
            f"initial_state of '{state.input_name}' has dims {list(first)}, and the state "
            f"{list(dims)}"
        )
    return first


def _graph_tensor(kind: str, name: str, specs: Mapping[str, TensorSpec]) -> TensorSpec:
    if name not in specs:
        raise ModelLoadError(f"{kind} '{name}' is not in the graph, which has: {', '.join(specs)}")
    return specs[name]


def _dims_of_one(spec: TensorSpec, batched: bool) -> tuple[int, ...]:
    """Return the dimensions of one element, which is what a control input takes."""
    dims = spec.shape[batched:]
    if any(isinstance(dim, int) and dim != 1 for dim in dims):
        raise ModelLoadError(
            f"control input '{spec.name}' has shape {list(spec.shape)}: one element a request is "
            "what it gets"
        )
    return (1,) * len(dims)
