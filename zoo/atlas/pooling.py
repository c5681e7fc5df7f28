"""Pooling layers: maximum and average, in windows, global, and to a fixed size."""

from zoo.atlas.case import case, layer

SHAPES = {1: (8, 3), 2: (8, 6, 3), 3: (6, 4, 6, 2)}

#: Kind of pooling -> its arguments.
KINDS: dict[str, dict[str, object]] = {
    "Adaptive{}Pooling": {"output_size": 2},
    "{}Pooling": {"pool_size": 2},
    "Global{}Pooling": {},
}

CASES = (
    *(
        layer(f"{kind.format(what)}{rank}D", shape, **options)
        for what in ("Max", "Average")
        for rank, shape in SHAPES.items()
        for kind, options in KINDS.items()
    ),
    layer("MaxPooling2D[same,s2]", (7, 6, 3), 3, strides=2, padding="same"),
    layer("AveragePooling2D[same]", (7, 6, 3), 3, strides=2, padding="same"),
    layer("MaxPooling2D[channels_first]", (3, 8, 6), data_format="channels_first"),
    layer("GlobalAveragePooling2D[keepdims]", (8, 6, 3), keepdims=True),
    layer("GlobalMaxPooling2D[channels_first]", (3, 8, 6), data_format="channels_first"),
    case(
        "GlobalAveragePooling1D[mask]",
        lambda k, x: k.layers.GlobalAveragePooling1D()(k.layers.Masking()(x)),
        (5, 3),
    ),
    layer("MaxPooling1D[same,s2]", (7, 3), 3, strides=2, padding="same"),
    layer("MaxPooling3D[same,s2]", (5, 6, 5, 2), 3, strides=2, padding="same"),
    layer("AveragePooling1D[same,s2]", (7, 3), 3, strides=2, padding="same"),
    layer("AveragePooling3D[same,s2]", (5, 6, 5, 2), 3, strides=2, padding="same"),
    layer("AveragePooling2D[channels_first]", (3, 8, 6), 2, data_format="channels_first"),
    layer("MaxPooling2D[dyn HW]", (None, None, 3), 2),
    layer("GlobalAveragePooling2D[dyn HW]", (None, None, 3)),
    layer("AdaptiveAveragePooling2D[uneven]", (8, 7, 3), (3, 5)),
    layer("AdaptiveMaxPooling2D[uneven]", (8, 7, 3), (3, 5)),
    layer("AveragePooling2D[dyn HW,same]", (None, None, 3), 2, padding="same"),
)
