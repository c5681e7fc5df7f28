"""Asks several models the same, and says where they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from zoo.errors import UsageError
from zoo.models.model import Model, load
from zoo.models.predictions import Prediction
from zoo.table import text_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Each model's answers to the same rows.

    `scores` has each model's share of right labels, or its mean absolute error, where the right
    answers were given.
    """

    predictions: Mapping[str, Sequence[Prediction]]
    scores: Mapping[str, float]

    @property
    def agreement(self) -> float:
        """Return the share of rows to which all models say the same; values count to 1e-4."""
        rows = list(zip(*self.predictions.values(), strict=True))
        return sum(_same(row) for row in rows) / len(rows)

    def __str__(self) -> str:
        """Return one line a row, one column a model, and the scores under them."""
        names = list(self.predictions)
        rows = [
            [str(i), *map(str, row)]
            for i, row in enumerate(zip(*self.predictions.values(), strict=True))
        ]
        if self.scores:
            rows.append(["score", *(f"{self.scores[name]:.4g}" for name in names)])
        return text_table(("row", *names), rows, right="r")


def compare(
    models: Sequence[str | PathLike[str] | Model], data: Any, answers: Sequence[Any] | None = None
) -> Comparison:
    """Return what each model, loaded or by name, says of the same data.

    `data` is what each one's `predict` takes, so that an image is prepared for each as it wants it.
    `answers` are the right labels, or the right values, one a row. Raises UsageError.
    """
    loaded = [model if isinstance(model, Model) else load(model) for model in models]
    if not loaded:
        raise UsageError("give at least one model to compare")
    by_name = {model.name: model.predict(data) for model in loaded}
    if len(by_name) < len(loaded):
        raise UsageError("two models of the same name cannot be compared")
    counts = {name: len(rows) for name, rows in by_name.items()}
    if len({*counts.values(), *([len(answers)] if answers is not None else [])}) > 1:
        raise UsageError(f"the models and the answers have different numbers of rows: {counts}")
    scores = {} if answers is None else {n: _score(rows, answers) for n, rows in by_name.items()}
    return Comparison(predictions=by_name, scores=scores)


def _score(rows: Sequence[Prediction], answers: Sequence[Any]) -> float:
    if any(row.label is not None for row in rows):
        return float(np.mean([row.label == str(a) for row, a in zip(rows, answers, strict=True)]))
    return float(
        np.mean(
            [
                np.abs(row.values - np.asarray(a)).mean()
                for row, a in zip(rows, answers, strict=True)
            ]
        )
    )


def _same(row: Sequence[Prediction]) -> bool:
    first = row[0]
    if any(other.note != first.note or other.label != first.label for other in row):
        return False
    if first.note or first.label is not None:
        return True
    return all(
        other.values.shape == first.values.shape
        and np.allclose(other.values, first.values, rtol=1e-4, atol=1e-4)
        for other in row
    )
