"""Preprocessing layers: numbers, words, sound, image sizes."""

from zoo.atlas.case import case, layer

VOCABULARY = ["a", "b", "c"]

#: What the rows are made of, for layers that look values up.
INTEGERS = {"values": "integers", "dtype": "int64"}
WORDS = {"values": "words", "dtype": "string"}

#: Nothing, several spaces of each kind, what is cleaned away, and letters that are not.
TEXTS = WORDS | {
    "words": ("a", "", "  B\ta\n\v\f\r c ", "A, b! 'C' d.", "a-b [c] É", "a\u00a0b \u2003c b b")
}

TEXT_OPTIONS: dict[str, dict[str, object]] = {
    "length": {"output_sequence_length": 3},
    "multi_hot": {"output_mode": "multi_hot"},
    "count": {"output_mode": "count"},
    "tf_idf": {"output_mode": "tf_idf", "idf_weights": [1.0, 2.0, 0.5]},
    "lower": {"standardize": "lower"},
    "strip_punctuation": {"standardize": "strip_punctuation"},
    "as it is": {"standardize": None},
    "no split": {"split": None},
}


CASES = (
    layer("Resizing[bilinear]", (6, 6, 2), 5, 9, interpolation="bilinear"),
    layer("Resizing[nearest]", (6, 6, 2), 5, 9, interpolation="nearest"),
    layer("Resizing[bicubic]", (6, 6, 2), 5, 9, interpolation="bicubic"),
    layer("Resizing[lanczos3]", (6, 6, 2), 5, 9, interpolation="lanczos3"),
    layer("Resizing[lanczos5]", (6, 6, 2), 5, 9, interpolation="lanczos5"),
    layer("Resizing[bilinear,antialias]", (6, 6, 2), 5, 9, antialias=True),
    layer("Resizing[bilinear,crop_to_aspect_ratio]", (6, 6, 2), 5, 9, crop_to_aspect_ratio=True),
    layer("Discretization", (4,), bin_boundaries=[-1.0, 0.0, 1.0]),
    layer(
        "Discretization[multi_hot]", (4,), bin_boundaries=[-1.0, 0.0, 1.0], output_mode="multi_hot"
    ),
    layer("CategoryEncoding", (4,), 6, output_mode="multi_hot").but(**INTEGERS),
    layer("CategoryEncoding[one_hot]", (1,), 6, output_mode="one_hot").but(**INTEGERS),
    layer("CategoryEncoding[count]", (4,), 6, output_mode="count").but(**INTEGERS),
    layer("IntegerLookup", (4,), vocabulary=[1, 3, 5]).but(**INTEGERS),
    layer("IntegerLookup[one_hot]", (1,), vocabulary=[1, 3, 5], output_mode="one_hot").but(
        **INTEGERS
    ),
    layer("IntegerLookup[invert]", (4,), vocabulary=[1, 3, 5], invert=True).but(
        **INTEGERS, below=4
    ),
    layer("StringLookup", (3,), vocabulary=VOCABULARY).but(**WORDS),
    layer("StringLookup[multi_hot]", (3,), vocabulary=VOCABULARY, output_mode="multi_hot").but(
        **WORDS
    ),
    layer("StringLookup[mask]", (3,), vocabulary=VOCABULARY, mask_token="").but(**WORDS),
    layer("StringLookup[invert]", (4,), vocabulary=VOCABULARY, invert=True).but(
        **INTEGERS, below=4
    ),
    layer("Hashing", (4,), 5).but(**INTEGERS, refused="StringToHashBucketFast"),
    layer("Hashing[words]", (3,), 5).but(**WORDS, refused="StringToHashBucketFast"),
    case("HashedCrossing", lambda k, x: k.layers.HashedCrossing(5)(x), (1,), (1,)).but(
        **INTEGERS, refused="SparseCross"
    ),
    layer("TextVectorization", (1,), vocabulary=VOCABULARY).but(**TEXTS),
    layer("STFTSpectrogram", (64, 1), frame_length=16, frame_step=8, fft_length=16),
    layer(
        "STFTSpectrogram[magnitude]",
        (64, 1),
        mode="magnitude",
        frame_length=16,
        frame_step=8,
        fft_length=32,
    ),
    layer(
        "MelSpectrogram",
        (256,),
        fft_length=64,
        sequence_stride=16,
        sampling_rate=1000,
        num_mel_bins=8,
        max_freq=400,
    ),
    case(
        "Pipeline",
        lambda k, x: k.layers.Pipeline([k.layers.Rescaling(0.5), k.layers.CenterCrop(4, 4)])(x),
        (6, 6, 2),
    ),
    layer("Resizing[bilinear,dyn HW]", (None, None, 2), 5, 9),
    layer("Resizing[bicubic,dyn HW]", (None, None, 2), 5, 9, interpolation="bicubic").but(
        refused="needs a fixed size"
    ),
    layer("Resizing[pad]", (6, 6, 2), 5, 9, pad_to_aspect_ratio=True),
    layer("Resizing[area]", (6, 6, 2), 5, 9, interpolation="area"),
    layer(
        "STFTSpectrogram[real]", (64, 1), mode="real", frame_length=16, frame_step=8, fft_length=16
    ),
    layer(
        "STFTSpectrogram[angle]",
        (64, 1),
        mode="angle",
        frame_length=16,
        frame_step=8,
        fft_length=16,
    ),
    layer(
        "STFTSpectrogram[log]", (64, 2), mode="log", frame_length=16, frame_step=8, fft_length=16
    ),
    layer("Discretization[one_hot]", (1,), bin_boundaries=[-1.0, 0.0, 1.0], output_mode="one_hot"),
    layer("Discretization[count]", (4,), bin_boundaries=[-1.0, 0.0, 1.0], output_mode="count"),
    *(
        layer(f"TextVectorization[{name}]", (1,), vocabulary=VOCABULARY, **options).but(**TEXTS)
        for name, options in TEXT_OPTIONS.items()
    ),
    layer("TextVectorization[ngrams]", (1,), vocabulary=VOCABULARY, ngrams=2).but(
        **TEXTS, refused="StringSplitV2"
    ),
    layer("TextVectorization[character]", (1,), vocabulary=VOCABULARY, split="character").but(
        **TEXTS, refused="UnicodeDecode"
    ),
    layer("Rescaling[uint8]", (4, 4, 3), 1 / 255).but(values="pixels", dtype="uint8"),
)
