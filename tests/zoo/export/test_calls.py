"""Whatever way a model is called, its file takes the same inputs, or the refusal says what to do."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.zoo.keras_process import Outcomes


@pytest.fixture(scope="module")
def exports(cases: Callable[..., Outcomes], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Every model of call_cases.py, exported in one process."""
    return cases("tests.zoo.export.call_cases", tmp_path_factory.mktemp("calls"))


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("fitted", {"input": ["FP32", "batch", 10]}),
        ("built", {"x": ["FP32", "batch", 3], "context": ["FP32", "batch", 5]}),
        ("named", {"x": ["FP32", "batch", 3], "context": ["FP32", "batch", 5]}),
        ("listed", {"x": ["FP32", "batch", 3], "context": ["FP32", "batch", 5]}),
        ("left_out", {"input": ["FP32", "batch", 3]}),
        ("given", {"x": ["FP32", "batch", 3], "context": ["FP32", "batch", 5]}),
        ("ids", {"input": ["INT32", "batch", 6]}),
        ("ids_int64", {"input": ["INT64", "batch", 6]}),
        ("whole_numbers", {"input": ["INT32", "batch", 3]}),
        ("settled", {"input": ["FP32", "batch", 4]}),
        ("rows_of_three", {"input": ["FP32", 3, 10]}),
        ("one_rank", {"input": ["FP32", "batch", "time"]}),
        ("wide_windows", {"input": ["FP32", "batch", "time", 4]}),
    ],
)
def test_inputs_are_those_of_the_call(
    exports: Outcomes, name: str, inputs: dict[str, list[Any]]
) -> None:
    """One an argument, by its name; the batch is open, whatever size Keras saw first."""
    assert exports[name]["text"] == ""
    assert exports[name]["inputs"] == inputs


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "recorded",
            "both.call takes x, context, and Keras recorded 1 of their shapes: give samples",
        ),
        ("noise", "layer mine (Mine) draws random numbers at inference (StatelessRandomUniformV2)"),
        ("fixed_noise", "layer noise (Lambda) draws random numbers at inference"),
        ("counter", "changes its variable mine/total in every call and answers by it"),
    ],
)
def test_what_a_file_cannot_do_is_refused_by_name(exports: Outcomes, name: str, words: str) -> None:
    """What differs from call to call would be frozen as it was while exporting."""
    assert words in exports[name]["text"]
    assert exports[name]["left"] == []


def test_a_model_of_one_batch_is_proven_at_that_one(exports: Outcomes) -> None:
    """And says so."""
    assert exports["rows_of_three"]["cases"] == ["random rows, batch 3"]
    assert "the batch is 3, the one that the model takes" in exports["rows_of_three"]["notes"]


def test_random_rows_are_those_that_have_an_answer(exports: Outcomes) -> None:
    """Not numbers by which the model cannot divide, or which have no root."""
    assert exports["whole_division"]["text"] == ""
    assert exports["rows_of_roots"] is True


@pytest.mark.parametrize("name", ["large_answer", "large_row"])
def test_large_rows_and_answers_are_compared_at_smaller_batches(
    exports: Outcomes, name: str
) -> None:
    """Seven of them would take gigabytes, or more than the weights of a deep model."""
    assert exports[name]["cases"] == ["random rows, batch 1", "random rows, batch 2"]


def test_a_folder_gets_a_file_named_after_the_model(exports: Outcomes) -> None:
    """As `zoo.export_model(model, ".")`."""
    assert exports["fitted"]["left"] == ["sequential.onnx"]


def test_the_caller_can_say_what_the_call_takes(exports: Outcomes) -> None:
    """As for Keras's own Model.export: specifications fix the batch, tensors leave it open."""
    signed = exports["signed"]
    opened = {"x": ["batch", 3], "context": ["batch", 5]}

    assert signed["list"] == signed["tensors"] == signed["dict"] == opened
    assert signed["fixed"] == {"x": [2, 3], "context": [2, 5]}
    assert signed["named"] == {"tokens": ["INT64", "batch", 6]}
    assert "input_signature: 123 has no shape and dtype" in signed["wrong"]
