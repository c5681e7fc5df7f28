"""Normalization layers, of input data or of activations."""

from zoo.atlas.case import case

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
    case(
        "BatchNormalization[axis1]", lambda k, x: k.layers.BatchNormalization(axis=1)(x), (3, 4, 4)
    ),
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
    case("LayerNormalization[4D]", lambda k, x: k.layers.LayerNormalization()(x), (4, 4, 3)),
    case(
        "LayerNormalization[no scale]",
        lambda k, x: k.layers.LayerNormalization(scale=False, center=False)(x),
        (4, 3),
    ),
    case("LayerNormalization[dyn T]", lambda k, x: k.layers.LayerNormalization()(x), (None, 3)),
    case(
        "GroupNormalization[instance]", lambda k, x: k.layers.GroupNormalization(-1)(x), (4, 4, 4)
    ),
    case(
        "GroupNormalization[dyn HW]",
        lambda k, x: k.layers.GroupNormalization(2)(x),
        (None, None, 4),
    ),
    case("RMSNormalization[3D]", lambda k, x: k.layers.RMSNormalization()(x), (4, 3)),
    case("UnitNormalization[axis1]", lambda k, x: k.layers.UnitNormalization(axis=1)(x), (4, 3)),
    case(
        "SpectralNormalization[Conv2D]",
        lambda k, x: k.layers.SpectralNormalization(k.layers.Conv2D(3, 2))(x),
        (5, 5, 2),
    ),
    case(
        "Normalization[axis]",
        lambda k, x: k.layers.Normalization(
            axis=-1, mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0]
        )(x),
        (4, 4, 3),
    ),
)
