"""Training one recipe: build, check, fit, measure, and rename the finished run into place.

A run is whole or not there. It is written in a temporary sibling folder under a lock of its model,
so that killed runs leave nothing that looks finished and two processes do no harm.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from zoo.datasets.dataset import Splits
from zoo.errors import RecipeError, UsageError
from zoo.files import locked, sha256
from zoo.recipes.claim import METRICS
from zoo.recipes.recipe import Recipe
from zoo.recipes.trial_settings import Settings, with_settings
from zoo.training.check import check_model, check_shares, count
from zoo.training.linear import NAMES, linear_metric
from zoo.training.loop import ALONE, History, Progress, fit, predict, prepare
from zoo.training.metrics import baseline_metric, metric_value, shortfalls
from zoo.training.placing import STATE_KEY, clear, recover, settle, storage_error
from zoo.training.record import TrainingRecord, dataset_facts, port, recipe_facts
from zoo.training.runs import (
    HELD_OUT,
    HISTORY,
    LOG,
    MORE_X,
    MORE_Y,
    RECORD,
    WEIGHTS,
    RunFolder,
    key,
    versions,
)
from zoo.training.workers import Cluster, Workers

if TYPE_CHECKING:
    import keras

STATE = "state.npz"

#: "About" in a claim's seconds: beyond this factor the record carries a warning.
SLOWER = 2.0


def train(
    recipe: Recipe,
    runs: Path,
    *,
    settings: Settings | None = None,
    judged: bool = True,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
) -> TrainingRecord:
    """Train a recipe (a step: its source) into `runs/<name>/` unless the run there is up to date; returns its record.

    `settings`: what differs from the recipe's own values; None keeps those of the last run.
    `judged=False` keeps a run that misses its claim, as one of several seeds. With `cluster` the
    process is one of its workers, of which the chief alone touches `runs`. Raises CheckFailed when the claim or the baseline is missed (the run is then kept as
    `<name>.failed`, an earlier good one stays), RecipeError, UsageError, StorageError.
    """
    recipe = recipe.trained_as
    run = RunFolder.of(runs, recipe)
    workers = Workers(cluster)
    if workers.index > 0:
        with workers.together(recipe.where):
            return _assist(recipe, workers, progress)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with locked(runs / f".lock-{recipe.name}"), workers.together(recipe.where):
            recover(run)
            # The process that held the lock before may have just done the work.
            count = None if cluster is None else len(cluster)
            record = run.record if run.is_current(recipe, settings, count) else None
            if record is not None:
                workers.from_chief(record.to_json().encode())
                return record
            recipe = run.chosen_settings(recipe, settings)
            return _train_into(recipe, run, judged, workers, progress)
    except OSError as error:
        raise storage_error(recipe, runs, error) from error


@dataclass(frozen=True, slots=True)
class _Job:
    """One training: what, under which key, written where."""

    recipe: Recipe
    key: str
    folder: Path
    workers: Workers

    @property
    def resumes(self) -> bool:
        """Tell whether each epoch is saved: of several workers the more are there to be lost."""
        return self.recipe.backup or self.workers.count > 1


def _train_into(
    recipe: Recipe,
    run: RunFolder,
    judged: bool,
    workers: Workers,
    progress: Progress | None,
) -> TrainingRecord:
    """Train in the temporary folder, then put it where its result belongs."""
    folder = run.runs / f".tmp-{run.name}"
    job = _Job(recipe, key(recipe), folder, workers)
    workers.from_chief(json.dumps({"key": job.key, "settings": dict(recipe.settings)}).encode())
    if refusing := workers.others_refusing():
        raise UsageError(
            f"{recipe.where}: {refusing} of {workers.count} workers have another recipe, data, code or "
            "versions than worker 0: they must be the same"
        )
    clear(folder, job.key, resume=job.resumes)
    with (folder / LOG).open("a", encoding="utf-8", buffering=1) as log:
        record = _run(job, log, progress)
        missed = shortfalls(recipe, record.metric["value"], record.baseline["value"])
        log.writelines(f"failed: {words}\n" for words in missed)
    for name in (STATE, STATE_KEY):
        (folder / name).unlink(missing_ok=True)
    (folder / RECORD).write_text(record.to_json(), encoding="utf-8")
    settle(recipe, run, folder, missed if judged else [])
    return record


def install(
    recipe: Recipe, runs: Path, files: Mapping[str, bytes], *, judged: bool
) -> TrainingRecord:
    """Put a run that was trained elsewhere in place, from its files; raises as `train` does."""
    run = RunFolder.of(runs, recipe)
    record = TrainingRecord.from_json(files[RECORD].decode())
    missed = shortfalls(recipe, record.metric["value"], record.baseline["value"])
    folder = runs / f".tmp-{run.name}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with locked(runs / f".lock-{recipe.name}"):
            recover(run)
            clear(folder, record.key, resume=False)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            settle(recipe, run, folder, missed if judged else [])
    except OSError as error:
        raise storage_error(recipe, runs, error) from error
    return record


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """The metric of the model, of the baseline and of a linear model on the test split.

    `seconds` are the training's, in which the linear model's are not counted.
    """

    metric: float
    baseline: float
    linear: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.metric:.6g}, baseline {self.baseline:.6g}, linear {self.linear:.6g}, "
            f"{self.seconds:.2f} s"
        )


def _run(job: _Job, log: TextIO, progress: Progress | None) -> TrainingRecord:
    """Build, fit and measure; writes every file but the record, which it returns."""
    from zoo.training.framework import import_keras

    import_keras()  # not counted: one import serves every model
    start = time.perf_counter()
    recipe, folder = job.recipe, job.folder
    model, splits = prepared_model(recipe, job.workers)

    def report(epoch: int, epochs: int, loss: float, val_loss: float) -> None:
        log.write(f"epoch {epoch}/{epochs} loss {loss:.6g} val_loss {val_loss:.6g}\n")
        if progress is not None:
            progress(epoch, epochs, loss, val_loss)

    log.write(f"{recipe.name} seed {recipe.seed} key {job.key}\n")
    state = folder / STATE if job.resumes else None
    history = fit(recipe, model, splits, state=state, progress=report, workers=job.workers)
    # The one look at the test split: after this nothing about the model changes.
    metric = metric_value(recipe, splits.test, predict(model, splits.test)[0])
    baseline = baseline_metric(recipe, splits.train, splits.test)
    _write_results(model, folder, history, splits)
    measured = _Measured(
        metric=metric,
        baseline=baseline,
        seconds=time.perf_counter() - start,  # without the linear model's, which comes last
        linear=linear_metric(recipe, splits.train, splits.test),
    )
    log.write(f"{recipe.metric} {measured}\n")
    record = _record(job, model, splits, history, measured)
    log.writelines(f"warning: {warning}\n" for warning in record.warnings)
    job.workers.from_chief(record.to_json().encode())
    return record


def prepared_model(recipe: Recipe, workers: Workers = ALONE) -> tuple[keras.Model, Splits]:
    """Return the model, checked and prepared, and its data."""
    from zoo.training.framework import import_keras, seed_everything

    splits = recipe.dataset.load()
    check_shares(recipe, len(splits.train), workers.count)
    seed_everything(recipe.seed)
    with workers.scope():
        try:
            model = recipe.build()
        except RecipeError as error:
            # Variables that are made come from the chief: no fault of the recipe's if it is gone.
            if isinstance(error.__cause__, import_keras().tf.errors.OpError):
                raise error.__cause__ from None
            raise
    check_model(recipe, model, splits)
    prepare(recipe, model, splits.train)
    return model, splits


def _assist(recipe: Recipe, workers: Workers, progress: Progress | None) -> TrainingRecord:
    """Take this worker's part of the chief's training, and return the chief's record."""
    decision = json.loads(workers.from_chief())
    if "settings" in decision and "weights_sha256" not in decision:
        recipe = with_settings(recipe, decision["settings"])
        refuses = key(recipe) != decision["key"]
        workers.others_refusing(refuses=refuses)
        if refuses:
            raise UsageError(
                f"{recipe.where}: worker {workers.index} has another recipe, data, code or versions than "
                "worker 0: they must be the same"
            )
        model, splits = prepared_model(recipe, workers)
        fit(recipe, model, splits, progress=progress, workers=workers)
        decision = json.loads(workers.from_chief())
    return TrainingRecord.from_json(json.dumps(decision))


def _write_results(model: keras.Model, folder: Path, history: History, splits: Splits) -> None:
    model.save_weights(folder / WEIGHTS)
    text = json.dumps(asdict(history) | {"best_epoch": history.best_epoch})
    (folder / HISTORY).write_text(text + "\n", encoding="utf-8")
    test = splits.test
    more: dict[str, np.ndarray] = {f"{MORE_X}{name}": array for name, array in test.more_x.items()}
    more |= {f"{MORE_Y}{name}": array for name, array in test.more_y.items()}
    np.savez_compressed(folder / HELD_OUT, allow_pickle=False, x=test.x, y=test.y, **more)


def _record(
    job: _Job,
    model: keras.Model,
    splits: Splits,
    history: History,
    measured: _Measured,
) -> TrainingRecord:
    """Gather what the run was and reached."""
    from zoo.recipes.architecture import describe

    recipe, claim, seconds = job.recipe, job.recipe.claim, measured.seconds
    slow = (
        f"took {seconds:.1f} s, and about {claim.seconds:g} s are claimed"
        if seconds > SLOWER * claim.seconds
        else ""
    )
    return TrainingRecord(
        name=recipe.name,
        key=job.key,
        recipe=recipe_facts(recipe),
        dataset=dataset_facts(recipe.dataset, splits),
        epochs_run=len(history.loss),
        best_epoch=history.best_epoch,
        metric={
            "name": recipe.metric,
            "value": measured.metric,
            "units": "" if recipe.metric == "accuracy" else recipe.units,
            "higher_is_better": METRICS[recipe.metric] == ">=",
        },
        baseline={"name": recipe.baseline, "value": measured.baseline},
        linear={"name": NAMES[recipe.task], "value": measured.linear},
        claim=asdict(claim) | {"held": claim.holds(measured.metric)},
        trainable=count(model.trainable_weights),
        total=count(model.weights),
        seconds=round(seconds, 3),
        versions=versions(),
        weights_sha256=sha256(job.folder / WEIGHTS),
        inputs=list(map(port, recipe.inputs, model.inputs)),
        outputs=list(map(port, recipe.outputs, model.outputs)),
        layers=[layer.to_json() for layer in describe(model, recipe.outputs)],
        warnings=[slow] if slow else [],
        settings=dict(recipe.settings),
        workers=job.workers.count,
    )
