"""The record of a finished training, as plain JSON values. No framework."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from zoo.datasets.dataset import Dataset, Splits
from zoo.files import sha256
from zoo.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What one training did, as written to record.json: plain JSON values all the way down.

    `recipe`, `dataset`, `metric`, `baseline`, `linear` and `claim` are the parts a model card speaks of.
    """

    name: str
    key: str
    recipe: Mapping[str, Any]
    dataset: Mapping[str, Any]
    epochs_run: int
    best_epoch: int
    metric: Mapping[str, Any]  # name, value, units, higher_is_better
    baseline: Mapping[str, Any]  # of a naive answer: name, value
    linear: Mapping[str, Any]  # of a linear model trained on the same rows: name, value
    claim: Mapping[str, Any]  # text, metric, relation, value, rows, what, seconds, held
    trainable: int
    total: int
    seconds: float
    versions: Mapping[str, str]
    weights_sha256: str
    inputs: list[Mapping[str, Any]]  # name, shape with null for the batch, dtype
    outputs: list[Mapping[str, Any]]
    layers: list[Mapping[str, Any]]  # zoo.recipes.architecture.Layer.to_json()
    warnings: list[str] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)  # changed of the recipe's own values
    workers: int = 1  # processes that shared each batch
    # What the settings were chosen from: trials, space, val_loss, own_val_loss.
    search: Mapping[str, Any] | None = None
    # Of the same settings with several seeds: seeds, values of the metric, mean, deviation.
    seeds: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrainingRecord:
        """Read a record; raises ValueError when it is not one."""
        values = json.loads(text)
        wanted = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != wanted:
            raise ValueError("not a record of this version of the zoo")
        return cls(**values)


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's settings, with its source without this machine's folders."""
    keys = (
        "tutorial",
        "task",
        "input_name",
        "output_name",
        "more_inputs",
        "more_outputs",
        "seed",
        "epochs",
        "batch_size",
        "learning_rate",
        "patience",
        "loss",
        "why_not_linear",
        "source",
        "summary",
    )
    return {key: getattr(recipe, key) for key in keys}


def dataset_facts(dataset: Dataset, splits: Splits) -> dict[str, Any]:
    """Return what a card says of the data."""
    return {
        "name": dataset.name,
        "title": dataset.title,
        "source": dataset.source,
        "licence": dataset.licence,
        "files": {file.name: sha256(file) for file in dataset.files()},
        "rows": {
            "train": len(splits.train),
            "validation": len(splits.validation),
            "test": len(splits.test),
        },
        "classes": list(dataset.classes),
        "features": list(dataset.features),
        "units": dataset.units,
        "image": asdict(dataset.image) if dataset.image else None,
    }


def port(name: str, tensor: Any) -> dict[str, Any]:
    """Return an input or output of a Keras model under the name it is served by."""
    return {"name": name, "shape": list(tensor.shape), "dtype": str(tensor.dtype)}
