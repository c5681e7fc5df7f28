"""Convolutional models: Conv2D, MaxPooling2D and Flatten, on grey and RGB images.

Pixels come in the data's own range; one weightless `Rescaling` brings them to 0 to 1.
"""

from __future__ import annotations

from typing import Any

from zoo.datasets.digits import DIGITS, DIGITS_012, DIGITS_28
from zoo.datasets.photographs import PHOTOGRAPHS
from zoo.recipe import recipe


@recipe(
    tutorial="Conv2D(2,(3,3),same,relu,(8,8,1)) → MaxPooling2D((2,2)) → Conv2D(3,(2,2),same,relu) → MaxPooling2D((2,2)) → Flatten → Dense(8,relu) → Dense(3,softmax)",
    dataset=DIGITS_012,
    task="multiclass",
    input_name="image",
    output_name="probabilities",
    parameters=178,
    baseline="majority",
    seed=2,
    epochs=300,
    batch_size=16,
    learning_rate=0.005,
    patience=40,
)
def cnn_digits() -> Any:
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


@recipe(
    tutorial="Conv2D → MaxPooling2D → Conv2D → MaxPooling2D → Flatten → Dense(relu) → Dense(softmax)",
    dataset=DIGITS,
    task="multiclass",
    input_name="image",
    output_name="probabilities",
    parameters=53002,
    baseline="majority",
    seed=2,
    epochs=60,
    batch_size=16,
    learning_rate=0.001,
    patience=12,
)
def cnn_digits10() -> Any:
    """Read all ten digits with the tutorial's kinds of layers, sized to read them well.

    Reaches: accuracy >= 0.98 on 359 held-out digits, in about 6 s on two cores.
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


@recipe(
    tutorial="Conv2D(32,(5,5),valid,(28,28,1),relu) → MaxPooling2D → Flatten → Dense",
    dataset=DIGITS_28,
    task="multiclass",
    input_name="image",
    output_name="probabilities",
    parameters=46922,
    baseline="majority",
    seed=1,
    epochs=15,
    batch_size=32,
    learning_rate=0.002,
    patience=4,
)
def cnn_valid() -> Any:
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


@recipe(
    tutorial="Conv2D on (rows, columns, 3): valid and same",
    dataset=PHOTOGRAPHS,
    task="multiclass",
    input_name="image",
    output_name="probabilities",
    parameters=1978,
    baseline="majority",
    seed=2,
    epochs=20,
    batch_size=32,
    learning_rate=0.001,
    patience=5,
)
def cnn_rgb() -> Any:
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
