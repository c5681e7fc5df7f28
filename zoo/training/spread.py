"""Spreads trainings: which trials are missing, run somewhere at once, and what came of each recipe.

What is finished already is not run again, so that a killed command goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from zoo.errors import ZooError
from zoo.recipes.recipe import Recipe
from zoo.training.loop import Progress
from zoo.training.record import TrainingRecord
from zoo.training.runs import RunFolder
from zoo.training.score import Score
from zoo.training.seeds import note_seeds, seed_trials
from zoo.training.trial import Trial

#: What became of a trial.
Outcome = TrainingRecord | Score | ZooError

#: Whom to tell the epochs of each trial.
Reports = Callable[[Trial], Progress]

#: Runs trials and yields each with its outcome.
Runner = Callable[[Sequence[Trial], Reports], Iterator[tuple[Trial, Outcome]]]


class Place(Protocol):
    """Where trials run."""

    def run(self, trials: Sequence[Trial], reports: Reports) -> Iterator[tuple[Trial, Outcome]]:
        """Run each to its end."""
        ...

    def search(
        self, recipe: Recipe, trials: Sequence[Trial], reports: Reports
    ) -> Iterator[tuple[Trial, Outcome]]:
        """Run the trials of a recipe's search, each to its end or until it is stopped."""
        ...


@dataclass(slots=True)
class Trainings:
    """The trials of one recipe, its own training first, and their outcomes so far."""

    recipe: Recipe
    trials: list[Trial]
    outcomes: dict[Trial, Outcome] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, common: Trial, seeds: int) -> Trainings:
        """Plan a recipe's own training and those with further seeds; finds what is finished."""
        own = replace(common, model=recipe.name)
        planned = cls(recipe, [own, *seed_trials(own, recipe, seeds)])
        for trial in planned.trials:
            record = trial.finished(recipe)
            if isinstance(record, TrainingRecord):
                planned.outcomes[trial] = record
        return planned

    @property
    def missing(self) -> list[Trial]:
        """Return the trials that are yet to be run."""
        return [trial for trial in self.trials if trial not in self.outcomes]

    @property
    def failures(self) -> dict[str, ZooError]:
        """Return what failed, by the trial's title."""
        outcomes = self.outcomes.items()
        return {
            trial.title: outcome for trial, outcome in outcomes if isinstance(outcome, ZooError)
        }

    def result(self) -> TrainingRecord | None:
        """Return the record of the recipe's own training, None if that failed.

        With several seeds, their mean and deviation are noted in it once none is missing.
        """
        records = [self.outcomes[trial] for trial in self.trials]
        whole = [record for record in records if isinstance(record, TrainingRecord)]
        if len(whole) == len(records) > 1:
            return note_seeds(RunFolder(self.trials[0].runs, self.recipe.name), whole)
        return records[0] if isinstance(records[0], TrainingRecord) else None


def run_missing(
    trainings: Sequence[Trainings], runner: Runner, progress: Reports
) -> Iterator[Trial]:
    """Run what is missing of them all; yields each trial as it ends, its outcome noted."""
    owners = {trial: each for each in trainings for trial in each.missing}
    # Every recipe's own training before anybody's further seeds.
    order = sorted(owners, key=lambda trial: not trial.judged)
    for trial, outcome in runner(order, progress):
        owners[trial].outcomes[trial] = outcome
        yield trial
