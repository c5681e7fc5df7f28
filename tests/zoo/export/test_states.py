"""A stateful model's file, fed with the states that it gave, goes on as Keras does."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.zoo.export.state_cases import MODELS
from tests.zoo.keras_process import Outcomes


@pytest.fixture(scope="module")
def exports(cases: Callable[..., Outcomes], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Every model of state_cases.py, exported and run in one process."""
    return cases("tests.zoo.export.state_cases", tmp_path_factory.mktemp("states"))


@pytest.mark.parametrize("name", [*MODELS, "given_rows"])
def test_step_by_step_it_answers_as_keras_does(exports: Outcomes, name: str) -> None:
    """From zeros, over several calls; and the model's own state is as it was before the export."""
    outcome = exports[name]

    assert outcome["apart"] < 1e-5
    assert outcome["moved"] > 1e-3
    assert outcome["kept"]


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        (
            "lstm",
            {
                "x": [2, 4, 3],
                "first_h_before": [2, 5],
                "first_c_before": [2, 5],
                "second_h_before": [2, 2],
            },
        ),
        (
            "both_directions",
            {
                "x": [2, 4, 3],
                "forward_cells_h_before": [2, 2],
                "forward_cells_c_before": [2, 2],
                "backward_cells_h_before": [2, 2],
                "backward_cells_c_before": [2, 2],
            },
        ),
        ("returned", {"x": [2, 4, 3], "cells_h_before": [2, 2]}),
        (
            "cached",
            {"x": [2, 4, 3], "attention_cache_before": [2, 8, 3], "attention_count_before": []},
        ),
    ],
)
def test_states_are_named_after_their_layers(
    exports: Outcomes, name: str, inputs: dict[str, Any]
) -> None:
    """Or their variables; after the model's own inputs, and its own outputs."""
    outcome = exports[name]
    assert outcome["inputs"] == inputs
    states = [state.replace("_before", "_after") for state in list(outcome["inputs"])[1:]]
    assert outcome["outputs"][-len(states) :] == states


def test_what_does_not_go_together_is_refused(exports: Outcomes) -> None:
    """With what to do."""
    wrong, both, smaller, stateless, unsaid = exports["refused"]

    assert wrong.startswith("states='kept': must be 'inputs', or inputs with the outputs")
    assert "give one of the two options" in both
    assert "leave --quantize or --states out" in smaller
    assert "keeps no state between calls" in stateless
    assert "(states='inputs', --states inputs)" in unsaid
