"""LSTM models: the next value of a series, from its last five, once and at every step.

Counts come as they are; `Normalization` scales them inside the model, and inverted at the end it
gives the forecast back in sunspots.
"""

from __future__ import annotations

from typing import Any

from zoo.datasets.sunspots import SUNSPOTS, SUNSPOTS_SEQUENCE
from zoo.recipe import recipe


@recipe(
    tutorial="LSTM(3, input_dim=1, input_length=5) → Dense(1)",
    dataset=SUNSPOTS,
    task="forecast",
    input_name="years",
    output_name="forecast",
    parameters=64,
    baseline="last_value",
    seed=2,
    epochs=300,
    batch_size=16,
    learning_rate=0.02,
    patience=60,
)
def lstm_sunspots() -> Any:
    """Forecast next year's sunspots from the last five years.

    Reaches: mean absolute error <= 20 on 54 held-out windows, in about 4 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((5, 1), name="years"),
            keras.layers.Normalization(),
            keras.layers.LSTM(3),
            keras.layers.Dense(1),
            keras.layers.Normalization(invert=True),
        ]
    )


@recipe(
    tutorial="LSTM(3, input_dim=1, input_length=5, return_sequences=True) → Dense(1)",
    dataset=SUNSPOTS_SEQUENCE,
    task="forecast",
    input_name="years",
    output_name="forecast",
    parameters=64,
    baseline="last_value",
    seed=3,
    epochs=300,
    batch_size=16,
    learning_rate=0.02,
    patience=60,
    loss="mean_absolute_error",
)
def lstm_sunspots_sequence() -> Any:
    """Forecast the next year's sunspots after each of five years.

    Reaches: mean absolute error <= 22 on 54 held-out windows, in about 4 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((5, 1), name="years"),
            keras.layers.Normalization(),
            keras.layers.LSTM(3, return_sequences=True),
            keras.layers.Dense(1),
            keras.layers.Normalization(invert=True),
        ]
    )
