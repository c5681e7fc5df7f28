"""Several seeds of one training: how much its metric depends on chance. No framework.

The run's own seed is the first; which model is published does not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from zoo.files import atomic_write, locked
from zoo.recipes.recipe import Recipe
from zoo.training.record import TrainingRecord
from zoo.training.runs import RECORD, RunFolder
from zoo.training.trial import Trial, with_seed

#: A deviation needs two.
FEWEST = 2

#: Beyond the largest seed that numpy and TensorFlow take they begin again.
SEEDS = 2**32


def seed_trials(trial: Trial, recipe: Recipe, count: int) -> list[Trial]:
    """Return the trials of `count - 1` further seeds, the next ones."""
    run = RunFolder(trial.runs, trial.model)
    chosen = run.chosen_settings(recipe, trial.settings)
    return [with_seed(trial, chosen, (chosen.seed + step) % SEEDS) for step in range(1, count)]


def note_seeds(run: RunFolder, records: Sequence[TrainingRecord]) -> TrainingRecord:
    """Write mean and deviation of these records' metrics, the run's own first, into its record."""
    first, summary = records[0], summary_of(records)
    noted = replace(first, seeds=summary)
    with locked(run.runs / f".lock-{run.name}"):
        atomic_write(run.path / RECORD, noted.to_json().encode())
    return noted


def summary_of(records: Sequence[TrainingRecord]) -> dict[str, Any]:
    """Return seeds, values, their mean and the deviation of the sample (n - 1), to six digits."""
    values = [float(record.metric["value"]) for record in records]
    return {
        "seeds": [record.recipe["seed"] for record in records],
        "values": values,
        "mean": float(f"{fmean(values):.6g}"),
        "deviation": float(f"{stdev(values):.6g}"),
    }


def over_seeds_text(seeds: Mapping[str, Any] | None) -> str:
    """Return it with the number of seeds, empty for one seed: 0.947 ± 0.018 (5 seeds)."""
    return "" if seeds is None else f"{seeds_text(seeds)} ({len(seeds['values'])} seeds)"


def seeds_text(seeds: Mapping[str, Any]) -> str:
    """Return mean and deviation as tables show them: 0.947 ± 0.0183."""
    return f"{seeds['mean']:.4g} ± {seeds['deviation']:.2g}"
