"""Layers in other precisions: quantised by Keras, mixed policies, half and double."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from zoo.atlas.case import LayerCase, case, layer

if TYPE_CHECKING:
    import keras

IDS = {"values": "integers", "dtype": "int32"}
POLICIES = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64")


def _attending(k: ModuleType, x: keras.KerasTensor) -> object:
    return k.layers.LayerNormalization()(k.layers.MultiHeadAttention(2, 8)(x, x))


def _tied(k: ModuleType, x: keras.KerasTensor) -> object:
    """Words in and words out by one table."""
    table = k.layers.ReversibleEmbedding(20, 16)
    return table(table(x), reverse=True)


def _quantized(mode: str) -> tuple[LayerCase, ...]:
    cases = (
        layer(f"Dense[{mode}]", (64,), 8),
        layer(f"EinsumDense[{mode}]", (4, 16), "abc,cde->abde", output_shape=(None, 2, 8)),
        layer(f"Embedding[{mode}]", (5,), 20, 16).but(**IDS),
        case(f"ReversibleEmbedding[{mode},both ways]", _tied, (4,), **IDS),
        case(f"MultiHeadAttention[{mode}]", _attending, (5, 16)),
        case(
            f"Dense[{mode},mixed_bfloat16]",
            lambda k, x: k.layers.Dense(8, dtype="mixed_bfloat16")(x),
            (64,),
        ),
    )
    return tuple(each.but(quantize=mode) for each in cases)


def _in_policy(policy: str) -> tuple[LayerCase, ...]:
    # Keras has no orthogonal recurrent kernel in bfloat16.
    kernel = {"recurrent_initializer": "glorot_uniform"}
    return (
        layer(f"Dense[{policy}]", (4,), 3, dtype=policy),
        layer(f"Conv2D[{policy}]", (5, 5, 2), 3, 2, dtype=policy),
        layer(f"LSTM[{policy},glorot]", (5, 2), 3, dtype=policy, **kernel),
        case(
            f"MultiHeadAttention[{policy}]",
            lambda k, x: k.layers.MultiHeadAttention(2, 3, dtype=policy)(x, x),
            (4, 6),
        ),
        layer(f"BatchNormalization[{policy}]", (4,), dtype=policy),
    )


CASES = (
    *(each for mode in ("int8", "int4", "float8") for each in _quantized(mode)),
    *(each for policy in POLICIES for each in _in_policy(policy)),
)
