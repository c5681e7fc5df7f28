"""Preprocessing layers: numbers, words, sound, image sizes."""

from typing import Any

from zoo.atlas.case import LayerCase, case

WORDS = ("a", "b", "c")


def _resizing(method: str, **options: Any) -> LayerCase:
    suffix = "".join(f",{key}" for key in options)
    return case(
        f"Resizing[{method}{suffix}]",
        lambda k, x: k.layers.Resizing(5, 9, interpolation=method, **options)(x),
        (6, 6, 2),
    )


def _integers(name: str, call: Any, *shapes: Any, **options: Any) -> LayerCase:
    shapes = shapes or ((4,),)
    return case(name, call, *shapes, **({"values": "integers", "dtype": "int64"} | options))


def _words(name: str, call: Any, **options: Any) -> LayerCase:
    return case(name, call, (3,), values="words", dtype="string", **options)


CASES = (
    *map(_resizing, ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")),
    _resizing("bilinear", antialias=True),
    _resizing("bilinear", crop_to_aspect_ratio=True),
    case(
        "Discretization",
        lambda k, x: k.layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0])(x),
        (4,),
    ),
    case(
        "Discretization[multi_hot]",
        lambda k, x: k.layers.Discretization(
            bin_boundaries=[-1.0, 0.0, 1.0], output_mode="multi_hot"
        )(x),
        (4,),
    ),
    _integers(
        "CategoryEncoding", lambda k, x: k.layers.CategoryEncoding(6, output_mode="multi_hot")(x)
    ),
    _integers(
        "CategoryEncoding[one_hot]",
        lambda k, x: k.layers.CategoryEncoding(6, output_mode="one_hot")(x),
        (1,),
    ),
    _integers(
        "CategoryEncoding[count]", lambda k, x: k.layers.CategoryEncoding(6, output_mode="count")(x)
    ),
    _integers("IntegerLookup", lambda k, x: k.layers.IntegerLookup(vocabulary=[1, 3, 5])(x)),
    _integers(
        "IntegerLookup[one_hot]",
        lambda k, x: k.layers.IntegerLookup(vocabulary=[1, 3, 5], output_mode="one_hot")(x),
        (1,),
    ),
    _integers(
        "IntegerLookup[invert]",
        lambda k, x: k.layers.IntegerLookup(vocabulary=[1, 3, 5], invert=True)(x),
        below=4,
    ),
    _words("StringLookup", lambda k, x: k.layers.StringLookup(vocabulary=list(WORDS))(x)),
    _words(
        "StringLookup[multi_hot]",
        lambda k, x: k.layers.StringLookup(vocabulary=list(WORDS), output_mode="multi_hot")(x),
    ),
    _words(
        "StringLookup[mask]",
        lambda k, x: k.layers.StringLookup(vocabulary=list(WORDS), mask_token="")(x),
    ),
    _integers(
        "StringLookup[invert]",
        lambda k, x: k.layers.StringLookup(vocabulary=list(WORDS), invert=True)(x),
        below=4,
    ),
    _integers("Hashing", lambda k, x: k.layers.Hashing(5)(x), refused="StringToHashBucketFast"),
    _words("Hashing[words]", lambda k, x: k.layers.Hashing(5)(x), refused="StringToHashBucketFast"),
    _integers(
        "HashedCrossing",
        lambda k, x: k.layers.HashedCrossing(5)(x),
        (1,),
        (1,),
        refused="SparseCross",
    ),
    case(
        "TextVectorization",
        lambda k, x: k.layers.TextVectorization(vocabulary=list(WORDS))(x),
        (1,),
        values="words",
        dtype="string",
        refused="StaticRegexReplace",
    ),
    case(
        "STFTSpectrogram",
        lambda k, x: k.layers.STFTSpectrogram(frame_length=16, frame_step=8, fft_length=16)(x),
        (64, 1),
    ),
    case(
        "STFTSpectrogram[magnitude]",
        lambda k, x: k.layers.STFTSpectrogram(
            mode="magnitude", frame_length=16, frame_step=8, fft_length=32
        )(x),
        (64, 1),
    ),
    case(
        "MelSpectrogram",
        lambda k, x: k.layers.MelSpectrogram(
            fft_length=64, sequence_stride=16, sampling_rate=1000, num_mel_bins=8, max_freq=400
        )(x),
        (256,),
    ),
    case(
        "Pipeline",
        lambda k, x: k.layers.Pipeline([k.layers.Rescaling(0.5), k.layers.CenterCrop(4, 4)])(x),
        (6, 6, 2),
    ),
    case("Resizing[bilinear,dyn HW]", lambda k, x: k.layers.Resizing(5, 9)(x), (None, None, 2)),
    case(
        "Resizing[bicubic,dyn HW]",
        lambda k, x: k.layers.Resizing(5, 9, interpolation="bicubic")(x),
        (None, None, 2),
        refused="needs a fixed input size",
    ),
    case(
        "Resizing[pad]",
        lambda k, x: k.layers.Resizing(5, 9, pad_to_aspect_ratio=True)(x),
        (6, 6, 2),
    ),
    case(
        "Resizing[area]", lambda k, x: k.layers.Resizing(5, 9, interpolation="area")(x), (6, 6, 2)
    ),
    case(
        "STFTSpectrogram[real]",
        lambda k, x: k.layers.STFTSpectrogram(
            mode="real", frame_length=16, frame_step=8, fft_length=16
        )(x),
        (64, 1),
    ),
    case(
        "STFTSpectrogram[angle]",
        lambda k, x: k.layers.STFTSpectrogram(
            mode="angle", frame_length=16, frame_step=8, fft_length=16
        )(x),
        (64, 1),
    ),
    case(
        "STFTSpectrogram[log]",
        lambda k, x: k.layers.STFTSpectrogram(
            mode="log", frame_length=16, frame_step=8, fft_length=16
        )(x),
        (64, 2),
    ),
    case(
        "Discretization[one_hot]",
        lambda k, x: k.layers.Discretization(
            bin_boundaries=[-1.0, 0.0, 1.0], output_mode="one_hot"
        )(x),
        (1,),
    ),
    case(
        "Discretization[count]",
        lambda k, x: k.layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0], output_mode="count")(
            x
        ),
        (4,),
    ),
    case(
        "Rescaling[uint8]",
        lambda k, x: k.layers.Rescaling(1 / 255)(x),
        (4, 4, 3),
        values="pixels",
        dtype="uint8",
    ),
)
