"""What is said of a recipe's settings and claim, and of TF_CONFIG, to write: it is read when it is written."""

import re
from typing import Any

import pytest

from zoo.datasets.tables import IRIS
from zoo.errors import UsageError
from zoo.recipes.claim import Claim
from zoo.recipes.search import log_uniform, uniform
from zoo.recipes.settings import RULES, wrong_values
from zoo.recipes.trial_settings import parsed_settings
from zoo.training.workers import VARIABLE, Cluster

#: For each setting a wrong value, and what its refusal says: values at both ends of it.
SAID: dict[str, tuple[object, list[object]]] = {
    "name": ("Flowers", ["f", "my_flowers_2"]),
    "tutorial": ("", ["Dense(8, relu)"]),
    "dataset": ("iris", [IRIS]),
    "task": ("classes", ["multiclass", "binary", "regression", "forecast"]),
    "input_name": ("my input", ["X", "my_input2"]),
    "output_name": ("2nd", ["Y", "my_output2"]),
    "more_inputs": (["b"], [(), ("b", "c_2")]),
    "more_outputs": ({"b": "none"}, [{}, {"b": "binary"}]),
    "parameters": (0, [1, 10**9]),
    "baseline": ("none", ["majority"]),
    "seed": (-1, [0, 2**32 - 1]),
    "epochs": (0, [1, 10**9]),
    "batch_size": (0, [1, 10**9]),
    "learning_rate": (10.0, [1e-9, 0.001, 9.999]),
    "patience": (0, [1, 10**9]),
    "loss": ("", ["mean_absolute_error"]),
    "backup": (1, [True, False]),
    "search": ((1, 2), [{"a": (1, 2)}, {"a": uniform(0, 1), "b": log_uniform(0.1, 1)}]),
    "why_not_linear": (None, ["", "A sentence."]),
}


def test_every_setting_is_here() -> None:
    assert SAID.keys() == RULES.keys()


@pytest.mark.parametrize(("key", "values"), SAID.items())
def test_what_a_setting_must_be_it_may_be(key: str, values: tuple[object, list[Any]]) -> None:
    wrong, right = values

    assert len(wrong_values({key: wrong})) == 1
    assert [wrong_values({key: value}) for value in right] == [[]] * len(right)


@pytest.mark.parametrize("docstring", ["Flowers.", "Flowers.\n\nReaches: all of them."])
def test_a_claim_is_written_as_it_is_said(docstring: str) -> None:
    with pytest.raises(ValueError, match=r"(such|it) as '(Reaches: .*)'") as caught:
        Claim.parse(docstring)
    (example,) = re.findall(r"'(Reaches: [^']*\.)'$", str(caught.value))

    assert Claim.parse(f"Flowers.\n\n{example}").rows == 30


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "{}",
        '{"cluster": {"worker": [9]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"ps": [], "worker": []}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_tf_config_is_written_as_it_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"write \{") as caught:
        Cluster.from_environment({VARIABLE: text})
    cluster = Cluster.from_environment({VARIABLE: str(caught.value).partition(": write ")[2]})

    assert cluster is not None
    assert len(cluster) == 2


def test_a_setting_of_the_command_line_is_written_as_it_is_said() -> None:
    with pytest.raises(UsageError, match="write KEY=VALUE, or 'recipe'"):
        parsed_settings(["seed"])
    assert parsed_settings(["seed=2"]) == {"seed": 2}
    assert parsed_settings(["recipe"]) == {}
