"""Normalization layers, of input data or of activations."""

from zoo.atlas.case import case, layer

CASES = (
    layer("BatchNormalization", (4,)),
    layer("BatchNormalization[4D]", (4, 4, 3)),
    case(
        "Conv2D+BatchNormalization",
        lambda k, x: k.layers.ReLU()(k.layers.BatchNormalization()(k.layers.Conv2D(3, 2)(x))),
        (5, 5, 2),
    ),
    layer("BatchNormalization[no scale]", (4,), scale=False, center=False),
    layer("LayerNormalization", (4, 3)),
    layer("LayerNormalization[axes]", (4, 3), axis=[1, 2]),
    layer("GroupNormalization", (4, 4, 4), 2),
    layer("RMSNormalization", (4,)),
    layer("UnitNormalization", (4,)),
    case(
        "SpectralNormalization",
        lambda k, x: k.layers.SpectralNormalization(k.layers.Dense(3))(x),
        (4,),
    ),
    layer("Normalization", (4,), mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 2.0, 3.0, 4.0]),
    layer("Normalization[invert]", (4,), mean=2.0, variance=3.0, axis=None, invert=True),
    layer("Rescaling", (4, 4, 3), 1 / 255).but(values="pixels"),
    layer("Rescaling[offset]", (4, 4, 3), 0.1, offset=-1.0),
    layer("BatchNormalization[axis1]", (3, 4, 4), axis=1),
    case(
        "BatchNormalization+Conv2D",
        lambda k, x: k.layers.Conv2D(2, 3, padding="same")(k.layers.BatchNormalization()(x)),
        (5, 5, 2),
    ),
    case(
        "Dense+BatchNormalization",
        lambda k, x: k.layers.BatchNormalization()(k.layers.Dense(3)(x)),
        (4,),
    ),
    layer("LayerNormalization[4D]", (4, 4, 3)),
    layer("LayerNormalization[no scale]", (4, 3), scale=False, center=False),
    layer("LayerNormalization[dyn T]", (None, 3)),
    layer("GroupNormalization[instance]", (4, 4, 4), -1),
    layer("GroupNormalization[dyn HW]", (None, None, 4), 2),
    layer("RMSNormalization[3D]", (4, 3)),
    layer("UnitNormalization[axis1]", (4, 3), axis=1),
    case(
        "SpectralNormalization[Conv2D]",
        lambda k, x: k.layers.SpectralNormalization(k.layers.Conv2D(3, 2))(x),
        (5, 5, 2),
    ),
    layer(
        "Normalization[axis]", (4, 4, 3), axis=-1, mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0]
    ),
)
