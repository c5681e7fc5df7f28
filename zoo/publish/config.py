"""Writes config.pbtxt, Triton's ModelConfig, from recipe and graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.convert.signature import BATCH
from zoo.publish.repository import LABELS_FILE
from zoo_proto import model_config_pb2
from zoo_server import datatypes

#: Rows a request may bring; the zoo's models are small, and the limit bounds a run's memory.
MAX_BATCH_SIZE = 1024


def model_config(
    name: str,
    graph: Mapping[str, Any],
    *,
    labels: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    states: Mapping[str, str] | None = None,
) -> model_config_pb2.ModelConfig:
    """Return the configuration of a graph.

    `graph` is what zoo.convert.conversion.facts says; `labels` name the first output's elements; `parameters` tells people and clients what the tensors
    mean (task, classes, units, image conventions). `states` are inputs that the server feeds with
    what the output of that name gave for the sequence's last request. Requests are joined where
    every input and output starts with `batch`.
    """
    batched = all(t["shape"][:1] == [BATCH] for t in (*graph["inputs"], *graph["outputs"]))
    config = model_config_pb2.ModelConfig(
        name=name, backend="onnxruntime", max_batch_size=MAX_BATCH_SIZE if batched else 0
    )
    hidden = states or {}
    if hidden:
        _keep_states(config, graph, hidden, batched)
    elif batched:
        config.dynamic_batching.SetInParent()
    for side, tensors, kept in (
        (config.input, graph["inputs"], set(hidden)),
        (config.output, graph["outputs"], set(hidden.values())),
    ):
        for tensor in tensors:
            if tensor["name"] not in kept:
                dims = _dims(tensor, batched)
                side.add(name=tensor["name"], data_type=_type(tensor), dims=dims)
    if labels:
        config.output[0].label_filename = LABELS_FILE
    for key, value in sorted((parameters or {}).items()):
        config.parameters[key].string_value = value
    return config


#: A sequence that is silent for this long is forgotten; a client may think between two values.
IDLE_MICROSECONDS = 60_000_000

#: Sequences that may be live at once; more wait for one of them to end.
MOST_SEQUENCES = 1024


def _keep_states(
    config: model_config_pb2.ModelConfig,
    graph: Mapping[str, Any],
    states: Mapping[str, str],
    batched: bool,
) -> None:
    """Say that the server keeps the state: zeros at first, then what the last request gave.

    A dimension that is open, such as the length of a cache that grows, is 0 at first.
    """
    sequences = config.sequence_batching
    sequences.oldest.max_candidate_sequences = MOST_SEQUENCES
    sequences.max_sequence_idle_microseconds = IDLE_MICROSECONDS
    for tensor in graph["inputs"]:
        if tensor["name"] in states:
            dims = _dims(tensor, batched)
            state = sequences.state.add(
                input_name=tensor["name"],
                output_name=states[tensor["name"]],
                data_type=_type(tensor),
                dims=dims,
            )
            state.initial_state.add(
                name="zeros",
                data_type=_type(tensor),
                dims=[max(0, size) for size in dims],
                zero_data=True,
            )


def _type(tensor: Mapping[str, Any]) -> Any:
    return model_config_pb2.DataType.Value(datatypes.by_wire(tensor["datatype"]).config)


def _dims(tensor: Mapping[str, Any], batched: bool) -> list[int]:
    """Return the dimensions without the batch; a symbol is a variable dimension."""
    return [size if isinstance(size, int) else -1 for size in tensor["shape"][batched:]]
