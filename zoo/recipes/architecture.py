"""A model's architecture: layers with shapes, parameters and connections, as plain values.

`describe` reads a built Keras model; everything else here works on what it returned, so that a
trained or published model can be shown, and drawn, without TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

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
    "merge_mode",
)

#: Where a layer's configuration keeps the one that it wraps: Bidirectional, TimeDistributed, RNN.
WRAPPED = ("layer", "cell")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of a built model; shapes carry None for the batch dimension.

    `sources` are the layers that feed it, one for each of `input_shapes`; an input has none.
    `outputs` has the shapes of those of its tensors that the model gives out, by the output's name.
    An option of the name `layer` is a layer within: its `type` and its `options`.
    """

    name: str
    type: str
    options: Mapping[str, object] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    outputs: Mapping[str, Shape] = field(default_factory=dict)
    trainable: int = 0
    total: int = 0
    connections: int | None = None

    def to_json(self) -> dict[str, object]:
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
            "outputs": {k: tuple(shape) for k, shape in values.get("outputs", {}).items()},
        }
        return cls(**{**values, **tuples})


def describe(model: keras.Model, outputs: Sequence[str]) -> tuple[Layer, ...]:
    """Return the layers of a built Keras model, inputs first, each after those that feed it.

    `outputs` names the model's outputs, in their order.
    Raises ValueError for a model that is not built, or a layer that is called more than once: it
    has no single shape to show. Of a recurrent cell's outputs the first is its answer, the others
    are its state.
    """
    if not model.built:
        raise ValueError(f"{model.name} is not built: give it keras.Input, or call it once")
    outputs_by_layer = _outputs(model, outputs)
    inputs = [
        Layer(
            name=tensor.name,
            type="InputLayer",
            input_shapes=(_shape(tensor),),
            output_shape=_shape(tensor),
            outputs=outputs_by_layer.get(tensor.name, {}),
        )
        for tensor in model.inputs
    ]
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    return (
        *inputs,
        *(_describe_layer(layer, outputs_by_layer.get(layer.name, {})) for layer in layers),
    )


def _outputs(model: keras.Model, names: Sequence[str]) -> dict[str, dict[str, Shape]]:
    """Return the shapes of the model's outputs by name, by the layers that make them."""
    shapes: dict[str, dict[str, Shape]] = {}
    for name, tensor in zip(names, model.outputs, strict=False):  # states may come after
        shapes.setdefault(_maker(tensor), {})[name] = _shape(tensor)
    return shapes


def _describe_layer(layer: keras.Layer, outputs: Mapping[str, Shape]) -> Layer:
    """Describe one Keras layer; `outputs`: its tensors that are outputs of the model."""
    try:
        inputs, output = layer.input, layer.output
    except (AttributeError, ValueError) as error:
        raise ValueError(f"layer {layer.name} is called more than once") from error
    if isinstance(output, dict) or (isinstance(output, list | tuple) and not _is_cell(layer)):
        raise ValueError(f"layer {layer.name} has several outputs")
    tensors, (output, *_) = _flat(inputs), _flat(output)
    config = layer.get_config()
    kind = type(layer).__name__
    shape = _shape(tensors[0])
    return Layer(
        name=layer.name,
        type=kind,
        options=_options(config),
        sources=tuple(map(_maker, tensors)),
        input_shapes=tuple(map(_shape, tensors)),
        output_shape=_shape(output),
        outputs=outputs,
        trainable=sum(prod(weight.shape) for weight in layer.trainable_weights),
        total=sum(prod(weight.shape) for weight in layer.weights),
        # The tutorial counts a Dense layer's connections: every input with every output.
        connections=int(shape[-1] or 0) * int(config["units"]) if kind == "Dense" else None,
    )


def _options(config: Mapping[str, Any]) -> dict[str, object]:
    """Return what is worth showing of a layer's configuration."""
    options = {key: _plain(config[key]) for key in SHOWN_OPTIONS if key in config}
    # Defaults, which the tutorial does not write either.
    if options.get("strides") in ([1, 1], options.get("pool_size")):
        options.pop("strides", None)
    if options.get("merge_mode") == "concat":
        del options["merge_mode"]
    shown = {key: value for key, value in options.items() if value not in (None, False)}
    for inner in (config[key] for key in WRAPPED if isinstance(config.get(key), Mapping)):
        layer = {"type": inner["class_name"], "options": _options(inner["config"])}
        shown = {"layer": layer, **shown}
    return shown


def _maker(tensor: Any) -> str:
    """Return the name of the layer that made a symbolic tensor; Keras notes it on each."""
    name: str = tensor._keras_history.operation.name
    return name


def _is_cell(layer: keras.Layer) -> bool:
    return hasattr(layer, "state_size") and type(layer).__name__.endswith("Cell")


def _flat(tensors: Any) -> list[keras.KerasTensor]:
    if isinstance(tensors, list | tuple):
        return [tensor for each in tensors for tensor in _flat(each)]
    return [tensors]


def _shape(tensor: keras.KerasTensor) -> Shape:
    return tuple(None if size is None else int(size) for size in tensor.shape)


def _plain(value: object) -> object:
    """Return a configuration value as JSON would hold it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping) and value.get("class_name") == "__tuple__":
        return _plain(value["items"])  # as Keras writes one in the configuration of a wrapped layer
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return getattr(value, "__name__", str(value))


def shape_text(shape: Sequence[int | None]) -> str:
    """Return a shape as Keras prints it: (None, 8, 8, 1)."""
    inner = ", ".join("None" if size is None else str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def call_text(layer: Layer) -> str:
    """Return a layer as one would write it: Conv2D(filters=2, kernel_size=(3, 3), padding=same)."""
    return _call(layer.type, layer.options)


def option_texts(options: Mapping[str, object]) -> list[str]:
    """Return a layer's options as one would write them, each its own text."""
    return [_option(key, value) for key, value in options.items()]


def _call(kind: str, options: Mapping[str, object]) -> str:
    return f"{kind}({', '.join(option_texts(options))})"


def _option(key: str, value: object) -> str:
    if isinstance(value, Mapping):
        return _call(value["type"], value["options"])
    if isinstance(value, list):
        value = "(" + ", ".join(str(item) for item in value) + ")"
    return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
