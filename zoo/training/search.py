"""Searches a recipe's space: which settings have the lowest validation loss. Nothing else is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zoo.errors import CheckFailed, UsageError, ZooError
from zoo.recipes.recipe import Recipe
from zoo.recipes.search import space_text
from zoo.recipes.trial_settings import Settings, drawn_settings, settings_text
from zoo.training.record import SearchFacts
from zoo.training.runs import RunFolder
from zoo.training.score import Score
from zoo.training.trial import Trial, apart

#: To choose takes two.
FEWEST = 2


@dataclass(slots=True)
class Search:
    """The trials of one recipe's space, its own values first, and their scores so far."""

    recipe: Recipe
    trials: list[Trial]
    scores: dict[Trial, Score] = field(default_factory=dict)
    failures: dict[str, ZooError] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, common: Trial, count: int) -> Search:
        """Plan a search of `count` settings beside those of `common`; finds what is finished.

        Raises UsageError for a recipe without a space.
        """
        if not recipe.search:
            raise UsageError(
                f"{recipe.where} declares no search space: give it search={{...}}, or leave out --trials"
            )
        own = replace(common, model=recipe.name, scored=True)
        start = RunFolder(own.runs, own.model).chosen_settings(recipe, own.settings or {})
        planned = cls(recipe, [apart(own, each) for each in drawn_settings(start, count)])
        for trial in planned.trials:
            score = trial.finished(recipe)
            if isinstance(score, Score):
                planned.scores[trial] = score
        return planned

    @property
    def missing(self) -> list[Trial]:
        """Return the trials that are yet to be run."""
        return [trial for trial in self.trials if trial not in self.scores]

    def note(self, trial: Trial, outcome: object) -> None:
        """Keep what became of a trial; a finished one is on disk before the next."""
        if isinstance(outcome, Score):
            if not outcome.stopped:
                outcome.write(trial.runs)
            self.scores[trial] = outcome
        elif isinstance(outcome, ZooError):
            self.failures[trial.title] = outcome

    def best_settings(self) -> tuple[Settings, SearchFacts]:
        """Return the best settings, the first of equals, and what the record says of the search.

        Raises CheckFailed when not one training succeeded.
        """
        finished = [trial for trial in self.trials if _counts(self.scores[trial])]
        if not finished:
            reasons = {score.failure for score in self.scores.values()}
            raise CheckFailed(f"none of {len(self.trials)} settings can be trained: {min(reasons)}")
        best = min(finished, key=lambda trial: self.scores[trial].order)
        own = self.scores[self.trials[0]]
        return best.settings or {}, {
            "trials": len(self.trials),
            "finished": len(finished),
            "space": space_text(self.recipe.search),
            "chosen": settings_text(best.settings or {}) or "the recipe's own values",
            "val_loss": self.scores[best].val_loss,
            "own_val_loss": own.val_loss if _counts(own) else None,
            "weights_sha256": self.scores[best].weights_sha256,
        }


def _counts(score: Score) -> bool:
    return score.val_loss is not None and not score.stopped


def search_failures(searches: Sequence[Search]) -> dict[str, ZooError]:
    """Return what failed in these searches, by the trial's title."""
    return {title: error for each in searches for title, error in each.failures.items()}
