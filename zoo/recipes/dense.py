"""Dense models: every input connected with every output. One for each activation of the tutorial.

Measurements come in natural units; `Normalization`, adapted on the training split alone, scales
them inside the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.datasets.tables import CANCER, DIABETES, IRIS
from zoo.recipes.recipe import recipe
from zoo.recipes.search import log_uniform

if TYPE_CHECKING:
    import keras


@recipe(
    tutorial="Dense(8, input_dim=4, relu) → Dense(3, softmax): 4×8 = 32 connections",
    dataset=IRIS,
    task="multiclass",
    input_name="measurements",
    output_name="probabilities",
    parameters=67,
    baseline="majority",
    seed=3,
    epochs=200,
    batch_size=16,
    learning_rate=0.01,
    patience=30,
    why_not_linear="The kinds are nearly parted by planes, so that hidden units add little to learn from "
    "90 flowers, and one of 30 held-out flowers is 0.033. Thirteen other settings, compared on the "
    "validation split, gave no network that does better.",
)
def dense_iris() -> keras.Model:
    """Tell three kinds of iris apart by four measurements in centimetres.

    Reaches: accuracy >= 0.8 on 30 held-out flowers, in about 2 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((4,), name="measurements"),
            keras.layers.Normalization(),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@recipe(
    tutorial="Dense(…, relu) → Dense(1, sigmoid): binary classification",
    dataset=CANCER,
    task="binary",
    input_name="measurements",
    output_name="benign_probability",
    parameters=513,
    baseline="majority",
    seed=2,
    epochs=200,
    batch_size=32,
    learning_rate=0.003,
    patience=30,
    why_not_linear="The difference is one of 113 held-out tumours: the kinds are nearly parted by a plane. "
    "The best of five other settings on the validation split has the same accuracy here.",
)
def dense_cancer() -> keras.Model:
    """Tell benign from malignant breast tumours by thirty measurements of cell nuclei.

    Reaches: accuracy >= 0.95 on 113 held-out tumours, in about 2 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((30,), name="measurements"),
            keras.layers.Normalization(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


@recipe(
    tutorial="Dense(…, relu) → Dense(1, linear): regression",
    dataset=DIABETES,
    task="regression",
    input_name="measurements",
    output_name="progression",
    parameters=193,
    baseline="mean",
    seed=2,
    epochs=300,
    batch_size=32,
    learning_rate=0.003,
    patience=40,
    search={"units": (8, 16, 32, 64), "learning_rate": log_uniform(0.001, 0.03)},
)
def dense_diabetes(units: int = 16) -> keras.Model:
    """Predict how far diabetes progresses in a year from ten measurements in natural units.

    Reaches: mean absolute error <= 49 on 88 held-out patients, in about 2 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((10,), name="measurements"),
            keras.layers.Normalization(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(1, activation="linear"),
            # Learns the scale of the answers, so that the model speaks in natural units.
            keras.layers.Normalization(invert=True),
        ]
    )
