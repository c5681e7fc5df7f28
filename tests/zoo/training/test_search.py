"""Searching a recipe's space: which settings are tried, how they are chosen, and what is published then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoo.card.text import results
from zoo.errors import CheckFailed, RecipeError
from zoo.files import sha256
from zoo.recipes.dense import dense_diabetes, dense_iris
from zoo.recipes.search import Range, log_uniform, uniform
from zoo.recipes.trial_settings import drawn_settings, own_values, with_settings
from zoo.training.score import Score
from zoo.training.search import Search
from zoo.training.trial import Trial

ZOO = Path(sys.executable).with_name("zoo")

MINE = """
from zoo.datasets.tables import IRIS
from zoo.recipes.recipe import recipe
from zoo.recipes.search import log_uniform

SETTINGS = dict(
    tutorial="Dense", dataset=IRIS, task="multiclass", input_name="x", output_name="y", parameters=67,
    baseline="majority", seed=1, epochs=3, batch_size=16, learning_rate=0.0001, patience=3,
)


@recipe(**SETTINGS, search={"units": (8, 12), "learning_rate": log_uniform(0.01, 0.3)})
def flowers(units=8):
    '''Its own learning rate is far too small.

    Reaches: accuracy >= 0 on 30 held-out flowers, in about 99 s on two cores.
    '''
    import keras

    print("built", flush=True)
    return keras.Sequential(
        [
            keras.Input((4,), name="x"),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@recipe(**SETTINGS, search={"units": (8, -1)})
def fragile(units=8):
    '''One of two settings cannot be built.

    Reaches: accuracy >= 0 on 30 held-out flowers, in about 99 s on two cores.
    '''
    return flowers.builder(units)


@recipe(**SETTINGS)
def plain():
    '''Declares no space.

    Reaches: accuracy >= 0 on 30 held-out flowers, in about 99 s on two cores.
    '''
    return flowers.builder()
"""


def train(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `zoo train ... --json` with the recipes, as a program of its own."""
    return subprocess.run(
        [str(ZOO), "train", *words, "--module", "mine.py", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ},
    )


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one report behind what the recipes print when they are built."""
    (values,) = json.loads(
        done.stdout[done.stdout.rindex("\n[") :] if "built" in done.stdout else done.stdout
    )
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recipes and their trainings are."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "mine.py").write_text(MINE)
    return folder


@pytest.fixture(scope="module")
def searched(folder: Path) -> dict[str, Any]:
    """Four trials, two processes at once."""
    done = train(folder, "flowers", "--trials", "4", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    return report(done)


@pytest.mark.slow
def test_the_lowest_validation_loss_is_chosen_and_trained(folder: Path, searched: dict) -> None:
    """The trial's weights and the run's are the same bytes; the score is the run's own validation loss."""
    search = searched["search"]
    runs = folder / "build/runs"
    scores = [json.loads(path.read_text()) for path in runs.glob("flowers.trials/*/score.json")]
    history = json.loads((runs / "flowers/history.json").read_text())

    assert len(scores) == search["trials"] == search["finished"] == 4
    assert (
        search["val_loss"] == min(each["val_loss"] for each in scores) == min(history["val_loss"])
    )
    assert search["val_loss"] < search["own_val_loss"]
    assert search["weights_sha256"] == sha256(runs / "flowers/best.weights.h5")
    assert searched["settings"].keys() <= {"units", "learning_rate"}
    assert "learning_rate" in searched["settings"]
    assert not searched["warnings"]


@pytest.mark.slow
def test_a_search_goes_on_from_what_is_finished(folder: Path, searched: dict) -> None:
    """Nothing is built again; two trials more are two trainings, of the model itself one if it changes."""
    again = train(folder, "flowers", "--trials", "4")
    assert "built" not in again.stdout
    assert report(again)["search"] == searched["search"]

    more = train(folder, "flowers", "--trials", "6")
    changed = report(more)["settings"] != searched["settings"]
    # Besides, the check of a recipe of the user's that is to be trained does not find it stale.
    assert more.stdout.count("built") == 2 + changed


@pytest.mark.slow
def test_a_trial_alone_has_the_same_bytes(folder: Path, searched: dict) -> None:
    """By --set, in another folder of runs."""
    pairs = [
        word for key, value in searched["settings"].items() for word in ("--set", f"{key}={value}")
    ]
    done = train(folder, "flowers", *pairs, "--runs", "alone")
    assert done.returncode == 0, done.stderr
    weights = folder / "alone/flowers/best.weights.h5"
    assert sha256(weights) == searched["search"]["weights_sha256"]


@pytest.mark.slow
def test_a_setting_that_cannot_be_built_is_named(folder: Path) -> None:
    """And nothing is chosen; the others' scores are kept."""
    done = train(folder, "fragile", "--trials", "2")
    assert done.returncode == 2
    assert "fragile units=-1: recipe fragile" in done.stderr
    assert "cannot be built" in done.stderr
    assert len(list((folder / "build/runs").glob("fragile.trials/*/score.json"))) == 1


@pytest.mark.slow
def test_a_recipe_without_a_space_is_told(folder: Path) -> None:
    """Before anything is trained; and so is a number of trials that is no choice."""
    done = train(folder, "plain", "--trials", "2")
    assert done.returncode == 2
    assert "plain" in done.stderr
    assert "declares no search space" in done.stderr
    assert "2 or more" in train(folder, "flowers", "--trials", "1").stderr


def test_what_is_tried_follows_from_the_seed_and_begins_with_the_recipes_own() -> None:
    """More trials begin with the same; no setting is tried twice; a small space has an end."""
    four, six = drawn_settings(dense_diabetes, 4), drawn_settings(dense_diabetes, 6)
    assert four[0] == {}
    assert six[:4] == four
    assert drawn_settings(replace(dense_diabetes, seed=9), 4) != four
    assert all(0.001 <= each.get("learning_rate", 0.003) <= 0.03 for each in six)
    small = replace(dense_diabetes, search={"units": (8, 16)})
    assert drawn_settings(small, 9) == [{}, {"units": 8}]
    changed = with_settings(dense_diabetes, six[1])
    assert own_values(changed) == own_values(dense_diabetes) | six[1]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"unit": (8, 16)}, "search: no setting is called 'unit': did you mean units?"),
        ({"seed": (1, 2)}, "search: no setting is called 'seed'"),
        ({"units": (8,)}, "must be for each setting two values or more"),
        ({"units": [8, 16]}, "must be for each setting two values or more"),
        ({"learning_rate": log_uniform(0, 1)}, "must be for each setting"),
        ({"learning_rate": uniform(1, 0.1)}, "must be for each setting"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(space: dict, said: str) -> None:
    """When the recipe is made, by name."""
    with pytest.raises(RecipeError) as error:
        replace(dense_diabetes, search=space)
    assert said in str(error.value)


def test_a_range_is_drawn_to_digits_that_set_takes_again() -> None:
    """Within its bounds; as text it is what a recipe has."""
    import numpy as np

    drawn = [Range(0.001, 0.1, log=True).draw(np.random.default_rng(i)) for i in range(200)]
    assert min(drawn) >= 0.001
    assert max(drawn) <= 0.1
    assert all(float(f"{value:.4g}") == value for value in drawn)
    assert sum(value < 0.01 for value in drawn) == pytest.approx(100, abs=30)
    assert str(log_uniform(0.001, 0.1)) == "log_uniform(0.001, 0.1)"


def _search(tmp_path: Path, *scores: Score) -> Search:
    common = Trial(model="", runs=tmp_path)
    search = Search.of(dense_diabetes, common, len(scores))
    search.scores = dict(zip(search.trials, scores, strict=True))
    return search


def _score(val_loss: float | None, **more: Any) -> Score:
    return Score(key="k", val_loss=val_loss, **more)


def test_neither_a_failed_nor_a_stopped_trial_is_chosen(tmp_path: Path) -> None:
    """Nor the later of two that are equal; the record counts those that came to their end."""
    search = _search(
        tmp_path,
        _score(5.0, weights_sha256="own"),
        _score(None, failure="the loss is nan"),
        _score(1.0, stopped=True),
        _score(3.0, weights_sha256="first"),
        _score(3.0, weights_sha256="second"),
    )
    settings, said = search.best_settings()
    assert settings == search.trials[3].settings
    assert (said["trials"], said["finished"], said["val_loss"]) == (5, 3, 3.0)
    assert (said["own_val_loss"], said["weights_sha256"]) == (5.0, "first")


def test_a_search_without_one_success_says_why(tmp_path: Path) -> None:
    """With the reason of one."""
    with pytest.raises(CheckFailed, match="none of 2 settings can be trained: the loss is nan"):
        _search(tmp_path, *[_score(None, failure="the loss is nan")] * 2).best_settings()


def test_the_card_says_what_was_set_and_what_it_was_chosen_from() -> None:
    """Nothing where the recipe's own values were trained without a search."""
    training: dict[str, Any] = {
        "metric": {"name": "accuracy", "value": 1.0, "units": "", "higher_is_better": True},
        "baseline": {"name": "majority", "value": 0.3},
        "linear": {"name": "logistic regression", "value": 0.9},
        "claim": {"text": dense_iris.claim.text},
        "recipe": {},
        **dict.fromkeys(("epochs", "best_epoch", "parameters", "total_parameters"), 1),
    }
    rows = {"rows": {"test": 30}}
    assert "| settings |" not in results(training, rows)
    training["settings"] = {"units": 16}
    assert "| settings | `units=16` |" in results(training, rows)
    training["search"] = {"trials": 8}
    assert "`units=16`: the lowest validation loss of 8 trials |" in results(training, rows)
