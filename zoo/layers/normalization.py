"""Normalizations, of the data or of what flows between layers."""

from zoo.layers.case import case

CASES = (
    case("BatchNormalization", lambda k, x: k.layers.BatchNormalization()(x), (4,)),
    case("BatchNormalization[4D]", lambda k, x: k.layers.BatchNormalization()(x), (4, 4, 3)),
    case(
        "Conv2D+BatchNormalization",
        lambda k, x: k.layers.ReLU()(k.layers.BatchNormalization()(k.layers.Conv2D(3, 2)(x))),
        (5, 5, 2),
    ),
    case(
        "BatchNormalization[no scale]",
        lambda k, x: k.layers.BatchNormalization(scale=False, center=False)(x),
        (4,),
    ),
    case("LayerNormalization", lambda k, x: k.layers.LayerNormalization()(x), (4, 3)),
    case(
        "LayerNormalization[axes]", lambda k, x: k.layers.LayerNormalization(axis=[1, 2])(x), (4, 3)
    ),
    case("GroupNormalization", lambda k, x: k.layers.GroupNormalization(2)(x), (4, 4, 4)),
    case("RMSNormalization", lambda k, x: k.layers.RMSNormalization()(x), (4,)),
    case("UnitNormalization", lambda k, x: k.layers.UnitNormalization()(x), (4,)),
    case(
        "SpectralNormalization",
        lambda k, x: k.layers.SpectralNormalization(k.layers.Dense(3))(x),
        (4,),
    ),
    case(
        "Normalization",
        lambda k, x: k.layers.Normalization(
            mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 2.0, 3.0, 4.0]
        )(x),
        (4,),
    ),
    case(
        "Normalization[invert]",
        lambda k, x: k.layers.Normalization(mean=2.0, variance=3.0, axis=None, invert=True)(x),
        (4,),
    ),
    case("Rescaling", lambda k, x: k.layers.Rescaling(1 / 255)(x), (4, 4, 3), values="pixels"),
    case("Rescaling[offset]", lambda k, x: k.layers.Rescaling(0.1, offset=-1.0)(x), (4, 4, 3)),
)
