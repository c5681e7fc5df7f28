"""A model's properties: what its inputs and outputs mean, data, metric, recipe. No framework.

parameters   in config.pbtxt: what a client needs
properties   in every ONNX file's metadata_props: that, and where the model comes from
documents    one sentence for each input and output
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.recipes.recipe import Recipe
from zoo.training.record import TrainingRecord
from zoo.training.seeds import over_seeds_text
from zoo_server.version import VERSION

if TYPE_CHECKING:
    import keras

#: Layers that bring raw values into the range that a network works in.
SCALING = ("Normalization", "Rescaling")


def stable_name(model: keras.Model) -> str:
    """Return a Keras model's name without the number that Keras appends to its own choices.

    That one counts the models of the process, and the same model must make the same bytes.
    """
    stem: str = re.sub(r"_\d+$", "", model.name)
    chosen = stem.replace("_", "") != type(model).__name__.lower()
    return str(model.name) if chosen else stem


def parameters(recipe: Recipe) -> dict[str, str]:
    """Return what a client needs to know to ask the model and to read its answer."""
    values = {
        "task": recipe.task,
        "description": recipe.summary,
        "classes": ",".join(recipe.classes),
        "units": recipe.units,
        "features": ",".join(recipe.dataset.features),
    }
    if recipe.image is not None:
        values["image"] = recipe.image.to_text()
    return {key: value for key, value in values.items() if value}


def properties(
    recipe: Recipe, record: TrainingRecord, held_out: Sequence[np.ndarray]
) -> dict[str, str]:
    """Return what a file of a trained recipe says of itself; the same for each of its variants."""
    metric, data = record.metric, record.dataset
    # Without the line number in it: a line added above must not make other bytes.
    source = recipe.source.rpartition(":")[0]
    values = {
        "name": recipe.name,
        **parameters(recipe),
        # Where a file runs alone; a server has them from config.pbtxt.
        "states": states_text(recipe.state_tensors.items()),
        "preprocessing": preprocessing(recipe, record),
        "held_out_range": ", ".join(
            f"{name} {rows.min():g} to {rows.max():g}"
            for name, rows in zip(recipe.inputs, held_out, strict=True)
        ),
        "data": str(data["title"]),
        "data_source": str(data["source"]),
        "data_licence": str(data["licence"]),
        "metric": str(metric["name"]),
        "metric_value": f"{metric['value']:.6g}",
        "metric_units": str(metric["units"]),
        # A file that says more is another version: the card of a published one never changes.
        "metric_over_seeds": over_seeds_text(record.seeds),
        "metric_rows": f"{data['rows']['test']} held out",
        "recipe": f"{recipe.name} in {source}",
        "seed": str(recipe.seed),
        "weights_sha256": record.weights_sha256,
        "layer_zoo_version": VERSION,
    }
    return {key: value for key, value in values.items() if value}


def states_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the property of a file that says which input is which output in the next call."""
    return ",".join(f"{before}={after}" for before, after in pairs)


def preprocessing(recipe: Recipe, record: TrainingRecord) -> str:
    """Say what becomes of a picture, and whether values must be prepared before they are sent.

    States are never sent as data.
    """
    picture = f"of a picture: {recipe.image.sentence}; of values: " if recipe.image else ""
    return picture + _scaling(recipe, record)


def _scaling(recipe: Recipe, record: TrainingRecord) -> str:
    """Say whether the graph scales what it is given."""
    inputs = {layer["name"] for layer in record.layers if layer["type"] == "InputLayer"}
    inputs -= set(recipe.state_tensors)
    first = [layer for layer in record.layers if inputs & set(layer["sources"])]
    if first and all(layer["type"] in SCALING for layer in first):
        kinds = sorted({str(layer["type"]) for layer in first})
        return f"none: raw values go in, and the graph scales them itself ({', '.join(kinds)})"
    return "none: values go in as they are in the data"


def documents(
    recipe: Recipe, record: TrainingRecord, held_out: Sequence[np.ndarray]
) -> Mapping[str, str]:
    """Return one sentence for each input and output, by name."""
    sentences = {
        name: f"{_meaning(recipe, rows)}; held-out values lie between {rows.min():g} and "
        f"{rows.max():g}; {_scaling(recipe, record).removeprefix('none: ')}"
        for name, rows in zip(recipe.inputs, held_out, strict=True)
    }
    for position, (name, task) in enumerate(zip(recipe.outputs, recipe.tasks, strict=True)):
        # Classes and units are those of the data's first answer.
        sentences[name] = (
            _answer(recipe, task) if position == 0 else f"{task}: a number for each row"
        )
    for before, after in recipe.state_tensors.items():
        sentences[before] = f"state: zeros at first, then what the last step gave as {after}"
        sentences[after] = f"state: the next step's {before}"
    return sentences


def _meaning(recipe: Recipe, rows: np.ndarray) -> str:
    """Say what one input's numbers are."""
    if recipe.image is not None:
        image = recipe.image
        return (
            f"image as [rows, columns, channels], Pillow's mode {image.mode}, values from "
            f"{image.low:g} to {image.high:g}"
        )
    features = recipe.dataset.features
    if len(features) > 1 and rows.shape[-1] == len(features):
        return f"columns: {', '.join(features)}"
    return ", ".join(features) or "numbers"


def _answer(recipe: Recipe, task: str) -> str:
    """Say what the first output's numbers are."""
    if task == "multiclass":
        return f"one probability for each class, in order: {', '.join(recipe.classes)}"
    if task == "binary":
        return f"the probability of {recipe.classes[1]!r}, against {recipe.classes[0]!r}"
    return f"{task} in {recipe.units}" if recipe.units else f"{task}: a number for each row"
