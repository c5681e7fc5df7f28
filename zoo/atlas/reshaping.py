"""Reshaping layers: reshape, permute, crop, pad, repeat."""

from zoo.atlas.case import case

CASES = (
    case("Cropping1D", lambda k, x: k.layers.Cropping1D(1)(x), (6, 2)),
    case("Cropping2D", lambda k, x: k.layers.Cropping2D(1)(x), (6, 6, 2)),
    case("Cropping3D", lambda k, x: k.layers.Cropping3D(1)(x), (5, 5, 5, 2)),
    case("CenterCrop", lambda k, x: k.layers.CenterCrop(4, 4)(x), (7, 6, 2)),
    case("CenterCrop[upscaled]", lambda k, x: k.layers.CenterCrop(9, 9)(x), (7, 6, 2)),
    case("ZeroPadding1D", lambda k, x: k.layers.ZeroPadding1D(1)(x), (6, 2)),
    case("ZeroPadding2D", lambda k, x: k.layers.ZeroPadding2D(((1, 2), (0, 1)))(x), (4, 4, 2)),
    case("ZeroPadding3D", lambda k, x: k.layers.ZeroPadding3D(1)(x), (3, 3, 3, 2)),
    case("UpSampling1D", lambda k, x: k.layers.UpSampling1D(2)(x), (5, 2)),
    case("UpSampling2D", lambda k, x: k.layers.UpSampling2D(2)(x), (4, 4, 2)),
    case(
        "UpSampling2D[bilinear]",
        lambda k, x: k.layers.UpSampling2D(2, interpolation="bilinear")(x),
        (4, 4, 2),
    ),
    case(
        "UpSampling2D[bicubic]",
        lambda k, x: k.layers.UpSampling2D(2, interpolation="bicubic")(x),
        (4, 4, 2),
    ),
    case(
        "UpSampling2D[bilinear,dyn HW]",
        lambda k, x: k.layers.UpSampling2D(3, interpolation="bilinear")(x),
        (None, None, 2),
    ),
    case(
        "UpSampling2D[bicubic,dyn HW]",
        lambda k, x: k.layers.UpSampling2D(2, interpolation="bicubic")(x),
        (None, None, 2),
        refused="fixed input size",
    ),
    case("UpSampling3D", lambda k, x: k.layers.UpSampling3D(2)(x), (3, 3, 3, 2)),
    case("Flatten", lambda k, x: k.layers.Flatten()(x), (3, 4, 2)),
    case("Flatten[dyn T]", lambda k, x: k.layers.Flatten()(x), (None, 2)),
    case(
        "Flatten[channels_first]",
        lambda k, x: k.layers.Flatten(data_format="channels_first")(x),
        (3, 4, 2),
    ),
    case(
        "Conv2D+Flatten+Dense",
        lambda k, x: k.layers.Dense(3)(k.layers.Flatten()(k.layers.Conv2D(2, 2)(x))),
        (4, 3, 2),
    ),
    case("Permute", lambda k, x: k.layers.Permute((2, 1))(x), (3, 4)),
    case("RepeatVector", lambda k, x: k.layers.RepeatVector(3)(x), (4,)),
    case("Reshape", lambda k, x: k.layers.Reshape((2, 6))(x), (3, 4)),
    case("Reshape[-1]", lambda k, x: k.layers.Reshape((-1, 2))(x), (3, 4)),
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
    case("UpSampling2D[dyn HW]", lambda k, x: k.layers.UpSampling2D(2)(x), (None, None, 2)),
    case(
        "UpSampling2D[channels_first]",
        lambda k, x: k.layers.UpSampling2D(2, data_format="channels_first")(x),
        (2, 4, 4),
    ),
    case(
        "UpSampling2D[lanczos3]",
        lambda k, x: k.layers.UpSampling2D(2, interpolation="lanczos3")(x),
        (4, 4, 2),
    ),
    case(
        "UpSampling2D[lanczos5]",
        lambda k, x: k.layers.UpSampling2D(3, interpolation="lanczos5")(x),
        (4, 4, 2),
    ),
    case("CenterCrop[dyn HW]", lambda k, x: k.layers.CenterCrop(4, 4)(x), (None, None, 2)),
    case(
        "ZeroPadding2D[channels_first]",
        lambda k, x: k.layers.ZeroPadding2D(1, data_format="channels_first")(x),
        (2, 4, 4),
    ),
    case("Cropping2D[dyn HW]", lambda k, x: k.layers.Cropping2D(1)(x), (None, None, 2)),
    case(
        "RepeatVector[then LSTM]",
        lambda k, x: k.layers.LSTM(3, return_sequences=True)(k.layers.RepeatVector(4)(x)),
        (3,),
    ),
    case("Permute[4D]", lambda k, x: k.layers.Permute((3, 1, 2))(x), (3, 4, 2)),
    case("Permute[dyn T]", lambda k, x: k.layers.Permute((2, 1))(x), (None, 3)),
    case(
        "Permute+Flatten+Dense",
        lambda k, x: k.layers.Dense(2)(k.layers.Flatten()(k.layers.Permute((2, 1))(x))),
        (3, 4),
    ),
)
