"""The rows on which a graph is held against Keras, with Keras's answers to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.recipe import Recipe
from zoo.verify import Case

PARITY_BATCHES = (1, 7)


def parity_cases(recipe: Recipe, model: Any, held_out: Rows) -> tuple[Case, ...]:
    """Return real held-out rows and random rows of the same scale, in batches of 1 and 7.

    An open dimension, such as a length of time, takes another size in the random rows.
    """
    from zoo.fit import call

    random = np.random.default_rng(recipe.seed)
    cases = []
    for batch in PARITY_BATCHES:
        rows = len(held_out)
        chosen = np.sort(random.choice(rows, size=batch, replace=rows < batch))
        real = [x[chosen] for x in held_out.inputs]
        drawn = [
            _drawn(random, x, tensor.shape[1:], batch)
            for x, tensor in zip(held_out.inputs, model.inputs, strict=True)
        ]
        for kind, arrays in (("held-out", real), ("random", drawn)):
            answers = call(model, arrays, training=False)
            cases.append(
                Case(
                    name=f"{kind} rows, batch {batch}",
                    feeds=dict(zip(recipe.inputs, arrays, strict=True)),
                    expected=dict(zip(recipe.outputs, map(np.asarray, answers), strict=True)),
                )
            )
    return tuple(cases)


def _drawn(
    random: np.random.Generator, held_out: np.ndarray, shape: tuple[int | None, ...], batch: int
) -> np.ndarray:
    """Draw rows of the held-out rows' own mean, spread and range."""
    if None in shape:
        # One more than the data has, so that a size frozen while tracing is noticed.
        size = [
            n + 1 if wanted is None else n
            for n, wanted in zip(held_out.shape[1:], shape, strict=True)
        ]
        mean, spread, low, high = (f(held_out) for f in (np.mean, np.std, np.min, np.max))
    else:
        size = list(held_out.shape[1:])
        mean, spread, low, high = (f(held_out, axis=0) for f in (np.mean, np.std, np.min, np.max))
    rows = random.normal(mean, spread, size=(batch, *size)).clip(low, high)
    return np.ascontiguousarray(rows.astype(held_out.dtype))
