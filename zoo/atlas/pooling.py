"""Pooling layers: maximum and average, in windows, global, and to a fixed size."""

from typing import Any

from zoo.atlas.case import LayerCase, case

SHAPES = {1: (8, 3), 2: (8, 6, 3), 3: (6, 4, 6, 2)}


def _cases() -> list[LayerCase]:
    """Return the same four cases for 1, 2 and 3 dimensions, each for maximum and average."""
    cases = []
    for kind in ("Max", "Average"):
        for rank, shape in SHAPES.items():
            names = f"Adaptive{kind}Pooling", f"{kind}Pooling", f"Global{kind}Pooling"
            for name, options in zip(
                names, ({"output_size": 2}, {"pool_size": 2}, {}), strict=True
            ):
                cases.append(_pool(f"{name}{rank}D", options, shape))
    return cases


def _pool(
    name: str, options: dict[str, Any], shape: tuple[int, ...], suffix: str = ""
) -> LayerCase:
    return case(name + suffix, lambda k, x: getattr(k.layers, name)(**options)(x), shape)


CASES = (
    *_cases(),
    _pool(
        "MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, (7, 6, 3), "[same,s2]"
    ),
    _pool(
        "AveragePooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, (7, 6, 3), "[same]"
    ),
    _pool("MaxPooling2D", {"data_format": "channels_first"}, (3, 8, 6), "[channels_first]"),
    _pool("GlobalAveragePooling2D", {"keepdims": True}, (8, 6, 3), "[keepdims]"),
    _pool("GlobalMaxPooling2D", {"data_format": "channels_first"}, (3, 8, 6), "[channels_first]"),
    case(
        "GlobalAveragePooling1D[mask]",
        lambda k, x: k.layers.GlobalAveragePooling1D()(k.layers.Masking()(x)),
        (5, 3),
    ),
    case(
        "MaxPooling1D[same,s2]",
        lambda k, x: k.layers.MaxPooling1D(3, strides=2, padding="same")(x),
        (7, 3),
    ),
    case(
        "MaxPooling3D[same,s2]",
        lambda k, x: k.layers.MaxPooling3D(3, strides=2, padding="same")(x),
        (5, 6, 5, 2),
    ),
    case(
        "AveragePooling1D[same,s2]",
        lambda k, x: k.layers.AveragePooling1D(3, strides=2, padding="same")(x),
        (7, 3),
    ),
    case(
        "AveragePooling3D[same,s2]",
        lambda k, x: k.layers.AveragePooling3D(3, strides=2, padding="same")(x),
        (5, 6, 5, 2),
    ),
    case(
        "AveragePooling2D[channels_first]",
        lambda k, x: k.layers.AveragePooling2D(2, data_format="channels_first")(x),
        (3, 8, 6),
    ),
    case("MaxPooling2D[dyn HW]", lambda k, x: k.layers.MaxPooling2D(2)(x), (None, None, 3)),
    case(
        "GlobalAveragePooling2D[dyn HW]",
        lambda k, x: k.layers.GlobalAveragePooling2D()(x),
        (None, None, 3),
    ),
    case(
        "AdaptiveAveragePooling2D[uneven]",
        lambda k, x: k.layers.AdaptiveAveragePooling2D((3, 5))(x),
        (8, 7, 3),
    ),
    case(
        "AdaptiveMaxPooling2D[uneven]",
        lambda k, x: k.layers.AdaptiveMaxPooling2D((3, 5))(x),
        (8, 7, 3),
    ),
    case(
        "AveragePooling2D[dyn HW,same]",
        lambda k, x: k.layers.AveragePooling2D(2, padding="same")(x),
        (None, None, 3),
    ),
)
