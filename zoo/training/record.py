"""The record of a finished training, as plain JSON values. No framework."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypedDict

from zoo.datasets.dataset import Dataset, Splits
from zoo.files import sha256
from zoo.recipes.recipe import Recipe

if TYPE_CHECKING:
    import keras


class MetricFacts(TypedDict):
    """The recipe's metric of the held-out rows."""

    name: str
    value: float
    units: str
    higher_is_better: bool


class BaselineFacts(TypedDict):
    """The same metric of an answer that is no network's."""

    name: str
    value: float


class SearchFacts(TypedDict):
    """What the settings were chosen from."""

    trials: int
    finished: int
    space: dict[str, object]
    chosen: str
    val_loss: float | None
    own_val_loss: float | None
    weights_sha256: str


class SeedFacts(TypedDict):
    """The metric of the same settings with several seeds, its mean and its deviation."""

    seeds: list[int]
    values: list[float]
    mean: float
    deviation: float


class PortFacts(TypedDict):
    """An input or output; None for a batch of any size."""

    name: str
    shape: list[int | None]
    dtype: str


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
    metric: MetricFacts
    baseline: BaselineFacts  # of a naive answer
    linear: BaselineFacts  # of a linear model trained on the same rows
    claim: Mapping[str, Any]  # the fields of zoo.recipes.claim.Claim, and `held`
    trainable: int
    total: int
    seconds: float
    versions: Mapping[str, str]
    weights_sha256: str
    inputs: list[PortFacts]
    outputs: list[PortFacts]
    layers: list[Mapping[str, Any]]  # zoo.recipes.architecture.Layer.to_json()
    warnings: list[str] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)  # changed of the recipe's own values
    workers: int = 1  # processes that shared each batch
    search: SearchFacts | None = None
    seeds: SeedFacts | None = None

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrainingRecord:
        """Read a record; raises ValueError when it is not one."""
        values = json.loads(text)
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError("not a record of this version of the zoo")
        return cls(**values)


def recipe_facts(recipe: Recipe) -> dict[str, object]:
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


def port(name: str, tensor: keras.KerasTensor) -> PortFacts:
    """Return an input or output of a Keras model under the name it is served by."""
    return {"name": name, "shape": list(tensor.shape), "dtype": str(tensor.dtype)}
