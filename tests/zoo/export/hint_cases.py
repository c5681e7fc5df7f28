"""What a refusal says to do, done (test_hints.py): each case is refused first, and then exported."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.errors import ZooError
from zoo.training.framework import import_keras, seed_everything

Build = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A model that is refused with `words`, and each way of doing what they say.

    `spoil` does what the refusal finds beside the file, and `mend` undoes it before each way; an option
    `file` is the file's name.
    """

    build: Build
    words: str
    ways: Mapping[str, tuple[Build, dict[str, Any]]]
    options: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[Path], object] = lambda path: None
    mend: Callable[[Path], object] = lambda path: None


class TensorSpec:
    """Stands in for TensorFlow's, which the tests' own process does not import."""

    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape, self.dtype, self.name = shape, "float32", None


def _around(
    keras: Any, call: Callable[..., Any], *shape: int | None, dtype: str = "float32"
) -> Any:
    """A functional model of one layer; its call takes the layer, the input and `training`."""

    class Mine(keras.layers.Layer):  # type: ignore[misc, name-defined]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__(name="mine")
            self.total = self.add_weight(shape=(), name="total", trainable=False)
            self.seeds = keras.random.SeedGenerator(3)

        def call(self, x: Any, training: Any = False) -> Any:
            return call(self, x, training)

    x = keras.Input(shape, dtype=dtype)
    return keras.Model(x, Mine()(x))


def _dense(keras: Any, *, has_input: bool = False, called: bool = False) -> Any:
    layers = [keras.Input((3,)), keras.layers.Dense(2)]
    model = keras.Sequential(layers if has_input else layers[1:])
    if called:
        model(np.zeros((1, 3)))
    return model


def _wide(keras: Any, *, units: int) -> Any:
    """A layer whose weights are enough to lie outside."""
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])


def _squeezed(keras: Any, *, named: bool) -> Any:
    """How many dimensions are left depends on the batch, unless the axes are named."""
    import tensorflow as tf

    axes = [1, 3] if named else None
    layer = keras.layers.Lambda(lambda x: tf.squeeze(x, axes))
    model = keras.Sequential([keras.Input((1, 2, 1, 2)), layer])
    model(np.zeros((1, 1, 2, 1, 2)))
    return model


def _lstm(keras: Any, *, stateful: bool) -> Any:
    x = keras.Input(batch_shape=(2, 4, 3))
    return keras.Model(x, keras.layers.LSTM(2, stateful=stateful)(x))


def _noise(keras: Any, layer: Any, x: Any, training: Any, *, always: bool) -> Any:
    if not (always or training):
        return x
    return x + keras.random.uniform(keras.ops.shape(x), seed=layer.seeds)


def _noise_as_input(keras: Any) -> Any:
    x, noise = keras.Input((4,)), keras.Input((4,))
    return keras.Model([x, noise], x + noise)


def _count(layer: Any, x: Any, training: Any, *, always: bool) -> Any:
    if always or training:
        layer.total.assign_add(1.0)
    return x + layer.total


def _count_as_input(keras: Any) -> Any:
    x, before = keras.Input((4,)), keras.Input((1,), name="before")
    return keras.Model([x, before], [x + before, before + 1])


def _spaced(keras: Any) -> Any:
    """Answers only where as many numbers are counted off as a row has."""
    import tensorflow as tf

    def call(inputs: Any) -> Any:
        rows, step = inputs
        return rows + tf.range(3.0, 18.0, step[0, 0])

    inputs = [keras.Input((5,)), keras.Input((1,))]
    return keras.Model(inputs, keras.layers.Lambda(call, output_shape=(5,))(inputs))


def _text(keras: Any, *, split: bool) -> Any:
    words = ["here", "there"]
    x = keras.Input((4,) if split else (1,), dtype="string")
    if split:
        return keras.Model(x, keras.layers.StringLookup(vocabulary=words)(x))
    return keras.Model(x, keras.layers.TextVectorization(vocabulary=words, ngrams=2)(x))


def _vectorized(keras: Any, **options: Any) -> Any:
    x = keras.Input((1,), dtype="string")
    return keras.Model(x, keras.layers.TextVectorization(vocabulary=["a", "b"], **options)(x))


def _called_with_two(keras: Any, *, called: bool) -> Any:
    """A call of two arguments, of which Keras records one shape or none."""

    class Two(keras.Model):  # type: ignore[misc, name-defined]  # likewise
        def call(self, x: Any, context: Any) -> Any:
            return x + context

    model = Two()
    if called:
        model(np.ones((1, 3), np.float32), context=np.ones((1, 3), np.float32))
    return model


def _cleaned(keras: Any, pattern: str) -> Any:
    """Text that is cleaned by a regular expression."""
    import tensorflow as tf

    def clean(text: Any) -> Any:
        return tf.strings.regex_replace(text, pattern, " ")

    x = keras.Input((1,), dtype="string")
    return keras.Model(x, keras.layers.TextVectorization(vocabulary=["a"], standardize=clean)(x))


def _looked_up(keras: Any, unknown: int) -> Any:
    x = keras.Input((2,), dtype="string")
    layer = keras.layers.StringLookup(vocabulary=["a"], num_oov_indices=unknown)
    return keras.Model(x, layer(x))


def _hashed(keras: Any, *, inside: bool) -> Any:
    x = keras.Input((1,), dtype="string" if inside else "int32")
    buckets = keras.layers.Hashing(8)(x) if inside else x
    return keras.Model(x, keras.layers.Embedding(8, 2)(buckets))


def _resized(keras: Any, method: str, *shape: int | None) -> Any:
    x = keras.Input(shape)
    return keras.Model(x, keras.layers.Resizing(6, 5, interpolation=method)(x))


def _crossed(keras: Any, *, inside: bool) -> Any:
    if not inside:
        return _hashed(keras, inside=False)
    pair = [keras.Input((1,), dtype="int32"), keras.Input((1,), dtype="int32")]
    return keras.Model(pair, keras.layers.HashedCrossing(8)(pair))


def _inverse(keras: Any, *, inside: bool) -> Any:
    x = keras.Input((3,))
    return keras.Model(x, keras.layers.Dense(2)(keras.ops.erfinv(x) if inside else x))


def _noise_in_turns(keras: Any, layer: Any, x: Any, training: Any) -> Any:
    shape = keras.ops.shape(x)
    return keras.ops.fori_loop(
        0, 3, lambda _, y: y + keras.random.uniform(shape, seed=layer.seeds), x
    )


def _foreign_data(path: Path) -> None:
    path.with_name(f"{path.name}.data").write_bytes(b"mine")


def _moved_away(path: Path) -> None:
    """Move somebody's data away, and let it be what it was; what we wrote may be written over."""
    data = path.with_name(f"{path.name}.data")
    if not path.exists():
        moved = data.rename(path.with_suffix(".mine"))
        assert moved.read_bytes() == b"mine"


def _masked(keras: Any) -> Any:
    x = keras.Input((4, 3))
    return keras.Model(x, keras.layers.LSTM(2)(keras.layers.Masking()(x)))


#: What a tensor tells of itself: of arrays, the batch would be left open.
THREE = TensorSpec((3, 1, 2, 1, 2))

TWO = {"x": np.ones((2, 3)), "context": np.ones((2, 3))}

ROW = TensorSpec((None, 3))

ROWS = {"samples": np.ones((2, 3))}

MANY = {"samples": np.ones((32, 3))}

HINTS = {
    "unbuilt": Hint(
        build=_dense,
        words="give it a keras.Input, call it once, or give samples",
        ways={
            "a keras.Input": (partial(_dense, has_input=True), {}),
            "called": (partial(_dense, called=True), {}),
            "samples": (_dense, ROWS),
        },
    ),
    "a layer": Hint(
        build=lambda k: k.layers.Dense(2),
        words="make it one, keras.Sequential([keras.Input(shape), layer])",
        ways={"a model": (partial(_dense, has_input=True), {})},
    ),
    "a class": Hint(
        build=lambda k: k.Sequential,
        words="is not a keras.Model, and neither is its class: build one",
        ways={"built": (partial(_dense, has_input=True), {})},
    ),
    "rank": Hint(
        build=partial(_squeezed, named=False),
        words="name the axes of a squeeze, or fix the batch",
        ways={
            "named axes": (partial(_squeezed, named=True), {}),
            "samples": (partial(_squeezed, named=False), {"samples": np.ones((3, 1, 2, 1, 2))}),
            "signature": (partial(_squeezed, named=False), {"input_signature": [THREE]}),
        },
    ),
    "state": Hint(
        build=partial(_lstm, stateful=True),
        words="build it with stateful=False, export it as from its reset state "
        "(reset_states=True, --reset-states), or with its states as inputs and outputs",
        ways={
            "stateful=False": (partial(_lstm, stateful=False), {}),
            "reset": (partial(_lstm, stateful=True), {"reset_states": True}),
            "inputs": (partial(_lstm, stateful=True), {"states": "inputs"}),
        },
    ),
    "random": Hint(
        build=lambda k: _around(k, partial(_noise, k, always=True), 4),
        words="draw only if training, give the numbers as an input, or let the file draw numbers "
        "from 0 to 1 and normal ones (export_model's random=True)",
        ways={
            "drawn": (lambda k: _around(k, partial(_noise, k, always=True), 4), {"random": True}),
            "only if training": (lambda k: _around(k, partial(_noise, k, always=False), 4), {}),
            "an input": (_noise_as_input, {}),
        },
    ),
    "random in a loop": Hint(
        build=lambda k: _around(k, partial(_noise_in_turns, k), 4),
        options={"random": True},
        words="not every call draws as many random numbers at the same places, as in a loop: give the "
        "numbers as an input",
        ways={"an input": (_noise_as_input, {"random": True})},
    ),
    "random and states": Hint(
        build=lambda k: _around(k, partial(_noise, k, always=True), 4),
        options={"random": True, "states": "inputs"},
        words="leave states and quantize out",
        ways={
            "left out": (lambda k: _around(k, partial(_noise, k, always=True), 4), {"random": True})
        },
    ),
    "counter": Hint(
        build=lambda k: _around(k, partial(_count, always=True), 4),
        words="make it an input and an output (states='inputs', --states inputs), or write it only if training",
        ways={
            "states": (lambda k: _around(k, partial(_count, always=True), 4), {"states": "inputs"}),
            "an input and an output": (_count_as_input, {}),
            "only if training": (lambda k: _around(k, partial(_count, always=False), 4), {}),
        },
    ),
    "unanswered": Hint(
        build=_spaced,
        words="give rows that it can answer (samples, --samples)",
        ways={"samples": (_spaced, {"samples": [np.ones((2, 5)), np.full((2, 1), 3.0)]})},
    ),
    "text": Hint(
        build=partial(_text, split=False),
        words="clean and split the text before, and look its words up by a StringLookup",
        ways={"StringLookup": (partial(_text, split=True), {})},
    ),
    "regular expression": Hint(
        build=partial(_cleaned, pattern=r"\d+"),
        words="clean and split the text before, and look its words up by a StringLookup",
        ways={
            "StringLookup": (partial(_text, split=True), {}),
            "a set of characters": (partial(_cleaned, pattern="[0-9]"), {}),
        },
    ),
    "one-hot words": Hint(
        build=partial(_vectorized, output_mode="one_hot"),
        words="with output_mode='multi_hot' in the place of 'one_hot'",
        ways={"multi_hot": (partial(_vectorized, output_mode="multi_hot"), {})},
    ),
    "ragged words": Hint(
        build=partial(_vectorized, ragged=True),
        words="build the layer with ragged=False or sparse=False",
        ways={"ragged=False": (partial(_vectorized, ragged=False), {})},
    ),
    "sparse words": Hint(
        build=partial(_vectorized, output_mode="multi_hot", sparse=True),
        words="gives a sparse tensor, and ONNX has dense ones only",
        ways={"sparse=False": (partial(_vectorized, output_mode="multi_hot", sparse=False), {})},
    ),
    "never called": Hint(
        build=partial(_called_with_two, called=False),
        words="or give samples",
        ways={"samples": (partial(_called_with_two, called=False), {"samples": TWO})},
    ),
    "arguments": Hint(
        build=partial(_called_with_two, called=True),
        words="give samples (--samples) or input_signature, by the arguments' names",
        ways={
            "samples": (partial(_called_with_two, called=True), {"samples": TWO}),
            "signature": (
                partial(_called_with_two, called=True),
                {"input_signature": {"x": ROW, "context": ROW}},
            ),
        },
    ),
    "largest loss": Hint(
        build=partial(_dense, has_input=True),
        words="give --quantize too",
        options={"max_loss": 50},
        ways={
            "quantize": (
                partial(_dense, has_input=True),
                {"max_loss": 50, "quantize": "fp16", "samples": np.ones((32, 3))},
            )
        },
    ),
    "two kinds of states": Hint(
        build=partial(_lstm, stateful=True),
        words="give one of the two options",
        options={"reset_states": True, "states": "inputs"},
        ways={
            "reset": (partial(_lstm, stateful=True), {"reset_states": True}),
            "inputs": (partial(_lstm, stateful=True), {"states": "inputs"}),
        },
    ),
    "smaller variants of a state": Hint(
        build=partial(_lstm, stateful=True),
        words="leave --quantize or --states out",
        options={"states": "inputs", "quantize": "fp16", "samples": np.ones((2, 4, 3))},
        ways={"without": (partial(_lstm, stateful=True), {"states": "inputs"})},
    ),
    "unknown words": Hint(
        build=partial(_looked_up, unknown=2),
        words="or give it num_oov_indices=1, which needs no hashing",
        ways={"one": (partial(_looked_up, unknown=1), {})},
    ),
    "hashing": Hint(
        build=partial(_hashed, inside=True),
        words="hash before, and give the model the buckets",
        ways={"buckets": (partial(_hashed, inside=False), {})},
    ),
    "crossing": Hint(
        build=partial(_crossed, inside=True),
        words="cross and hash before, and give the model the buckets",
        ways={"buckets": (partial(_crossed, inside=False), {})},
    ),
    "unknown operator": Hint(
        build=partial(_inverse, inside=True),
        words="which ONNX lacks: take it out of the model; do its work before or after",
        ways={"before": (partial(_inverse, inside=False), {})},
    ),
    "bicubic": Hint(
        build=lambda k: _resized(k, "bicubic", None, None, 3),
        words="give the input a fixed height and width, or resize by bilinear or nearest",
        ways={
            "fixed": (lambda k: _resized(k, "bicubic", 8, 9, 3), {}),
            "bilinear": (lambda k: _resized(k, "bilinear", None, None, 3), {}),
            "nearest": (lambda k: _resized(k, "nearest", None, None, 3), {}),
        },
    ),
    "portable": Hint(
        build=_masked,
        words="leave --portable out",
        options={"portable": True},
        ways={"left out": (_masked, {})},
    ),
    "names": Hint(
        build=partial(_dense, has_input=True),
        words="give input_names or output_names",
        options={"input_names": ["dense"], "output_names": ["dense"]},
        ways={"named": (partial(_dense, has_input=True), {"input_names": ["a"]})},
    ),
    "signature": Hint(
        build=partial(_dense, has_input=True),
        words="give keras.InputSpec, tf.TensorSpec, a KerasTensor or a tensor",
        options={"input_signature": [123]},
        ways={
            "a specification": (partial(_dense, has_input=True), {"input_signature": [ROW]}),
            "a tensor": (partial(_dense, has_input=True), {"input_signature": [np.ones((2, 3))]}),
        },
    ),
    "pairs of states": Hint(
        build=partial(_lstm, stateful=True),
        words="must be 'inputs', or inputs with the outputs that they go on as",
        options={"states": "cache"},
        ways={
            "inputs": (partial(_lstm, stateful=True), {"states": "inputs"}),
            "pairs": (
                _count_as_input,
                {"states": "before=after", "output_names": ["sum", "after"]},
            ),
        },
    ),
    "quantize without rows": Hint(
        build=partial(_dense, has_input=True),
        words="--quantize wants rows of your own data (--samples F.npz)",
        options={"quantize": "fp16"},
        ways={"rows": (partial(_dense, has_input=True), {"quantize": "fp16"} | MANY)},
    ),
    "quantize on few rows": Hint(
        build=partial(_dense, has_input=True),
        words="--quantize wants 32 rows of --samples or more",
        options={"quantize": "fp16"} | ROWS,
        ways={"more": (partial(_dense, has_input=True), {"quantize": "fp16"} | MANY)},
    ),
    "quantize nothing": Hint(
        build=_noise_as_input,
        words="leave --quantize out",
        options={"quantize": "int8", "samples": [np.ones((32, 4)), np.ones((32, 4))]},
        ways={"left out": (_noise_as_input, {})},
    ),
    "data of another": Hint(
        build=partial(_wide, units=512),
        words="does not read it: move it away",
        options={"external_data": True},
        spoil=_foreign_data,
        mend=_moved_away,
        ways={
            "moved": (partial(_wide, units=512), {"external_data": True}),
            "and again": (partial(_wide, units=600), {"external_data": True}),
        },
    ),
    "no file": Hint(
        build=partial(_dense, has_input=True),
        words="is there and is not a file: name one, such as model.onnx",
        spoil=os.mkfifo,
        ways={"named": (partial(_dense, has_input=True), {"file": "model.onnx"})},
    ),
    "opset": Hint(
        build=partial(_dense, has_input=True),
        words="opset 3 is not one of",
        options={"opset": 3},
        ways={"the least": (partial(_dense, has_input=True), {"opset": 15})},
    ),
}


def followed(name: str, folder: Path) -> dict[str, str]:
    """Try each way; what was said to the model itself comes first."""
    hint = HINTS[name]
    said = {}
    attempts = {"refused": (hint.build, hint.options), **hint.ways}
    for way, (build, options) in attempts.items():
        seed_everything(5)
        options = dict(options)
        path = folder / options.pop("file", f"{name}.onnx")
        (hint.spoil if way == "refused" else hint.mend)(path)
        try:
            zoo.export_model(build(import_keras().keras), path, **options)
            said[way] = ""
        except ZooError as error:
            said[way] = str(error)
    return said


CASES: dict[str, Callable[[Path], Any]] = {name: partial(followed, name) for name in HINTS}
