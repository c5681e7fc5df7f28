"""Convolutional models: Conv2D, MaxPooling2D and Flatten, on grey and RGB images.

Pixels come in the data's own range; one weightless `Rescaling` brings them to 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoo.datasets.digits import DIGIT_PAIRS, DIGITS, DIGITS_012, DIGITS_28, DIGITS_DISTORTED
from zoo.datasets.mnist import MNIST
from zoo.datasets.photographs import PHOTOGRAPHS
from zoo.recipes.recipe import Builder, Recipe, recipe

if TYPE_CHECKING:
    import keras


def image_classifier(**settings: Any) -> Callable[[Builder], Recipe]:
    """Return the decorator of a recipe that chooses one class for an image."""
    return recipe(
        task="multiclass",
        input_name="image",
        output_name="probabilities",
        baseline="majority",
        **settings,
    )


@image_classifier(
    tutorial="Conv2D(2,(3,3),same,relu,(8,8,1)) → MaxPooling2D((2,2)) → Conv2D(3,(2,2),same,relu) → MaxPooling2D((2,2)) → Flatten → Dense(8,relu) → Dense(3,softmax)",
    dataset=DIGITS_012,
    parameters=178,
    seed=2,
    epochs=300,
    batch_size=16,
    learning_rate=0.005,
    patience=40,
    why_not_linear="Three kinds of digits are parted by planes in the space of their 64 pixels, and a linear "
    "model has 195 weights for it; this is the tutorial's stack as it stands, two filters of 3×3 first.",
)
def cnn_digits() -> keras.Model:
    """Read the digits 0, 1 and 2 with the tutorial's own stack of 178 parameters.

    Reaches: accuracy >= 0.93 on 107 held-out digits, in about 4 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Conv2D(2, (3, 3), padding="same", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(3, (2, 2), padding="same", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@image_classifier(
    tutorial="Conv2D → MaxPooling2D → Conv2D → MaxPooling2D → Flatten → Dense(relu) → Dense(softmax)",
    dataset=DIGITS_DISTORTED,
    parameters=53002,
    seed=2,
    epochs=30,
    batch_size=64,
    learning_rate=0.002,
    patience=12,
)
def cnn_digits10() -> keras.Model:
    """Read all ten digits, written or printed, with the tutorial's kinds of layers.

    Reaches: accuracy >= 0.98 on 359 held-out digits, in about 30 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Conv2D(32, (3, 3), padding="same", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(64, (3, 3), padding="same", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@image_classifier(
    tutorial="Conv2D(32,(5,5),valid,(28,28,1),relu) → MaxPooling2D → Flatten → Dense",
    dataset=DIGITS_28,
    parameters=46922,
    seed=1,
    epochs=15,
    batch_size=32,
    learning_rate=0.002,
    patience=4,
)
def cnn_valid() -> keras.Model:
    """Read digits of 28×28 pixels with the tutorial's convolution that keeps to the image.

    Reaches: accuracy >= 0.97 on 359 held-out digits, in about 6 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(32, (5, 5), padding="valid", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@image_classifier(
    tutorial="Conv2D(32,(5,5),valid,(28,28,1),relu) on MNIST itself",
    dataset=MNIST,
    parameters=113898,
    seed=1,
    epochs=5,
    batch_size=64,
    learning_rate=0.001,
    patience=4,
    backup=True,
)
def cnn_mnist() -> keras.Model:
    """Read MNIST's digits with the tutorial's convolution of 32 filters, and one of as many on it.

    Reaches: accuracy >= 0.99 on 10000 held-out digits, in about 300 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(32, (5, 5), padding="valid", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(32, (3, 3), padding="valid", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@image_classifier(
    tutorial="Conv2D on (rows, columns, 3): valid and same",
    dataset=PHOTOGRAPHS,
    parameters=1978,
    seed=2,
    epochs=20,
    batch_size=32,
    learning_rate=0.001,
    patience=5,
)
def cnn_rgb() -> keras.Model:
    """Tell which of two photographs a 32×32 RGB patch was cut from.

    Reaches: accuracy >= 0.93 on 280 held-out patches, in about 8 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, (5, 5), padding="valid", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(8, (3, 3), padding="same", activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


@image_classifier(
    tutorial="Conv2D with strides in place of pooling, BatchNormalization, GlobalAveragePooling2D",
    dataset=DIGITS,
    parameters=14458,
    seed=1,
    epochs=25,
    batch_size=32,
    learning_rate=0.005,
    patience=8,
)
def cnn_digits_bn() -> keras.Model:
    """Read all ten digits with strided, batch-normalised convolutions and an average in the end.

    Reaches: accuracy >= 0.97 on 359 held-out digits, in about 8 s on two cores.
    """
    import keras

    def convolution(filters: int, strides: int) -> list[keras.Layer]:
        return [
            # The normalisation that follows has a bias of its own.
            keras.layers.Conv2D(filters, (3, 3), strides=strides, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]

    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Rescaling(1 / 16),
            *convolution(16, 1),
            *convolution(32, 2),
            *convolution(32, 2),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@recipe(
    tutorial="two inputs and two outputs, by the functional API: layers as the tutorial's stack has them",
    dataset=DIGIT_PAIRS,
    task="binary",
    input_name="left",
    more_inputs=("right",),
    output_name="right_is_larger",
    more_outputs={"sum": "regression"},
    parameters=18946,
    baseline="majority",
    seed=1,
    epochs=30,
    batch_size=64,
    learning_rate=0.003,
    patience=8,
)
def cnn_digit_pair() -> keras.Model:
    """Tell of two digits whether the right one is larger, and what their sum is.

    Reaches: accuracy >= 0.9 on 2154 held-out pairs, in about 15 s on two cores.
    """
    import keras

    def tower(name: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        image = keras.Input((8, 8, 1), name=name)
        x = keras.layers.Rescaling(1 / 16, name=f"{name}_rescaling")(image)
        x = keras.layers.Conv2D(16, (3, 3), activation="relu", name=f"{name}_conv")(x)
        x = keras.layers.MaxPooling2D((2, 2), name=f"{name}_pool")(x)
        return image, keras.layers.Flatten(name=f"{name}_flatten")(x)

    (left, seen_left), (right, seen_right) = tower("left"), tower("right")
    both = keras.layers.Concatenate(name="both")([seen_left, seen_right])
    hidden = keras.layers.Dense(64, activation="relu", name="hidden")(both)
    larger = keras.layers.Dense(1, activation="sigmoid", name="right_is_larger")(hidden)
    scaled = keras.layers.Dense(1, name="scaled_sum")(hidden)
    total = keras.layers.Normalization(invert=True, name="sum")(scaled)
    return keras.Model([left, right], [larger, total])
