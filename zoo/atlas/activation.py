"""Activation functions, by their Keras names."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from zoo.atlas.case import LayerCase, case

if TYPE_CHECKING:
    import keras

NAMES = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]


def _activation(name: str) -> LayerCase:
    def call(k: ModuleType, x: keras.KerasTensor) -> object:
        if name == "threshold":
            return k.layers.Lambda(lambda v: k.activations.threshold(v, 0.1, 0.2))(x)
        return k.layers.Activation(getattr(k.activations, name))(x)

    return case(f"act:{name}", call, (6,))


CASES = (
    *(_activation(name) for name in NAMES),
    case(
        "act:gelu[approximate]",
        lambda k, x: k.layers.Lambda(lambda v: k.activations.gelu(v, approximate=True))(x),
        (6,),
    ),
)
