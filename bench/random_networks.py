"""Gives a network random weights under which its answers say something, and images to answer.

What the answers are like is measured: they are finite, differ from row to row, and hardly change when
the images do by a rounding. A network that blows rounding up can be compared with nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: For weights, images and the seeds of layers.
SEED = 11

#: What the drawn variances are divided by, until the answers say something.
DIVISORS = (0.5, 1, 2, 4, 8, 16, 32, 100)

#: The spread of Keras's answers over rows, as a share of the largest, below which they say nothing.
LEAST_SPREAD = 1e-2

#: A few roundings of float32 in every pixel, and the most that they may change of the answers: less
#: than the difference that is allowed between two runtimes.
NUDGE = 3e-7
MOST_NOISE = 5e-5


def _randomize(model: Any) -> list[tuple[Any, Any]]:
    """Draw biases, scales and statistics; return the variances, as variables with their values."""
    generator = np.random.default_rng(SEED)
    variances = []
    for weight in model.weights:
        kind = weight.path.rpartition("/")[2]
        if kind in ("bias", "beta", "moving_mean"):
            weight.assign(generator.normal(scale=0.1, size=weight.shape))
        elif kind == "gamma":
            weight.assign(generator.uniform(0.8, 1.2, size=weight.shape))
        elif kind == "moving_variance":
            variances.append((weight, generator.uniform(0.5, 1.5, size=weight.shape)))
    return variances


def settle(model: Any, images: Any) -> dict[str, float]:
    """Give the model variances under which its answers say something; return their facts.

    Statistics of real activations make a random network of a hundred layers chaotic: it blows
    rounding up. Large variances let the biases drown the images. What lies between differs by
    architecture: of DIVISORS under which the answers differ from row to row and are
    steady, the one with the smallest answers is taken.
    """
    variances = _randomize(model)
    tried = []
    for divisor in DIVISORS if variances else (1,):
        for variable, value in variances:
            variable.assign(value / divisor)
        tried.append(_facts(model, images, divisor))
    telling = [facts for facts in tried if facts["spread"] >= LEAST_SPREAD] or tried
    steady = [facts for facts in telling if facts["noise"] <= MOST_NOISE]
    # The smallest: onnxruntime's sigmoid is an approximation, and where activations are enormous its
    # error is that of the answer.
    chosen = min(steady or telling, key=lambda facts: facts["largest"])
    for variable, value in variances:
        variable.assign(value / chosen["divisor"])
    return chosen


def _facts(model: Any, images: Any, divisor: float) -> dict[str, float]:
    """Return what Keras's answers are like: their size, their spread and their uncertainty."""
    # In float64: squares of answers far from 1 leave the range of float32.
    answers = np.asarray(model(images, training=False)).astype(np.float64)
    largest = float(np.abs(answers).max())
    facts = {"divisor": float(divisor), "largest": largest, "spread": 0.0, "noise": 1.0}
    if np.isfinite(largest) and largest > 0:
        signs = np.random.default_rng(SEED).choice([-1, 1], images.shape)
        nudged = np.asarray(model(images * (1 + NUDGE * signs).astype("f4"), training=False))
        facts["spread"] = float(answers.std(axis=0).max() / largest)
        facts["noise"] = float(np.abs(nudged - answers).max() / largest)
    return facts


def informative(facts: dict[str, Any]) -> bool:
    """Tell whether a comparison with these answers means anything."""
    return bool(facts["spread"] >= LEAST_SPREAD and facts["noise"] <= MOST_NOISE)


def images_of(size: int, rows: int) -> Any:
    """Return images of a few large coloured patches each: noise alone looks alike to a network."""
    generator = np.random.default_rng(SEED)
    patches = generator.uniform(0, 255, (rows, 4, 4, 3))
    images = patches.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return (0.8 * images + 0.2 * generator.uniform(0, 255, images.shape)).astype("float32")
