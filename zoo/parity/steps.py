"""Test cases of a model whose states are inputs: the first steps of a sequence, from zeros.

Random states show that one call is right; these show that calls in a row are, as a server makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.function import reason_of
from zoo.convert.signature import Signature, Tensor
from zoo.errors import CheckFailed
from zoo.parity.answered_rows import Answered
from zoo.parity.compare import Case
from zoo.parity.keras_answers import answers

if TYPE_CHECKING:
    import keras

STEPS = 3


def first_steps(
    model: keras.Model, signature: Signature, outputs: Sequence[Tensor], answered: Answered
) -> tuple[Case, ...]:
    """Return the steps of as many sequences as `answered` has rows, each in what Keras gave before.

    Raises CheckFailed where Keras cannot begin with zeros.
    """
    feeds = dict(answered.feeds)
    inputs = {tensor.name: tensor for tensor in signature.inputs}
    befores = dict(signature.states)
    for name in befores:
        feeds[name] = zeros(inputs[name], answered.batch)
    steps: list[Case] = []
    for number in range(1, STEPS + 1):
        try:
            expected = answers(model, signature, outputs, feeds)
        except Exception as error:  # Keras refuses rows by whatever its backend raises
            raise CheckFailed(
                f"step {number} of a sequence that begins with zeros: {reason_of(error)}"
            ) from error
        name = f"step {number} of {answered.batch} sequences"
        steps.append(Case(name=name, feeds=dict(feeds), expected=expected))
        feeds |= {before: expected[after] for before, after in befores.items()}
        for name in set(feeds) - set(befores):  # other rows for each sequence
            feeds[name] = np.roll(feeds[name], 1, axis=0) if feeds[name].ndim else feeds[name]
    return tuple(steps)


def zeros(tensor: Tensor, batch: int) -> np.ndarray:
    """Return the state that a sequence begins with: an open dimension after the batch is empty."""
    sizes = [size or 0 for size in tensor.shape]
    if tensor.shape and tensor.shape[0] is None:
        sizes[0] = batch
    return np.zeros(sizes, tensor.dtype)
