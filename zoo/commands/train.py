"""zoo train: train what is out of date, and check every recipe's claim."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.commands import add_json, add_models, add_runs, chosen_recipes, print_json
from zoo.errors import RecipeError, UsageError, ZooError
from zoo.terminal.messages import say
from zoo.terminal.progress import CommandProgress

if TYPE_CHECKING:
    from zoo.recipes.recipe import Recipe
    from zoo.training.record import TrainingRecord

SUMMARY = "train models on their data; skip those that are up to date"
EXAMPLE = "zoo train dense_iris cnn_digits"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_models(parser, "default: every registered model")
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="train the one MODEL on this file instead of its packaged data (cnn_valid: mnist.npz); "
        "later runs use it too, until --data packaged",
    )
    add_runs(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Train and print the final table; exit 1 if a model missed its claim or failed."""
    if options.data is not None and len(set(options.models)) != 1:
        raise UsageError("--data is the data of one model: name it")
    recipes = chosen_recipes(options)
    with CommandProgress(len(recipes)) as overall:
        records, failures, fresh = train_all(recipes, options.runs, overall, data=options.data)
    if options.json:
        print_json([_json(record, record.name in fresh) for record in records])
    else:
        print_trained(records, fresh)
    return report_failures(failures)


def train_all(
    recipes: Sequence[Recipe], runs: Path, overall: CommandProgress, *, data: str | None = None
) -> tuple[list[TrainingRecord], dict[str, ZooError], set[str]]:
    """Train what is out of date; returns records, failures by name, and the names just trained.

    A step of a recurrent model is trained as its source. Nothing is trained if a recipe of the
    user's is wrong; but one model that misses its claim does not keep the others back.
    """
    from zoo.training.runs import RunFolder
    from zoo.training.train import train

    records: list[TrainingRecord] = []
    failures = _faulty(recipes, runs, data)
    if failures:
        return [], failures, set()
    fresh: set[str] = set()
    for recipe in trained_recipes(recipes):
        overall.begin(recipe.name, "starting TensorFlow" if not fresh else "training")
        try:
            run = RunFolder(runs, recipe.name)
            record = run.record if run.is_current(recipe, data) else None
            if record is None:
                record = train(recipe, runs, data=data, progress=overall.epoch)
                fresh.add(recipe.name)
            records.append(record)
        except ZooError as error:
            failures[recipe.name] = error
        overall.end()
    return records, failures, fresh


def trained_recipes(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Return the recipes whose training gives these their weights, each once."""
    return list({recipe.trained_as.name: recipe.trained_as for recipe in recipes}.values())


def _faulty(recipes: Sequence[Recipe], runs: Path, data: str | None) -> dict[str, ZooError]:
    """Return what is wrong with the recipes from outside this package that are to be trained."""
    from zoo.training.check import check_recipe
    from zoo.training.runs import RunFolder

    failures: dict[str, ZooError] = {}
    for recipe in trained_recipes(recipes):
        if data is not None or recipe.is_own or RunFolder(runs, recipe.name).is_current(recipe):
            continue
        try:
            check_recipe(recipe)
        except RecipeError as error:
            failures[recipe.name] = error
    return failures


def report_failures(failures: dict[str, ZooError]) -> int:
    """Print each failure as one line; return the exit status they make."""
    for name, error in failures.items():
        say(f"{name}: {error}", failed=True)
    return max((error.exit_status for error in failures.values()), default=0)


def _json(record: TrainingRecord, fresh: bool) -> dict[str, Any]:
    return {
        "model": record.name,
        "trained_now": fresh,
        "metric": record.metric,
        "baseline": record.baseline,
        "linear": record.linear,
        "claim": record.claim,
        "parameters": record.trainable,
        "epochs": record.epochs_run,
        "seconds": record.seconds,
        "warnings": record.warnings,
    }


def print_trained(records: Sequence[TrainingRecord], fresh: set[str]) -> None:
    """Print what each training reached, and on whose data."""
    from zoo.terminal.tables import print_table

    rows = [
        [
            record.name,
            f"{record.metric['name']} {record.metric['value']:.4g}",
            f"{record.baseline['value']:.4g}",
            f"{record.linear['value']:.4g}",
            str(record.trainable),
            str(record.epochs_run),
            f"{record.seconds:.1f}" if record.name in fresh else "up to date",
        ]
        for record in records
    ]
    if rows:
        header = (
            "model",
            "on held-out rows",
            "baseline",
            "linear",
            "parameters",
            "epochs",
            "seconds",
        )
        print_table(
            header, rows, right="llrrrrr", dropped=("parameters", "epochs", "linear", "baseline")
        )
    for record in records:
        for warning in record.warnings if record.name in fresh else ():
            say(f"{record.name}: warning: {warning}")
