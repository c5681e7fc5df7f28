"""Convolutions: 1, 2 and 3 dimensions, grouped, dilated, strided, separable, transposed."""

from zoo.atlas.case import case

CASES = (
    case("Conv1D", lambda k, x: k.layers.Conv1D(3, 2)(x), (8, 2)),
    case("Conv2D", lambda k, x: k.layers.Conv2D(3, 2, activation="relu")(x), (6, 6, 2)),
    case("Conv3D", lambda k, x: k.layers.Conv3D(3, 2)(x), (5, 5, 5, 2)),
    case(
        "Conv1D[causal,dil2]",
        lambda k, x: k.layers.Conv1D(3, 2, padding="causal", dilation_rate=2)(x),
        (8, 2),
    ),
    case(
        "Conv1D[same,s2]", lambda k, x: k.layers.Conv1D(3, 2, strides=2, padding="same")(x), (9, 2)
    ),
    case("Conv1D[dyn T]", lambda k, x: k.layers.Conv1D(3, 2, padding="same")(x), (None, 2)),
    case(
        "Conv1D[channels_first]",
        lambda k, x: k.layers.Conv1D(3, 2, data_format="channels_first")(x),
        (2, 8),
    ),
    case(
        "Conv2D[same,s2]",
        lambda k, x: k.layers.Conv2D(3, 3, strides=2, padding="same")(x),
        (7, 6, 2),
    ),
    case("Conv2D[dil2]", lambda k, x: k.layers.Conv2D(3, 2, dilation_rate=2)(x), (6, 6, 2)),
    case("Conv2D[groups2]", lambda k, x: k.layers.Conv2D(4, 2, groups=2)(x), (6, 6, 4)),
    case("Conv2D[no bias]", lambda k, x: k.layers.Conv2D(4, 2, use_bias=False)(x), (6, 6, 3)),
    case(
        "Conv2D[channels_first]",
        lambda k, x: k.layers.Conv2D(3, 2, data_format="channels_first")(x),
        (2, 6, 6),
    ),
    case("Conv2D[dyn HW]", lambda k, x: k.layers.Conv2D(3, 3)(x), (None, None, 2)),
    case(
        "Conv2D[mixed_float16]",
        lambda k, x: k.layers.Conv2D(3, 2, dtype="mixed_float16")(x),
        (6, 6, 2),
    ),
    case("Conv3D[groups2]", lambda k, x: k.layers.Conv3D(4, 2, groups=2)(x), (5, 5, 5, 4)),
    case(
        "Conv3D[channels_first]",
        lambda k, x: k.layers.Conv3D(3, 2, data_format="channels_first")(x),
        (2, 5, 5, 5),
    ),
    case("Conv1D[groups2]", lambda k, x: k.layers.Conv1D(4, 2, groups=2)(x), (8, 4)),
    case("Conv1DTranspose", lambda k, x: k.layers.Conv1DTranspose(3, 2)(x), (6, 2)),
    case("Conv2DTranspose", lambda k, x: k.layers.Conv2DTranspose(3, 2)(x), (5, 5, 2)),
    case("Conv3DTranspose", lambda k, x: k.layers.Conv3DTranspose(3, 2)(x), (4, 4, 4, 2)),
    case(
        "Conv2DTranspose[same,s2]",
        lambda k, x: k.layers.Conv2DTranspose(3, 3, strides=2, padding="same")(x),
        (5, 5, 2),
    ),
    case("DepthwiseConv1D", lambda k, x: k.layers.DepthwiseConv1D(2)(x), (8, 3)),
    case("DepthwiseConv2D", lambda k, x: k.layers.DepthwiseConv2D(2)(x), (6, 6, 3)),
    case(
        "DepthwiseConv2D[mult2,s2]",
        lambda k, x: k.layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same")(x),
        (6, 6, 3),
    ),
    case("SeparableConv1D", lambda k, x: k.layers.SeparableConv1D(4, 2)(x), (8, 3)),
    case("SeparableConv2D", lambda k, x: k.layers.SeparableConv2D(4, 2)(x), (6, 6, 3)),
    case("ConvLSTM1D", lambda k, x: k.layers.ConvLSTM1D(2, 2)(x), (3, 5, 2)),
    case("ConvLSTM2D", lambda k, x: k.layers.ConvLSTM2D(2, 2)(x), (3, 5, 5, 2)),
    case("ConvLSTM3D", lambda k, x: k.layers.ConvLSTM3D(2, 2)(x), (3, 4, 4, 4, 2)),
    case(
        "ConvLSTM2D[seq]",
        lambda k, x: k.layers.ConvLSTM2D(2, 2, return_sequences=True)(x),
        (3, 5, 5, 2),
    ),
    case(
        "ConvLSTM2D[back]",
        lambda k, x: k.layers.ConvLSTM2D(2, 2, go_backwards=True)(x),
        (3, 5, 5, 2),
    ),
    case(
        "Conv2DTranspose[dil2]",
        lambda k, x: k.layers.Conv2DTranspose(3, 2, dilation_rate=2)(x),
        (5, 5, 2),
    ),
    case(
        "Conv2DTranspose[output_padding]",
        lambda k, x: k.layers.Conv2DTranspose(3, 3, strides=2, output_padding=1)(x),
        (5, 5, 2),
    ),
    case(
        "Conv1DTranspose[same,s2]",
        lambda k, x: k.layers.Conv1DTranspose(3, 3, strides=2, padding="same")(x),
        (6, 2),
    ),
    case(
        "Conv3DTranspose[same,s2]",
        lambda k, x: k.layers.Conv3DTranspose(3, 3, strides=2, padding="same")(x),
        (4, 4, 4, 2),
    ),
    case(
        "Conv2DTranspose[channels_first]",
        lambda k, x: k.layers.Conv2DTranspose(3, 2, data_format="channels_first")(x),
        (2, 5, 5),
    ),
    case(
        "Conv2DTranspose[dyn HW]",
        lambda k, x: k.layers.Conv2DTranspose(3, 3, strides=2, padding="same")(x),
        (None, None, 2),
    ),
    case(
        "DepthwiseConv2D[dil2]",
        lambda k, x: k.layers.DepthwiseConv2D(2, dilation_rate=2)(x),
        (6, 6, 3),
    ),
    case(
        "DepthwiseConv2D[channels_first]",
        lambda k, x: k.layers.DepthwiseConv2D(2, data_format="channels_first")(x),
        (3, 6, 6),
    ),
    case(
        "DepthwiseConv1D[same,s2]",
        lambda k, x: k.layers.DepthwiseConv1D(3, strides=2, padding="same", depth_multiplier=2)(x),
        (8, 3),
    ),
    case(
        "SeparableConv2D[same,s2,mult2]",
        lambda k, x: k.layers.SeparableConv2D(4, 3, strides=2, padding="same", depth_multiplier=2)(
            x
        ),
        (7, 6, 3),
    ),
    case(
        "Conv3D[same,s2]",
        lambda k, x: k.layers.Conv3D(3, 3, strides=2, padding="same")(x),
        (5, 6, 5, 2),
    ),
    case("Conv3D[dil2]", lambda k, x: k.layers.Conv3D(3, 2, dilation_rate=2)(x), (5, 5, 5, 2)),
    case(
        "Conv2D[same,s2,dyn HW]",
        lambda k, x: k.layers.Conv2D(3, 3, strides=2, padding="same")(x),
        (None, None, 2),
    ),
    case(
        "Conv2D[groups2,dyn HW]", lambda k, x: k.layers.Conv2D(4, 3, groups=2)(x), (None, None, 4)
    ),
    case("Conv2D[groups=channels]", lambda k, x: k.layers.Conv2D(4, 3, groups=4)(x), (6, 6, 4)),
    case(
        "Conv1D[groups2,dyn T]",
        lambda k, x: k.layers.Conv1D(4, 3, groups=2, padding="same")(x),
        (None, 4),
    ),
)
