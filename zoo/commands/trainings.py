"""Runs the trainings of `zoo train`: one after the other, several at once, one over several workers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import RecipeError, ZooError
from zoo.recipes.trial_settings import Settings
from zoo.terminal.progress import CommandProgress

#: Where trainings run, besides on a Ray cluster.
LOCAL = "local"

if TYPE_CHECKING:
    from zoo.recipes.recipe import Recipe
    from zoo.training.loop import Progress
    from zoo.training.record import SearchFacts, TrainingRecord
    from zoo.training.spread import Place
    from zoo.training.trial import Trial
    from zoo.training.workers import Cluster


def train_all(
    recipes: Sequence[Recipe],
    runs: Path,
    overall: CommandProgress,
    *,
    settings: Settings | None = None,
    workers: tuple[Trial, int] | None = None,
    cluster: Cluster | None = None,
) -> tuple[list[TrainingRecord], dict[str, ZooError], set[str]]:
    """Train what is out of date; returns records, failures by name, and the names just trained.

    A step of a recurrent model is trained as its source. Nothing is trained if a recipe of the
    user's is wrong; but one model that misses its claim does not keep the others back. `workers`: what
    all trainings have in common, and how many processes share each; `cluster`: this process is one
    worker of several.
    """
    from zoo.training.runs import RunFolder
    from zoo.training.train import train

    records: list[TrainingRecord] = []
    # Workers have to find each other before TensorFlow computes anything; the training checks as much.
    failures = _faulty(recipes, runs, settings) if cluster is None else {}
    if failures:
        return [], failures, set()
    fresh: set[str] = set()
    for recipe in trained_recipes(recipes):
        overall.begin(recipe.name, "starting TensorFlow" if not fresh else "training")
        try:
            run = RunFolder(runs, recipe.name)
            count = None if workers is None else workers[1]
            current = cluster is None and run.is_current(recipe, settings, count)
            record = run.record if current else None
            if record is None:
                if workers is not None:
                    trial = replace(workers[0], model=recipe.name)
                    record = train_by_workers(trial, workers[1], overall.epoch)
                else:
                    record = train(
                        recipe, runs, settings=settings, cluster=cluster, progress=overall.epoch
                    )
                fresh.add(recipe.name)
            records.append(record)
        except ZooError as error:
            failures[recipe.name] = error
        overall.end()
    return records, failures, fresh


def spread(
    recipes: Sequence[Recipe], options: argparse.Namespace, settings: Settings | None
) -> tuple[list[TrainingRecord], dict[str, ZooError], set[str]]:
    """Train as `train_all` does, several trainings at once and with several seeds."""
    from zoo.training.runs import RunFolder
    from zoo.training.seeds import note_search
    from zoo.training.spread import Trainings, run_missing

    failures = _faulty(recipes, options.runs, settings)
    if failures:
        return [], failures, set()
    common = trial_of(options, settings)
    with _place(options) as place:
        choices, failures = _search(recipes, options, common, place)
        trainings = [
            Trainings.of(
                recipe,
                replace(common, settings=choices[recipe.name][0])
                if recipe.name in choices
                else common,
                options.seeds or 1,
            )
            for recipe in trained_recipes(recipes)
            if options.trials is None or recipe.name in choices
        ]
        missing = [trial for each in trainings for trial in each.missing]
        with _progress_of(len(missing)) as (overall, progress):
            for _ in run_missing(trainings, place.run, progress):
                overall.end()
    records = [record for each in trainings if (record := each.result()) is not None]
    for at, record in enumerate(records):
        if record.name in choices:
            records[at] = note_search(
                RunFolder(common.runs, record.name), record, choices[record.name][1]
            )
    failures |= {title: error for each in trainings for title, error in each.failures.items()}
    return records, failures, {trial.model for trial in missing}


def _search(
    recipes: Sequence[Recipe], options: argparse.Namespace, common: Trial, place: Place
) -> tuple[dict[str, tuple[Settings, SearchFacts]], dict[str, ZooError]]:
    """Search the spaces of recipes, where that is asked for; returns what was chosen, and what failed."""
    from zoo.training.search import Search, search_failures

    if options.trials is None:
        return {}, {}
    chosen = trained_recipes(recipes)
    if not options.models:
        chosen = [recipe for recipe in chosen if recipe.search]
    searches = [Search.of(recipe, common, options.trials) for recipe in chosen]
    owners = {trial: each for each in searches for trial in each.missing}
    with _progress_of(len(owners)) as (overall, progress):
        for each in searches:
            for trial, outcome in place.search(each.recipe, each.missing, progress):
                owners[trial].note(trial, outcome)
                overall.end()
    failures = search_failures(searches)
    choices = {}
    for each in searches:
        if each.failures:
            continue  # chosen is once none is missing
        try:
            choices[each.recipe.name] = each.best_settings()
        except ZooError as error:
            failures[each.recipe.name] = error
    return choices, failures


@contextmanager
def _progress_of(count: int) -> Iterator[tuple[CommandProgress, Callable[[Trial], Progress]]]:
    """Show how many of so many trainings are done, and an epoch of any of them."""
    with CommandProgress(count, "trainings") as overall:

        def progress(trial: Trial) -> Progress:
            return lambda epoch, epochs, *_: overall.begin(trial.title, f"epoch {epoch}/{epochs}")

        overall.begin("starting TensorFlow" if count else "nothing to train")
        yield overall, progress


def _place(options: argparse.Namespace) -> AbstractContextManager[Place]:
    """Return where the trainings run: on this machine, or on a Ray cluster."""
    from zoo.training.processes import ThisMachine

    if options.on is None or options.on == LOCAL:
        return nullcontext(ThisMachine(options.jobs or len(os.sched_getaffinity(0))))
    from zoo.training.ray_cluster import cluster

    return cluster(options.on, options.jobs)


def trial_of(options: argparse.Namespace, settings: Settings | None) -> Trial:
    """Return what the trials of a command have in common."""
    from zoo.training.trial import Trial

    return Trial(
        model="",
        runs=options.runs.resolve(),
        modules=tuple(path.resolve() for path in options.modules),
        settings=settings,
    )


def train_by_workers(trial: Trial, count: int, progress: Progress) -> TrainingRecord:
    """Train one model in that many processes of this machine; the first that fails ends the others.

    Raises what it failed with.
    """
    from zoo.training.processes import run_in_processes
    from zoo.training.record import TrainingRecord
    from zoo.training.trial import as_workers

    workers = as_workers(trial, count)
    records = {}
    for worker, outcome in run_in_processes(workers, lambda _: progress, jobs=count):
        if isinstance(outcome, ZooError):
            raise outcome
        assert isinstance(outcome, TrainingRecord)
        records[worker] = outcome
    return records[workers[0]]


def trained_recipes(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Return the recipes whose training gives these their weights, each once."""
    return list({recipe.trained_as.name: recipe.trained_as for recipe in recipes}.values())


def _faulty(
    recipes: Sequence[Recipe], runs: Path, settings: Settings | None
) -> dict[str, ZooError]:
    """Return what is wrong with the recipes from outside this package that are to be trained."""
    from zoo.training.check import check_recipe
    from zoo.training.runs import RunFolder

    failures: dict[str, ZooError] = {}
    for recipe in trained_recipes(recipes):
        run = RunFolder(runs, recipe.name)
        if recipe.is_own or run.is_current(recipe, settings):
            continue
        try:
            check_recipe(run.chosen_settings(recipe, settings))
        except RecipeError as error:
            failures[recipe.name] = error
    return failures
