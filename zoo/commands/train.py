"""zoo train: train what is out of date, and check every recipe's claim."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.commands import add_json, add_models, add_runs, chosen_recipes, print_json
from zoo.errors import RecipeError, UsageError, ZooError
from zoo.recipes.trial_settings import Settings, parsed_settings
from zoo.terminal.messages import say
from zoo.terminal.progress import CommandProgress

if TYPE_CHECKING:
    from zoo.recipes.recipe import Recipe
    from zoo.training.loop import Progress
    from zoo.training.record import TrainingRecord

SUMMARY = "train models on their data; skip those that are up to date"
EXAMPLE = (
    "zoo train dense_iris cnn_digits\n"
    "  zoo train cnn_digits --seeds 5\n"
    "  zoo train dense_iris --set learning_rate=0.02"
)

#: Where trainings are spread to, besides.
LOCAL = "local"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_models(parser, "default: every registered model")
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="train the one MODEL on this file instead of its packaged data (cnn_valid: mnist.npz); "
        "later runs use it too, until --data packaged",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="train the one MODEL with another seed, learning_rate, batch_size, epochs, patience or argument "
        "of its function (repeatable); later runs use it too, until --set recipe",
    )
    _add_spread(parser)
    add_runs(parser)
    add_json(parser)


def _add_spread(parser: argparse.ArgumentParser) -> None:
    """Add the options of several trainings at once."""
    spread = parser.add_argument_group(
        "several trainings at once",
        "each in a process of its own; one that is finished is not run again, so that the same "
        "command goes on after a kill",
    )
    spread.add_argument(
        "--on", choices=(LOCAL,), help="local: processes of this machine, also for one seed a model"
    )
    spread.add_argument(
        "--seeds",
        type=_several,
        metavar="N",
        help="train N - 1 further seeds; mean and deviation of the metric go into record and card",
    )
    spread.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="processes at once (default: the machine's cores)",
    )


def _positive(text: str) -> int:
    return _at_least(1, text)


def _several(text: str) -> int:
    from zoo.training.seeds import FEWEST

    return _at_least(FEWEST, text)


def _at_least(fewest: int, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < fewest:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, {fewest} or more")
    return number


def run(options: argparse.Namespace) -> int:
    """Train and print the final table; exit 1 if a model missed its claim or failed."""
    for flag, given in (("--data", options.data), ("--set", options.settings)):
        if given and len(set(options.models)) != 1:
            raise UsageError(f"{flag} is for one model: name it")
    settings = parsed_settings(options.settings)
    recipes = chosen_recipes(options)
    if options.on or options.seeds or options.jobs:
        records, failures, fresh = _spread(recipes, options, settings)
    else:
        with CommandProgress(len(recipes)) as overall:
            records, failures, fresh = train_all(
                recipes, options.runs, overall, data=options.data, settings=settings
            )
    if options.json:
        print_json([_json(record, record.name in fresh) for record in records])
    else:
        print_trained(records, fresh)
    return report_failures(failures)


def train_all(
    recipes: Sequence[Recipe],
    runs: Path,
    overall: CommandProgress,
    *,
    data: str | None = None,
    settings: Settings | None = None,
) -> tuple[list[TrainingRecord], dict[str, ZooError], set[str]]:
    """Train what is out of date; returns records, failures by name, and the names just trained.

    A step of a recurrent model is trained as its source. Nothing is trained if a recipe of the
    user's is wrong; but one model that misses its claim does not keep the others back.
    """
    from zoo.training.runs import RunFolder
    from zoo.training.train import train

    records: list[TrainingRecord] = []
    failures = _faulty(recipes, runs, data, settings)
    if failures:
        return [], failures, set()
    fresh: set[str] = set()
    for recipe in trained_recipes(recipes):
        overall.begin(recipe.name, "starting TensorFlow" if not fresh else "training")
        try:
            run = RunFolder(runs, recipe.name)
            record = run.record if run.is_current(recipe, data, settings) else None
            if record is None:
                record = train(recipe, runs, data=data, settings=settings, progress=overall.epoch)
                fresh.add(recipe.name)
            records.append(record)
        except ZooError as error:
            failures[recipe.name] = error
        overall.end()
    return records, failures, fresh


def _spread(
    recipes: Sequence[Recipe], options: argparse.Namespace, settings: Settings | None
) -> tuple[list[TrainingRecord], dict[str, ZooError], set[str]]:
    """Train as `train_all` does, several trainings at once and with several seeds."""
    from zoo.training.processes import run_in_processes
    from zoo.training.spread import Trainings, run_missing
    from zoo.training.trial import Trial

    failures = _faulty(recipes, options.runs, options.data, settings)
    if failures:
        return [], failures, set()
    common = Trial(
        model="",
        runs=options.runs.resolve(),
        modules=tuple(path.resolve() for path in options.modules),
        data=options.data,
        settings=settings,
    )
    trainings = [
        Trainings.of(recipe, common, options.seeds or 1) for recipe in trained_recipes(recipes)
    ]
    missing = [trial for each in trainings for trial in each.missing]
    jobs = options.jobs or len(os.sched_getaffinity(0))
    with CommandProgress(len(missing), "trainings") as overall:

        def progress(trial: Trial) -> Progress:
            return lambda epoch, epochs, *_: overall.begin(trial.title, f"epoch {epoch}/{epochs}")

        overall.begin("starting", f"TensorFlow, {jobs} at once" if missing else "")
        for _ in run_missing(trainings, partial(run_in_processes, jobs=jobs), progress):
            overall.end()
    records = [record for each in trainings if (record := each.result()) is not None]
    failures = {title: error for each in trainings for title, error in each.failures.items()}
    return records, failures, {trial.model for trial in missing}


def trained_recipes(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Return the recipes whose training gives these their weights, each once."""
    return list({recipe.trained_as.name: recipe.trained_as for recipe in recipes}.values())


def _faulty(
    recipes: Sequence[Recipe], runs: Path, data: str | None, settings: Settings | None
) -> dict[str, ZooError]:
    """Return what is wrong with the recipes from outside this package that are to be trained."""
    from zoo.training.check import check_recipe
    from zoo.training.runs import RunFolder

    failures: dict[str, ZooError] = {}
    for recipe in trained_recipes(recipes):
        run = RunFolder(runs, recipe.name)
        if data is not None or recipe.is_own or run.is_current(recipe, settings=settings):
            continue
        try:
            check_recipe(run.chosen_settings(recipe, settings))
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
        "settings": record.settings,
        "seeds": record.seeds,
        "parameters": record.trainable,
        "epochs": record.epochs_run,
        "seconds": record.seconds,
        "warnings": record.warnings,
    }


def print_trained(records: Sequence[TrainingRecord], fresh: set[str]) -> None:
    """Print what each training reached, and on whose data."""
    from zoo.terminal.tables import print_table
    from zoo.training.seeds import over_seeds_text

    several = any(record.seeds for record in records)
    rows = [
        [
            record.name,
            f"{record.metric['name']} {record.metric['value']:.4g}",
            *([over_seeds_text(record.seeds)] if several else []),
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
            *(["over seeds"] if several else []),
            "baseline",
            "linear",
            "parameters",
            "epochs",
            "seconds",
        )
        print_table(
            header,
            rows,
            right="lllrrrrr" if several else "llrrrrr",
            dropped=("parameters", "epochs", "linear", "baseline"),
        )
    for record in records:
        for warning in record.warnings if record.name in fresh else ():
            say(f"{record.name}: warning: {warning}")
