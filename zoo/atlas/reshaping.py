"""Reshaping layers: reshape, permute, crop, pad, repeat."""

from zoo.atlas.case import case, layer

CASES = (
    layer("Cropping1D", (6, 2), 1),
    layer("Cropping2D", (6, 6, 2), 1),
    layer("Cropping3D", (5, 5, 5, 2), 1),
    layer("CenterCrop", (7, 6, 2), 4, 4),
    layer("CenterCrop[upscaled]", (7, 6, 2), 9, 9),
    layer("ZeroPadding1D", (6, 2), 1),
    layer("ZeroPadding2D", (4, 4, 2), ((1, 2), (0, 1))),
    layer("ZeroPadding3D", (3, 3, 3, 2), 1),
    layer("UpSampling1D", (5, 2), 2),
    layer("UpSampling2D", (4, 4, 2), 2),
    layer("UpSampling2D[bilinear]", (4, 4, 2), 2, interpolation="bilinear"),
    layer("UpSampling2D[bicubic]", (4, 4, 2), 2, interpolation="bicubic"),
    layer("UpSampling2D[bilinear,dyn HW]", (None, None, 2), 3, interpolation="bilinear"),
    layer("UpSampling2D[bicubic,dyn HW]", (None, None, 2), 2, interpolation="bicubic").but(
        refused="needs a fixed size"
    ),
    layer("UpSampling3D", (3, 3, 3, 2), 2),
    layer("Flatten", (3, 4, 2)),
    layer("Flatten[dyn T]", (None, 2)),
    layer("Flatten[channels_first]", (3, 4, 2), data_format="channels_first"),
    case(
        "Conv2D+Flatten+Dense",
        lambda k, x: k.layers.Dense(3)(k.layers.Flatten()(k.layers.Conv2D(2, 2)(x))),
        (4, 3, 2),
    ),
    layer("Permute", (3, 4), (2, 1)),
    layer("RepeatVector", (4,), 3),
    layer("Reshape", (3, 4), (2, 6)),
    layer("Reshape[-1]", (3, 4), (-1, 2)),
    case("TimeDistributed", lambda k, x: k.layers.TimeDistributed(k.layers.Dense(3))(x), (5, 4)),
    case(
        "TimeDistributed[Conv2D]",
        lambda k, x: k.layers.TimeDistributed(k.layers.Conv2D(2, 2))(x),
        (3, 4, 4, 2),
    ),
    case(
        "TimeDistributed[dyn T]",
        lambda k, x: k.layers.TimeDistributed(k.layers.Dense(3))(x),
        (None, 4),
    ),
    case(
        "TimeDistributed[Conv2D,dyn T]",
        lambda k, x: k.layers.TimeDistributed(k.layers.Conv2D(2, 2))(x),
        (None, 4, 4, 2),
    ),
    case(
        "TimeDistributed[Conv2D,dyn THW]",
        lambda k, x: k.layers.TimeDistributed(k.layers.Conv2D(2, 2))(x),
        (None, None, None, 2),
    ),
    layer("UpSampling2D[dyn HW]", (None, None, 2), 2),
    layer("UpSampling2D[channels_first]", (2, 4, 4), 2, data_format="channels_first"),
    layer("UpSampling2D[lanczos3]", (4, 4, 2), 2, interpolation="lanczos3"),
    layer("UpSampling2D[lanczos5]", (4, 4, 2), 3, interpolation="lanczos5"),
    layer("CenterCrop[dyn HW]", (None, None, 2), 4, 4),
    layer("ZeroPadding2D[channels_first]", (2, 4, 4), 1, data_format="channels_first"),
    layer("Cropping2D[dyn HW]", (None, None, 2), 1),
    case(
        "RepeatVector[then LSTM]",
        lambda k, x: k.layers.LSTM(3, return_sequences=True)(k.layers.RepeatVector(4)(x)),
        (3,),
    ),
    layer("Permute[4D]", (3, 4, 2), (3, 1, 2)),
    layer("Permute[dyn T]", (None, 3), (2, 1)),
    case(
        "Permute+Flatten+Dense",
        lambda k, x: k.layers.Dense(2)(k.layers.Flatten()(k.layers.Permute((2, 1))(x))),
        (3, 4),
    ),
)
