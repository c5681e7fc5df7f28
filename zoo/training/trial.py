"""A trial: one training for itself, as plain values that travel to another process or machine.

Alone it gives the same weights, to the byte, as among others: its process trains nothing else.
"""

from __future__ import annotations

import hashlib
import json
import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.recipes.recipe import Recipe
from zoo.recipes.registry import Registry
from zoo.recipes.trial_settings import Settings, settings_text
from zoo.training.loop import Progress
from zoo.training.record import TrainingRecord
from zoo.training.runs import RunFolder, key
from zoo.training.score import Score, score
from zoo.training.train import train
from zoo.training.workers import Cluster

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One training of a registered recipe; `modules` are the --module files that it may be from.

    `settings` are those of `train`. `runs` is the folder that the run goes to.
    """

    model: str
    runs: Path
    modules: tuple[Path, ...] = ()
    settings: Settings | None = None
    judged: bool = True
    cluster: Cluster | None = None  # of which this trial is one worker
    scored: bool = False  # one of a search: gives a Score and no run

    @property
    def title(self) -> str:
        """Name the trial for people: dense_iris seed=4."""
        return f"{self.model} {settings_text(self.settings or {})}".rstrip()

    def recipe(self) -> Recipe:
        """Return the recipe, as the author wrote it; raises as the registry does."""
        registry = Registry.default()
        for path in self.modules:
            registry.add_file(path)
        return registry.get(self.model)

    def finished(self, recipe: Recipe) -> TrainingRecord | Score | None:
        """Return the record, or the score, if this was trained already."""
        run = RunFolder(self.runs, self.model)
        if self.scored:
            score = Score.read(self.runs)
            chosen = run.chosen_settings(recipe, self.settings)
            current = score and score.key == key(chosen)
            return score if current else None
        return run.record if run.is_current(recipe, self.settings) else None


def run_trial(trial: Trial, progress: Progress) -> TrainingRecord | Score:
    """Train; raises as `train` and `score` do."""
    if trial.scored:
        recipe = trial.recipe().trained_as
        run = RunFolder(trial.runs, trial.model)
        chosen = run.chosen_settings(recipe, trial.settings)
        return score(chosen, progress)
    return train(
        trial.recipe(),
        trial.runs,
        settings=trial.settings,
        judged=trial.judged,
        cluster=trial.cluster,
        progress=progress,
    )


def as_workers(trial: Trial, count: int) -> list[Trial]:
    """Return the trial as that many processes of this machine share it, the chief first."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        addresses = tuple(f"{LOOPBACK}:{each.getsockname()[1]}" for each in sockets)
    return [replace(trial, cluster=Cluster(addresses, index)) for index in range(count)]


def apart(trial: Trial, settings: Settings) -> Trial:
    """Return the trial with these settings in a folder of its own, without a claim."""
    text = json.dumps(settings, sort_keys=True)
    folder = hashlib.sha256(text.encode()).hexdigest()[:12]
    return replace(
        trial,
        runs=trial.runs / f"{trial.model}.trials" / folder,
        settings=settings,
        judged=False,
    )
