"""A small GPT whose attention keeps keys and values in a cache (test_generation.py).

The model of one step takes a token of each row, its position and the cache, and gives logits and
the next of both; the whole model takes all tokens at once. Both are made of the same layers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.errors import ZooError
from zoo.export.from_file import FileExport, run
from zoo.export.options import ExportOptions
from zoo.training.framework import import_keras, seed_everything

LAYERS, WIDTH, HEADS, WORDS, LENGTH = 2, 32, 4, 29, 12
PAIRS = "position=next_position,cache=next_cache"

#: Tokens of three sequences, for every position that there is.
TOKENS = np.random.default_rng(1).integers(0, WORDS, (3, LENGTH)).astype("int32")


class Gpt:
    """The layers, and the two models that are made of them."""

    def __init__(self) -> None:
        self.keras = import_keras().keras
        seed_everything(4)
        layers = self.keras.layers
        self.words = layers.Embedding(WORDS, WIDTH)
        self.places = layers.Embedding(LENGTH, WIDTH)
        self.blocks = [
            (
                layers.LayerNormalization(),
                layers.Dense(3 * WIDTH),
                layers.Dense(WIDTH),
                layers.LayerNormalization(),
                layers.Dense(4 * WIDTH, activation="gelu"),
                layers.Dense(WIDTH),
            )
            for _ in range(LAYERS)
        ]
        self.last = layers.LayerNormalization()
        self.head = layers.Dense(WORDS)

    def _through(self, x: Any, attend: Callable[[int, Any], Any]) -> Any:
        for at, (before, project, join, between, wide, narrow) in enumerate(self.blocks):
            x = x + join(attend(at, project(before(x))))
            x = x + narrow(wide(between(x)))
        return self.head(self.last(x))

    def whole(self) -> Any:
        """(batch, LENGTH) tokens -> (batch, LENGTH, WORDS) logits."""
        ops = self.keras.ops
        tokens = self.keras.Input((LENGTH,), dtype="int32", name="tokens")
        places = np.arange(LENGTH)

        def attend(at: int, x: Any) -> Any:
            return _attention(ops, *_heads(ops, x), places[None, :] <= places[:, None])

        x = self.words(tokens) + self.places(places)
        return self.keras.Model(tokens, self._through(x, attend), name="gpt")

    def step(self, *, grows: bool = False) -> Any:
        """One token a row; a cache of LENGTH places, or one that grows by each token."""
        ops, keras = self.keras.ops, self.keras
        token = keras.Input((1,), dtype="int32", name="token")
        position = keras.Input((1,), dtype="int32", name="position")
        size = None if grows else LENGTH
        cache = keras.Input((LAYERS, 2, size, HEADS, WIDTH // HEADS), name="cache")
        after: list[Any] = []

        def attend(at: int, x: Any) -> Any:
            query, *new = _heads(ops, x)
            old = cache[:, at, 0], cache[:, at, 1]
            if grows:
                keys, values = (
                    ops.concatenate(both, axis=1) for both in zip(old, new, strict=True)
                )
                mask = None
            else:
                places = np.arange(LENGTH)[None]
                here = ops.reshape(ops.equal(position, places), (-1, LENGTH, 1, 1))
                keys, values = (ops.where(here, n, o) for n, o in zip(new, old, strict=True))
                mask = ops.greater_equal(position, places)[:, None, None]
            after.append(ops.stack([keys, values], axis=1))
            return _attention(ops, query, keys, values, mask)

        x = self.words(token) + self.places(position)
        logits = self._through(x, attend)
        outputs = {
            "logits": ops.squeeze(logits, 1),
            "next_position": position + 1,
            "next_cache": ops.stack(after, axis=1),
        }
        return keras.Model([token, position, cache], outputs, name="gpt_step")


def _heads(ops: Any, x: Any) -> Any:
    """(batch, time, 3 * WIDTH) -> queries, keys and values, (batch, time, HEADS, size) each."""
    split = ops.reshape(x, (-1, ops.shape(x)[1], 3, HEADS, WIDTH // HEADS))
    return split[:, :, 0], split[:, :, 1], split[:, :, 2]


def _attention(ops: Any, query: Any, keys: Any, values: Any, mask: Any) -> Any:
    scores = ops.einsum("bqhd,bkhd->bhqk", query, keys) / np.sqrt(WIDTH // HEADS)
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    mixed = ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), values)
    return ops.reshape(mixed, (-1, ops.shape(mixed)[1], WIDTH))


def published(folder: Path) -> dict[str, Any]:
    """Publish a step with a cache of each kind; return what the whole model gives."""
    gpt = Gpt()
    for name, grows in (("gpt", False), ("gpt_grows", True)):
        gpt.step(grows=grows).save(folder / f"{name}.keras")
        run(
            FileExport(
                source=str(folder / f"{name}.keras"),
                repository=str(folder / "models"),
                name=name,
                options=ExportOptions(states=PAIRS),
            )
        )
    return {"logits": np.asarray(gpt.whole()(TOKENS)).tolist()}


def refused(folder: Path) -> list[str]:
    """States that are not there, or are no state."""
    texts = []
    for states in (
        {"cache": "logits"},
        {"cache": "after"},
        {"before": "next_cache"},
        "cache",
        "cache=next_cache,position=next_cache",
    ):
        try:
            zoo.export_model(Gpt().step(), folder / "refused.onnx", states=states)
        except ZooError as error:
            texts.append(str(error))
    return texts


CASES: dict[str, Callable[[Path], Any]] = {"published": published, "refused": refused}
