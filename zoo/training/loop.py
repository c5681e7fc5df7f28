"""The training loop: an epoch is one compiled function, not one call a step.

Keras's `fit` spends some 80 ms an epoch on models that compute for a few; here TensorFlow loops
over the steps itself. Shuffles come from (seed, epoch), so an epoch does not depend on how the
process that runs it got there, and a resumed training ends where an uninterrupted one would.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.datasets.dataset import Rows, Splits
from zoo.errors import CheckFailed, RecipeError
from zoo.files import atomic_write
from zoo.recipes.recipe import Recipe
from zoo.training.framework import import_keras
from zoo.training.workers import Workers

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike
    from tensorflow import Tensor

ALONE = Workers()

#: Called after each epoch with (epoch from 1, epochs at most, loss, validation loss).
Progress = Callable[[int, int, float, float], None]

#: Rows evaluated at once: bounds the memory of a convolution over a large validation split.
EVALUATION_ROWS = 512

#: Added to the epoch when shuffling, so that no recipe's seed doubles as its first shuffle.
SHUFFLE_STREAM = 0x5EED


@dataclass(slots=True)
class History:
    """Losses by epoch, in the loss's own unit, and where the validation loss was best."""

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """Return the epoch, from 1, whose weights are kept: the first of the lowest."""
        return int(np.argmin(self.val_loss)) + 1 if self.val_loss else 0

    def is_over(self, recipe: Recipe) -> bool:
        """Tell whether the epochs are used up or patience has run out."""
        done = len(self.loss)
        return done >= recipe.epochs or done - self.best_epoch >= recipe.patience


def prepare(recipe: Recipe, model: keras.Model, train: Rows) -> None:
    """Adapt the model's Normalization layers on the training split alone.

    A layer that inverts is one of the model's outputs and learns the scale of that one's answers;
    any other stands right behind an input. Raises RecipeError for one that is neither.
    """
    keras = import_keras().keras
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Normalization):
            continue
        tensor = layer.output if layer.invert else layer.input
        tensors = model.outputs if layer.invert else model.inputs
        arrays = train.answers if layer.invert else train.inputs
        matching = [array for t, array in zip(tensors, arrays, strict=True) if t is tensor]
        if not matching:
            place = "is not an output" if layer.invert else "does not stand right behind an input"
            raise RecipeError(f"{recipe.where}: {layer.name} {place}, so nothing says its scale")
        layer.adapt(matching[0])


def fit(
    recipe: Recipe,
    model: keras.Model,
    splits: Splits,
    *,
    state: Path | None = None,
    progress: Progress | None = None,
    workers: Workers = ALONE,
) -> History:
    """Train a prepared model and leave it with its best weights by validation loss.

    With `state`, each epoch is saved there and a later call goes on from it; of several workers the
    chief alone has one. Raises CheckFailed.
    """
    keras = import_keras().keras
    with workers.scope():
        optimizer = keras.optimizers.Adam(recipe.learning_rate)
        optimizer.build(model.trainable_variables)
    history, best = History(), model.get_weights()
    saved = state.read_bytes() if state is not None and state.is_file() else b""
    if saved := workers.from_chief(saved):
        history, best = _load_state(saved, model, optimizer)
    run_epoch = _epoch_function(recipe, model, optimizer, splits, workers)
    while not history.is_over(recipe):
        epoch = len(history.loss)
        rng = np.random.default_rng([recipe.seed, SHUFFLE_STREAM, epoch])
        order = rng.permutation(len(splits.train)).astype(np.int32)
        loss, val_loss = (float(value) for value in run_epoch(order))
        if not (math.isfinite(loss) and math.isfinite(val_loss)):
            raise CheckFailed(
                f"{recipe.where}: the loss is {loss} and the validation loss {val_loss} in epoch "
                f"{epoch + 1}: lower learning_rate={recipe.learning_rate}, or scale the inputs"
            )
        history.loss.append(loss)
        history.val_loss.append(val_loss)
        if history.best_epoch == epoch + 1:
            best = model.get_weights()
        if state is not None:
            _save_state(state, history, best, model, optimizer)
        if progress is not None:
            progress(epoch + 1, recipe.epochs, loss, val_loss)
    model.set_weights(best)
    return history


def _epoch_function(
    recipe: Recipe, model: keras.Model, optimizer: keras.Optimizer, splits: Splits, workers: Workers
) -> Callable[[np.ndarray], tuple[Tensor, Tensor]]:
    """Return a function from an order of the training rows to (loss, validation loss)."""
    framework = import_keras()
    tf = framework.tf
    losses = [framework.keras.losses.get(name) for name in recipe.losses]
    own = slice(workers.index, None, workers.count)  # one worker's share of rows
    xs, ys = _constants(recipe, splits.train)
    val_xs, val_ys = _constants(recipe, splits.validation, own)
    rows, val_rows, step = len(splits.train), len(splits.validation), recipe.batch_size
    own_val_rows = len(range(val_rows)[own])

    def loss_of(answers: list[Tensor], outputs: list[Tensor]) -> Tensor:
        # keras.losses.get gives the loss of each row; the mean over a smaller last batch weighs
        # its rows as Keras does.
        return tf.add_n(
            [tf.reduce_mean(f(a, g)) for f, a, g in zip(losses, answers, outputs, strict=True)]
        )

    def train_step(whole: Tensor) -> Tensor:
        """Train on a batch, or this worker's share of it; returns its part of the sum of losses."""
        chosen = whole[own]
        with tf.GradientTape() as tape:
            outputs = call(model, [tf.gather(x, chosen) for x in xs], training=True)
            loss = loss_of([tf.gather(y, chosen) for y in ys], outputs)
            loss += tf.add_n(model.losses) if model.losses else 0.0
            if workers.count > 1:  # the gradients of all are summed
                loss *= tf.cast(tf.size(chosen) / tf.size(whole), tf.float32)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss * tf.cast(tf.shape(whole)[0], tf.float32)

    @tf.function  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def run(order: Tensor) -> tuple[Tensor, Tensor]:
        total = tf.constant(0.0)
        for begin in tf.range(0, rows, step):
            # The last batch may be smaller.
            total += workers.run(train_step, order[begin : begin + step])
        val_total = tf.constant(0.0)
        for begin in tf.range(0, own_val_rows, EVALUATION_ROWS):
            end = begin + EVALUATION_ROWS
            outputs = call(model, [x[begin:end] for x in val_xs], training=False)
            loss = loss_of([y[begin:end] for y in val_ys], outputs)
            val_total += loss * tf.cast(tf.shape(outputs[0])[0], tf.float32)
        return workers.sum(total) / rows, workers.sum(val_total) / val_rows

    return lambda order: run(tf.constant(order))


def _constants(
    recipe: Recipe, rows: Rows, own: slice = slice(None)
) -> tuple[list[Tensor], list[Tensor]]:
    """Return a split's inputs and answers, or these rows of them, as TensorFlow constants."""
    tf = import_keras().tf
    answers = targets(recipe, rows)
    return [tf.constant(x[own]) for x in rows.inputs], [tf.constant(y[own]) for y in answers]


def call(model: keras.Model, inputs: Sequence[ArrayLike], *, training: bool) -> list[Tensor]:
    """Call a model with its inputs in order; returns its outputs in order."""
    outputs = model(inputs[0] if len(inputs) == 1 else list(inputs), training=training)
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def targets(recipe: Recipe, rows: Rows) -> list[np.ndarray]:
    """Return answers as the losses want them: a binary label as the one unit's float `(rows, 1)`."""
    return [
        y.astype(np.float32)[:, None] if task == "binary" else y
        for task, y in zip(recipe.tasks, rows.answers, strict=True)
    ]


def predict(model: keras.Model, rows: Rows) -> list[np.ndarray]:
    """Return the model's outputs for a split, in order, a bounded number of rows at a time."""
    parts = [
        call(model, [x[begin : begin + EVALUATION_ROWS] for x in rows.inputs], training=False)
        for begin in range(0, len(rows), EVALUATION_ROWS)
    ]
    return [
        np.concatenate([np.asarray(part) for part in output]) for output in zip(*parts, strict=True)
    ]


def _save_state(
    path: Path,
    history: History,
    best: list[np.ndarray],
    model: keras.Model,
    optimizer: keras.Optimizer,
) -> None:
    """Write everything the next epoch depends on, whole or not at all."""
    arrays = {f"best_{i}": value for i, value in enumerate(best)}
    arrays |= {f"model_{i}": np.asarray(v) for i, v in enumerate(model.variables)}
    arrays |= {f"optimizer_{i}": np.asarray(v) for i, v in enumerate(optimizer.variables)}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, loss=history.loss, val_loss=history.val_loss, **arrays)
    atomic_write(path, content.getvalue())


def _load_state(
    content: bytes, model: keras.Model, optimizer: keras.Optimizer
) -> tuple[History, list[np.ndarray]]:
    """Put back what `_save_state` wrote; returns the history so far and the best weights."""
    with np.load(io.BytesIO(content)) as state:
        for prefix, variables in (("model", model.variables), ("optimizer", optimizer.variables)):
            for i, variable in enumerate(variables):
                variable.assign(state[f"{prefix}_{i}"])
        best = [state[f"best_{i}"] for i in range(len(model.weights))]
        history = History(state["loss"].tolist(), state["val_loss"].tolist())
    return history, best
