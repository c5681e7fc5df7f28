"""A model's architecture: layers with shapes, parameters and connections, as plain values.

`describe` reads a built Keras model; everything else here works on what it returned, so that a
trained or published model can be shown, and drawn, without TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

Shape = tuple[int | None, ...]

#: The layer options worth showing, in the order of the tutorial's signatures.
SHOWN_OPTIONS = (
    "units",
    "filters",
    "kernel_size",
    "pool_size",
    "strides",
    "padding",
    "activation",
    "return_sequences",
    "scale",
    "invert",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of a built model; shapes carry None for the batch dimension.

    `sources` are the layers that feed it, one for each of `input_shapes`; an input has none.
    """

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    trainable: int = 0
    total: int = 0
    connections: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the layer as JSON-able values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Layer:
        """Rebuild a layer from `to_json`'s values."""
        tuples = {
            "sources": tuple(values["sources"]),
            "input_shapes": tuple(map(tuple, values["input_shapes"])),
            "output_shape": tuple(values["output_shape"]),
        }
        return cls(**{**values, **tuples})


def describe(model: Any) -> tuple[Layer, ...]:
    """Return the layers of a built Keras model, inputs first, each after those that feed it.

    Raises ValueError for a model that is not built, or a layer that is called more than once: it
    has no single shape to show. Of a recurrent cell's outputs the first is its answer, the others
    are its state.
    """
    if not model.built:
        raise ValueError(f"{model.name} is not built: give it keras.Input, or call it once")
    inputs = [
        Layer(
            name=tensor.name,
            type="InputLayer",
            input_shapes=(_shape(tensor),),
            output_shape=_shape(tensor),
        )
        for tensor in model.inputs
    ]
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    return (*inputs, *(_describe_layer(layer) for layer in layers))


def _describe_layer(layer: Any) -> Layer:
    """Describe one Keras layer."""
    try:
        inputs, output = layer.input, layer.output
    except (AttributeError, ValueError) as error:
        raise ValueError(f"layer {layer.name} is called more than once") from error
    if isinstance(output, dict) or (isinstance(output, list | tuple) and not _is_cell(layer)):
        raise ValueError(f"layer {layer.name} has several outputs")
    tensors, (output, *_) = _flat(inputs), _flat(output)
    config = layer.get_config()
    kind = type(layer).__name__
    options = {key: _plain(config[key]) for key in SHOWN_OPTIONS if key in config}
    if "strides" in options and options["strides"] in ([1, 1], options.get("pool_size")):
        del options["strides"]  # the layer's default, which the tutorial does not write either
    shape = _shape(tensors[0])
    return Layer(
        name=layer.name,
        type=kind,
        options={key: value for key, value in options.items() if value not in (None, False)},
        # Keras notes on each symbolic tensor which layer made it.
        sources=tuple(tensor._keras_history.operation.name for tensor in tensors),
        input_shapes=tuple(map(_shape, tensors)),
        output_shape=_shape(output),
        trainable=sum(prod(weight.shape) for weight in layer.trainable_weights),
        total=sum(prod(weight.shape) for weight in layer.weights),
        # The tutorial counts a Dense layer's connections: every input with every output.
        connections=int(shape[-1] or 0) * int(config["units"]) if kind == "Dense" else None,
    )


def _is_cell(layer: Any) -> bool:
    return hasattr(layer, "state_size") and type(layer).__name__.endswith("Cell")


def _flat(tensors: Any) -> list[Any]:
    if isinstance(tensors, list | tuple):
        return [tensor for each in tensors for tensor in _flat(each)]
    return [tensors]


def _shape(tensor: Any) -> Shape:
    return tuple(None if size is None else int(size) for size in tensor.shape)


def _plain(value: Any) -> Any:
    """Return a configuration value as JSON would hold it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return getattr(value, "__name__", str(value))


def shape_text(shape: Sequence[int | None]) -> str:
    """Return a shape as Keras prints it: (None, 8, 8, 1)."""
    inner = ", ".join("None" if size is None else str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def call_text(layer: Layer) -> str:
    """Return a layer as one would write it: Conv2D(filters=2, kernel_size=(3, 3), padding=same)."""
    parts = []
    for key, value in layer.options.items():
        if isinstance(value, list):
            value = "(" + ", ".join(str(item) for item in value) + ")"
        parts.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return f"{layer.type}({', '.join(parts)})"
