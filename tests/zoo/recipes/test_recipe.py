"""Recipes: born valid, and a wrong one says which field of which recipe, what it saw, what it wants."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from zoo.datasets.sunspots import SUNSPOTS
from zoo.datasets.tables import CANCER, DIABETES, IRIS
from zoo.errors import RecipeError
from zoo.recipes.claim import Claim
from zoo.recipes.recipe import Recipe, recipe
from zoo.recipes.sequence_step import sequence_step

SETTINGS: dict[str, Any] = {
    "tutorial": "Dense(8, relu) → Dense(3, softmax)",
    "dataset": IRIS,
    "task": "multiclass",
    "input_name": "measurements",
    "output_name": "probabilities",
    "parameters": 67,
    "baseline": "majority",
    "seed": 1,
    "epochs": 10,
    "batch_size": 16,
    "learning_rate": 0.01,
    "patience": 3,
}


def flowers() -> Any:
    """Tell flowers apart
    by measuring them.

    Reaches: accuracy >= 0.9 on 30 held-out
    flowers, in about 3 s on two cores.

    More words.
    """
    raise ZeroDivisionError("no flowers today\nsecond line")


def _make(**changes: Any) -> Recipe:
    return recipe(**{**SETTINGS, **changes})(flowers)


def test_the_builder_gives_name_sentence_and_claim() -> None:
    """The function's name, its first sentence and its wrapped claim line are the recipe's."""
    registered = _make()

    assert registered.name == "flowers"
    assert registered.summary == "Tell flowers apart by measuring them."
    assert registered.claim == Claim(
        text="Reaches: accuracy >= 0.9 on 30 held-out flowers, in about 3 s on two cores.",
        metric="accuracy",
        relation=">=",
        value=0.9,
        rows=30,
        what="flowers",
        seconds=3.0,
    )
    assert registered.metric == "accuracy"
    assert registered.classes == ("setosa", "versicolor", "virginica")


def test_the_loss_follows_from_the_task_unless_given() -> None:
    """A task has its usual loss."""
    assert _make().loss == "sparse_categorical_crossentropy"
    assert _make(loss="kl_divergence").loss == "kl_divergence"


def test_a_recipe_knows_where_it_is_defined() -> None:
    """Messages name file and line; records name no folder of this machine."""
    registered = _make()

    assert registered.owner == f"{Path(__file__)}:{flowers.__code__.co_firstlineno}"
    assert registered.source == f"test_recipe.py:{flowers.__code__.co_firstlineno}"


def test_recipes_are_frozen() -> None:
    """A recipe cannot be changed once made."""
    with pytest.raises(FrozenInstanceError):
        _make().epochs = 3  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tutorial", " "),
        ("dataset", "iris"),
        ("task", "clustering"),
        ("input_name", "my input"),
        ("output_name", ""),
        ("parameters", 0),
        ("baseline", "random"),
        ("seed", -1),
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch_size", "16"),
        ("learning_rate", 0.0),
        ("learning_rate", 1),
        ("patience", 0),
        ("backup", 1),
        ("task", ["multiclass"]),
        ("baseline", None),
        ("loss", 3),
        ("loss", None),
        ("more_inputs", "sum"),
        ("more_inputs", ("my sum",)),
        ("more_outputs", ("sum",)),
        ("more_outputs", {"sum": "addition"}),
        ("more_outputs", {"my sum": "regression"}),
    ],
)
def test_a_wrong_value_is_named(field: str, value: Any) -> None:
    """The message holds the recipe, the field, the value and what it must be."""
    with pytest.raises(RecipeError) as caught:
        _make(**{field: value})

    message = str(caught.value)
    assert "recipe flowers (" in message
    assert f"{field}={value!r}: must be" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "mean"}, "baseline='mean' makes no sense for task='multiclass'"),
        ({"task": "binary"}, "dataset iris has 3 classes"),
        ({"dataset": DIABETES}, "dataset diabetes has 0 classes"),
        (
            {"task": "regression", "dataset": DIABETES, "baseline": "mean"},
            "cannot claim 'accuracy'",
        ),
        ({"task": "forecast", "dataset": SUNSPOTS, "baseline": "last_value"}, "cannot claim"),
        ({"more_inputs": ("measurements",)}, "inputs=('measurements', 'measurements'): must have"),
        (
            {"more_outputs": {"probabilities": "binary"}},
            "outputs=('probabilities', 'probabilities')",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(changes: dict[str, Any], words: str) -> None:
    """Task, baseline, metric and classes must fit together."""
    with pytest.raises(RecipeError, match="recipe flowers") as caught:
        _make(**changes)

    assert words in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    """Misspelt, missing and wrong settings together, and all contradictions together."""
    settings = {key: value for key, value in SETTINGS.items() if key != "seed"}
    with pytest.raises(RecipeError) as caught:
        recipe(**(settings | {"epoch": 3, "patience": 0, "task": "clustering"}))(flowers)
    for words in ("called 'epoch'", "seed must be given", "patience=0: must", "task='clustering'"):
        assert words in str(caught.value)

    with pytest.raises(RecipeError) as caught:
        _make(epochs=0, batch_size=0, learning_rate=-1.0)
    assert str(caught.value).count("must be") == 3
    with pytest.raises(RecipeError) as caught:
        _make(task="regression", more_inputs=("measurements",))
    assert str(caught.value).count("; ") == 2


def test_a_misspelt_setting_gets_the_right_spelling() -> None:
    """An unknown setting is answered with its nearest neighbour."""
    with pytest.raises(RecipeError, match=r"no setting is called 'epoch': did you mean epochs\?"):
        recipe(**SETTINGS, epoch=3)(flowers)


def test_what_a_derived_recipe_has_cannot_be_set() -> None:
    """A step is derived by `sequence_step`, which checks its name and states."""
    with pytest.raises(RecipeError, match="no setting is called 'step'"):
        recipe(**SETTINGS, step=7)(flowers)
    with pytest.raises(RecipeError, match="name=7: must be lower-case letters"):
        sequence_step(_make(), name=7, states=("hidden",))  # type: ignore[arg-type]  # what is tested
    with pytest.raises(RecipeError, match=r"more_inputs=\('my state_before',\): must be"):
        sequence_step(_make(), name="one", states=("my state",))


def test_missing_settings_are_listed() -> None:
    """Every setting that must be given and was not is named."""
    with pytest.raises(RecipeError, match=r"recipe flowers \(.*\): tutorial, seed must be given"):
        recipe(**{k: v for k, v in SETTINGS.items() if k not in ("tutorial", "seed")})(flowers)


@pytest.mark.parametrize(
    ("docstring", "words"),
    [
        (None, "must open with a sentence"),
        ("Reaches: accuracy >= 0.9 on 3 held-out rows, in about 3 s.", "must open with a sentence"),
        ("A model.", "has no claim"),
        ("A model.\n\nReaches: the stars.", "cannot be read"),
        ("A model.\n\nReaches: beauty >= 1 on 3 held-out rows, in about 3 s.", "no known metric"),
        ("A model.\n\nReaches: accuracy <= 1 on 3 held-out rows, in about 3 s.", "wants >="),
    ],
)
def test_a_docstring_without_a_readable_claim_is_refused(docstring: str, words: str) -> None:
    """The message says what a claim looks like."""

    def flowers() -> Any: ...

    flowers.__doc__ = docstring
    with pytest.raises(RecipeError, match="recipe flowers") as caught:
        recipe(**SETTINGS)(flowers)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("relation", "measured", "held"),
    [
        (">=", 0.5, True),
        (">=", 0.49, False),
        (">=", float("nan"), False),
        ("<=", 0.5, True),
        ("<=", 0.51, False),
        ("<=", float("nan"), False),
    ],
)
def test_a_claim_holds_when_it_is_reached(relation: str, measured: float, held: bool) -> None:
    """The bound itself counts as reached, and what is not a number never does."""
    claim = Claim(
        text="", metric="", relation=relation, value=0.5, rows=1, what="rows", seconds=1.0
    )

    assert claim.holds(measured) is held


def test_a_builder_that_fails_is_named() -> None:
    """The first line of what went wrong, with the recipe's name."""
    with pytest.raises(RecipeError, match=r"cannot be built: ZeroDivisionError: no flowers today$"):
        _make().build()


@pytest.mark.parametrize("builder", [None, int, object(), len])
def test_only_a_function_can_be_a_recipe(builder: Any) -> None:
    """The author reads what was marked, not that it has no __code__."""
    with pytest.raises(RecipeError, match="marks a function that builds a model"):
        recipe(**SETTINGS)(builder)


@pytest.mark.parametrize("states", [None, (), "hidden"])
def test_a_step_needs_a_tuple_of_states(states: Any) -> None:
    """A text would be taken for a list of its letters."""
    with pytest.raises(RecipeError, match=r"states=.*: must be a tuple of one name or more"):
        sequence_step(_make(), name="step", states=states)


def test_a_step_needs_a_recipe() -> None:
    """A builder that was not marked."""
    builder: Any = flowers
    with pytest.raises(RecipeError, match="must be a recipe"):
        sequence_step(builder, name="step", states=("hidden",))


def test_two_classes_make_a_binary_task() -> None:
    """Breast cancer's two classes suit one sigmoid unit."""
    assert _make(task="binary", dataset=CANCER).loss == "binary_crossentropy"


def test_a_missing_claim_is_told_with_the_other_faults() -> None:
    """Of the docstring, and of settings that are missing, unknown or wrong."""

    def unclaimed() -> Any:
        """Tell flowers apart."""

    wrong = {
        "tutorial": "",
        "task": "guess",
        "input_name": "a b",
        "output_name": "",
        "parameters": -1,
        "baseline": "none",
        "epochs": 0,
        "batch_size": 0,
        "patience": -2,
    }
    with pytest.raises(RecipeError) as caught:
        recipe(**wrong, dataset=IRIS, sed=3)(unclaimed)
    said = str(caught.value)
    for fault in (
        "has no claim",
        "no setting is called 'sed'",
        "seed, learning_rate must be given",
    ):
        assert fault in said
    for key, value in wrong.items():
        assert f"{key}={value!r}: must be" in said
