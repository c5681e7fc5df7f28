"""What the gallery shows of a model's data: held-out rows, the answers to them, the whole series.

The answers come from the published file in onnxruntime. Data that is not installed, or is not what
the model was trained on, is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.datasets.dataset import Rows, Splits
from zoo.datasets.sunspots import SUNSPOTS
from zoo.errors import ZooError
from zoo.parity.runtimes import OnnxRuntime
from zoo.publish.versions import Manifest
from zoo.recipes.recipe import Recipe
from zoo.training.metrics import decisions
from zoo_server.repository import layout

#: Rows a page offers to try, and rows of a table that it draws.
SAMPLES, LARGE_SAMPLES, DRAWN_ROWS = 20, 10, 600

#: An image of more values than this is large.
LARGE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Held-out rows of a recipe's data, and what the published file answers, by output."""

    recipe: Recipe
    splits: Splits
    answers: Mapping[str, np.ndarray]

    @property
    def rows(self) -> Rows:
        """The test split."""
        return self.splits.test

    @property
    def truth(self) -> np.ndarray:
        """What is true of each row: a class, or a number; of a sequence, its last step."""
        y = self.rows.y
        return y if y.ndim == 1 else y.reshape(len(y), -1)[:, -1]

    @property
    def decisions(self) -> np.ndarray:
        """What the model says of each row, in the form of `truth`."""
        first = self.answers[self.recipe.output_name]
        if self.recipe.classes:
            classes: np.ndarray = decisions(self.recipe.task, first)
            return classes
        return first.reshape(len(first), -1)[:, -1]


def held_out(manifest: Manifest, recipe: Recipe) -> HeldOut | None:
    """Run the published file on the recipe's test split; None if that is not to be had.

    A step of a recurrent model is not asked: its rows are the states of sequences.
    """
    trained_on = manifest.values["data"]["name"]
    if recipe.step_of is not None or recipe.dataset.name != trained_on:
        return None
    try:
        splits = recipe.dataset.load()
    except ZooError:  # the data's package is not installed here
        return None
    run = OnnxRuntime().load(manifest.folder / layout.MODEL_FILE)
    feeds = dict(zip(recipe.inputs, splits.test.inputs, strict=True))
    return HeldOut(recipe, splits, run(feeds))


def page_data(evidence: HeldOut) -> dict[str, Any]:
    """Return the rows that a page's demonstration needs, as JSON-able values."""
    recipe, rows = evidence.recipe, evidence.rows
    if recipe.image is not None:
        return {"samples": _images(evidence)}
    if recipe.task == "forecast":
        years, counts = np.loadtxt(SUNSPOTS.files()[0], delimiter=",", skiprows=1).T
        return {"series": {"from": int(years[0]), "values": [round(float(v), 1) for v in counts]}}
    splits = (evidence.splits.train, evidence.splits.validation, rows)
    everything = np.concatenate([split.x for split in splits])
    truth = np.concatenate([split.y for split in splits])
    return {
        "features": [
            {
                "name": name,
                "low": _short(column.min()),
                "high": _short(column.max()),
                "middle": _short(np.median(column)),
            }
            for name, column in zip(recipe.dataset.features, everything.T, strict=True)
        ],
        "rows": [[_short(v) for v in row] for row in everything[:DRAWN_ROWS]],
        "truth": [_short(v) for v in truth.reshape(len(truth), -1)[:DRAWN_ROWS, 0]],
    }


def _images(evidence: HeldOut) -> list[dict[str, Any]]:
    """Return held-out images with their truth, the classes in turn."""
    rows = evidence.rows
    most = SAMPLES if rows.x[0].size <= LARGE else LARGE_SAMPLES
    by_class = [np.flatnonzero(evidence.truth == value) for value in np.unique(evidence.truth)]
    if rows.x.shape[-1] == 3:  # of photographs first the parts with something to see
        contrast = rows.x.std(axis=(1, 2, 3))
        by_class = [members[np.argsort(-contrast[members])] for members in by_class]
    turns = [members[turn] for turn in range(most) for members in by_class if turn < len(members)]
    return [
        {
            "truth": int(evidence.truth[row]),
            "inputs": {
                name: encoded(values[row])
                for name, values in zip(evidence.recipe.inputs, rows.inputs, strict=True)
            },
        }
        for row in turns[:most]
    ]


def encoded(values: np.ndarray) -> dict[str, str]:
    """Return an array as base64: `u8` where every value is a whole number to 255, else `f32`."""
    whole = values.astype(np.uint8)
    kind, content = ("u8", whole) if (whole == values).all() else ("f32", values.astype("<f4"))
    return {"type": kind, "data": base64.b64encode(content.tobytes()).decode()}


def _short(value: Any) -> float | int:
    """Return a number with the digits that float32 has, so that pages stay small."""
    number = float(f"{float(value):.6g}")
    return int(number) if number.is_integer() else number
