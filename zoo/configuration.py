"""The config.pbtxt of a published model: Triton's ModelConfig, filled from recipe and graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server import tensors
from zoo_proto import model_config_pb2

from zoo.publish import LABELS_FILE

#: Rows a request may bring; the zoo's models are small, and the limit bounds a run's memory.
MAX_BATCH_SIZE = 1024


def model_config(
    name: str,
    graph: Mapping[str, Any],
    *,
    labels: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
) -> model_config_pb2.ModelConfig:
    """Return the configuration of a graph whose every input and output starts with `batch`.

    `graph` is what zoo.export.facts says; `parameters` tells people and clients what the tensors
    mean (task, classes, units, image conventions).
    """
    config = model_config_pb2.ModelConfig(
        name=name, backend="onnxruntime", max_batch_size=MAX_BATCH_SIZE
    )
    config.dynamic_batching.SetInParent()
    for tensor in graph["inputs"]:
        config.input.add(name=tensor["name"], data_type=_type(tensor), dims=_dims(tensor))
    for tensor in graph["outputs"]:
        output = config.output.add(name=tensor["name"], data_type=_type(tensor), dims=_dims(tensor))
        if labels:
            output.label_filename = LABELS_FILE
    for key, value in sorted((parameters or {}).items()):
        config.parameters[key].string_value = value
    return config


def _type(tensor: Mapping[str, Any]) -> Any:
    return model_config_pb2.DataType.Value(tensors.by_wire(tensor["datatype"]).config)


def _dims(tensor: Mapping[str, Any]) -> list[int]:
    """Return the dimensions without the batch; a symbol is a variable dimension."""
    return [size if isinstance(size, int) else -1 for size in tensor["shape"][1:]]
