"""What a card says of the figures."""

from typing import Any

import pytest

from zoo.card.text import results


def _training(value: float, linear: float, *, higher: bool, why: str = "") -> dict[str, Any]:
    name = "accuracy" if higher else "mean absolute error"
    return {
        "metric": {"name": name, "value": value, "units": "", "higher_is_better": higher},
        "baseline": {"name": "last_value", "value": 0.3},
        "linear": {"name": "autoregression", "value": linear},
        "claim": {"text": "Reaches: …"},
        "recipe": {"why_not_linear": why},
        "epochs": 3,
        "best_epoch": 2,
        "parameters": 10,
        "total_parameters": 12,
    }


@pytest.mark.parametrize(
    ("value", "linear", "higher", "lost"),
    [
        (0.9, 0.8, True, False),
        (0.8, 0.8, True, False),
        (0.8, 0.9, True, True),
        (5.0, 6.0, False, False),
        (6.0, 5.0, False, True),
    ],
)
def test_a_model_that_loses_to_the_linear_one_says_so(
    value: float, linear: float, higher: bool, lost: bool
) -> None:
    """Whichever way is better; with the recipe's reason."""
    training = _training(value, linear, higher=higher, why="Because it shows LSTM.")
    section = results(training, {"rows": {"test": 30}})

    assert f"a linear model of the same rows: autoregression | {linear:.4g} |" in section
    assert ("The linear model does better on these rows" in section) == lost
    assert ("Because it shows LSTM." in section) == lost


def test_several_seeds_have_a_line_and_one_has_none() -> None:
    """Mean and deviation, in the metric's unit, beside the model's own figure."""
    training = _training(44.1, 46.0, higher=False)
    assert "seeds" not in results(training, {"rows": {"test": 30}})

    seeds = {"seeds": [3, 4], "values": [44.1, 48.5], "mean": 46.3, "deviation": 3.11}
    training |= {"seeds": seeds, "metric": training["metric"] | {"units": "points"}}
    assert (
        "| mean absolute error over 2 seeds, this one included: mean ± standard deviation | "
        "46.3 ± 3.1 points |"
    ) in results(training, {"rows": {"test": 30}})
