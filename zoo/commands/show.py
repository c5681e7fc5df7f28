"""zoo show: a model's layers with shapes, parameters and connections, and its picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from zoo.commands import (
    add_json,
    add_modules,
    add_published,
    add_runs,
    print_json,
    registry,
    require_training,
)
from zoo.errors import CheckFailed, UsageError
from zoo.models.find import existing_repository
from zoo.recipes.architecture import Layer

SUMMARY = "show a model's layers, output shapes, parameters and connections"
EXAMPLE = "zoo show cnn_digits --svg cnn_digits.svg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("model", metavar="MODEL", help="a model's name")
    parser.add_argument(
        "--svg", type=Path, metavar="FILE", help="draw the model with shapes, as SVG"
    )
    add_modules(parser)
    add_published(parser)
    add_runs(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the model's layers, or its tensors where its layers are not known; draw with --svg."""
    if options.svg and options.svg.suffix.lower() != ".svg":
        raise UsageError(f"--svg {options.svg}: the picture is SVG: give a name that ends in .svg")
    facts = _facts(options)
    layers = [Layer.from_json(values) for values in facts["layers"]]
    if options.svg:
        if not layers:
            raise UsageError(
                f"{options.model}: its layers are not known, so there is no picture of them"
            )
        _draw(options.svg, options.model, layers)
    if options.json:
        print_json({"model": options.model} | facts)
    else:
        _print(options.model, facts, layers)
    return 0


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    """Return summary and layers: published, else trained, else built now with Keras.

    What was published from a file also has its inputs and outputs, in place of a tutorial's piece.
    """
    from zoo.publish.versions import model_names, read_manifest, unknown_model
    from zoo.training.runs import RunFolder

    known = registry(options)
    repository = existing_repository(options.repository)
    manifest = read_manifest(repository, options.model)
    if manifest is not None and manifest.damage:
        raise CheckFailed(manifest.damage)
    if manifest is not None:
        values = manifest.values
        facts = {"summary": values["summary"], "layers": values.get("layers", [])}
        if "conditioning" in values:
            facts["conditioning"] = values["conditioning"]
        if "tutorial" in values:
            return facts | {"tutorial": values["tutorial"]}
        return facts | {side: values["graph"][side] for side in ("inputs", "outputs")}
    if options.model not in known.owners and options.model not in model_names(repository):
        raise unknown_model(repository, options.model, known)
    if options.model not in known.owners:
        raise UsageError(
            f"{repository / options.model} has no manifest: `zoo export` did not publish it, so its layers are "
            "not known"
        )
    recipe = known.get(options.model)
    facts = {"summary": recipe.summary, "tutorial": recipe.tutorial}
    record = RunFolder(options.runs, recipe.name).record
    if record is not None:
        return facts | {"layers": record.layers}
    require_training(f"showing {recipe.name}, which is neither published nor trained,")
    from zoo.recipes.architecture import describe
    from zoo.training.framework import seed_everything

    seed_everything(recipe.seed)
    return facts | {
        "layers": [layer.to_json() for layer in describe(recipe.build(), recipe.outputs)]
    }


def _print(name: str, facts: dict[str, Any], layers: list[Layer]) -> None:
    from zoo.card.text import LAYER_HEADER, layer_rows
    from zoo.terminal.stack import STACK_DROPPED, STACK_HEADER, STACK_RIGHT, stack_rows
    from zoo.terminal.tables import print_table, print_text

    print_text(f"{name}: {facts['summary']}")
    if "tutorial" in facts:
        print_text(f"the tutorial's piece: {facts['tutorial']}")
    for side in ("inputs", "outputs"):
        for tensor in facts.get(side, ()):
            print(f"{side[:-1]} {tensor['name']} {tensor['datatype']} {tensor['shape']}")
    if "conditioning" in facts:
        print_text(facts["conditioning"]["text"])
    if not layers:
        return
    print()
    if sys.stdout.isatty():
        print_table(STACK_HEADER, stack_rows(layers), right=STACK_RIGHT, dropped=STACK_DROPPED)
    else:
        print_table(LAYER_HEADER, layer_rows(layers), right="lllrr")
    trainable = sum(layer.trainable for layer in layers)
    frozen = sum(layer.total for layer in layers) - trainable
    print(f"\n{trainable} trainable parameters" + (f", {frozen} more fixed" if frozen else ""))


def _draw(path: Path, name: str, layers: list[Layer]) -> None:
    from zoo.card.picture import draw

    try:
        path.write_text(draw(name, layers))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
