"""Several seeds of one training: how much its metric depends on chance. No framework.

The run's own seed is the first; which model is published does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

from zoo.files import atomic_write, locked
from zoo.recipes.recipe import Recipe
from zoo.training.record import SearchFacts, SeedFacts, TrainingRecord
from zoo.training.runs import RECORD, RunFolder
from zoo.training.trial import Trial, apart

#: A deviation needs two.
FEWEST = 2

OTHER_WEIGHTS = (
    "the chosen trial had other weights than the same training here: another kind of processor adds up in "
    "another order"
)

#: Beyond the largest seed that numpy and TensorFlow take they begin again.
SEEDS = 2**32


def seed_trials(trial: Trial, recipe: Recipe, count: int) -> list[Trial]:
    """Return the trials of `count - 1` further seeds, the next ones."""
    run = RunFolder(trial.runs, trial.model)
    chosen = run.chosen_settings(recipe, trial.settings)
    seeds = [(chosen.seed + step) % SEEDS for step in range(1, count)]
    return [apart(trial, dict(chosen.settings) | {"seed": seed}) for seed in seeds]


def note_seeds(run: RunFolder, records: Sequence[TrainingRecord]) -> TrainingRecord:
    """Write mean and deviation of these records' metrics, the run's own first, into its record."""
    return note(run, replace(records[0], seeds=summary_of(records)))


def note_search(run: RunFolder, record: TrainingRecord, search: SearchFacts) -> TrainingRecord:
    """Write what the run's settings were chosen from into its record.

    With a warning where the trial had other weights than the run, which is the same training.
    """
    warnings = [*record.warnings]
    if search["weights_sha256"] != record.weights_sha256 and OTHER_WEIGHTS not in warnings:
        warnings.append(OTHER_WEIGHTS)
    return note(run, replace(record, search=search, warnings=warnings))


def note(run: RunFolder, noted: TrainingRecord) -> TrainingRecord:
    """Write what was found out about a finished run into its record."""
    with locked(run.runs / f".lock-{run.name}"):
        atomic_write(run.path / RECORD, noted.to_json().encode())
    return noted


def summary_of(records: Sequence[TrainingRecord]) -> SeedFacts:
    """Return seeds, values, their mean and the deviation of the sample (n - 1), to six digits."""
    values = [float(record.metric["value"]) for record in records]
    return {
        "seeds": [record.recipe["seed"] for record in records],
        "values": values,
        "mean": float(f"{fmean(values):.6g}"),
        "deviation": float(f"{stdev(values):.6g}"),
    }


def over_seeds_text(seeds: SeedFacts | None) -> str:
    """Return it with the number of seeds, empty for one seed: 0.947 ± 0.018 (5 seeds)."""
    return "" if seeds is None else f"{seeds_text(seeds)} ({len(seeds['values'])} seeds)"


def seeds_text(seeds: SeedFacts) -> str:
    """Return mean and deviation as tables show them: 0.947 ± 0.0183."""
    return f"{seeds['mean']:.4g} ± {seeds['deviation']:.2g}"
