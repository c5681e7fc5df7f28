"""Small whole models, for faults that single layers do not show."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from zoo.atlas.case import case

if TYPE_CHECKING:
    import keras


def _cnn(k: ModuleType, x: keras.KerasTensor) -> object:
    """The tutorial's stack."""
    x = k.layers.Conv2D(2, 3, padding="same", activation="relu")(x)
    x = k.layers.MaxPooling2D()(x)
    x = k.layers.Conv2D(3, 2, padding="same", activation="relu")(x)
    x = k.layers.MaxPooling2D()(x)
    x = k.layers.Dense(8, activation="relu")(k.layers.Flatten()(x))
    return k.layers.Dense(3, activation="softmax")(x)


def _residual(k: ModuleType, x: keras.KerasTensor) -> object:
    y = k.layers.BatchNormalization()(k.layers.Conv2D(3, 3, padding="same")(x))
    return k.layers.GlobalAveragePooling2D()(k.layers.ReLU()(k.layers.Add()([x, y])))


def _two_by_two(k: ModuleType, x: keras.KerasTensor) -> object:
    joined = k.layers.Concatenate()([k.layers.Dense(4)(x[0]), k.layers.Flatten()(x[1])])
    return {"mean": k.layers.Dense(1)(joined), "kind": k.layers.Dense(3, "softmax")(joined)}


def _transformer(k: ModuleType, x: keras.KerasTensor) -> object:
    y = k.layers.MultiHeadAttention(2, 4)(x, x)
    x = k.layers.LayerNormalization()(k.layers.Add()([x, y]))
    y = k.layers.Dense(8)(k.layers.Dense(16, activation="gelu")(x))
    return k.layers.LayerNormalization()(k.layers.Add()([x, y]))


def _encoder_decoder(k: ModuleType, x: keras.KerasTensor) -> object:
    _, h, c = k.layers.LSTM(4, return_state=True)(x[0])
    return k.layers.LSTM(4, return_sequences=True)(x[1], initial_state=[h, c])


CASES = (
    case("model:cnn", _cnn, (8, 8, 1)),
    case("model:cnn[RGB]", _cnn, (8, 8, 3)),
    case("model:residual", _residual, (6, 6, 3)),
    case("model:two inputs, two outputs", _two_by_two, (4,), (3, 2)),
    case("model:input twice", lambda k, x: [x, k.layers.Identity()(x)], (4,)),
    case("model:unused input", lambda k, x: k.layers.Dense(2)(x[0]), (4,), (3,)),
    case("model:transformer", _transformer, (6, 8)),
    case("model:transformer[dyn T]", _transformer, (None, 8)),
    case("model:encoder-decoder", _encoder_decoder, (5, 2), (4, 3)),
    case(
        "model:cnn then lstm",
        lambda k, x: k.layers.LSTM(3)(k.layers.TimeDistributed(k.layers.Flatten())(x)),
        (4, 3, 2),
    ),
)
