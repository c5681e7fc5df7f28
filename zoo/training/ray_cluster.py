"""Runs trials on a Ray cluster: one CPU each, started again where a process or a node is lost.

What a trial gives comes back through Ray, so that no folder has to be shared; the zoo, and the files
that --module names, have to be on every node. A search is Ray Tune's, with ASHA: settings
that are behind are stopped early.
"""

from __future__ import annotations

import math
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zoo.errors import CheckFailed, MissingPackage, UsageError, ZooError, first_line
from zoo.recipes.recipe import Recipe
from zoo.training.record import TrainingRecord
from zoo.training.runs import RunFolder
from zoo.training.score import Score
from zoo.training.spread import Outcome, Reports
from zoo.training.train import install
from zoo.training.trial import Trial, run_trial

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

#: Seconds that a cluster has to take a connection.
PATIENCE = 10.0

#: Times that a trial is started again because its process or node was lost.
RETRIES = 3

#: ASHA halts all but one in so many settings each time, the first time after this share of the epochs.
REDUCTION, FIRST_RUNG = 3, 9

#: What a trial gives: a run's files, a score, or what went wrong.
Result = Mapping[str, bytes] | Score | ZooError


@contextmanager
def cluster(address: str, jobs: int | None) -> Iterator[RayCluster]:
    """Connect to ray://HOST:PORT, a cluster's client port; `jobs` bounds what runs at once.

    Raises MissingPackage without Ray, UsageError for no such address, CheckFailed if nothing answers.
    """
    host, port = _host_and_port(address)
    ray = _ray()
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError) as error:
        raise CheckFailed(
            f"{address} cannot be reached ({first_line(error)}): start a cluster with `ray start --head`, whose "
            "client port is 10001"
        ) from error
    try:
        yield RayCluster(ray, jobs)
    finally:
        ray.shutdown()


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not (host and port):
        raise UsageError(f"--on {address}: write local, or ray://HOST:PORT")
    return host, port


def _ray() -> Any:
    # Ray would send how it is used to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.tune
    except ImportError as error:  # Tune names what it lacks in words of its own
        raise MissingPackage("ray[tune]", "training on a Ray cluster", "ray") from error
    return ray


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A cluster that this process is connected to."""

    ray: ModuleType
    jobs: int | None

    def run(self, trials: Sequence[Trial], reports: Reports) -> Iterator[tuple[Trial, Outcome]]:
        """Run each to its end, and put its run in place here."""
        ray = self.ray
        # A process trains one model, as everywhere.
        task = ray.remote(num_cpus=1, max_calls=1, max_retries=RETRIES)(_train)
        waiting = list(reversed(trials))
        running: dict[ObjectRef, Trial] = {}
        while waiting or running:
            while waiting and (self.jobs is None or len(running) < self.jobs):
                trial = waiting.pop()
                running[task.remote(_explicit(trial))] = trial
            (done, *_), _ = ray.wait(list(running))
            trial = running.pop(done)
            yield trial, _put_in_place(trial, self._result(done))

    def search(
        self, recipe: Recipe, trials: Sequence[Trial], reports: Reports
    ) -> Iterator[tuple[Trial, Outcome]]:
        """Run a search's trials, each to its end or until ASHA stops it."""
        ray = self.ray
        if not trials:
            return
        inbox = ray.remote(num_cpus=0)(Inbox).remote()
        search = ray.remote(num_cpus=0)(_search)
        explicit = [_explicit(trial) for trial in trials]
        epochs = max(int((trial.settings or {}).get("epochs", recipe.epochs)) for trial in explicit)
        ended = search.remote(explicit, inbox, epochs, self.jobs)
        missing = dict(enumerate(trials))
        over = False
        while not over:
            over = bool(ray.wait([ended], timeout=1)[0])
            for index, outcome in ray.get(inbox.take.remote()):
                yield missing.pop(index), outcome
        failure = self._result(ended)
        for trial in missing.values():
            yield trial, failure or Score(key="", val_loss=None, stopped=True)

    def _result(self, reference: ObjectRef) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return CheckFailed(f"Ray lost it {RETRIES + 1} times: {first_line(error)}")


def _explicit(trial: Trial) -> Trial:
    """Return the trial with what follows from the runs of this machine, which a node does not have."""
    run = RunFolder(trial.runs, trial.model)
    recipe = run.chosen_settings(trial.recipe().trained_as, trial.settings)
    return replace(trial, settings=dict(recipe.settings), judged=False)


def _put_in_place(trial: Trial, result: Result) -> Outcome:
    """Put a run that came back in place; it is held against its claim only here."""
    if isinstance(result, Score | ZooError):
        return result
    try:
        return install(trial.recipe(), trial.runs, result, judged=trial.judged)
    except ZooError as error:
        return error


def _train(trial: Trial) -> Result:
    """Train on a node, and return the run's files."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            record = run_trial(replace(trial, runs=Path(folder)), lambda *_: None)
        except ZooError as error:
            return error
        if not isinstance(record, TrainingRecord):
            return record
        return {path.name: path.read_bytes() for path in Path(folder, trial.model).iterdir()}


class Inbox:
    """Holds the scores of a search until they are taken; an actor of the cluster."""

    def __init__(self) -> None:
        self._scores: list[tuple[int, Score | ZooError]] = []

    def put(self, index: int, score: Score | ZooError) -> None:
        """Add the score of a trial."""
        self._scores.append((index, score))

    def take(self) -> list[tuple[int, Score | ZooError]]:
        """Return what came since, and forget it."""
        scores, self._scores = self._scores, []
        return scores


def _search(
    trials: Sequence[Trial], inbox: ActorHandle[Inbox], epochs: int, jobs: int | None
) -> None:
    """Run Ray Tune on a node; each trial that ends by itself puts its score into the inbox."""
    ray = _ray()
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    def trainable(config: Mapping[str, int]) -> None:
        index = config["trial"]

        def report(epoch: int, _: int, __: float, val_loss: float) -> None:
            if epoch < epochs:  # Tune may end a trial at its last one, before its score is kept
                tune.report({"epoch": epoch, "val_loss": val_loss})

        outcome: Outcome
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcome = run_trial(replace(trials[index], runs=Path(folder)), report)
            except ZooError as error:
                outcome = error
        ray.get(inbox.put.remote(index, outcome))
        val_loss = outcome.val_loss if isinstance(outcome, Score) else None
        tune.report({"epoch": epochs, "val_loss": math.inf if val_loss is None else val_loss})

    scheduler = ASHAScheduler(
        time_attr="epoch",
        max_t=epochs,
        grace_period=max(1, epochs // FIRST_RUNG),
        reduction_factor=REDUCTION,
    )
    with tempfile.TemporaryDirectory() as storage, redirect_stdout(None):
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"trial": tune.grid_search(list(range(len(trials))))},
            tune_config=tune.TuneConfig(
                metric="val_loss",
                mode="min",
                scheduler=scheduler,
                max_concurrent_trials=jobs,
            ),
            run_config=tune.RunConfig(
                storage_path=storage,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        ).fit()
